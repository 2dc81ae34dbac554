//! How an agent's run ends, and what its step gives then.

use super::{calls::Asked, interrupt::Why, perform::Agent, turn::Outcome};
use crate::step_result::StepResult;
use moonlog_core::{error_info::ErrorInfo, event::StepOutcome, json::Json};
use serde_json::json;

/// How an agent's run ends.
pub(super) enum End {
    Done(Outcome),
    Failed(ErrorInfo),
    Interrupted(Why),
    Waits(Asked),
}

impl Agent<'_> {
    /// What the step gives.
    pub(super) fn result(&self, end: End) -> StepResult {
        let info = json!({
            "session": self.recorder.session, "usage": self.usage, "turns": self.turns.turns(), "cached": false,
            "model": self.model.name,
        });
        // A script gets what is recorded.
        let secrets = &self.recorder.secrets;
        let failed = |outcome, error: ErrorInfo| StepResult {
            outcome,
            output: None,
            error: Some(error.with_details(Json::from(json!({ "info": info })))),
        };
        match end {
            End::Done(Outcome::Text(text)) => StepResult::ok(json!({ "result": secrets.scrub(&text), "info": info })),
            End::Done(Outcome::Value(value)) => {
                StepResult::ok(json!({ "result": secrets.scrub_json(&value).to_value(), "info": info }))
            }
            End::Failed(error) => failed(StepOutcome::Error, secrets.scrub_error(error)),
            End::Interrupted(Why::TimedOut) => {
                failed(StepOutcome::TimedOut, ErrorInfo::new("timeout", "the agent's time was up").retryable())
            }
            End::Interrupted(Why::Asked) | End::Waits(_) => {
                failed(StepOutcome::Error, ErrorInfo::new("interrupted", "the agent was interrupted"))
            }
        }
    }
}
