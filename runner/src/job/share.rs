//! The history that a fork shares: copied into its own stream, so that everybody who reads a stream finds the whole of it.
//!
//! The job's own task does that before anything else, each time that it begins and finds nothing of the fork's own yet: a
//! copy that a crash has cut off is completed. The copies say where they stood and when that was.

use super::Stop;
use crate::inner::Inner;
use moonlog_core::{
    event::{Cause, Event, EventBody, ForkRef, NewEvent, Origin, StepOutcome, StreamId},
    id::JobId,
    log::{Append, AppendError, Expected, Hurry},
};
use std::collections::HashMap;

/// How many events one read takes.
const READ_EVENTS: usize = 1_024;

/// Whether an event is of the history that is shared. Processes and sessions are the other job's own, and so was what
/// somebody asked of it.
fn is_shared(event: &Event) -> bool {
    event.process.is_none()
        && !event.body.is_terminal()
        && !matches!(
            event.body,
            EventBody::JobSubmitted(_) | EventBody::JobCancelRequested(_) | EventBody::ChatDelta(_)
        )
}

/// The last version that is shared where `at` is asked for: what ended a run was done to its script, which hears nothing of it.
/// Where a run's end is not shared as a whole, no part of it is.
fn until(inner: &Inner, source: &StreamId, at: u64) -> Result<u64, Stop> {
    let (mut after, mut end) = (0, None);
    loop {
        let events = inner.log.read_stream(source, after, READ_EVENTS)?;
        let Some(last) = events.last() else { return Ok(end.unwrap_or(at)) };
        after = last.version;
        for event in &events {
            if event.version > at {
                return Ok(end.unwrap_or(at));
            }
            match &event.body {
                EventBody::JobContinued(_) | EventBody::JobRetryScheduled(_) => end = None,
                EventBody::StepFinished(step) if step.outcome == StepOutcome::Cancelled && step.error.is_none() => {
                    end = end.or(Some(event.version - 1));
                }
                _ => {}
            }
        }
    }
}

/// Copies what `job` shares and does not have yet. Gives the last position that was written, where anything was.
pub(super) async fn share_history(inner: &Inner, job: &JobId, fork: &ForkRef) -> Result<Option<u64>, Stop> {
    let (stream, source) = (StreamId::Job(*job), StreamId::Job(fork.job));
    let own = inner.log.read_stream_back(&stream, u64::MAX, 1)?;
    let copied = match own.first() {
        Some(last) if matches!(last.body, EventBody::JobSubmitted(_)) => 0,
        // Behind its last copy stands something of its own: it has gone on.
        Some(last) => match last.origin {
            Some(origin) => origin.position,
            None => return Ok(None),
        },
        None => return Ok(None),
    };
    let until = until(inner, &source, fork.at)?;
    let (mut after, mut last, mut positions) = (0, None, HashMap::new());
    loop {
        let events = inner.log.read_stream(&source, after, READ_EVENTS)?;
        let Some(read) = events.last() else { return Ok(last) };
        after = read.version;
        for event in events.iter().filter(|event| event.position > copied && is_shared(event)) {
            if event.version > until {
                return Ok(last);
            }
            let new = NewEvent {
                body: event.body.clone(),
                job: None,
                session: None,
                process: None,
                step: event.step.clone(),
                // What came about before a copy that was cut off is not looked up again.
                cause: event.cause.map(|cause| Cause::At(positions.get(&cause).copied().unwrap_or(cause))),
                origin: Some(Origin { position: event.position, time: event.happened_at() }),
            };
            let append = Append { stream: stream.clone(), expected: Expected::Open, events: vec![new] };
            let appended = inner.log.append_when_ready(append, Hurry::None).await.map_err(|error| match error {
                AppendError::Closed { .. } => Stop::Closed,
                other => Stop::Log(other.to_string()),
            })?;
            positions.insert(event.position, appended.last_position);
            last = Some(appended.last_position);
        }
    }
}
