//! Signalling a job.

use super::Refusal;
use crate::{
    event::{EventBody, JobSignalled},
    json::Json,
    projection::JobState,
};

/// The longest name of a signal, in bytes.
const NAME_MAX_BYTES: usize = 256;
/// How many signals a job may have that it did not consume.
const SIGNALS_MAX: usize = 10_000;

/// Sends a signal to a job that has not ended; a queued one keeps it. A key that was used before sends nothing.
///
/// # Errors
/// Where the job has ended or consumes none, or the name is none.
pub fn decide_signal(
    job: &JobState,
    name: &str,
    payload: Json,
    idempotency_key: Option<String>,
) -> Result<Vec<EventBody>, Refusal> {
    if name.is_empty() || name.len() > NAME_MAX_BYTES {
        let message = format!("a signal's name has 1 to {NAME_MAX_BYTES} bytes, not {}", name.len());
        return Err(Refusal::Invalid { field: "name", message });
    }
    // Before the job's end is looked at there is nothing to compare a repeated key with: the keys end with the job.
    if job.status.is_ended() {
        return Err(Refusal::Ended { job: job.id, status: job.status });
    }
    if let Some(pending) = &job.pending {
        if idempotency_key.as_deref().is_some_and(|key| pending.has_signal_key(key)) {
            return Ok(Vec::new());
        }
        if pending.signals.len() >= SIGNALS_MAX {
            return Err(Refusal::TooManySignals { job: job.id, max: SIGNALS_MAX });
        }
    }
    Ok(vec![EventBody::JobSignalled(JobSignalled { name: name.to_owned(), payload, idempotency_key })])
}
