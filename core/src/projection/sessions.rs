//! Sessions: those that are open, and those that were closed since the last checkpoint.

use super::{SessionState, SessionStatus};
use crate::{
    event::{Event, EventBody, StreamId},
    id::{JobId, SessionId},
};
use std::{collections::BTreeMap, ops::Bound, sync::Arc};

/// The sessions that are in memory, oldest first.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Sessions(BTreeMap<SessionId, Arc<SessionState>>);

impl Sessions {
    pub(super) fn apply(&mut self, event: &Event) {
        // Imported events tell of sessions elsewhere.
        let Some(id) = event.session.filter(|_| event.origin.is_none()) else { return };
        if matches!((&event.body, &event.stream), (EventBody::SessionCreated(_), StreamId::Session(_))) {
            // A snapshot may hold a state of this session that is newer than the rest of it.
            if let (Some(session), false) = (SessionState::from_created(event), self.0.contains_key(&id)) {
                self.0.insert(id, Arc::new(session));
            }
            return;
        }
        let Some(session) = self.0.get_mut(&id) else { return };
        if event.position > session.position && !session.is_settled() {
            Arc::make_mut(session).apply(event);
        }
    }

    /// Forgets a session that was removed, unless what is here is of later events.
    pub(super) fn remove(&mut self, id: &SessionId, position: u64) {
        if self.0.get(id).is_some_and(|session| session.position < position) {
            self.0.remove(id);
        }
    }

    /// A part of the session was removed: what is here is as of `position`.
    pub(super) fn lost_part(&mut self, id: &SessionId, position: u64) {
        if let Some(session) = self.0.get_mut(id).filter(|session| session.position < position) {
            Arc::make_mut(session).position = position;
        }
    }

    /// Puts back what [`Self::iter`] gave.
    pub(super) fn restore(&mut self, session: SessionState) {
        self.0.insert(session.id, Arc::new(session));
    }

    /// Lets go of the settled sessions that a checkpoint of `stored` has stored.
    pub(super) fn forget(&mut self, stored: &Self) {
        for session in stored.iter().filter(|session| session.is_settled()) {
            self.0.remove(&session.id);
        }
    }

    /// Those that are here, oldest first.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = &Arc<SessionState>> {
        self.0.values()
    }

    /// Those that are open, oldest first.
    pub fn open(&self) -> impl DoubleEndedIterator<Item = &Arc<SessionState>> {
        self.iter().filter(|session| session.status == SessionStatus::Open)
    }

    /// Those that are open and whose ids have the same time as this job's.
    pub fn open_as_old_as(&self, job: &JobId) -> impl Iterator<Item = &Arc<SessionState>> {
        let bound = |rest: u8| {
            let mut bytes = [rest; 16];
            bytes[..6].copy_from_slice(&job.as_bytes()[..6]);
            SessionId::from_bytes(bytes)
        };
        let same = self.0.range(bound(0)..=bound(u8::MAX)).map(|(_, session)| session);
        same.filter(|session| session.status == SessionStatus::Open)
    }

    /// The session, unless it was closed before the last checkpoint.
    pub fn get(&self, id: &SessionId) -> Option<&Arc<SessionState>> {
        self.0.get(id)
    }

    /// At most `limit` of those here with this status, newest first, from behind `cursor` on.
    pub(super) fn before(
        &self,
        cursor: Option<SessionId>,
        status: Option<SessionStatus>,
        limit: usize,
    ) -> Vec<Arc<SessionState>> {
        let to = cursor.map_or(Bound::Unbounded, Bound::Excluded);
        let sessions = self.0.range((Bound::Unbounded, to)).rev().map(|(_, session)| session);
        sessions.filter(|session| status.is_none_or(|status| session.status == status)).take(limit).cloned().collect()
    }
}
