//! Signalling a job.

use super::Refusal;
use crate::{
    event::{EventBody, JobSignalled},
    json::Json,
    projection::JobState,
};

/// What signals are limited by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SignalLimits {
    /// How many a job may have that it did not consume.
    pub signals: usize,
    /// The longest name, in bytes.
    pub name_max_bytes: usize,
}

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
    limits: SignalLimits,
) -> Result<Vec<EventBody>, Refusal> {
    let max_bytes = limits.name_max_bytes;
    if name.is_empty() || name.len() > max_bytes {
        let message = format!("a signal's name has 1 to {max_bytes} bytes (limits.name_max_bytes), not {}", name.len());
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
    if job.pending.as_ref().is_some_and(|pending| pending.signals.len() >= limits.signals) {
        return Err(Refusal::TooManySignals { job: job.id, max: limits.signals });
    }
    Ok(vec![EventBody::JobSignalled(JobSignalled { name: name.to_owned(), payload, idempotency_key })])
}
