//! What the log holds of a process.

use moonlog_core::{
    event::ProcessExited,
    event::StreamId,
    id::ProcessId,
    log::{Log, ReadError},
};

/// The end of a process that a server left behind when it died: `lost`, with what was recorded of it. `stream` is the
/// one that holds its events.
///
/// # Errors
/// Where the log cannot be read.
pub fn lost(log: &Log, stream: &StreamId, process: &ProcessId) -> Result<ProcessExited, ReadError> {
    let _ = (log, stream, process);
    todo!()
}
