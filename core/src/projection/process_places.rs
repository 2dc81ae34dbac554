//! In which job's stream a process's events stand: what leads from the id of a process that ended long ago to what it
//! wrote. One with a stream of its own needs none of this.

use crate::{
    codec::{Decode, Encode},
    event::{Event, EventBody, StreamId},
    id::{JobId, ProcessId},
};
use std::collections::HashMap;

/// Where a job's process begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub struct ProcessPlace {
    /// The job whose stream it is.
    pub job: JobId,
    /// The version of `process.started` there.
    pub version: u64,
}

/// The places of jobs' processes that were started since the last checkpoint; older ones are stored.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ProcessPlaces {
    places: HashMap<ProcessId, ProcessPlace>,
}

impl ProcessPlaces {
    pub(super) fn apply(&mut self, event: &Event) {
        if let (StreamId::Job(job), Some(process), EventBody::ProcessStarted(_)) =
            (&event.stream, event.process, &event.body)
        {
            self.places.insert(process, ProcessPlace { job: *job, version: event.version });
        }
    }

    /// Where the process begins.
    pub fn get(&self, process: &ProcessId) -> Option<ProcessPlace> {
        self.places.get(process).copied()
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = (&ProcessId, &ProcessPlace)> {
        self.places.iter()
    }

    /// Forgets the processes of a job that was deleted.
    pub(super) fn remove(&mut self, job: &JobId) {
        self.places.retain(|_, place| place.job != *job);
    }

    pub(super) fn forget(&mut self, stored: &Self) {
        self.places.retain(|process, _| !stored.places.contains_key(process));
    }
}
