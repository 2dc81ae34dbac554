//! Walks the whole log and checks what can be checked.

use super::{Damage, ReadError};
use crate::{id::Hash, storage::Storage};

/// What a verification found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifyReport {
    /// The last event's position.
    pub head: u64,
    /// Events that were read.
    pub events: u64,
    /// Events that retention removed, whose hashes are still in the chain.
    pub removed: u64,
    /// Record batches that were read.
    pub frames: u64,
    /// Streams that have events.
    pub streams: u64,
    /// Blobs that events name.
    pub blobs: u64,
    /// The last record batch's hash: it vouches for everything before it.
    pub chain: Hash,
    /// What is wrong; nothing in a sound log.
    pub damage: Vec<Damage>,
}

impl VerifyReport {
    /// Whether nothing is wrong.
    pub fn is_sound(&self) -> bool {
        self.damage.is_empty()
    }
}

/// Walks the log that `storage` holds, also one that does not open.
///
/// # Errors
/// Where the storage cannot be read at all. Damage is in the report.
pub fn verify(_storage: &dyn Storage) -> Result<VerifyReport, ReadError> {
    todo!()
}
