//! The results of a job that another one resumes: where each stands, by call path and spec hash.

use crate::job::child_id;
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
    /// The child job that was begun last at a path.
    children: HashMap<String, JobId>,
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
            events.iter().for_each(|event| results.note(job, event));
        }
    }

    fn note(&mut self, job: &JobId, event: &Event) {
        match &event.body {
            EventBody::StepStarted(step) => {
                if step.kind == "workflow" {
                    let child = child_id(job, step.run, &step.path, step.attempt, event.happened_at());
                    self.children.insert(step.path.clone(), child);
                }
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

    /// The child job that was begun last at `path`.
    pub fn child(&self, path: &str) -> Option<JobId> {
        self.children.get(path).copied()
    }

    /// Where the result stands that may be taken over.
    pub fn position(&self, path: &str, spec_hash: &Hash) -> Option<u64> {
        self.ended.get(&(path.to_owned(), *spec_hash)).copied()
    }
}
