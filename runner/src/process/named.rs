//! A process by its id: among those that run, those whose end is remembered, and in the log.

use super::{OutputView, Process, Processes, recorded::Recording};
use moonlog_core::{
    error_info::ErrorInfo,
    event::{ProcessExited, StreamId},
    id::ProcessId,
    log::{Log, ReadError},
};

/// A process that was asked for.
pub(super) enum Named {
    /// Something of it runs.
    Running(Process),
    /// It has ended, and its end is durable.
    Ended(ProcessExited, Recording),
}

/// Finds a process. `streams` are those in which its events may stand, each with a version before which they do not.
pub(super) async fn named(
    processes: &Processes,
    process: ProcessId,
    streams: impl Iterator<Item = (StreamId, u64)>,
) -> Result<Option<Named>, ErrorInfo> {
    if let Some(running) = processes.get(&process) {
        return Ok(Some(Named::Running(running)));
    }
    if let Some(ended) = processes.register().get_ended(&process) {
        if let Some(position) = ended.position {
            // What is read of it must be there.
            processes.log().durable(position).await.map_err(|error| unreadable(&error))?;
        }
        let recording = Recording { stream: ended.stream, process, from_version: ended.started_version };
        return Ok(Some(Named::Ended(ended.exit, recording)));
    }
    for (stream, from_version) in streams {
        let recording = Recording { stream, process, from_version };
        let (found, recording) = with_log(processes, move |log| Ok((recording.view(log)?, recording))).await?;
        if let Some(OutputView { exited: Some(exited), .. }) = found {
            return Ok(Some(Named::Ended(exited, recording)));
        }
    }
    Ok(None)
}

/// What is shown of an ended process's output.
pub(super) async fn ended_output(
    processes: &Processes,
    exited: ProcessExited,
    recording: Recording,
) -> Result<OutputView, ErrorInfo> {
    let view = with_log(processes, move |log| recording.view(log)).await?;
    let (output, truncated) = view.map(|view| (view.output, view.truncated)).unwrap_or_default();
    Ok(OutputView { output, truncated, exited: Some(exited) })
}

/// Reads the log where that disturbs no task.
pub(super) async fn with_log<T: Send + 'static>(
    processes: &Processes,
    read: impl FnOnce(&Log) -> Result<T, ReadError> + Send + 'static,
) -> Result<T, ErrorInfo> {
    let log = processes.log().clone();
    match processes.threads().begin(move || read(&log)).await {
        Ok(result) => result.map_err(|error| unreadable(&error)),
        Err(_) => Err(ErrorInfo::new("interrupted", "the server is stopping").retryable()),
    }
}

/// There is none, or none for who asks.
pub(super) fn no_such_process(id: &dyn std::fmt::Display) -> ErrorInfo {
    ErrorInfo::new("no_such_process", format!("there is no process `{id}`"))
}

pub(super) fn unreadable(error: &dyn std::fmt::Display) -> ErrorInfo {
    ErrorInfo::new("log_unreadable", format!("the process's events cannot be read: {error}"))
}
