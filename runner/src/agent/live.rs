//! The agents that run now: who may be interrupted, and which sessions are taken.

use super::interrupt::Interrupter;
use moonlog_core::id::SessionId;
use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

/// An agent that runs, for those outside of it.
#[derive(Debug, Clone)]
pub(crate) struct LiveAgent {
    /// Stops it where it stands.
    pub(crate) interrupter: Interrupter,
}

/// All of them, by their session.
#[derive(Debug, Default)]
pub(crate) struct LiveAgents(Mutex<HashMap<SessionId, LiveAgent>>);

/// A session that is taken, until this is dropped.
pub(super) struct Seat<'a> {
    all: &'a LiveAgents,
    session: SessionId,
}

impl LiveAgents {
    fn all(&self) -> std::sync::MutexGuard<'_, HashMap<SessionId, LiveAgent>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a session. `None` where an agent has it already.
    pub(super) fn take(&self, session: SessionId, agent: LiveAgent) -> Option<Seat<'_>> {
        match self.all().entry(session) {
            std::collections::hash_map::Entry::Occupied(_) => None,
            std::collections::hash_map::Entry::Vacant(seat) => {
                seat.insert(agent);
                Some(Seat { all: self, session })
            }
        }
    }

    /// The agent that has a session.
    pub(crate) fn of(&self, session: &SessionId) -> Option<LiveAgent> {
        self.all().get(session).cloned()
    }
}

impl Drop for Seat<'_> {
    fn drop(&mut self) {
        self.all.all().remove(&self.session);
    }
}
