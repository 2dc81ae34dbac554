//! The agents that run now: who may be interrupted, and which sessions are taken.

use super::interrupt::{Interrupter, Why};
use moonlog_core::id::SessionId;
use std::{
    collections::{HashMap, hash_map::Entry},
    sync::{Mutex, MutexGuard, PoisonError},
};
use tokio::sync::{Notify, futures::Notified};

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct LiveAgents {
    /// Those who stop them, by their session.
    all: Mutex<HashMap<SessionId, Interrupter>>,
    /// Told when a session is taken.
    taken: Notify,
}

/// A session that is taken, until this is dropped.
pub(super) struct Seat<'a> {
    all: &'a LiveAgents,
    session: SessionId,
    /// Whether it was given up before.
    left: bool,
}

impl LiveAgents {
    fn all(&self) -> MutexGuard<'_, HashMap<SessionId, Interrupter>> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a session. `None` where an agent has it already.
    pub(super) fn take(&self, session: SessionId, interrupter: Interrupter) -> Option<Seat<'_>> {
        match self.all().entry(session) {
            Entry::Occupied(_) => return None,
            Entry::Vacant(seat) => drop(seat.insert(interrupter)),
        }
        self.taken.notify_waiters();
        Some(Seat { all: self, session, left: false })
    }

    /// Comes when a session is taken after this call.
    pub(crate) fn taken(&self) -> Notified<'_> {
        self.taken.notified()
    }

    /// Asks the agent that has a session to stop where it stands. Gives whether one has it, and so hears of it.
    pub(crate) fn interrupt(&self, session: &SessionId) -> bool {
        let all = self.all();
        let agent = all.get(session);
        if let Some(agent) = agent {
            agent.ask(Why::Asked);
        }
        agent.is_some()
    }
}

impl Seat<'_> {
    /// Gives the session up, unless the agent was asked to stop: from here on nobody asks it. Gives whether it did.
    pub(super) fn leave_unless_asked(&mut self) -> bool {
        let mut all = self.all.all();
        if all.get(&self.session).is_some_and(Interrupter::has_asked) {
            return false;
        }
        all.remove(&self.session);
        self.left = true;
        true
    }
}

impl Drop for Seat<'_> {
    fn drop(&mut self) {
        if !self.left {
            self.all.all().remove(&self.session);
        }
    }
}
