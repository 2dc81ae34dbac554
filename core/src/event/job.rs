//! What the events of a job's life carry.

use super::chat::{ChatUsage, UsageV1};
use crate::{
    codec::{Decode, Encode},
    cost::{self, Cost},
    error_info::ErrorInfo,
    id::{Hash, JobId, SessionId},
    json::Json,
    time::Timestamp,
};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// `job.submitted`: all that decides how the job will run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Encode, Decode)]
pub struct JobSubmitted {
    /// The workflow's name.
    pub workflow: String,
    /// The script it runs, by the hash of its source; the source is a blob.
    pub script_hash: Hash,
    /// The script's arguments, with the schema's defaults filled in.
    pub args: Json,
    /// The submitter's key, under which the same request is answered with this job.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idempotency_key: Option<String>,
    /// The hash of the request in canonical form, to tell the same request from another under the same key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_hash: Option<Hash>,
    /// The queue it waits in.
    pub queue: String,
    /// Higher runs first.
    pub priority: i32,
    /// Not before this time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run_at: Option<Timestamp>,
    /// What it may use.
    pub limits: JobLimits,
    /// What `math.random` and `uuid()` come from.
    pub seed: u64,
    /// The job, and its step, that this is a child of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<ParentRef>,
    /// The job whose results are taken over where they fit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resume_from: Option<JobId>,
    /// The job whose history up to a version this one shares.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub forked_from: Option<ForkRef>,
    /// At most one job runs at a time of those with the same key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub concurrency_key: Option<String>,
    /// When and how often the whole job is tried again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry: Option<RetryPolicy>,
    /// The submitter's own marks.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// The session it runs in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session: Option<SessionId>,
    /// Whether its events were imported: nothing runs it here.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub imported: bool,
}

/// What a job may use.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, Encode, Decode)]
pub struct JobLimits {
    /// How long it may take from its first start to its end, waiting included.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout_ms: Option<u64>,
    /// How many tokens its agents may use.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub budget_tokens: Option<u64>,
    /// How many levels of child jobs may stand under it.
    #[serde(default)]
    pub nesting: u32,
}

/// The step of another job that started this one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Encode, Decode)]
pub struct ParentRef {
    /// The parent.
    pub job: JobId,
    /// The call path of its `workflow` step.
    pub step: String,
}

/// Where a fork left the job that it was forked from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Encode, Decode)]
pub struct ForkRef {
    /// The job.
    pub job: JobId,
    /// The last version that is shared.
    pub at: u64,
}

/// When to try again, and how often. Attempt `n` waits `min(backoff_ms * factor^(n - 1), max_backoff_ms)`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Encode, Decode)]
#[serde(deny_unknown_fields)]
pub struct RetryPolicy {
    /// Attempts in all, the first included.
    pub max: u32,
    /// The first wait.
    #[serde(default = "default_backoff_ms")]
    pub backoff_ms: u64,
    /// What each wait is multiplied by for the next.
    #[serde(default = "default_factor")]
    pub factor: f64,
    /// The longest wait.
    #[serde(default = "default_max_backoff_ms")]
    pub max_backoff_ms: u64,
}

const fn default_backoff_ms() -> u64 {
    1_000
}
const fn default_factor() -> f64 {
    2.0
}
const fn default_max_backoff_ms() -> u64 {
    60_000
}

impl RetryPolicy {
    /// How long to wait after attempt `attempt` (1-based) failed, or `None` where it was the last.
    pub fn wait_ms_after(&self, attempt: u32) -> Option<u64> {
        if attempt >= self.max {
            return None;
        }
        let exponent = i32::try_from(attempt.saturating_sub(1)).unwrap_or(i32::MAX);
        let wait = self.backoff_ms as f64 * self.factor.max(0.0).powi(exponent);
        Some(wait.min(self.max_backoff_ms as f64) as u64)
    }
}

/// `job.started`: an attempt begins. Each attempt is a run of its own: its steps start anew.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Encode, Decode)]
pub struct JobStarted {
    /// 1-based.
    pub attempt: u32,
    /// 1-based over the job's life: each attempt and each `continue_as` begins the next.
    pub run: u32,
    /// What runs it: version of moonlog and of its Luau.
    pub runner: String,
}

