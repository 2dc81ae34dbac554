//! A new job that shares a job's history up to a version.

use super::Refusal;
use crate::{event::ForkRef, projection::JobState};

/// What the fork of a job refers to. Its last event cannot be shared where that is its end: nothing follows an end.
///
/// # Errors
/// Where the job has no such version.
pub fn decide_fork(job: &JobState, at: u64) -> Result<ForkRef, Refusal> {
    let last = if job.status.is_ended() { job.version.saturating_sub(1) } else { job.version };
    if at == 0 || at > last {
        let message = format!("job {} has versions 1 to {last} that a fork can share, and not {at}", job.id);
        return Err(Refusal::Invalid { field: "at", message });
    }
    Ok(ForkRef { job: job.id, at })
}
