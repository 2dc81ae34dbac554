//! What scripts get of processes.

use super::{Captured, Process, output_text::cut};
use crate::StepResult;
use moonlog_core::{
    error_info::ErrorInfo,
    event::{ProcessExited, ProcessOutcome, StepOutcome},
    id::ProcessId,
    json::Json,
};
use serde::Serialize;
use std::time::Duration;

/// How much of what a command complained of goes into its error's message, in bytes.
const COMPLAINT_MAX_BYTES: usize = 500;

/// What `exec` gives. Outputs can be long, so it is written straight as canonical JSON: the fields stand in the order
/// of their names.
#[derive(Serialize)]
struct ExecResult<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    exit_code: Option<i32>,
    ok: bool,
    process: ProcessId,
    #[serde(skip_serializing_if = "Option::is_none")]
    signal: Option<&'a str>,
    stderr: &'a str,
    stdout: &'a str,
    timed_out: bool,
    truncated: bool,
    wall_ms: u64,
}

/// Any other value as canonical JSON.
pub(super) fn canonical<T: Serialize>(value: &T) -> Json {
    serde_json::to_value(value).map_or_else(|_| Json::null(), Json::from)
}

/// Of a process that ended while it was waited for.
pub(super) fn of_exited(process: &Process, captured: Captured, exited: &ProcessExited) -> StepResult {
    let ok = exited.exit_code == Some(0);
    let timed_out = exited.outcome == ProcessOutcome::TimedOut;
    let output = ExecResult {
        ok,
        exit_code: exited.exit_code,
        signal: exited.signal.as_deref(),
        stdout: &captured.stdout,
        stderr: &captured.stderr,
        truncated: captured.truncated,
        timed_out,
        wall_ms: exited.wall_ms,
        process: process.id(),
    };
    let outcome = match () {
        () if ok => StepOutcome::Ok,
        () if timed_out => StepOutcome::TimedOut,
        () => StepOutcome::Error,
    };
    let error = (!ok).then(|| failure(process.command(), &captured.stderr, exited));
    StepResult { outcome, output: Some(Json::of(&output)), error }
}

fn failure(command: &str, stderr: &str, exited: &ProcessExited) -> ErrorInfo {
    let (code, what) = match (exited.outcome, exited.exit_code, exited.signal.as_deref()) {
        (ProcessOutcome::TimedOut, ..) => {
            ("timeout", format!("`{command}` was killed when its time was up, after {} ms", exited.wall_ms))
        }
        (_, Some(exit_code), _) => ("exit_nonzero", format!("`{command}` exited with code {exit_code}")),
        (_, _, Some(signal)) => ("killed_by_signal", format!("`{command}` was ended by {signal}")),
        _ => ("process_lost", format!("what became of `{command}` was not seen: its supervisor ended")),
    };
    let complaint = stderr.trim_end().lines().last().map(|line| cut(line.trim(), COMPLAINT_MAX_BYTES));
    ErrorInfo::new(
        code,
        match complaint {
            Some(complaint) if !complaint.is_empty() => format!("{what}: {complaint}"),
            _ => what,
        },
    )
}

/// Of a process that goes on in the background. That is no failure, and nothing to be tried again, unless the script
/// asked for a check.
pub(super) fn of_backgrounded(process: &Process, captured: Captured, wall: Duration, check: bool) -> StepResult {
    let output = ExecResult {
        ok: false,
        exit_code: None,
        signal: None,
        stdout: &captured.stdout,
        stderr: &captured.stderr,
        truncated: captured.truncated,
        timed_out: true,
        wall_ms: wall.as_millis() as u64,
        process: process.id(),
    };
    let error = check.then(|| {
        let (command, id) = (process.command(), process.id());
        let why = format!("`{command}` still runs, now in the background as process {id}: no work was lost");
        ErrorInfo::new("timeout", why)
    });
    let outcome = if check { StepOutcome::TimedOut } else { StepOutcome::Ok };
    StepResult { outcome, output: Some(Json::of(&output)), error }
}

/// What `process_wait` gives.
pub(super) fn of_wait(exited: &ProcessExited) -> Json {
    canonical(&ProcessExited { tail: None, ..exited.clone() })
}
