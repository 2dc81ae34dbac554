//! Performs the operations of scripts that concern processes.

use super::{Owner, Processes};
use crate::StepResult;
use moonlog_core::{id::ProcessId, json::Json};
use std::path::PathBuf;

/// What an operation's input does not say.
#[derive(Debug, Clone)]
pub struct ExecContext {
    /// The id of the process, should the operation start one.
    pub process: ProcessId,
    /// Whose it will be. Its job is also the one whose processes may be named.
    pub owner: Owner,
    /// What children see as `IDEMPOTENCY_KEY`.
    pub idempotency_key: String,
    /// Where processes run that name no folder; relative folders begin there.
    pub workdir: Option<PathBuf>,
}

/// The kinds of operation that [`perform`] knows.
pub const KINDS: [&str; 7] =
    ["exec", "sh", "process", "process_wait", "process_output", "process_search", "process_signal"];

/// Performs an operation of one of [`KINDS`].
///
/// Where the returned future is dropped, the process that a foreground operation started is cancelled.
pub async fn perform(processes: &Processes, kind: &str, input: &Json, context: ExecContext) -> StepResult {
    let _ = (processes, kind, input, context);
    todo!()
}
