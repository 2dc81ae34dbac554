//! The log's writer without a thread of its own: it goes on when it is told to, on the thread of whoever tells it. So a
//! simulation decides when bytes are written and when they are synced, and what happens in between.

use super::{
    ReadError,
    shared::{Shared, lock},
    writer::{Group, Writer, attempt, write_whole_index},
};
use std::{
    mem,
    sync::{Arc, Mutex},
    time::Instant,
};

/// Steps the writer of one log. Clones step the same one.
#[derive(Clone)]
pub struct Stepper {
    shared: Arc<Shared>,
    state: Arc<Mutex<State>>,
}

/// How far the writer is.
struct State {
    writer: Writer,
    /// What was written and is not synced yet.
    written: Option<Group>,
    /// It writes nothing more.
    over: bool,
}

impl Stepper {
    pub(super) fn new(shared: Arc<Shared>, writer: Writer) -> Self {
        Self { shared, state: Arc::new(Mutex::new(State { writer, written: None, over: false })) }
    }

    /// Comes when something waits to be written that may not have waited before.
    pub async fn work(&self) {
        if let Some(work) = &self.shared.stepped {
            work.notified().await;
        }
    }

    /// Whether somebody is in a hurry to have written what waits.
    pub fn is_hurried(&self) -> bool {
        lock(&self.shared.queue).pending.calls > 0
    }

    /// Writes what waits, where all that was written before is published. Whether anything waits for a sync then.
    pub fn write(&self) -> bool {
        let mut state = lock(&self.state);
        if !state.over && state.written.is_none() {
            let pending = lock(&self.shared.queue).take();
            if !pending.is_empty() {
                state.attempt(&self.shared, |state| {
                    state.written = Some(state.writer.write_group(pending)?);
                    Ok(())
                });
            }
        }
        state.written.is_some()
    }

    /// Syncs what was written, publishes it, and brings the index a step nearer. Whether the index is on its way still.
    pub fn publish(&self) -> bool {
        let mut state = lock(&self.state);
        state.attempt(&self.shared, |state| {
            if let Some(group) = state.written.take() {
                state.writer.finish_group(group, Instant::now())?;
            }
            state.writer.write_some_index()
        });
        !state.over && state.writer.writes_index()
    }

    /// Writes all that waits, and the whole index: the log was closed.
    pub(super) fn finish(&self) {
        self.publish();
        self.write();
        self.publish();
        let mut state = lock(&self.state);
        state.attempt(&self.shared, |_| {
            write_whole_index(&self.shared.index, &*self.shared.storage, self.shared.head())
        });
        state.over = true;
    }
}

impl State {
    fn attempt(&mut self, shared: &Shared, work: impl FnOnce(&mut Self) -> Result<(), ReadError>) {
        if !mem::replace(&mut self.over, true) {
            self.over = attempt(shared, || work(self)).is_none();
        }
    }
}
