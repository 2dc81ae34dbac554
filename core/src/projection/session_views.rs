//! Sessions as readers ask for them: in memory, else stored, else told by the log.

use super::{Page, SessionState, SessionStatus, SessionView, Views, rows::RowError, snapshot};
use crate::{
    event::{Event, EventBody, StreamId},
    id::SessionId,
    log::ReadError,
};
use std::{collections::BTreeMap, sync::Arc};

/// How many events are read at a time.
const READ_EVENTS: usize = 4_096;

impl Views {
    /// The session, open or closed.
    ///
    /// # Errors
    /// Where the storage fails.
    pub fn session(&self, id: &SessionId) -> Result<Option<Arc<SessionState>>, ReadError> {
        // In this order: a checkpoint stores a session before it leaves memory.
        match self.with(|all| all.sessions().get(id).cloned().ok_or_else(|| all.deleted.sessions.contains(id))) {
            Ok(session) => return Ok(Some(session)),
            // Its row may still be there.
            Err(true) => return Ok(None),
            Err(false) => {}
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
    pub fn session_at(&self, id: &SessionId, after: u64, position: u64) -> Result<Option<SessionState>, ReadError> {
        self.session_without(id, after, position, |_| false)
    }

    /// Folds the sessions again that deleted jobs took part in, without the jobs' events. They are closed: nobody waits for
    /// them.
    pub(super) fn retell_sessions(&self, events: &[Arc<Event>]) {
        let mut lost = BTreeMap::new();
        for event in events {
            if let EventBody::JobDeleted(deleted) = &event.body {
                lost.extend(deleted.in_sessions.iter().map(|session| (*session, event.position)));
            }
        }
        for (id, position) in lost {
            if let Err(error) = self.retell_session(&id, position) {
                tracing::warn!(%error, session = %id, "a session is shown with what a deleted job has said in it");
            }
        }
    }

    fn retell_session(&self, id: &SessionId, position: u64) -> Result<(), ReadError> {
        let Some(now) = self.session(id)? else { return Ok(()) };
        // Those that were removed are not in the log any more, or are about to be.
        let removed = self.with(|all| all.deleted.clone());
        let is_removed = |event: &Event| match (&event.stream, event.job) {
            (StreamId::Job(_), Some(job)) => removed.position(&job).is_some_and(|at| event.position < at),
            _ => false,
        };
        let told = self.session_without(id, now.created_position - 1, position, is_removed)?;
        if let Some(told) = told {
            self.replace_session(SessionState { position, ..told });
        }
        Ok(())
    }

    fn session_without(
        &self,
        id: &SessionId,
        mut after: u64,
        position: u64,
        is_removed: impl Fn(&Event) -> bool,
    ) -> Result<Option<SessionState>, ReadError> {
        let mut session: Option<SessionState> = None;
        while after < position {
            let events = self.log().read(after, READ_EVENTS)?;
            let Some(last) = events.last() else { break };
            after = last.position;
            let of_it = |event: &&Arc<Event>| event.session == Some(*id) && event.position <= position;
            for event in events.iter().filter(of_it).filter(|event| !is_removed(event)) {
                match &mut session {
                    Some(session) if session.is_settled() => return Ok(Some(session.clone())),
                    Some(session) => session.apply(event),
                    None => session = SessionState::from_created(event),
                }
            }
        }
        Ok(session)
    }
}
