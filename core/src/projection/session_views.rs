//! Sessions as readers ask for them: in memory, else stored, else told by the log.

use super::{Page, SessionState, SessionStatus, SessionView, Views, rows::RowError, snapshot};
use crate::{id::SessionId, log::ReadError};
use std::sync::Arc;

/// How many events are read at a time.
const READ_EVENTS: usize = 4_096;

impl Views {
    /// The session, open or closed.
    ///
    /// # Errors
    /// Where the storage fails.
    pub fn session(&self, id: &SessionId) -> Result<Option<Arc<SessionState>>, ReadError> {
        // In this order: a checkpoint stores a session before it leaves memory.
        if let Some(session) = self.with(|all| all.sessions().get(id).cloned()) {
            return Ok(Some(session));
        }
        let Some(rows) = self.rows() else { return Ok(None) };
        match snapshot::closed_session(rows, id) {
            Ok(session) => Ok(session.map(Arc::new)),
            Err(RowError::Storage(error)) => Err(error.into()),
            Err(RowError::Damaged) => Ok(self.session_at(id, 0, self.applied())?.map(Arc::new)),
        }
    }

    /// The sessions with this status, newest first, from behind `cursor` on.
    ///
    /// # Errors
    /// Where the storage fails.
    pub fn sessions(
        &self,
        status: Option<SessionStatus>,
        cursor: Option<SessionId>,
        limit: usize,
    ) -> Result<Page<SessionView, SessionId>, ReadError> {
        // One more than asked for tells whether there is a next page.
        let wanted = limit.max(1).saturating_add(1);
        let mut found = self.with(|all| all.sessions().before(cursor, status, wanted));
        if !matches!(status, Some(SessionStatus::Open | SessionStatus::Archived))
            && let Some(rows) = self.rows()
        {
            for id in snapshot::closed_sessions(rows, cursor, wanted)? {
                found.extend(self.session(&id)?);
            }
            found.sort_by_key(|session| std::cmp::Reverse(session.id));
            found.dedup_by_key(|session| session.id);
            found.truncate(wanted);
        }
        let more = found.len() == wanted;
        found.truncate(wanted - 1);
        let next = if more { found.last().map(|session| session.id) } else { None };
        Ok(Page { items: found.iter().map(|session| session.summary()).collect(), next })
    }

    /// The session as of `position`, folded from the log's events behind `after` that name it. `None` where it was
    /// not created there.
    ///
    /// # Errors
    /// Where the log cannot be read.
    pub fn session_at(&self, id: &SessionId, mut after: u64, position: u64) -> Result<Option<SessionState>, ReadError> {
        let mut session: Option<SessionState> = None;
        while after < position {
            let events = self.log().read(after, READ_EVENTS)?;
            let Some(last) = events.last() else { break };
            after = last.position;
            for event in events.iter().filter(|event| event.session == Some(*id) && event.position <= position) {
                match &mut session {
                    Some(session) if session.is_settled() => {}
                    Some(session) => session.apply(event),
                    None => session = SessionState::from_created(event),
                }
            }
        }
        Ok(session)
    }
}
