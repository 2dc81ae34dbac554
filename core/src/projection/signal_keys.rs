//! Under which idempotency keys a job was signalled, and with what. Kept beyond the job's end, for those who ask again.

use crate::{
    codec::{Decode, Encode},
    event::JobSignalled,
    id::Hash,
    json::Json,
};
use std::collections::BTreeMap;

/// Hashes of the keys, with those of what was sent under them first.
#[derive(Debug, Clone, Default, PartialEq, Eq, Encode, Decode)]
pub struct SignalKeys(BTreeMap<Hash, Hash>);

impl SignalKeys {
    pub(super) fn signalled(&mut self, key: &str, signal: &JobSignalled) {
        self.0.entry(Hash::of(key.as_bytes())).or_insert_with(|| sent(&signal.name, &signal.payload));
    }

    /// Whether a signal with this key was taken: then whether it was this one.
    pub fn was_this(&self, key: &str, name: &str, payload: &Json) -> Option<bool> {
        self.0.get(&Hash::of(key.as_bytes())).map(|first| *first == sent(name, payload))
    }
}

fn sent(name: &str, payload: &Json) -> Hash {
    Hash::of(format!("{}:{name}{payload}", name.len()).as_bytes())
}
