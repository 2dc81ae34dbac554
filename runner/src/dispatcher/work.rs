//! What there is to do about a job that nobody drives.

use moonlog_core::{
    projection::{JobState, JobStatus, Projection},
    time::Timestamp,
};

/// What there is to do about a job without a task.
pub(super) enum Work {
    None,
    /// Its script goes on, for which it needs a place.
    GoOn,
    /// It was asked to end, or its time is up: its script is not needed for that, and no place.
    Close,
}

impl Work {
    pub(super) fn of(job: &JobState, now: Timestamp, all: &Projection) -> Self {
        let is_late = job.deadline().is_some_and(|deadline| deadline <= now);
        match job.status {
            _ if is_late || job.cancel_requested.is_some() => Self::Close,
            JobStatus::Waiting if !job.has_work(now, all) => Self::None,
            JobStatus::Running | JobStatus::Waiting => Self::GoOn,
            _ => Self::None,
        }
    }
}