/// `job.retry_scheduled`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Encode, Decode)]
pub struct JobRetryScheduled {
    /// The attempt that failed.
    pub attempt: u32,
    /// How long from this event to the next attempt.
    pub wait_ms: u64,
    /// Why it failed.
    pub error: ErrorInfo,
}

/// `job.continued`: `continue_as` ended a run and the next begins.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Encode, Decode)]
pub struct JobContinued {
    /// The run that begins.
    pub run: u32,
    /// Its arguments.
    pub args: Json,
}

/// What a waiting job waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, Encode, Decode)]
#[serde(rename_all = "snake_case")]
pub enum WaitKind {
    /// A time.
    Sleep,
    /// A signal of its name.
    Signal,
    /// A person's decision.
    Approval,
    /// The end of a child job.
    Child,
    /// The end of a process.
    Process,
    /// A free place.
    Capacity,
}

/// `job.waiting`: all open operations of the job wait; it holds no place of the runner.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Encode, Decode)]
pub struct JobWaiting {
    /// What for (of several, the one that was begun first).
    #[serde(rename = "for")]
    pub reason: WaitKind,
    /// The call path of the waiting operation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step: Option<String>,
    /// The signal's name, the child's or the process's id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The approval's title.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// When it ends by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
}

/// `job.resumed`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Encode, Decode)]
pub struct JobResumed {}

/// `job.phase_entered`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Encode, Decode)]
pub struct JobPhaseEntered {
    /// The phase.
    pub title: String,
}

/// `job.logged`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Encode, Decode)]
pub struct JobLogged {
    /// `debug`, `info`, `warn` or `error`.
    pub level: String,
    /// What was said.
    pub message: String,
}

/// `job.emitted`: an event of the script's own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Encode, Decode)]
pub struct JobEmitted {
    /// Its name.
    pub name: String,
    /// What it carries.
    pub value: Json,
}

/// `job.signalled`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Encode, Decode)]
pub struct JobSignalled {
    /// The signal.
    pub name: String,
    /// What it carries.
    pub payload: Json,
    /// The sender's key, under which the same signal is taken once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idempotency_key: Option<String>,
}

/// `job.cancel_requested`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Encode, Decode)]
pub struct JobCancelRequested {
    /// Why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// What a job used.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, Encode, Decode)]
#[serde(default)]
pub struct JobUsage {
    /// Tokens sent to models.
    pub prompt_tokens: u64,
    /// Tokens that models gave.
    pub completion_tokens: u64,
    /// Of the prompt's, those that came from a provider's cache.
    pub cached_tokens: u64,
    /// Of the completion's, those spent on reasoning.
    pub reasoning_tokens: u64,
    /// What that cost, as far as the configuration gave prices.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cost: Option<Cost>,
    /// Whether some of it is estimated, because a provider did not say.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub estimated: bool,
}

impl JobUsage {
    /// Tokens sent and received.
    pub const fn tokens(&self) -> u64 {
        self.prompt_tokens.saturating_add(self.completion_tokens)
    }

    /// Adds what a request has used.
    pub fn add(&mut self, usage: &ChatUsage) {
        self.prompt_tokens += usage.prompt_tokens;
        self.completion_tokens += usage.completion_tokens;
        self.cached_tokens += usage.cached_tokens;
        self.reasoning_tokens += usage.reasoning_tokens;
        self.cost = cost::sum(self.cost, usage.cost);
        self.estimated |= usage.estimated;
    }
}

/// `job.completed`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Encode, Decode)]
pub struct JobCompleted {
    /// What the script returned.
    pub result: Json,
    /// What it used.
    pub usage: JobUsage,
}

/// `job.completed` as it was stored at first.
#[derive(Encode, Decode)]
pub(super) struct JobCompletedV1 {
    result: Json,
    usage: UsageV1,
}

impl From<JobCompletedV1> for JobCompleted {
    fn from(old: JobCompletedV1) -> Self {
        let usage = ChatUsage::from(old.usage);
        let mut all = JobUsage::default();
        all.add(&usage);
        Self { result: old.result, usage: all }
    }
}

/// `job.failed`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Encode, Decode)]
pub struct JobFailed {
    /// Why.
    pub error: ErrorInfo,
}

/// `job.cancelled`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Encode, Decode)]
pub struct JobCancelled {
    /// Why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// `job.timed_out`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Encode, Decode)]
pub struct JobTimedOut {
    /// The limit that was reached, such as `timeout_ms`.
    pub limit: String,
}
