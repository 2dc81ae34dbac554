//! Which idempotency keys were used, and by which job.

use crate::{
    codec::{Decode, Encode},
    event::JobSubmitted,
    id::{Hash, JobId},
};
use std::{collections::HashMap, sync::Arc};

/// The first use of a key.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct KeyUse {
    /// The job that was submitted under it.
    pub job: JobId,
    /// The hash of that request.
    pub request_hash: Option<Hash>,
}

/// The keys that were used since the last checkpoint; older ones are stored.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct IdempotencyKeys {
    keys: HashMap<Arc<str>, KeyUse>,
}

impl IdempotencyKeys {
    pub(super) fn submitted(&mut self, job: JobId, submitted: &JobSubmitted) {
        if let Some(key) = &submitted.idempotency_key {
            let first = KeyUse { job, request_hash: submitted.request_hash };
            self.keys.entry(key.as_str().into()).or_insert(first);
        }
    }

    /// The first use of `key`.
    pub fn get(&self, key: &str) -> Option<&KeyUse> {
        self.keys.get(key)
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = (&Arc<str>, &KeyUse)> {
        self.keys.iter()
    }

    /// Frees the keys of a job that was deleted.
    pub(super) fn remove(&mut self, job: &JobId) {
        self.keys.retain(|_, first| first.job != *job);
    }

    pub(super) fn forget(&mut self, keys: &Self) {
        self.keys.retain(|key, _| !keys.keys.contains_key(key));
    }
}
