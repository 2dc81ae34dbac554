//! The log's writer without a thread of its own: it goes on when it is told to, on the thread of whoever tells it. So a
//! simulation decides when bytes are written and when they are synced, and what happens in between.

use super::{
    Poisoned, ReadError,
    shared::{Shared, lock},
    waiters::wait_blocking,
    writer::{Group, Writer, attempt, write_whole_index},
};
use std::{
    mem,
    sync::{Arc, Mutex, OnceLock, Weak},
    time::Instant,
};
use tokio::sync::Notify;

/// Steps the writer of one log. Clones step the same one.
#[derive(Clone)]
pub struct Stepper {
    shared: Arc<Shared>,
    state: Arc<Mutex<State>>,
}

/// What a log knows of who steps its writer.
#[derive(Default)]
pub struct Stepped {
    work: Notify,
    state: OnceLock<Weak<Mutex<State>>>,
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
        let state = Arc::new(Mutex::new(State { writer, written: None, over: false }));
        if let Some(stepped) = &shared.stepped {
            stepped.state.get_or_init(|| Arc::downgrade(&state));
        }
        Self { shared, state }
    }

    /// Comes when something waits to be written that may not have waited before.
    pub async fn work(&self) {
        if let Some(stepped) = &self.shared.stepped {
            stepped.work.notified().await;
        }
    }

    /// Whether somebody is in a hurry to have written what waits.
    pub fn is_hurried(&self) -> bool {
        lock(&self.shared.queue).pending.calls > 0
    }

    /// Writes what waits, where all that was written before is published. Whether anything waits for a sync then.
    pub fn write(&self) -> bool {
        lock(&self.state).write(&self.shared)
    }

    /// Syncs what was written, publishes it, and brings the index a step nearer. Whether the index is on its way still.
    pub fn publish(&self) -> bool {
        lock(&self.state).publish(&self.shared)
    }

    /// Writes all that waits, and the whole index: the log was closed.
    pub(super) fn finish(&self) {
        let mut state = lock(&self.state);
        state.write_all(&self.shared);
        state.attempt(&self.shared, |_| {
            write_whole_index(&self.shared.index, &*self.shared.storage, self.shared.head())
        });
        state.over = true;
    }
}

impl Stepped {
    /// Something waits to be written.
    pub fn wake(&self) {
        self.work.notify_one();
    }
}

impl Shared {
    /// Returns when everything up to `position` is durable. For a thread that runs no tasks, or where the writer is stepped:
    /// then all is written here and now, as nobody else would do it.
    pub fn durable_blocking(&self, position: u64) -> Result<(), Poisoned> {
        let stepped = self.stepped.as_ref().and_then(|stepped| stepped.state.get()?.upgrade());
        if let Some(state) = stepped {
            lock(&state).write_all(self);
        }
        wait_blocking(self.durable(position))
    }
}

impl State {
    fn write(&mut self, shared: &Shared) -> bool {
        if !self.over && self.written.is_none() {
            let pending = lock(&shared.queue).take();
            if !pending.is_empty() {
                self.attempt(shared, |state| {
                    state.written = Some(state.writer.write_group(pending)?);
                    Ok(())
                });
            }
        }
        self.written.is_some()
    }

    fn publish(&mut self, shared: &Shared) -> bool {
        self.attempt(shared, |state| {
            if let Some(group) = state.written.take() {
                state.writer.finish_group(group, Instant::now())?;
            }
            state.writer.write_some_index()
        });
        !self.over && self.writer.writes_index()
    }

    fn write_all(&mut self, shared: &Shared) {
        self.publish(shared);
        self.write(shared);
        self.publish(shared);
    }

    fn attempt(&mut self, shared: &Shared, work: impl FnOnce(&mut Self) -> Result<(), ReadError>) {
        if !mem::replace(&mut self.over, true) {
            self.over = attempt(shared, || work(self)).is_none();
        }
    }
}
