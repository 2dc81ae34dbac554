//! How many there may be of what clients and jobs make: everything that grows has a limit.

/// How many there may be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bounds {
    /// Jobs that have not ended: queued, running or waiting.
    pub unended_jobs: u64,
    /// Schedules.
    pub schedules: usize,
    /// Sessions that are open; those that agents begin for themselves are bounded by their jobs.
    pub open_sessions: usize,
    /// Messages that wait in a session for their turn.
    pub queued_messages: usize,
    /// Signals to a job that it did not consume.
    pub signals_per_job: usize,
    /// The longest name of a signal, in bytes.
    pub name_max_bytes: usize,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            unended_jobs: 1_000_000,
            schedules: 10_000,
            open_sessions: 100_000,
            queued_messages: 1_000,
            signals_per_job: 10_000,
            name_max_bytes: 256,
        }
    }
}
