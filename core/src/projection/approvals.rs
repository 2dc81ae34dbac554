//! Approvals that are open: derived from the jobs that wait for them.

use super::{JobState, pending};
use crate::{id::JobId, json::Json, time::Timestamp};
use serde::Serialize;

/// An approval that waits for a decision.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct OpenApproval {
    /// The job that asks.
    pub job: JobId,
    /// The step's call path, or the tool call's id.
    pub id: String,
    /// The job's workflow.
    pub workflow: String,
    /// The tool; `approve` for a script's own.
    pub name: String,
    /// What a script's `approve` asks.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// The tool's input; title and details of a script's own.
    pub input: Json,
    /// The call path of the step it belongs to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub step: Option<String>,
    /// When it was asked for.
    pub requested_at: Timestamp,
    /// The position of the request.
    pub position: u64,
}

impl JobState {
    /// The job's approvals that wait for a decision, oldest first.
    pub fn open_approvals(&self) -> impl Iterator<Item = OpenApproval> + '_ {
        let approvals = self.pending.iter().flat_map(|pending| &pending.approvals);
        approvals.filter(|approval| approval.decided.is_none()).map(|approval| OpenApproval {
            job: self.id,
            id: approval.request.call_id.clone(),
            workflow: self.submitted.workflow.clone(),
            name: approval.request.name.clone(),
            title: pending::title(&approval.request.input),
            input: approval.request.input.clone(),
            step: approval.step.as_deref().map(str::to_owned),
            requested_at: approval.requested_at,
            position: approval.position,
        })
    }
}
