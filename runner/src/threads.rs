//! Where work is done that would hold up others.

use tokio::task::{JoinHandle, spawn, spawn_blocking};

/// Where work is done that would hold up others on the thread that drives the runner.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Threads {
    /// On threads of the runtime's pool.
    #[default]
    Pool,
    /// In a task of its own like any other: on a runtime of one thread all is done in one order, which a simulation can
    /// repeat.
    Here,
}

impl Threads {
    /// Begins it.
    pub(crate) fn begin<T: Send + 'static>(self, work: impl FnOnce() -> T + Send + 'static) -> JoinHandle<T> {
        match self {
            Self::Pool => spawn_blocking(work),
            Self::Here => spawn(async move { work() }),
        }
    }
}
