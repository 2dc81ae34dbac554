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

/// Sends a signal to a job that has not ended; a queued one keeps it. The same signal under a key that was used before
/// sends nothing, also when the job has ended.
///
/// # Errors
/// Where the job has ended or consumes none, the name is none, or the key was used with another signal.
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
    let keys = job.signal_keys.as_deref();
    match idempotency_key.as_deref().and_then(|key| keys?.was_this(key, name, &payload)) {
        Some(true) => return Ok(Vec::new()),
        Some(false) => return Err(Refusal::KeyReused { job: job.id }),
        None => {}
    }
    if job.status.is_ended() {
        return Err(Refusal::Ended { job: job.id, status: job.status });
    }
    if job.pending.as_ref().is_some_and(|pending| pending.signals.len() >= SIGNALS_MAX) {
        return Err(Refusal::TooManySignals { job: job.id, max: SIGNALS_MAX });
    }
    Ok(vec![EventBody::JobSignalled(JobSignalled { name: name.to_owned(), payload, idempotency_key })])
}
