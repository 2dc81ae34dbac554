//! A job of another log comes in: its events are appended as they were, each with where it stood there. Nothing runs
//! it here.

use crate::{request::CommandError, runner::Runner};
use moonlog_core::{
    error_info::ErrorInfo,
    event::{Cause, Event, EventBody, JobSubmitted, NewEvent, Origin, StreamId},
    id::{Hash, JobId},
    log::{Append, Expected},
};
use std::collections::HashMap;
use std::sync::Arc;

impl Runner {
    /// Takes in an ended job with all its events, under its own id. What an import that was cut off has left is
    /// completed.
    ///
    /// # Errors
    /// Where the events are not those of one ended job, or another job has its id.
    pub async fn import(&self, script: &str, events: Vec<Event>) -> Result<JobId, CommandError> {
        let job = check(script, &events)?;
        let inner = self.inner();
        let stream = StreamId::Job(job);
        let there = match inner.log.stream_head(&stream)? {
            Some(head) if head.closed || !self.is_import(&job)? => {
                let message = format!("job {job} is there already: `moonlog show {job}` shows it");
                return Err(CommandError::Conflict(ErrorInfo::new("job_exists", message)));
            }
            Some(head) => head.version,
            None => 0,
        };
        inner.log.put_blob(script.as_bytes().to_vec())?;
        let mut positions = HashMap::new();
        let mut last = 0;
        for event in events {
            let version = event.version;
            if version <= there {
                continue;
            }
            let new = NewEvent {
                body: imported(event.body),
                job: None,
                session: event.session,
                process: event.process,
                step: event.step,
                cause: event.cause.and_then(|cause| positions.get(&cause).copied().map(Cause::At)),
                // Of an event that was imported there, where it first stood.
                origin: Some(event.origin.unwrap_or(Origin { position: event.position, time: event.time })),
            };
            inner.log.ready().await;
            let appended = inner.log.append(Append::new(stream.clone(), Expected::Version(version - 1), vec![new]))?;
            positions.insert(event.position, appended.last_position);
            last = appended.last_position;
        }
        inner.applied(last).await?;
        Ok(job)
    }

    fn is_import(&self, job: &JobId) -> Result<bool, CommandError> {
        Ok(self.inner().views.job(job)?.is_some_and(|state| state.submitted.imported))
    }
}

/// Checks that these are all events of one ended job, and that `script` is the one that it ran.
fn check(script: &str, events: &[Event]) -> Result<JobId, CommandError> {
    let invalid = |message: String| CommandError::Invalid(ErrorInfo::new("invalid_bundle", message));
    let (Some(first), Some(last)) = (events.first(), events.last()) else {
        return Err(invalid("the bundle has no events".into()));
    };
    let (StreamId::Job(job), EventBody::JobSubmitted(submitted)) = (&first.stream, &first.body) else {
        return Err(invalid("the bundle does not begin with a job's job.submitted".into()));
    };
    if submitted.script_hash != Hash::of(script.as_bytes()) {
        return Err(invalid("the bundle's script is not the one that its job ran".into()));
    }
    if !last.body.is_terminal() {
        return Err(invalid(format!(
            "job {job} had not ended when it was exported: `moonlog replay` works on the bundle itself"
        )));
    }
    for (index, event) in events.iter().enumerate() {
        let ends_early = event.body.is_terminal() && index + 1 != events.len();
        if event.stream != first.stream || event.version != index as u64 + 1 || ends_early {
            return Err(invalid(format!("event {} of the bundle is not the job's next one", index + 1)));
        }
    }
    Ok(*job)
}

/// The body as it stands here. The submitter's key was a key of the other server.
fn imported(body: EventBody) -> EventBody {
    match body {
        EventBody::JobSubmitted(submitted) => EventBody::JobSubmitted(Arc::new(JobSubmitted {
            idempotency_key: None,
            request_hash: None,
            imported: true,
            ..Arc::unwrap_or_clone(submitted)
        })),
        other => other,
    }
}
