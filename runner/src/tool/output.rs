//! What came of a call, as callers and events take it.

use super::ToolAnswer;
use crate::{StepResult, secret::Secrets};
use moonlog_core::{
    error_info::ErrorInfo,
    event::{FileChanged, StepOutcome},
    json::Json,
};
use serde_json::{Value, json};
use std::time::Duration;

/// What came of a call.
#[derive(Debug, Clone, PartialEq)]
pub struct ToolOutput {
    /// How it ended. A command that ran and failed is an `error` with an output.
    pub outcome: StepOutcome,
    /// What the tool gave; `{"error": {code, message, retryable}}` where it gave nothing.
    pub output: Json,
    /// Why it failed.
    pub error: Option<ErrorInfo>,
    /// What was left out of the output.
    pub truncated: Option<Json>,
    /// What it changed in files, as one unified diff.
    pub diff: Option<String>,
    /// What it changed in files, one by one.
    pub changes: Vec<FileChanged>,
    /// From start to end.
    pub latency_ms: u64,
    /// Whether `output` is the tool's own.
    answered: bool,
}

impl ToolOutput {
    /// What came of a call that took `latency`, without any secret's value.
    pub(super) fn new(answered: Result<ToolAnswer, ErrorInfo>, latency: Duration, secrets: &Secrets) -> Self {
        let latency_ms = u64::try_from(latency.as_millis()).unwrap_or(u64::MAX);
        let mut answer = match answered {
            Ok(answer) => answer,
            Err(error) => return Self { latency_ms, ..Self::ended(StepOutcome::Error, secrets.scrub_error(error)) },
        };
        if secrets.any_value() {
            scrub(&mut answer, secrets);
        }
        let diff: String = answer.changes.iter().map(|change| change.diff.as_str()).collect();
        Self {
            outcome: if answer.failure.is_none() { StepOutcome::Ok } else { StepOutcome::Error },
            output: answer.output,
            error: answer.failure,
            truncated: answer.truncated,
            diff: (!diff.is_empty()).then_some(diff),
            changes: answer.changes,
            latency_ms,
            answered: true,
        }
    }

    /// What a call gave that is answered elsewhere.
    pub(crate) fn answer(output: Value, latency_ms: u64) -> Self {
        Self {
            outcome: StepOutcome::Ok,
            output: Json::from(output),
            error: None,
            truncated: None,
            diff: None,
            changes: Vec::new(),
            latency_ms,
            answered: true,
        }
    }

    /// The end of a call that gave nothing: it failed, was cancelled, or the server died meanwhile.
    pub fn ended(outcome: StepOutcome, error: ErrorInfo) -> Self {
        Self {
            outcome,
            output: Json::from(json!({ "error": error })),
            error: Some(error),
            truncated: None,
            diff: None,
            changes: Vec::new(),
            latency_ms: 0,
            answered: false,
        }
    }

    /// What a script that made the call gets.
    pub fn step_result(&self) -> StepResult {
        StepResult {
            outcome: self.outcome,
            output: self.answered.then(|| self.output.clone()),
            error: self.error.clone(),
        }
    }
}

fn scrub(answer: &mut ToolAnswer, secrets: &Secrets) {
    answer.output = secrets.scrub_json(&answer.output);
    answer.failure = answer.failure.take().map(|error| secrets.scrub_error(error));
    answer.truncated = answer.truncated.as_ref().map(|truncated| secrets.scrub_json(truncated));
    for change in &mut answer.changes {
        change.diff = secrets.scrub(&change.diff);
    }
}
