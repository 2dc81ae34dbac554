//! How a command line is run for somebody who reads the result and acts upon it: a model, or a script.
//!
//! It runs under `sh -c` with nobody to answer a prompt, and is waited for. When the wait is over and it still runs, it
//! goes on in the background: no work is lost. What a model does out of habit is put right: a trailing `&` starts it in
//! the background, a leading `sleep` is refused with advice, and dumps of files get a note that there are tools for it.

use super::{Owner, Process, ProcessSpec, Processes, Truncation, command_line, fit::fitted};
use moonlog_core::{
    error_info::ErrorInfo,
    event::{ProcessExited, ProcessOutcome},
    id::ProcessId,
};
use serde::Serialize;
use std::{collections::BTreeMap, path::PathBuf, time::Duration};
use tokio::time::{Instant, timeout};

/// A command line to be run.
#[derive(Debug, Clone)]
pub struct ExecuteRequest {
    /// The id of its process.
    pub process: ProcessId,
    /// What `sh -c` gets.
    pub command: String,
    /// Where it runs.
    pub workdir: PathBuf,
    /// How long it is waited for.
    pub timeout_ms: u64,
    /// Whether it is not waited for at all.
    pub background: bool,
    /// What it reads.
    pub stdin: Option<String>,
    /// Variables that are set for it.
    pub env: BTreeMap<String, String>,
    /// What it is for.
    pub description: Option<String>,
    /// Whose process it is.
    pub owner: Owner,
}

/// How far a command is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ExecuteStatus {
    /// It was started in the background.
    Running,
    /// It still ran when the wait was over, and goes on in the background.
    AutoBackgrounded,
}

/// What came of a command line.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ExecuteResult {
    /// Whether it exited with 0; that it runs, where that was wanted.
    pub success: bool,
    /// Where it runs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<ExecuteStatus>,
    /// Its exit code, where it had one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<i32>,
    /// The signal that ended it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub signal: Option<String>,
    /// Standard output and error together: of a long one, the beginning and the end.
    pub output: String,
    /// From its start to its end, or to this result.
    pub wall_duration_ms: u64,
    /// Why it is no success.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// What became of it, and what to do next.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// What was left out of the output.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub truncated: Option<Truncation>,
    /// Advice.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    /// Its process.
    pub process_id: ProcessId,
}

impl ExecuteResult {
    /// Why the command failed, where it ended and did.
    pub fn failure(&self) -> Option<ErrorInfo> {
        let code = match (self.success, self.status, &self.signal, self.exit_code) {
            (true, ..) | (_, Some(_), ..) => return None,
            (.., Some(_)) => "exit_nonzero",
            (_, _, Some(_), _) => "killed_by_signal",
            _ => "process_lost",
        };
        Some(ErrorInfo::new(code, self.error.clone().unwrap_or_default()))
    }
}

/// Cancels a process that nobody waits for any more.
struct Attended<'a>(Option<&'a Process>);

impl Drop for Attended<'_> {
    fn drop(&mut self) {
        if let Some(process) = self.0 {
            process.begin_cancel();
        }
    }
}

/// Runs a command line.
///
/// Where the returned future is dropped before the command is in the background, it is cancelled.
///
/// # Errors
/// Where it is refused (`sleep_refused`), or could not be started.
pub async fn execute(processes: &Processes, request: ExecuteRequest) -> Result<ExecuteResult, ErrorInfo> {
    let trailing = command_line::without_trailing_ampersand(&request.command);
    let background = request.background || trailing.is_some();
    let command = trailing.unwrap_or(&request.command).to_owned();
    if !background && let Some(seconds) = command_line::leading_sleep(&command) {
        return Err(sleep_refused(seconds));
    }
    let note = command_line::dumps_a_file(&command).then(|| {
        "read_file shows files in parts, and search_files finds what is in them: they cost less than dumps".to_owned()
    });
    let started = Instant::now();
    let spec = ProcessSpec {
        args: vec!["-c".into(), command],
        workdir: Some(request.workdir),
        env: request.env,
        stdin: request.stdin.map(String::into_bytes),
        background,
        description: request.description,
        ..ProcessSpec::new(request.process, "sh", request.owner)
    };
    let process = processes.start(spec).await?;
    if background {
        let message = format!(
            "the command runs in the background as process {0}: process_output with process_id \"{0}\" shows what it writes \
             and waits for its end",
            process.id()
        );
        return Ok(shown(&process, started, note, true, ExecuteStatus::Running, message));
    }
    let mut attended = Attended(Some(&process));
    let at_most = Duration::from_millis(request.timeout_ms);
    let exited = match timeout(at_most.saturating_sub(started.elapsed()), process.exited()).await {
        Ok(exited) => exited,
        Err(_) => match process.background("foreground_timeout").await {
            Some(exited) => exited,
            None => {
                attended.0 = None;
                let message = format!(
                    "the command still runs after {} ms, and goes on in the background as process {1}: no work was lost. \
                     process_output with process_id \"{1}\" shows the rest and waits for its end; don't start it again",
                    request.timeout_ms,
                    process.id()
                );
                return Ok(shown(&process, started, note, false, ExecuteStatus::AutoBackgrounded, message));
            }
        },
    };
    attended.0 = None;
    Ok(of_exited(&process, &exited, note))
}

/// Of a process that runs.
fn shown(
    process: &Process,
    started: Instant,
    note: Option<String>,
    success: bool,
    status: ExecuteStatus,
    message: String,
) -> ExecuteResult {
    let view = process.output();
    let (output, truncated) = fitted(view.output, view.truncated);
    ExecuteResult {
        success,
        status: Some(status),
        exit_code: None,
        signal: None,
        output,
        wall_duration_ms: u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX),
        error: None,
        message: Some(message),
        truncated,
        note,
        process_id: process.id(),
    }
}

fn of_exited(process: &Process, exited: &ProcessExited, note: Option<String>) -> ExecuteResult {
    let view = process.output();
    let (output, truncated) = fitted(view.output, view.truncated);
    ExecuteResult {
        success: exited.exit_code == Some(0),
        status: None,
        exit_code: exited.exit_code,
        signal: exited.signal.clone(),
        output,
        wall_duration_ms: exited.wall_ms,
        error: why(exited),
        message: None,
        truncated,
        note,
        process_id: process.id(),
    }
}

/// Why an end is no success.
pub(crate) fn why(exited: &ProcessExited) -> Option<String> {
    match (exited.exit_code, exited.signal.as_deref(), exited.outcome) {
        (Some(0), ..) => None,
        (Some(code), ..) => Some(format!("the command exited with code {code}")),
        (_, Some(signal), ProcessOutcome::TimedOut) => Some(format!("its time was up, and {signal} ended the command")),
        (_, Some(signal), _) => Some(format!("the command was ended by {signal}")),
        _ => Some("what became of the command was not seen: the server stopped meanwhile".into()),
    }
}

fn sleep_refused(seconds: f64) -> ErrorInfo {
    let message = format!(
        "a foreground `sleep {seconds}` only blocks, and was not run. To wait for a process, call process_output with its \
         process_id and a wait_timeout; to do something later, put the whole command in the background with \
         run_in_background; to wait a moment, sleep for less than 2 seconds"
    );
    ErrorInfo::new("sleep_refused", message)
}
