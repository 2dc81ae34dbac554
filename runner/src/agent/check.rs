//! The check command: run after a turn in which files were changed, such as a build. Where it fails, the model is told
//! what it says before its next turn.

use super::{interrupt::Interrupt, recorder::Recorder};
use crate::{
    inner::Inner,
    process::{Owner, ProcessSpec},
};
use moonlog_core::{
    error_info::ErrorInfo,
    event::StreamId,
    id::{ProcessId, SessionId},
};
use std::{path::PathBuf, time::Duration};

/// What is known of check commands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckOptions {
    /// What an agent runs that names none; none where that is empty.
    pub command: String,
    /// How long it may take.
    pub timeout: Duration,
    /// How much of its output the model is told.
    pub output_max_bytes: usize,
}

impl Default for CheckOptions {
    fn default() -> Self {
        Self { command: String::new(), timeout: Duration::from_secs(120), output_max_bytes: 8 << 10 }
    }
}

/// Where a check runs.
pub(super) struct Check<'a> {
    pub(super) inner: &'a Inner,
    pub(super) recorder: &'a Recorder,
    pub(super) session: SessionId,
    pub(super) root: Option<PathBuf>,
}

impl Check<'_> {
    /// Runs it. Gives what there is to be told: nothing where it succeeds, or was broken off.
    pub(super) async fn run(&self, command: &str, interrupt: &mut Interrupt) -> Option<String> {
        let options = &self.inner.options.agents.check;
        let process: ProcessId = self.inner.new_id().into();
        // It belongs to the job, and ends with it.
        let owner = Owner {
            stream: StreamId::Job(self.recorder.job),
            job: Some(self.recorder.job),
            session: Some(self.session),
            step: Some(self.recorder.step.clone()),
        };
        let root = self.root.clone().or_else(|| self.inner.options.tools.roots.first().cloned());
        let spec = ProcessSpec {
            args: vec!["-c".into(), command.into()],
            workdir: root,
            background: false,
            description: Some("check".into()),
            timeout_ms: Some(u64::try_from(options.timeout.as_millis()).unwrap_or(u64::MAX)),
            ..ProcessSpec::new(process, "sh", owner)
        };
        let process = match self.inner.processes.start(spec).await {
            Ok(process) => process,
            Err(ErrorInfo { message, .. }) => {
                return Some(format!("The check `{command}` could not be run: {message}"));
            }
        };
        let exited = tokio::select! {
            biased;
            exited = process.exited() => exited,
            _ = interrupt.wait() => {
                process.cancel().await;
                return None;
            }
        };
        if exited.exit_code == Some(0) {
            return None;
        }
        let how = match (exited.exit_code, exited.signal) {
            (Some(code), _) => format!("failed with exit code {code}"),
            (None, Some(signal)) => format!("was ended by {signal} after {} ms", exited.wall_ms),
            (None, None) => "was lost".into(),
        };
        let output = cut(&process.output().output, options.output_max_bytes);
        let said = if output.trim().is_empty() { " and wrote nothing.".into() } else { format!(":\n{output}") };
        Some(format!("After your changes, the check `{command}` {how}{said}"))
    }
}

/// The beginning and the end of a text that is too long.
fn cut(text: &str, max_bytes: usize) -> String {
    if text.len() <= max_bytes {
        return text.to_owned();
    }
    let head = &text[..text.floor_char_boundary(max_bytes / 2)];
    let tail = &text[text.ceil_char_boundary(text.len() - max_bytes / 2)..];
    let omitted = text.len() - head.len() - tail.len();
    format!("{head}\n... [omitted {omitted} bytes] ...\n{tail}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_output_keeps_both_ends() {
        assert_eq!(cut("short", 8), "short");
        assert_eq!(cut("aaaaéééébbbb", 8), "aaaa\n... [omitted 8 bytes] ...\nbbbb");
    }
}
