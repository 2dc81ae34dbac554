//! The results of a job that another one resumes: where each stands, by call path and spec hash.

use moonlog_core::{
    event::{Event, EventBody, StepOutcome, StreamId},
    id::{Hash, JobId},
    log::{Log, ReadError},
};
use std::collections::HashMap;

/// How many events one read takes.
const READ_EVENTS: usize = 4_096;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct ResumedResults {
    /// Where the last successful end stands of an operation with this hash at this path.
    ended: HashMap<(String, Hash), u64>,
    /// What has begun and not ended: its hash, and whether it asks a person.
    open: HashMap<String, (Hash, bool)>,
}

impl ResumedResults {
    /// Reads those of `job`, over all its runs.
    pub fn read(log: &Log, job: &JobId) -> Result<Self, ReadError> {
        let (stream, mut results, mut after) = (StreamId::Job(*job), Self::default(), 0);
        loop {
            let events = log.read_stream(&stream, after, READ_EVENTS)?;
            let Some(last) = events.last() else { return Ok(results) };
            after = last.version;
            events.iter().for_each(|event| results.note(event));
        }
    }

    fn note(&mut self, event: &Event) {
        match &event.body {
            EventBody::StepStarted(step) => {
                self.open.insert(step.path.clone(), (step.spec_hash, step.kind == "approve"));
            }
            EventBody::StepFinished(end) => {
                let Some((hash, asks)) = self.open.remove(&end.path) else { return };
                let Some(output) = end.output.as_ref().filter(|_| end.outcome == StepOutcome::Ok) else { return };
                // A no is an answer, but no success: who resumes the job asks again.
                if asks && output.to_value()["approved"] == false {
                    return;
                }
                self.ended.insert((end.path.clone(), hash), event.position);
            }
            _ => {}
        }
    }

    /// Where the result stands that may be taken over.
    pub fn position(&self, path: &str, spec_hash: &Hash) -> Option<u64> {
        self.ended.get(&(path.to_owned(), *spec_hash)).copied()
    }
}
