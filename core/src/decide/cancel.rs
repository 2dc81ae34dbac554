//! Cancelling a job, and closing what it leaves open.

use super::Refusal;
use crate::{
    error_info::ErrorInfo,
    event::{EventBody, JobCancelRequested, JobCancelled, NewEvent, StepFinished, StepOutcome},
    projection::{JobState, JobStatus},
    time::Timestamp,
};
use std::{cmp::Reverse, sync::Arc};

/// Asks a job to end. A queued job has nothing open and ends at once; any other is asked, and ends when its runner
/// has closed what is open.
///
/// # Errors
/// Where the job has ended.
pub fn decide_cancel(job: &JobState, reason: Option<String>) -> Result<Vec<NewEvent>, Refusal> {
    if job.status.is_ended() {
        return Err(Refusal::Ended { job: job.id, status: job.status });
    }
    let mut events = Vec::new();
    if job.cancel_requested.is_none() {
        events.push(EventBody::JobCancelRequested(JobCancelRequested { reason: reason.clone() }).into());
    }
    if job.status == JobStatus::Queued {
        let first = job.cancel_requested.as_ref().map(|request| request.reason.clone());
        let asked_now = events.len() == 1;
        let cancelled = NewEvent::new(EventBody::JobCancelled(JobCancelled { reason: first.unwrap_or(reason) }));
        events.push(if asked_now { cancelled.cause_before(1) } else { cancelled });
    }
    Ok(events)
}

/// The `step.finished` of every step that is open, inner steps before those around them: what has to stand before a
/// run's end, and, with [`StepOutcome::Interrupted`], what a dead runner left.
pub fn close_steps(job: &JobState, outcome: StepOutcome, error: Option<&ErrorInfo>, now: Timestamp) -> Vec<NewEvent> {
    // A step that waits for its next attempt has its finish already.
    let mut open: Vec<_> = job.open_steps.iter().filter(|(_, step)| step.retry_at.is_none()).collect();
    open.sort_by_key(|(path, step)| (Reverse(path.matches('/').count()), step.position));
    open.into_iter()
        .map(|(path, step)| {
            let finished = StepFinished {
                run: step.run,
                path: path.to_string(),
                attempt: step.attempt,
                outcome,
                output: None,
                error: error.cloned(),
                latency_ms: now.ms_since(step.started_at),
                cached: false,
                cached_from: None,
                tokens_spent: None,
            };
            NewEvent::new(EventBody::StepFinished(finished)).step(Some(Arc::clone(path))).cause(step.position)
        })
        .collect()
}
