//! Jobs that were deleted since the last checkpoint, with the sessions that went with them. That a job was deleted is stored;
//! of a session that was, nothing is left.

use crate::id::{JobId, SessionId};
use std::collections::{BTreeMap, BTreeSet};

/// A deleted job.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct DeletedJob {
    /// The position of its `job.deleted`.
    pub(super) position: u64,
    /// The idempotency key that it was submitted under, where that was known.
    pub(super) key: Option<String>,
}

/// See the module.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Deleted {
    pub(super) jobs: BTreeMap<JobId, DeletedJob>,
    pub(super) sessions: BTreeSet<SessionId>,
}

impl Deleted {
    /// Where the job was deleted.
    pub(super) fn position(&self, job: &JobId) -> Option<u64> {
        self.jobs.get(job).map(|deleted| deleted.position)
    }

    pub(super) fn forget(&mut self, stored: &Self) {
        self.jobs.retain(|job, deleted| stored.position(job) != Some(deleted.position));
        self.sessions.retain(|session| !stored.sessions.contains(session));
    }
}
