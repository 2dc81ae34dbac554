//! The ids of a job's tool calls: each stands for one call in it, whatever providers say. Approvals and traces go by them.

use moonlog_core::{
    event::{EventBody, StreamId},
    id::JobId,
    log::Log,
    message::{Part, ToolCall},
};
use std::{
    collections::{HashMap, HashSet},
    sync::{Mutex, MutexGuard, PoisonError},
};

/// How many events one read takes.
const READ_EVENTS: usize = 1_024;

/// Those of the jobs that have agents. What is not here is told by the log.
#[derive(Debug, Default)]
pub(crate) struct CallIds(Mutex<HashMap<JobId, HashSet<String>>>);

impl CallIds {
    fn all(&self) -> MutexGuard<'_, HashMap<JobId, HashSet<String>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes sure that those are known which the log holds: of a job whose agents this server has not seen yet.
    pub(super) fn load(&self, log: &Log, job: &JobId) {
        if self.all().contains_key(job) {
            return;
        }
        let (mut ids, mut version) = (HashSet::new(), 0);
        // What cannot be read is not known, and the answer cannot be recorded either.
        while let Ok(events) = log.read_stream(&StreamId::Job(*job), version, READ_EVENTS) {
            let Some(last) = events.last() else { break };
            version = last.version;
            for event in &events {
                match &event.body {
                    EventBody::ToolStarted(call) => drop(ids.insert(call.call_id.clone())),
                    EventBody::ChatMessageAdded(added) if added.role == "assistant" => {
                        let parts = added.parts.to::<Vec<Part>>().unwrap_or_default();
                        let calls = parts.into_iter().filter_map(|part| match part {
                            Part::ToolCall(ToolCall { call_id, .. }) => Some(call_id),
                            _ => None,
                        });
                        ids.extend(calls);
                    }
                    _ => {}
                }
            }
        }
        self.all().entry(*job).or_insert(ids);
    }

    /// Takes an id for a call. Gives whether it was free.
    pub(super) fn take(&self, job: &JobId, id: &str) -> bool {
        self.all().entry(*job).or_default().insert(id.to_owned())
    }

    /// Lets go of an ended job's.
    pub(crate) fn forget(&self, job: &JobId) {
        self.all().remove(job);
    }
}
