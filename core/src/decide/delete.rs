//! Deleting an ended job.

use super::Refusal;
use crate::{
    id::JobId,
    projection::{JobState, Projection, SessionState},
};
use std::collections::HashMap;

/// Which jobs are needed by one that has not ended: its parent may ask for what it gave, its fork may still copy from it,
/// and who resumes it takes over what it has done.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NeededJobs(HashMap<JobId, JobId>);

impl NeededJobs {
    /// Those that are needed as things stand.
    pub fn of(all: &Projection) -> Self {
        let mut needed = HashMap::new();
        for job in all.live_jobs().filter(|job| !job.submitted.imported) {
            let submitted = &job.submitted;
            needed.extend(submitted.parent.as_ref().map(|parent| (parent.job, job.id)));
            needed.extend(submitted.resume_from.map(|earlier| (earlier, job.id)));
            needed.extend(submitted.forked_from.as_ref().map(|fork| (fork.job, job.id)));
        }
        Self(needed)
    }
}

/// Whether an ended job may be deleted. `parent` is the one that started it, where it is known.
///
/// # Errors
/// Where it has not ended, or another job that has not needs it.
pub fn decide_delete(needed: &NeededJobs, job: &JobState, parent: Option<&JobState>) -> Result<(), Refusal> {
    if !job.status.is_ended() {
        return Err(Refusal::NotEnded { job: job.id, status: job.status });
    }
    let living_parent = parent.filter(|parent| !parent.status.is_ended()).map(|parent| parent.id);
    match needed.0.get(&job.id).copied().or(living_parent) {
        Some(by) => Err(Refusal::Needed { job: job.id, by }),
        None => Ok(()),
    }
}

/// Whether a job that took part in a session may be deleted: what was said there stays as long as the session is open.
///
/// # Errors
/// Where it is open, or its workspace is.
pub fn decide_delete_in_session(job: JobId, session: &SessionState) -> Result<(), Refusal> {
    if session.is_settled() { Ok(()) } else { Err(Refusal::InOpenSession { job, session: session.id }) }
}
