//! A job as answers show it.

use super::{JobState, JobStatus, StepCounts};
use crate::{
    error_info::ErrorInfo,
    event::{ForkRef, JobUsage, JobWaiting, ParentRef},
    id::{Hash, JobId},
    json::Json,
    time::Timestamp,
};
use serde::Serialize;
use std::{collections::BTreeMap, sync::Arc};

/// A job, wherever one is returned.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct JobView {
    /// The job.
    pub id: JobId,
    /// Where it stands.
    pub state: JobStatus,
    /// The workflow's name.
    pub workflow: String,
    /// The hash of its script.
    pub script_hash: Hash,
    /// The arguments of its current run.
    pub args: Json,
    /// The submitter's marks.
    pub labels: BTreeMap<String, String>,
    /// Its queue.
    pub queue: String,
    /// Higher runs first.
    pub priority: i32,
    /// The attempt that runs or ran last; 0 before the first.
    pub attempt: u32,
    /// Whether it failed because it is out of attempts.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub exhausted: bool,
    /// The phase that was entered last.
    pub phase: Option<Arc<str>>,
    /// What it waits for; of a queued job, what keeps it from starting.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub waiting: Option<JobWaiting>,
    /// The job and step that it is a child of.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parent: Option<ParentRef>,
    /// The job whose results it takes over.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resumed_from: Option<JobId>,
    /// The job whose history it shares.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub forked_from: Option<ForkRef>,
    /// When it was submitted.
    pub submitted_at: Timestamp,
    /// When its first attempt began.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Timestamp>,
    /// When it ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<Timestamp>,
    /// The version of its last event.
    pub version: u64,
    /// What it has used.
    pub usage: JobUsage,
    /// How many steps it has had.
    pub steps: StepCounts,
    /// What it returned.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub result: Option<Json>,
    /// Why it ended otherwise, or why its last attempt failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<ErrorInfo>,
}

impl JobState {
    /// The job as answers show it.
    pub fn view(&self) -> JobView {
        let submitted = &self.submitted;
        JobView {
            id: self.id,
            state: self.status,
            workflow: submitted.workflow.clone(),
            script_hash: submitted.script_hash,
            args: self.args().clone(),
            labels: submitted.labels.clone(),
            queue: submitted.queue.clone(),
            priority: submitted.priority,
            attempt: self.attempt,
            exhausted: self.is_exhausted(),
            phase: self.phase.clone(),
            waiting: self.waiting.as_deref().cloned(),
            parent: submitted.parent.clone(),
            resumed_from: submitted.resume_from,
            forked_from: submitted.forked_from.clone(),
            submitted_at: self.submitted_at,
            started_at: self.started_at,
            ended_at: self.ended_at,
            version: self.version,
            usage: self.usage.clone(),
            steps: self.steps,
            result: self.result.clone(),
            error: self.error.as_deref().cloned(),
        }
    }
}
