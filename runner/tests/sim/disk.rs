//! The disk of one life: memory that fails and loses its power when the seed says so.

use crate::world::World;
use moonlog_core::storage::{Direction, Entry, Fault, MemoryStorage, Space, Storage, StorageError, Write};
use std::{
    io,
    ops::Bound,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};
use tokio::sync::Notify;

pub struct Disk {
    world: Arc<World>,
    memory: MemoryStorage,
    state: Mutex<State>,
    died: Notify,
}

#[derive(Default)]
struct State {
    /// How many single writes and syncs are left until the power fails.
    power_fails_after: Option<u64>,
    /// What was left when it did.
    left: Option<MemoryStorage>,
    /// Whether something is made to fail.
    is_faulty: bool,
    /// Up to which position everything was synced that the log was ever told so.
    operations: u64,
}

impl Disk {
    pub fn new(world: Arc<World>, memory: MemoryStorage) -> Self {
        Self { world, memory, state: Mutex::default(), died: Notify::new() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets the power fail after so many operations.
    pub fn fail_power_after(&self, operations: u64) {
        self.state().power_fails_after = Some(operations);
    }

    /// Lets writes or syncs fail.
    pub fn inject(&self, fault: Fault, after: u64) {
        self.state().is_faulty = true;
        self.memory.inject(fault, after);
    }

    pub fn is_faulty(&self) -> bool {
        self.state().is_faulty
    }

    /// Returns when the power has failed.
    pub async fn died(&self) {
        self.died.notified().await;
    }

    pub fn is_dead(&self) -> bool {
        self.state().left.is_some()
    }

    /// What is left: after a power cut, if it was none already. `whole`: the server alone has ended, and all that was written is
    /// there.
    pub fn leave(&self, whole: bool) -> MemoryStorage {
        self.fail_power(whole);
        self.state().left.take().expect("the power has failed")
    }

    fn fail_power(&self, whole: bool) {
        let unsynced = self.memory.unsynced();
        let kept = if whole { unsynced } else { self.world.below(unsynced as u64 + 1) as usize };
        let mut state = self.state();
        if state.left.is_none() {
            state.left = Some(self.memory.after_power_cut(kept));
        }
    }

    /// Counts an operation. Whether there is power for it.
    fn count(&self) -> Result<(), StorageError> {
        let fails = {
            let mut state = self.state();
            if state.left.is_some() {
                return Err(dead());
            }
            state.operations += 1;
            match &mut state.power_fails_after {
                Some(0) => true,
                Some(left) => {
                    *left -= 1;
                    false
                }
                None => false,
            }
        };
        if fails {
            self.fail_power(false);
            self.died.notify_one();
            return Err(dead());
        }
        Ok(())
    }
}

fn dead() -> StorageError {
    StorageError::Io { doing: "without power".into(), source: io::ErrorKind::Other.into() }
}

impl Storage for Disk {
    fn write(&self, batch: Vec<Write>) -> Result<(), StorageError> {
        for write in batch {
            self.count()?;
            self.memory.write(vec![write])?;
        }
        Ok(())
    }

    fn sync(&self) -> Result<(), StorageError> {
        self.count()?;
        self.memory.sync()?;
        // It may be done, and nobody is told of it.
        self.count()
    }

    fn get(&self, space: Space, key: &[u8]) -> Result<Option<Vec<u8>>, StorageError> {
        self.memory.get(space, key)
    }

    fn scan(
        &self,
        space: Space,
        from: Bound<Vec<u8>>,
        to: Bound<Vec<u8>>,
        direction: Direction,
        limit: usize,
    ) -> Result<Vec<Entry>, StorageError> {
        self.memory.scan(space, from, to, direction, limit)
    }

    fn bytes_on_disk(&self) -> Result<u64, StorageError> {
        self.memory.bytes_on_disk()
    }
}
