//! What performing an operation gave.

use moonlog_core::{error_info::ErrorInfo, event::StepOutcome, json::Json};

/// The end of one attempt at an operation, as `step.finished` records it.
#[derive(Debug, Clone, PartialEq)]
pub struct StepResult {
    /// How it ended.
    pub outcome: StepOutcome,
    /// What the script gets.
    pub output: Option<Json>,
    /// Why it failed. Beside an output where there is both, such as a command's output and its exit code.
    pub error: Option<ErrorInfo>,
}

impl StepResult {
    /// A success with what it gives.
    pub fn ok(output: impl Into<Json>) -> Self {
        Self { outcome: StepOutcome::Ok, output: Some(output.into()), error: None }
    }

    /// A failure that gives nothing.
    pub fn failed(error: ErrorInfo) -> Self {
        Self { outcome: StepOutcome::Error, output: None, error: Some(error) }
    }
}
