//! Running an ended job again, as a new job.

use super::Refusal;
use crate::{event::JobSubmitted, projection::JobState};

/// What to submit to run an ended job again: the same script with the same arguments, taking over the results that
/// fit. The key, the time and the parent of the first are its own and are left out.
///
/// # Errors
/// Where the job has not ended.
pub fn decide_retry(job: &JobState, seed: u64) -> Result<JobSubmitted, Refusal> {
    if !job.status.is_ended() {
        return Err(Refusal::NotEnded { job: job.id, status: job.status });
    }
    Ok(JobSubmitted {
        args: job.submitted.args.clone(),
        idempotency_key: None,
        request_hash: None,
        run_at: None,
        parent: None,
        resume_from: Some(job.id),
        forked_from: None,
        imported: false,
        seed,
        ..JobSubmitted::clone(&job.submitted)
    })
}
