//! Gives back the room that what was removed has left: what is there is copied into another store, while writes and reads
//! go on, and that one takes the place of the first.
//!
//! ```text
//! log/      the store
//! log.new/  the copy, until it is complete and synced; at a start it is dropped if `log/` is there
//! log.old/  what `log/` was; it is dropped
//! ```
//!
//! In between there is no `log/` for an instant: then `log.new/` is complete, and takes its place at the start.

use super::{
    Apart, BTreeSet, Bound, Call, DESCRIPTORS, Direction, Folder, Ordering, SledStorage, Space, Storage as _,
    StorageError, Store, Write, durable, guarded, until_let_go,
};
use std::{fs, mem, path::Path};

/// How many entries are copied at once: up to 1 MiB of frames.
const ENTRIES_AT_ONCE: usize = 16;
/// So many changed keys are copied while everybody waits.
const CHANGED_MAX: usize = 128;
/// How often what has changed meanwhile is copied with nobody waiting, where more and more does.
const ROUNDS_MAX: usize = 32;
/// The copy is flushed after so much, so that not all of it is in memory, in bytes.
const FLUSH_BYTES: usize = 32 << 20;

impl SledStorage {
    /// Rewrites the store, without one space where one is given.
    pub(super) fn rewrite_store(&self, without: Option<Space>) -> Result<(), StorageError> {
        let _one = self.rewriting.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if self.failed.load(Ordering::Relaxed) {
            let failed = std::io::Error::other("a write failed before; restart first");
            return Err(StorageError::io("rewriting the store", failed));
        }
        if !Path::new(DESCRIPTORS).exists() {
            let missing = std::io::Error::new(std::io::ErrorKind::Unsupported, format!("{DESCRIPTORS} is not there"));
            return Err(StorageError::io("rewriting the store", missing));
        }
        let path = self.folder.new_store();
        remove(&path)?;
        self.turn().changed = Some(BTreeSet::new());
        let copied = self.copy_store(&path, without);
        self.turn().changed = None;
        let old = match copied {
            Ok(old) => old,
            Err(error) => {
                let _ = remove(&path);
                return Err(error);
            }
        };
        // sled lets go of it in a thread of its own.
        let path = self.folder.old_store();
        let Store { trees, turnover, apart, db, file, _folder: folder } = old;
        drop((trees, turnover, apart, db, file));
        until_let_go(&path);
        drop(folder);
        remove(&path)
    }

    /// Copies the store into the folder `path`, and puts that in its place. Gives the one it was.
    fn copy_store(&self, path: &Path, without: Option<Space>) -> Result<Store, StorageError> {
        let (new, mut turn_of_new) = Store::open(path, &self.options)?;
        let mut copy = Copy { new: &new, apart: &mut turn_of_new.apart, bytes: 0 };
        for space in Space::ALL.into_iter().filter(|space| Some(*space) != without) {
            let mut from = Bound::Unbounded;
            loop {
                let entries = self.scan(space, from, Bound::Unbounded, Direction::Forward, ENTRIES_AT_ONCE)?;
                let Some((last, _)) = entries.last() else { break };
                from = Bound::Excluded(last.clone());
                self.check_space(entries.iter().map(|(_, value)| value.len() as u64).sum())?;
                for (key, value) in entries {
                    copy.write(Write { space, key, value: Some(value) })?;
                }
            }
        }
        for _ in 0..ROUNDS_MAX {
            let changed = match &mut self.turn().changed {
                Some(changed) if changed.len() > CHANGED_MAX => mem::take(changed),
                _ => break,
            };
            copy.changed(&self.store(), changed)?;
        }
        copy.flush()?;
        let mut turn = self.turn();
        let mut store = self.store_alone();
        copy.changed(&store, turn.changed.take().unwrap_or_default())?;
        copy.flush()?;
        durable::after_flush(&new.file).map_err(|error| StorageError::io("syncing the rewritten store", error))?;
        Folder::sync_entries(path)?;
        self.folder.take_new_store()?;
        *turn = turn_of_new;
        self.unflushed.store(false, Ordering::Relaxed);
        Ok(mem::replace(&mut *store, new))
    }
}

/// The copy as it is being made.
struct Copy<'a> {
    new: &'a Store,
    apart: &'a mut Apart,
    /// Written since the last flush.
    bytes: usize,
}

impl Copy<'_> {
    fn write(&mut self, write: Write) -> Result<(), StorageError> {
        self.bytes += write.value.as_ref().map_or(0, Vec::len);
        guarded("rewriting the store", || self.new.write(self.apart, write))?;
        if self.bytes >= FLUSH_BYTES { self.flush() } else { Ok(()) }
    }

    /// Copies what stands under these keys now.
    fn changed(&mut self, old: &Store, keys: BTreeSet<(Space, Vec<u8>)>) -> Result<(), StorageError> {
        for (space, key) in keys {
            let value = guarded("reading", || old.get(space, &key))?;
            self.write(Write { space, key, value })?;
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<(), StorageError> {
        let _call = Call::begin();
        self.bytes = 0;
        guarded("flushing the rewritten store", || {
            self.new.db.flush()?;
            self.new.turnover.moved(FLUSH_BYTES as u64, false)
        })
    }
}

fn remove(folder: &Path) -> Result<(), StorageError> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(StorageError::io(format!("removing {}", folder.display()), error))
        }
        _ => Ok(()),
    }
}
