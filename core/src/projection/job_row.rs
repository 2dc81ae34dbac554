//! A job's state as a row. Written in parts that are decoded one by one, so that several large values in one state
//! stay below the codec's limit; first the part that filters ask for.

use super::{JobState, JobStatus, OpenStep, Pending, StepCounts, filter::FilterParts};
use crate::{
    codec::{self, CodecError, Decode, Encode},
    error_info::ErrorInfo,
    event::{JobCancelRequested, JobSubmitted, JobUsage, JobWaiting},
    id::JobId,
    json::Json,
    time::Timestamp,
};
use std::{collections::BTreeMap, sync::Arc};

/// What is small.
#[derive(Encode, Decode)]
struct Facts {
    id: JobId,
    status: JobStatus,
    submitted_position: u64,
    submitted_at: Timestamp,
    started_at: Option<Timestamp>,
    ended_at: Option<Timestamp>,
    attempt: u32,
    run: u32,
    run_started_at: Option<Timestamp>,
    run_started_version: u64,
    phase: Option<Arc<str>>,
    waiting: Option<Box<JobWaiting>>,
    version: u64,
    position: u64,
    applied: u64,
    usage: JobUsage,
    steps: StepCounts,
    retry_at: Option<Timestamp>,
    cancel_requested: Option<Box<JobCancelRequested>>,
    open_steps: u64,
}

/// The row of `job`.
pub(super) fn encode(job: &JobState) -> Result<Vec<u8>, CodecError> {
    let facts = Facts {
        id: job.id,
        status: job.status,
        submitted_position: job.submitted_position,
        submitted_at: job.submitted_at,
        started_at: job.started_at,
        ended_at: job.ended_at,
        attempt: job.attempt,
        run: job.run,
        run_started_at: job.run_started_at,
        run_started_version: job.run_started_version,
        phase: job.phase.clone(),
        waiting: job.waiting.clone(),
        version: job.version,
        position: job.position,
        applied: job.applied,
        usage: job.usage.clone(),
        steps: job.steps,
        retry_at: job.retry_at,
        cancel_requested: job.cancel_requested.clone(),
        open_steps: job.open_steps.len() as u64,
    };
    let mut row = codec::encode(&FilterParts::of(job))?;
    row.extend(codec::encode(&facts)?);
    row.extend(codec::encode(&*job.submitted)?);
    row.extend(codec::encode(&job.continued_args)?);
    row.extend(codec::encode(&job.result)?);
    row.extend(codec::encode(&job.error)?);
    row.extend(codec::encode(&job.pending)?);
    row.extend(codec::encode(&job.signal_keys)?);
    row.extend(codec::encode(&job.closing)?);
    for (path, step) in &job.open_steps {
        row.extend(codec::encode(path)?);
        row.extend(codec::encode(&**step)?);
    }
    Ok(row)
}

/// The parts of a row that a filter asks for, from the row or its beginning.
pub(super) fn filter_parts(row: &[u8]) -> Result<FilterParts, CodecError> {
    codec::decode_prefix(row).map(|(parts, _)| parts)
}

/// The job whose row this is.
pub(super) fn decode(row: &[u8]) -> Result<JobState, CodecError> {
    let mut parts = Parts { rest: row };
    let _: FilterParts = parts.next()?;
    let facts: Facts = parts.next()?;
    let submitted: Arc<JobSubmitted> = Arc::new(parts.next()?);
    let continued_args: Option<Json> = parts.next()?;
    let result: Option<Json> = parts.next()?;
    let error: Option<Box<ErrorInfo>> = parts.next()?;
    let pending: Option<Box<Pending>> = parts.next()?;
    let signal_keys = parts.next()?;
    let closing = parts.next()?;
    let mut open_steps = BTreeMap::new();
    for _ in 0..facts.open_steps {
        let path: Arc<str> = parts.next()?;
        let step: OpenStep = parts.next()?;
        open_steps.insert(path, Arc::new(step));
    }
    if !parts.rest.is_empty() {
        return Err(CodecError::TrailingBytes(parts.rest.len()));
    }
    Ok(JobState {
        id: facts.id,
        status: facts.status,
        submitted,
        submitted_position: facts.submitted_position,
        submitted_at: facts.submitted_at,
        started_at: facts.started_at,
        ended_at: facts.ended_at,
        attempt: facts.attempt,
        run: facts.run,
        run_started_at: facts.run_started_at,
        run_started_version: facts.run_started_version,
        phase: facts.phase,
        waiting: facts.waiting,
        version: facts.version,
        position: facts.position,
        applied: facts.applied,
        usage: facts.usage,
        steps: facts.steps,
        result,
        error,
        retry_at: facts.retry_at,
        cancel_requested: facts.cancel_requested,
        continued_args,
        open_steps,
        pending,
        signal_keys,
        closing,
    })
}

/// Stored values, one behind the other.
pub(super) struct Parts<'a> {
    pub(super) rest: &'a [u8],
}

impl Parts<'_> {
    pub(super) fn next<T: Decode<()>>(&mut self) -> Result<T, CodecError> {
        let (value, used) = codec::decode_prefix(self.rest)?;
        self.rest = &self.rest[used..];
        Ok(value)
    }
}
