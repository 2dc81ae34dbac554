//! The task that records one process: it reads what the process writes and appends it, in pieces and no faster than
//! the log takes them; it passes orders on to the supervisor; and it appends how the process ended.
//!
//! ```text
//! running ── exited ──> draining ── both outputs ended, or time is up ──> recorded ── nothing left ──> done
//! ```
//! Whatever is still written behind `recorded` is read and thrown away, so that who writes it is not stopped by it.
//!
//! `task` waits for what comes, `orders` handles what supervisor and handles say, `output` what the process writes, and
//! `append` what goes to the log.

mod append;
mod orders;
mod output;
mod task;

pub(super) use task::{Output, Recorder, RecorderState};
