//! What the events of schedules, queues and the server itself carry.

use crate::{
    codec::{Decode, Encode},
    id::JobId,
    json::Json,
};
use serde::{Deserialize, Serialize};

/// `schedule.set`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Encode, Decode)]
pub struct ScheduleSet {
    /// When.
    pub cron: String,
    /// Which workflow.
    pub workflow: String,
    /// With which arguments.
    pub args: Json,
}

/// `schedule.fired`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Encode, Decode)]
pub struct ScheduleFired {
    /// The job that it submitted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub job: Option<JobId>,
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

/// `runner.stopped`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Encode, Decode)]
pub struct RunnerStopped {
    /// moonlog's version.
    pub version: String,
}
