//! What keeps a log in order, through its handle: streams are removed, the store is rewritten, backups are made.

use super::{Backup, BackupUnderWay, Log, ReadError, Removal, Still, shared::lock};
use crate::time::Timestamp;
use std::sync::atomic::Ordering;

impl Log {
    /// The right to remove streams, when whoever else removes some is done.
    ///
    /// # Errors
    /// Where a backup is being read.
    pub async fn begin_removal(&self) -> Result<Removal, BackupUnderWay> {
        self.shared.begin_removal().await
    }

    /// Keeps streams from being removed, as long as what this gives lives.
    pub async fn hold_still(&self) -> Still {
        self.shared.hold_still().await
    }

    /// The log as it is now, as one stream of bytes. Nothing is removed from it meanwhile; appends go on.
    pub async fn backup(&self) -> Backup {
        let still = self.hold_still().await;
        Backup::new(self.shared.clone(), still)
    }

    /// The time of the last event; the earliest of all where there is none.
    pub fn last_time(&self) -> Timestamp {
        lock(&self.shared.sequencer).last_time()
    }

    /// Whether retention ever removed something.
    pub fn has_gaps(&self) -> bool {
        self.shared.has_gaps.load(Ordering::Acquire)
    }

    /// What the last removal that was carried out was given as `through`; 0 where there was none.
    ///
    /// # Errors
    /// Where it cannot be read.
    pub fn removed_through(&self) -> Result<u64, ReadError> {
        Ok(self.shared.removed_through()?)
    }

    /// About how much was removed since the store was last rewritten, in bytes.
    ///
    /// # Errors
    /// Where it cannot be read.
    pub fn removed_bytes(&self) -> Result<u64, ReadError> {
        Ok(self.shared.removed_bytes()?)
    }

    /// Whether [`Removal::sweep`] has something to look for.
    ///
    /// # Errors
    /// Where it cannot be read.
    pub fn is_unswept(&self) -> Result<bool, ReadError> {
        Ok(self.shared.is_unswept()?)
    }

    /// Rewrites the store without what was removed from it, so that the disk gets its room back. Blocks; appends and reads
    /// go on meanwhile, but for a moment.
    ///
    /// # Errors
    /// Where the storage fails: then it is as it was.
    pub fn rewrite(&self) -> Result<(), ReadError> {
        Ok(self.shared.rewrite()?)
    }
}
