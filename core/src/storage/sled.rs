//! Storage on sled. The only file that names it.
//!
//! What was learned about sled 0.34, and is heeded here:
//! - `flush()` ends in `sync_file_range` on Linux, which outlives no power cut: `sync` calls `sync_data` on sled's file
//!   behind it. `flush_every_ms` is off, for the log alone decides when to flush.
//! - It panics on damaged bytes, on opening and on reading: panics become errors here.
//! - When a write fails, whoever waits in `flush` is only woken if no other thread was writing at that moment: writes
//!   and flushes take turns.
//! - A leaf holds up to 17 values, and is rewritten in whole now and then; written larger than a quarter of a segment it
//!   becomes a file of its own. Hence the segments of 4 MiB for values of up to 56 KiB.

//! - Its cache evicts nothing before each of its 256 shards was accessed 64 times, whatever the pages take: with pages of
//!   300 KB, reading a log through once would keep all of it in memory. So for every bit that is read or written a page
//!   of the otherwise useless tree `turnover` is accessed, in turns; its pages are spread over all shards.

use super::{Direction, Entry, Space, Storage, StorageError, Write, folder::Folder, interface::is_empty};
use std::{
    fs::File,
    io,
    ops::Bound,
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

const SEGMENT_BYTES: usize = 4 << 20;
/// How many keys the tree `turnover` has: with eight or nine in a page, its pages are more than the shards.
const TURNOVER_KEYS: u64 = 2816;
/// Has no divisor in common with the number of keys, and takes each next one from another page.
const TURNOVER_STEP: u64 = 9;
/// After how many bytes read the next is accessed.
const TURNOVER_READ_BYTES: u64 = 1 << 10;
/// A written byte counts for less: its page is accessed often while it is written.
const TURNOVER_WRITTEN_SHARE: u64 = 8;
/// A value that is read alone brings its page's others along.
const NEIGHBOURS: u64 = 8;

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
pub struct SledStorage {
    // Dropped in this order: the folder's lock goes last.
    trees: [sled::Tree; Space::ALL.len()],
    turnover: sled::Tree,
    /// How many bytes were moved in all.
    moved_bytes: AtomicU64,
    db: sled::Db,
    file: File,
    turn: Mutex<()>,
    _folder: Folder,
}

/// Opens the data folder `dir`, or makes it.
///
/// # Errors
/// Where another server has it, a newer version wrote it, it is damaged, or it cannot be read or written.
pub fn open_sled(dir: &Path, options: SledOptions) -> Result<Arc<SledStorage>, StorageError> {
    let folder = Folder::open(dir)?;
    let store = folder.store();
    let (db, trees, turnover) = guarded("opening the store", || {
        let db = sled::Config::new()
            .path(&store)
            .cache_capacity(options.cache_bytes)
            .segment_size(SEGMENT_BYTES)
            .flush_every_ms(None)
            .open()?;
        let [frames, blobs, index, snapshots, meta] = Space::ALL.map(|space| db.open_tree(space.name()));
        let turnover = db.open_tree("turnover")?;
        if turnover.get(turnover_key(TURNOVER_KEYS - 1))?.is_none() {
            for key in 0..TURNOVER_KEYS {
                turnover.insert(turnover_key(key), &[])?;
            }
        }
        Ok((db, [frames?, blobs?, index?, snapshots?, meta?], turnover))
    })?;
    let path = store.join("db");
    let file = File::open(&path).map_err(|error| StorageError::io(format!("cannot open {}", path.display()), error))?;
    Folder::sync_entries(&store)?;
    Folder::sync_entries(dir)?;
    Ok(Arc::new(SledStorage {
        trees,
        turnover,
        moved_bytes: AtomicU64::new(0),
        db,
        file,
        turn: Mutex::new(()),
        _folder: folder,
    }))
}

impl SledStorage {
    fn tree(&self, space: Space) -> &sled::Tree {
        &self.trees[space as usize]
    }

    /// Lets the cache evict in proportion to what was moved through it.
    fn turn_over(&self, bytes: u64) -> sled::Result<()> {
        let before = self.moved_bytes.fetch_add(bytes, Ordering::Relaxed);
        for touch in before / TURNOVER_READ_BYTES..(before + bytes) / TURNOVER_READ_BYTES {
            self.turnover.get(turnover_key(touch * TURNOVER_STEP % TURNOVER_KEYS))?;
        }
        Ok(())
    }

    fn turn(&self) -> MutexGuard<'_, ()> {
        self.turn.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Storage for SledStorage {
    fn write(&self, batch: Vec<Write>) -> Result<(), StorageError> {
        let _turn = self.turn();
        guarded("writing", || {
            let mut bytes = 0;
            for Write { space, key, value } in batch {
                bytes += value.as_ref().map_or(0, Vec::len) as u64;
                match value {
                    Some(value) => self.tree(space).insert(key, value)?,
                    None => self.tree(space).remove(key)?,
                };
            }
            self.turn_over(bytes / TURNOVER_WRITTEN_SHARE)
        })
    }

    fn sync(&self) -> Result<(), StorageError> {
        let turn = self.turn();
        guarded("flushing", || self.db.flush())?;
        drop(turn);
        self.file.sync_data().map_err(|error| StorageError::io("syncing", error))
    }

    fn get(&self, space: Space, key: &[u8]) -> Result<Option<Vec<u8>>, StorageError> {
        guarded("reading", || {
            let value = self.tree(space).get(key)?.map(|value| value.to_vec());
            self.turn_over(NEIGHBOURS * value.as_ref().map_or(0, Vec::len) as u64)?;
            Ok(value)
        })
    }

    fn scan(
        &self,
        space: Space,
        from: Bound<Vec<u8>>,
        to: Bound<Vec<u8>>,
        direction: Direction,
        limit: usize,
    ) -> Result<Vec<Entry>, StorageError> {
        if is_empty(&from, &to) {
            return Ok(Vec::new());
        }
        let entry =
            |entry: sled::Result<(sled::IVec, sled::IVec)>| entry.map(|(key, value)| (key.to_vec(), value.to_vec()));
        guarded("reading", || {
            let range = self.tree(space).range((from, to));
            let entries: Vec<Entry> = match direction {
                Direction::Forward => range.take(limit).map(entry).collect::<sled::Result<_>>()?,
                Direction::Backward => range.rev().take(limit).map(entry).collect::<sled::Result<_>>()?,
            };
            let bytes = entries.iter().map(|(_, value)| value.len() as u64).sum::<u64>();
            self.turn_over(if limit == 1 { NEIGHBOURS * bytes } else { bytes })?;
            Ok(entries)
        })
    }

    fn bytes_on_disk(&self) -> Result<u64, StorageError> {
        guarded("measuring", || self.db.size_on_disk())
    }
}

fn turnover_key(key: u64) -> [u8; 8] {
    key.to_be_bytes()
}

/// Does something with sled, and makes errors of what it says and of its panics.
fn guarded<T>(doing: &str, act: impl FnOnce() -> sled::Result<T>) -> Result<T, StorageError> {
    match catch_unwind(AssertUnwindSafe(act)) {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) => Err(translated(doing, error)),
        Err(panic) => {
            let text =
                panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied());
            Err(StorageError::Damaged(format!("{doing} failed: {}", text.unwrap_or("the store panicked"))))
        }
    }
}

fn translated(doing: &str, error: sled::Error) -> StorageError {
    match error {
        sled::Error::Io(source) => StorageError::io(doing, source),
        sled::Error::Corruption { at, .. } => match at {
            Some(at) => StorageError::Damaged(format!("{doing} failed at {at:?}")),
            None => StorageError::Damaged(format!("{doing} failed")),
        },
        other => StorageError::io(doing, io::Error::other(other.to_string())),
    }
}
