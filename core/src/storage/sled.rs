//! Storage on sled. The only file that names it.

use super::{Direction, Entry, Space, Storage, StorageError, Write};
use std::{ops::Bound, path::Path, sync::Arc};

/// How sled is set up.
#[derive(Debug, Clone)]
pub struct SledOptions {
    /// How much of the stored pages stay in memory, in bytes.
    pub cache_bytes: u64,
}

impl Default for SledOptions {
    fn default() -> Self {
        Self { cache_bytes: 8 << 20 }
    }
}

/// Storage on sled, in a folder that nobody else has open.
#[derive(Debug)]
pub struct SledStorage {}

/// Opens the data folder `dir`, or makes it.
///
/// # Errors
/// Where another server has it, a newer version wrote it, it is damaged, or it cannot be read or written.
pub fn open_sled(_dir: &Path, _options: SledOptions) -> Result<Arc<SledStorage>, StorageError> {
    todo!()
}

impl Storage for SledStorage {
    fn write(&self, _batch: Vec<Write>) -> Result<(), StorageError> {
        todo!()
    }
    fn sync(&self) -> Result<(), StorageError> {
        todo!()
    }
    fn get(&self, _space: Space, _key: &[u8]) -> Result<Option<Vec<u8>>, StorageError> {
        todo!()
    }
    fn scan(
        &self,
        _space: Space,
        _from: Bound<Vec<u8>>,
        _to: Bound<Vec<u8>>,
        _direction: Direction,
        _limit: usize,
    ) -> Result<Vec<Entry>, StorageError> {
        todo!()
    }
    fn bytes_on_disk(&self) -> Result<u64, StorageError> {
        todo!()
    }
}
