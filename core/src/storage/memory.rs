//! Storage in memory, with faults that tests choose.

use super::{Direction, Entry, Space, Storage, StorageError, Write};
use std::ops::Bound;

/// What goes wrong next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Every write from now on fails.
    Write,
    /// Every write from now on fails because the disk is full.
    DiskFull,
    /// Every sync from now on fails.
    Sync,
}

/// Storage in memory.
#[derive(Debug, Default)]
pub struct MemoryStorage {}

impl MemoryStorage {
    /// An empty one.
    pub fn new() -> Self {
        Self::default()
    }
}

impl Storage for MemoryStorage {
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
