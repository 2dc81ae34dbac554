//! A handle to a process.

use super::{Captured, Truncation};
use moonlog_core::{error_info::ErrorInfo, event::ProcessExited, id::ProcessId};

/// A process that was started. Cheap to clone; dropping it changes nothing.
#[derive(Clone)]
pub struct Process;

/// What a process has written, for showing: its beginning and its end.
#[derive(Debug, Clone, PartialEq)]
pub struct OutputView {
    /// The text.
    pub output: String,
    /// What was left out, where something was.
    pub truncated: Option<Truncation>,
    /// How it ended, where it has.
    pub exited: Option<ProcessExited>,
}

impl Process {
    /// Its id.
    pub fn id(&self) -> ProcessId {
        todo!()
    }

    /// The operating system's number for it; also its group's.
    pub fn pid(&self) -> u32 {
        todo!()
    }

    /// Waits for its end. `process.exited` is appended when this returns.
    pub async fn exited(&self) -> ProcessExited {
        todo!()
    }

    /// How it ended, where it has.
    pub fn exit(&self) -> Option<ProcessExited> {
        todo!()
    }

    /// What it has written so far, apart by descriptor.
    pub fn captured(&self) -> Captured {
        todo!()
    }

    /// What it has written so far, for showing.
    pub fn output(&self) -> OutputView {
        todo!()
    }

    /// Sends a signal to its group. `name` is a signal's name, with or without `SIG`, or one of `terminate`, `kill`
    /// and `interrupt`. SIGKILL reaches all that it started, in its group or not.
    ///
    /// # Errors
    /// `unknown_signal`, or `process_exited`.
    pub fn signal(&self, name: &str) -> Result<(), ErrorInfo> {
        todo!()
    }

    /// Kills it with all that it started, and waits until nothing is left.
    pub async fn kill(&self) {
        todo!()
    }

    /// Sends SIGTERM to its group, and after the grace period SIGKILL to all that is left. Returns when nothing is.
    pub async fn cancel(&self) {
        todo!()
    }

    /// Records that nobody waits for it any longer: `requested` or `foreground_timeout`.
    pub fn background(&self, reason: &str) {
        todo!()
    }
}
