//! What the events of schedules, queues and the server itself carry.

use crate::{
    codec::{Decode, Encode},
    error_info::ErrorInfo,
    id::{JobId, SessionId},
    json::Json,
    time::Timestamp,
};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What a schedule does when it is due while the job of its last firing has not ended.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize, Encode, Decode)]
#[serde(rename_all = "snake_case")]
pub enum Overlap {
    /// Submits nothing, and says so.
    #[default]
    Skip,
    /// Submits a job that starts when the one before it has ended.
    Queue,
    /// Cancels the one that runs, and submits the next.
    Replace,
}

/// What becomes of the times at which a schedule was due while no server ran.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize, Encode, Decode)]
#[serde(rename_all = "snake_case")]
pub enum CatchUp {
    /// They are skipped.
    None,
    /// The last of them is made up for.
    #[default]
    Last,
    /// All of them are, up to a limit.
    All,
}

/// `schedule.set`
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, Encode, Decode)]
pub struct ScheduleSet {
    /// When.
    pub cron: String,
    /// Which workflow.
    pub workflow: String,
    /// With which arguments.
    pub args: Json,
    /// Where the clock hangs that `cron` goes by: an IANA name.
    #[serde(default = "utc")]
    pub time_zone: String,
    /// What to do while the last job still runs.
    #[serde(default)]
    pub overlap: Overlap,
    /// What to do about times that were missed.
    #[serde(default)]
    pub catch_up: CatchUp,
    /// Each firing comes up to this much later, spread evenly.
    #[serde(default)]
    pub jitter_ms: u64,
    /// The queue of its jobs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub queue: Option<String>,
    /// Labels of its jobs, besides `schedule`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Whether it fires no more until it is set again.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub paused: bool,
}

fn utc() -> String {
    "UTC".into()
}

/// What `schedule.set` was in schema 1.
#[derive(Decode)]
pub(super) struct ScheduleSetV1 {
    cron: String,
    workflow: String,
    args: Json,
}

impl From<ScheduleSetV1> for ScheduleSet {
    fn from(old: ScheduleSetV1) -> Self {
        Self { cron: old.cron, workflow: old.workflow, args: old.args, time_zone: utc(), ..Self::default() }
    }
}

/// Why a schedule that was due submitted no job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, Encode, Decode)]
#[serde(rename_all = "snake_case")]
pub enum ScheduleSkipped {
    /// The job of its last firing has not ended.
    Overlap,
    /// No server ran when it was due.
    Missed,
    /// The job was refused.
    Refused,
}

/// `schedule.fired`
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, Encode, Decode)]
pub struct ScheduleFired {
    /// The job that it submitted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub job: Option<JobId>,
    /// When it was due. Of several that were missed, the last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub due: Option<Timestamp>,
    /// Why it submitted none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub skipped: Option<ScheduleSkipped>,
    /// Why the job was refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<ErrorInfo>,
}

/// What `schedule.fired` was in schema 1.
#[derive(Decode)]
pub(super) struct ScheduleFiredV1 {
    job: Option<JobId>,
}

impl From<ScheduleFiredV1> for ScheduleFired {
    fn from(old: ScheduleFiredV1) -> Self {
        Self { job: old.job, ..Self::default() }
    }
}

/// `schedule.removed`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Encode, Decode)]
pub struct ScheduleRemoved {}

/// `queue.paused`, `queue.resumed`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Encode, Decode)]
pub struct QueueChanged {
    /// The queue.
    pub queue: String,
}

/// `runner.started`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Encode, Decode)]
pub struct RunnerStarted {
    /// moonlog's version.
    pub version: String,
    /// The effective configuration, secrets left out.
    pub config: Json,
    /// What was found wrong at the start and mended, such as a torn tail that was cut.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repaired: Option<Json>,
}

/// Why a job was deleted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize, Encode, Decode)]
#[serde(rename_all = "snake_case")]
pub enum DeleteReason {
    /// Somebody asked for it.
    #[default]
    Requested,
    /// It ended longer ago than is kept.
    Age,
    /// More jobs have ended since than are kept.
    Count,
    /// The log is larger than is kept.
    Bytes,
}

/// `job.deleted`: stands in `system`, with the job in the envelope.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, Encode, Decode)]
pub struct JobDeleted {
    /// Why.
    pub reason: DeleteReason,
    /// How many events were removed with it.
    pub events: u64,
    /// The position of the first of them.
    pub first_position: u64,
    /// The position of the last of them.
    pub last_position: u64,
    /// Its agents' own sessions, which were removed with it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sessions: Vec<SessionId>,
    /// Closed sessions that it took part in, which stay without its part.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub in_sessions: Vec<SessionId>,
    /// The file that it was exported to, where it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exported: Option<String>,
}

/// `runner.stopped`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Encode, Decode)]
pub struct RunnerStopped {
    /// moonlog's version.
    pub version: String,
}
