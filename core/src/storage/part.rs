//! The part of a storage that stands before a frame, to be read: nothing is written to it, and nothing is seen of what is derived, which may
//! tell of more.

use super::{Direction, Entry, Space, Storage, StorageError, Write};
use std::{io, ops::Bound, sync::Arc};

/// See the module.
pub struct Part {
    whole: Arc<dyn Storage>,
    /// The first frame that is not seen.
    end: Vec<u8>,
    /// Why nothing is written.
    why: String,
}

impl Part {
    /// What stands in `whole` before the frame under the key `end`. `why`: it is not all.
    pub fn new(whole: Arc<dyn Storage>, end: Vec<u8>, why: String) -> Self {
        Self { whole, end, why }
    }

    fn refusal(&self) -> StorageError {
        StorageError::io("writing", io::Error::new(io::ErrorKind::ReadOnlyFilesystem, self.why.clone()))
    }
}

const fn is_derived(space: Space) -> bool {
    matches!(space, Space::Index | Space::Snapshots)
}

impl Storage for Part {
    fn write(&self, _batch: Vec<Write>) -> Result<(), StorageError> {
        Err(self.refusal())
    }

    fn sync(&self) -> Result<(), StorageError> {
        Err(self.refusal())
    }

    fn get(&self, space: Space, key: &[u8]) -> Result<Option<Vec<u8>>, StorageError> {
        if is_derived(space) || (space == Space::Frames && *key >= *self.end) {
            return Ok(None);
        }
        self.whole.get(space, key)
    }

    fn scan(
        &self,
        space: Space,
        from: Bound<Vec<u8>>,
        to: Bound<Vec<u8>>,
        direction: Direction,
        limit: usize,
    ) -> Result<Vec<Entry>, StorageError> {
        if is_derived(space) {
            return Ok(Vec::new());
        }
        let to = match to {
            Bound::Included(key) | Bound::Excluded(key) if space == Space::Frames && key >= self.end => {
                Bound::Excluded(self.end.clone())
            }
            Bound::Unbounded if space == Space::Frames => Bound::Excluded(self.end.clone()),
            to => to,
        };
        self.whole.scan(space, from, to, direction, limit)
    }

    fn rewrite(&self) -> Result<(), StorageError> {
        Err(self.refusal())
    }

    fn bytes_on_disk(&self) -> Result<u64, StorageError> {
        self.whole.bytes_on_disk()
    }
}
