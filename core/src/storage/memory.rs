//! Storage in memory, with faults that tests choose: failing writes and syncs, power cuts that lose what was not
//! synced, syncs that hang, and bytes that change by themselves.

use super::{Direction, Entry, Space, Storage, StorageError, Write, interface::is_empty};
use std::{
    collections::BTreeMap,
    io,
    ops::Bound,
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
};

/// What goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// A write fails.
    Write,
    /// A write fails because the disk is full.
    DiskFull,
    /// A sync fails.
    Sync,
}

/// A sorted map for each space, in the order of [`Space::ALL`].
type Map = [BTreeMap<Vec<u8>, Vec<u8>>; Space::ALL.len()];

#[derive(Debug, Default)]
struct State {
    /// What reads see.
    visible: Map,
    /// What a power cut leaves.
    durable: Map,
    /// What was written since the last sync.
    unsynced: Vec<Write>,
    /// The fault that is to come, and after how many more single writes (for [`Fault::Sync`]: syncs).
    fault: Option<(Fault, u64)>,
    syncs_held: bool,
    syncs: u64,
    waiting_syncs: u64,
}

/// Storage in memory.
#[derive(Debug, Default)]
pub struct MemoryStorage {
    state: Mutex<State>,
    released: Condvar,
}

impl MemoryStorage {
    /// An empty one.
    pub fn new() -> Self {
        Self::default()
    }

    /// Lets `fault` happen after `after` more writes of single keys (syncs, for [`Fault::Sync`]) went well, and at
    /// every one from then on. A batch fails in its middle.
    pub fn inject(&self, fault: Fault, after: u64) {
        self.state().fault = Some((fault, after));
    }

    /// Makes syncs hang until [`Self::release_syncs`].
    pub fn hold_syncs(&self) {
        self.state().syncs_held = true;
    }

    /// Lets held syncs go on.
    pub fn release_syncs(&self) {
        self.state().syncs_held = false;
        self.released.notify_all();
    }

    /// Returns when a sync hangs.
    pub fn wait_for_held_sync(&self) {
        let mut state = self.state();
        while state.waiting_syncs == 0 {
            state = self.released.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// How many syncs returned.
    pub fn syncs(&self) -> u64 {
        self.state().syncs
    }

    /// How many writes a power cut may lose now.
    pub fn unsynced(&self) -> usize {
        self.state().unsynced.len()
    }

    /// What is left after a power cut: all that was synced, and the first `kept` of the writes since. This storage
    /// itself stays as it is.
    #[must_use]
    pub fn after_power_cut(&self, kept: usize) -> Self {
        let state = self.state();
        let mut durable = state.durable.clone();
        state.unsynced.iter().take(kept).for_each(|write| apply(&mut durable, write));
        let state = State { visible: durable.clone(), durable, ..State::default() };
        Self { state: Mutex::new(state), released: Condvar::new() }
    }

    /// Changes the stored value of a key behind everyone's back, also on the disk.
    pub fn tamper(&self, space: Space, key: &[u8], change: impl Fn(&mut Vec<u8>)) {
        let mut state = self.state();
        let State { visible, durable, .. } = &mut *state;
        for map in [visible, durable] {
            if let Some(value) = map[space as usize].get_mut(key) {
                change(value);
            }
        }
    }

    /// Every key of a space.
    pub fn keys(&self, space: Space) -> Vec<Vec<u8>> {
        self.state().visible[space as usize].keys().cloned().collect()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Counts one operation, and fails it if its time has come.
    fn count(&mut self, is_sync: bool) -> Result<(), StorageError> {
        let Some((fault, after)) = &mut self.fault else { return Ok(()) };
        if is_sync != (*fault == Fault::Sync) {
            return Ok(());
        }
        if *after > 0 {
            *after -= 1;
            return Ok(());
        }
        let (doing, kind) = match fault {
            Fault::Write => ("write", io::ErrorKind::Other),
            Fault::DiskFull => ("write", io::ErrorKind::StorageFull),
            Fault::Sync => ("sync", io::ErrorKind::Other),
        };
        Err(StorageError::io(doing, kind.into()))
    }
}

fn apply(map: &mut Map, write: &Write) {
    let map = &mut map[write.space as usize];
    match &write.value {
        Some(value) => map.insert(write.key.clone(), value.clone()),
        None => map.remove(&write.key),
    };
}

impl Storage for MemoryStorage {
    fn write(&self, batch: Vec<Write>) -> Result<(), StorageError> {
        let mut state = self.state();
        for write in batch {
            state.count(false)?;
            apply(&mut state.visible, &write);
            state.unsynced.push(write);
        }
        Ok(())
    }

    fn sync(&self) -> Result<(), StorageError> {
        let mut state = self.state();
        let writes = state.unsynced.len();
        state.waiting_syncs += 1;
        self.released.notify_all();
        while state.syncs_held {
            state = self.released.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        state.waiting_syncs -= 1;
        state.count(true)?;
        let State { durable, unsynced, .. } = &mut *state;
        // Somebody else's sync may have taken them meanwhile.
        let writes = writes.min(unsynced.len());
        unsynced.drain(..writes).for_each(|write| apply(durable, &write));
        state.syncs += 1;
        Ok(())
    }

    fn get(&self, space: Space, key: &[u8]) -> Result<Option<Vec<u8>>, StorageError> {
        Ok(self.state().visible[space as usize].get(key).cloned())
    }

    fn scan(
        &self,
        space: Space,
        from: Bound<Vec<u8>>,
        to: Bound<Vec<u8>>,
        direction: Direction,
        limit: usize,
    ) -> Result<Vec<Entry>, StorageError> {
        // `BTreeMap::range` panics on these.
        if is_empty(&from, &to) {
            return Ok(Vec::new());
        }
        let state = self.state();
        let range = state.visible[space as usize].range((from, to));
        let entry = |(key, value): (&Vec<u8>, &Vec<u8>)| (key.clone(), value.clone());
        Ok(match direction {
            Direction::Forward => range.take(limit).map(entry).collect(),
            Direction::Backward => range.rev().take(limit).map(entry).collect(),
        })
    }

    fn bytes_on_disk(&self) -> Result<u64, StorageError> {
        Ok(self.state().durable.iter().flatten().map(|(key, value)| (key.len() + value.len()) as u64).sum())
    }
}
