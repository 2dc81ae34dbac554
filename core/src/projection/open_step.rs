//! A step that has begun and not ended, and what it waits for.

use crate::{
    codec::{Decode, Encode},
    event::{JobWaiting, StepStarted, WaitKind},
    json::Json,
    time::Timestamp,
};
use serde::Deserialize;

/// An operation of a script that is still to end.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct OpenStep {
    /// What kind of operation: `exec`, `sleep`, ...
    pub kind: Box<str>,
    /// The last segment's name, without its count.
    pub name: Box<str>,
    /// 1-based; the attempt that runs, or the one that failed where `retry_at` is set.
    pub attempt: u32,
    /// The run of the job.
    pub run: u32,
    /// Its inputs and options.
    pub input: Json,
    /// When the attempt began.
    pub started_at: Timestamp,
    /// The position of the attempt's `step.started`.
    pub position: u64,
    /// When the next attempt is due; set while the step waits for it.
    pub retry_at: Option<Timestamp>,
}

/// What waiting depends on, of all that an operation's input may hold.
#[derive(Default, Deserialize)]
#[serde(default)]
struct WaitInput {
    ms: Option<f64>,
    timeout_ms: Option<f64>,
    signal: Option<String>,
    process: Option<String>,
    title: Option<String>,
}

impl OpenStep {
    pub(super) fn new(event: &StepStarted, time: Timestamp, position: u64) -> Self {
        Self {
            kind: event.kind.as_str().into(),
            name: event.name.as_str().into(),
            attempt: event.attempt,
            run: event.run,
            input: event.input.clone(),
            started_at: time,
            position,
            retry_at: None,
        }
    }

    /// When something is due about this step although nothing happens: its sleep or its timeout is over, or its next
    /// attempt begins.
    pub fn due(&self) -> Option<Timestamp> {
        if self.retry_at.is_some() {
            return self.retry_at;
        }
        let ms = match &*self.kind {
            "sleep" => self.wait_input().ms,
            // The text decides whether it is worth parsing: most inputs name no time. What is performed rather than
            // waited for minds its own time.
            "wait_for" | "approve" | "process_wait" | "wait" | "step"
                if self.input.as_str().contains("\"timeout_ms\":") =>
            {
                self.wait_input().timeout_ms
            }
            _ => None,
        };
        ms.map(|ms| self.started_at.plus_ms(ms as u64))
    }

    /// What the step waits for, where it holds no place of a runner meanwhile. `None` while it is being performed.
    pub fn waits_for(&self, path: &str) -> Option<JobWaiting> {
        let mut waiting = JobWaiting {
            reason: WaitKind::Sleep,
            step: Some(path.to_owned()),
            name: None,
            title: None,
            until: self.due(),
        };
        if self.retry_at.is_some() {
            return Some(waiting);
        }
        match &*self.kind {
            "sleep" => {}
            "wait_for" => {
                waiting.reason = WaitKind::Signal;
                waiting.name = self.wait_input().signal;
            }
            "approve" => {
                waiting.reason = WaitKind::Approval;
                waiting.title = self.wait_input().title;
            }
            "process_wait" => {
                waiting.reason = WaitKind::Process;
                waiting.name = self.wait_input().process;
            }
            "workflow" => waiting.reason = WaitKind::Child,
            _ => return None,
        }
        Some(waiting)
    }

    /// The signal that a `wait_for` waits for.
    pub fn signal(&self) -> Option<String> {
        if &*self.kind == "wait_for" { self.wait_input().signal } else { None }
    }

    /// The process that a `process_wait` waits for, as its input names it.
    pub fn process(&self) -> Option<String> {
        if &*self.kind == "process_wait" { self.wait_input().process } else { None }
    }

    fn wait_input(&self) -> WaitInput {
        self.input.to().unwrap_or_default()
    }
}
