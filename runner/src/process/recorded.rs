//! What the log holds of a process.

use super::{HeadTail, OutputView, Process};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use moonlog_core::{
    event::{Event, EventBody, ProcessExited, ProcessOutcome, ProcessOutput, StreamId},
    id::ProcessId,
    log::{Log, ReadError},
    projection::ProcessState,
};

/// How many events are read at once.
const PAGE_EVENTS: usize = 128;

/// Where a process's events are.
#[derive(Debug, Clone)]
pub(super) struct Recording {
    pub stream: StreamId,
    pub process: ProcessId,
    /// None of them is before this version.
    pub from_version: u64,
}

impl Recording {
    /// That of a process that runs.
    pub fn of(process: &Process) -> Self {
        let shared = &process.shared;
        Self { stream: shared.owner.stream.clone(), process: shared.id, from_version: shared.started_version }
    }

    /// Calls `each` for the process's durable events, until it returns `false` or the process has ended.
    pub fn read(&self, log: &Log, mut each: impl FnMut(&Event) -> bool) -> Result<(), ReadError> {
        let mut after = self.from_version.saturating_sub(1);
        loop {
            let page = log.read_stream(&self.stream, after, PAGE_EVENTS)?;
            let Some(last) = page.last() else { return Ok(()) };
            after = last.version;
            for event in page.iter().filter(|event| event.process == Some(self.process)) {
                if !each(event) || matches!(event.body, EventBody::ProcessExited(_)) {
                    return Ok(());
                }
            }
        }
    }

    /// The process as its events tell it. `None` where there is none.
    pub fn state(&self, log: &Log) -> Result<Option<ProcessState>, ReadError> {
        let mut state: Option<ProcessState> = None;
        self.read(log, |event| {
            match &mut state {
                Some(state) => state.apply(event),
                None => state = ProcessState::from_started(event),
            }
            true
        })?;
        Ok(state)
    }

    /// What is shown of its output, and how it ended, where it has. `None` where there is no such process.
    pub fn view(&self, log: &Log) -> Result<Option<OutputView>, ReadError> {
        let mut head_tail = HeadTail::default();
        let (mut found, mut exited) = (false, None);
        self.read(log, |event| {
            found = true;
            match &event.body {
                EventBody::ProcessOutput(output) if output.capped => head_tail.close_head(),
                EventBody::ProcessOutput(output) => head_tail.push(&bytes_of(output)),
                EventBody::ProcessExited(exit) => {
                    if let Some(tail) = &exit.tail {
                        head_tail.end_with(exit.output_bytes, tail.as_bytes());
                    }
                    exited = Some(exit.clone());
                }
                _ => {}
            }
            true
        })?;
        let (output, truncated) = head_tail.show();
        Ok(found.then_some(OutputView { output, truncated, exited }))
    }
}

/// The bytes that an event records.
pub(super) fn bytes_of(output: &ProcessOutput) -> Vec<u8> {
    match (&output.text, &output.base64) {
        (Some(text), _) => text.clone().into_bytes(),
        (None, Some(base64)) => STANDARD.decode(base64).unwrap_or_default(),
        (None, None) => Vec::new(),
    }
}

/// The end of a process that a server left behind when it died: what was recorded of it, and nothing more is known.
pub(crate) const fn lost(output_bytes: u64, wall_ms: u64) -> ProcessExited {
    ProcessExited { outcome: ProcessOutcome::Lost, exit_code: None, signal: None, wall_ms, output_bytes, tail: None }
}
