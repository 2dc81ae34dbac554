//! What the events of a step carry. A step is one durable operation of a script.

use crate::{
    codec::{Decode, Encode},
    error_info::ErrorInfo,
    id::{Hash, JobId},
    json::Json,
};
use serde::{Deserialize, Serialize};

/// `step.started`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Encode, Decode)]
pub struct StepStarted {
    /// The run of the job, as in `job.started`.
    pub run: u32,
    /// The call path.
    pub path: String,
    /// The last segment's name, without its count.
    pub name: String,
    /// What kind of operation: `step`, `exec`, `sleep`, ...
    pub kind: String,
    /// blake3 of kind, inputs and options.
    pub spec_hash: Hash,
    /// 1-based.
    pub attempt: u32,
    /// The operation's inputs and options.
    pub input: Json,
}

/// How an attempt at a step ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, Encode, Decode)]
#[serde(rename_all = "snake_case")]
pub enum StepOutcome {
    /// As wanted.
    Ok,
    /// It failed.
    Error,
    /// Its time was up.
    TimedOut,
    /// Its branch, or its job, was cancelled.
    Cancelled,
    /// The runner died while it was being performed.
    Interrupted,
    /// It was not wanted.
    Skipped,
}

/// `step.finished`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Encode, Decode)]
pub struct StepFinished {
    /// The run of the job.
    pub run: u32,
    /// The call path.
    pub path: String,
    /// The attempt that ended.
    pub attempt: u32,
    /// How.
    pub outcome: StepOutcome,
    /// What the script gets.
    #[serde(default, deserialize_with = "Json::present", skip_serializing_if = "Option::is_none")]
    pub output: Option<Json>,
    /// Why it failed. A failure can have both: a command's captured output, and its exit code as an error.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<ErrorInfo>,
    /// From start to end.
    pub latency_ms: u64,
    /// Whether the result was taken from an earlier run.
    pub cached: bool,
    /// From where.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cached_from: Option<CachedFrom>,
    /// How many tokens of the job's budget were used up when this was recorded: by the job, its children, and whom they
    /// share it with. Stands where an operation may have used some.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tokens_spent: Option<u64>,
}

/// Where a result was taken from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Encode, Decode)]
pub struct CachedFrom {
    /// The job that recorded it.
    pub job: JobId,
    /// The position of its `step.finished`; 0 where that was not kept.
    pub position: u64,
}

/// `step.finished` as it was stored at first.
#[derive(Encode, Decode)]
pub(super) struct StepFinishedV1 {
    run: u32,
    path: String,
    attempt: u32,
    outcome: StepOutcome,
    output: Option<Json>,
    error: Option<ErrorInfo>,
    latency_ms: u64,
    cached: bool,
    cached_from: Option<JobId>,
}

impl From<StepFinishedV1> for StepFinished {
    fn from(old: StepFinishedV1) -> Self {
        let StepFinishedV1 { run, path, attempt, outcome, output, error, latency_ms, cached, cached_from } = old;
        let cached_from = cached_from.map(|job| CachedFrom { job, position: 0 });
        Self { run, path, attempt, outcome, output, error, latency_ms, cached, cached_from, tokens_spent: None }
    }
}

/// `step.finished` as it was stored before it told what a budget had left.
#[derive(Encode, Decode)]
pub(super) struct StepFinishedV2 {
    run: u32,
    path: String,
    attempt: u32,
    outcome: StepOutcome,
    output: Option<Json>,
    error: Option<ErrorInfo>,
    latency_ms: u64,
    cached: bool,
    cached_from: Option<CachedFrom>,
}

impl From<StepFinishedV2> for StepFinished {
    fn from(old: StepFinishedV2) -> Self {
        let StepFinishedV2 { run, path, attempt, outcome, output, error, latency_ms, cached, cached_from } = old;
        Self { run, path, attempt, outcome, output, error, latency_ms, cached, cached_from, tokens_spent: None }
    }
}

/// `step.retry_scheduled`: stands right behind the failed attempt's `step.finished`, in the same append. An attempt
/// that no such event follows was the last.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Encode, Decode)]
pub struct StepRetryScheduled {
    /// The run of the job.
    pub run: u32,
    /// The call path.
    pub path: String,
    /// The attempt that failed.
    pub attempt: u32,
    /// How long from this event to the next attempt.
    pub wait_ms: u64,
    /// Why it failed.
    pub error: ErrorInfo,
}
