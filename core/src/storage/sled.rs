//! Storage on sled. The only file that names it; the parts in `sled/` know a tree from here.
//!
//! What was learned about sled 0.34, and is heeded here:
//! - `flush()` ends in `sync_file_range` on Linux, which outlives no power cut: see `durable`. `flush_every_ms` is off, for the
//!   log alone decides when to flush.
//! - It panics on damaged bytes, on opening and on reading: panics become errors here.
//! - When a write fails, whoever waits in `flush` is only woken if no other thread was writing at that moment: writes
//!   and flushes take turns.
//! - A leaf that has become too large is split by whoever visits it next, be it to read; after a failed write it cannot be,
//!   and then not even be read. So each key is visited right after it was written.
//! - Pages that are moved within the file while a write fails cannot be read afterwards, wherever they stand. So it is
//!   not left to sled to find out that the disk is full.
//! - A leaf holds up to 17 values. It is rewritten in whole with each tenth change, and when it is split: what is appended
//!   to a tree is written three to five times. So frames and blobs are stored apart, in a tree whose leaves are split
//!   before anything large is in them; the value under the key itself is a number. See [`Apart`].
//! - A leaf that is written larger than a quarter of a segment becomes a file of its own. Hence the segments of 4 MiB for
//!   values of up to 56 KiB.
//! - Room in its file is used again for what is written later, and the file grows no shorter: what was removed is given
//!   back by writing the rest anew, into another store that takes this one's place. See `rewrite`.
//! - Its cache evicts nothing before each of its 256 shards was accessed 64 times, whatever the pages take: with pages of
//!   300 KB, reading a log through once would keep all of it in memory. So it is made to, see [`Turnover`].

mod apart;
mod durable;
mod panics;
mod rewrite;
mod store;
#[cfg(test)]
mod tests;
mod turnover;

use self::{apart::Apart, store::Store};
use super::{
    Direction, Entry, Space, Storage, StorageError, Write,
    ballast::Ballast,
    folder::Folder,
    idle_threads::{Call, send_to_rest},
    interface::is_empty,
    page_table,
    room::Room,
};
use ::sled::{Db, Error, IVec, Result as StoreResult, Tree};
use nix::sys::statvfs::fstatvfs;
use std::{
    collections::BTreeSet,
    fs::File,
    io,
    ops::Bound,
    path::Path,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

const SEGMENT_BYTES: usize = 4 << 20;
/// How much of the disk a written byte may take, since pages are rewritten.
const WRITE_AMPLIFICATION: u64 = 4;
/// Room is made only where it is a small part of what is free: one part in so many.
const ROOM_MAX_PART: u64 = 64;
/// How long closing may take to let go of the store's file.
const LET_GO_MAX: Duration = Duration::from_secs(2);
/// Where a process's open files are found by their numbers.
const DESCRIPTORS: &str = "/proc/self/fd";
/// How many entries are deleted at once where a space is cleared.
const CLEARED_AT_ONCE: usize = 256;
/// A value that is read alone brings its page's others along.
const NEIGHBOURS: u64 = 8;

/// How sled is set up.
#[derive(Debug, Clone)]
pub struct SledOptions {
    /// How much of the stored pages stay in memory, in bytes.
    pub cache_bytes: u64,
    /// How much of the disk must stay free, in bytes: what would leave less is refused before it is written. As much again
    /// is held in a file, to be given up where the store cannot be opened on a full disk.
    pub reserve_bytes: u64,
}

impl Default for SledOptions {
    fn default() -> Self {
        Self { cache_bytes: 8 << 20, reserve_bytes: 8 << 20 }
    }
}

/// What is needed to write.
#[derive(Debug)]
struct Turn {
    apart: Apart,
    room: Room,
    /// Which keys were written since the store began to be rewritten, while it is.
    changed: Option<BTreeSet<(Space, Vec<u8>)>>,
}

/// Storage on sled, in a folder that nobody else has open.
#[derive(Debug)]
pub struct SledStorage {
    // Dropped in this order: the folder's lock goes last.
    /// Held by each that reads, and alone by who writes to the file behind sled's back or puts another in its place.
    store: RwLock<Store>,
    /// Whether something was written and not flushed yet.
    unflushed: AtomicBool,
    /// Whether a write or a flush failed. What could not be written is in the cache alone then, with what is durable in
    /// the same pages: it must stay there to be read.
    failed: AtomicBool,
    /// Whether the store stands beside the one that was damaged.
    rescued: AtomicBool,
    options: SledOptions,
    /// Locked before the store where both are.
    turn: Mutex<Turn>,
    rewriting: Mutex<()>,
    folder: Folder,
}

/// Opens the data folder `dir`, or makes it.
///
/// # Errors
/// Where another server has it, a newer version wrote it, it is damaged, or it cannot be read or written.
pub fn open_sled(dir: &Path, options: SledOptions) -> Result<Arc<SledStorage>, StorageError> {
    panics::tell_in_a_line();
    let folder = Folder::open(dir)?;
    let path = folder.store();
    let dropped =
        page_table::drop_damaged(&path).map_err(|error| StorageError::io("reading the table of pages", error))?;
    for table in dropped {
        tracing::warn!(table = %table.display(), "a damaged table of pages was dropped; it is made anew from the store");
    }
    let ballast = Ballast::of(dir);
    let mut rescued = false;
    let (store, turn) = match Store::open(&path, &options) {
        Err(error) if error.is_disk_full() && ballast.drop_it() => {
            tracing::warn!(%error, "the disk is full: the room that was kept for this is used");
            Store::open(&path, &options)?
        }
        Err(StorageError::Damaged(what)) if page_table::is_there(&path) => {
            rescued = true;
            Store::rescued(&folder, &options).map_err(|_| StorageError::Damaged(what))?
        }
        opened => opened?,
    };
    let settled = free_bytes(&store.file).and_then(|free| {
        ballast.take(options.reserve_bytes, free);
        Folder::sync_entries(&path)?;
        Folder::sync_entries(dir)
    });
    if let Err(error) = settled {
        // It panics where its last write fails.
        let _ = guarded("closing the store", || {
            drop((store, turn));
            Ok(())
        });
        return Err(error);
    }
    Ok(Arc::new(SledStorage {
        store: RwLock::new(store),
        unflushed: AtomicBool::new(false),
        failed: AtomicBool::new(false),
        rescued: AtomicBool::new(rescued),
        options,
        turn: Mutex::new(turn),
        rewriting: Mutex::default(),
        folder,
    }))
}

/// How much is free on the disk that `file` is on.
fn free_bytes(file: &File) -> Result<u64, StorageError> {
    let space = fstatvfs(file).map_err(|error| StorageError::io("measuring the disk", error.into()))?;
    Ok((space.blocks_available() as u64).saturating_mul(space.fragment_size() as u64))
}

/// The folder is ours alone, so if sled's file is still locked, then by what this process closed a moment ago: sled lets
/// go of it in a thread of its own.
fn open_when_free(store: &Path, options: &SledOptions) -> StoreResult<Db> {
    let until = Instant::now() + LET_GO_MAX;
    loop {
        let opened = sled::Config::new()
            .path(store)
            .cache_capacity(options.cache_bytes)
            .segment_size(SEGMENT_BYTES)
            .flush_every_ms(None)
            .open();
        match opened {
            // That is all it says.
            Err(Error::Io(error)) if error.to_string().contains("could not acquire lock") && Instant::now() < until => {
                thread::sleep(Duration::from_millis(2));
            }
            opened => return opened,
        }
    }
}

/// Returns when sled has let go of the store in the folder `path`, or when that takes too long.
fn until_let_go(path: &Path) {
    let until = Instant::now() + LET_GO_MAX;
    while File::open(path.join("db")).is_ok_and(|file| file.try_lock().is_err()) && Instant::now() < until {
        thread::sleep(Duration::from_millis(2));
    }
}

impl SledStorage {
    /// Lets the cache evict in proportion to what was moved through it. What is not flushed is left there if possible:
    /// were the flush to fail, it could not be read back, nor could what is durable in the same pages.
    fn turn_over(&self, store: &Store, bytes: u64) -> StoreResult<()> {
        if self.failed.load(Ordering::Relaxed) {
            return Ok(());
        }
        store.turnover.moved(bytes, self.unflushed.load(Ordering::Relaxed))
    }

    /// Refuses a write of `bytes` that may not fit the disk.
    fn check_space(&self, bytes: u64) -> Result<(), StorageError> {
        let free = free_bytes(&self.store().file)?;
        let reserve_bytes = self.options.reserve_bytes;
        if free >= reserve_bytes.saturating_add(WRITE_AMPLIFICATION * bytes) {
            return Ok(());
        }
        let left = format!("no space left on the disk: {free} bytes are free, and {reserve_bytes} stay in reserve");
        Err(StorageError::io("writing", io::Error::new(io::ErrorKind::StorageFull, left)))
    }

    fn clear_by_key(&self, space: Space) -> Result<(), StorageError> {
        loop {
            let entries = self.scan(space, Bound::Unbounded, Bound::Unbounded, Direction::Forward, CLEARED_AT_ONCE)?;
            if entries.is_empty() {
                return self.sync();
            }
            self.write(entries.into_iter().map(|(key, _)| Write::delete(space, key)).collect())?;
        }
    }

    fn noted<T>(&self, result: Result<T, StorageError>) -> Result<T, StorageError> {
        if result.is_err() {
            self.failed.store(true, Ordering::Relaxed);
        }
        result
    }

    fn turn(&self) -> MutexGuard<'_, Turn> {
        self.turn.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn store(&self) -> RwLockReadGuard<'_, Store> {
        self.store.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn store_alone(&self) -> RwLockWriteGuard<'_, Store> {
        self.store.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes room at the end of sled's file, where there is little left and nothing is on its way there.
    fn make_room(&self) -> Result<(), StorageError> {
        let mut turn = self.turn();
        if self.unflushed.load(Ordering::Relaxed) || self.failed.load(Ordering::Relaxed) || !turn.room.is_short() {
            return Ok(());
        }
        let store = self.store_alone();
        if free_bytes(&store.file)? < self.options.reserve_bytes + ROOM_MAX_PART * Room::step_bytes() {
            return Ok(());
        }
        // Readers may have made it write as well.
        let call = Call::begin();
        self.noted(guarded("flushing", || store.db.flush()))?;
        drop(call);
        turn.room.make();
        Ok(())
    }
}

impl Storage for SledStorage {
    fn write(&self, batch: Vec<Write>) -> Result<(), StorageError> {
        let bytes = batch.iter().map(|write| write.value.as_ref().map_or(0, Vec::len) as u64).sum();
        self.check_space(bytes)?;
        let mut turn = self.turn();
        let store = self.store();
        let _call = Call::begin();
        self.unflushed.store(true, Ordering::Relaxed);
        let Turn { apart, changed, .. } = &mut *turn;
        if let Some(changed) = changed {
            changed.extend(batch.iter().map(|write| (write.space, write.key.clone())));
        }
        let result = guarded("writing", || {
            batch.into_iter().try_for_each(|write| store.write(apart, write))?;
            self.turn_over(&store, bytes)
        });
        self.noted(result)
    }

    fn sync(&self) -> Result<(), StorageError> {
        let mut turn = self.turn();
        let store = self.store();
        let call = Call::begin();
        let written = self.noted(guarded("flushing", || store.db.flush()))?;
        drop(call);
        turn.room.count(written as u64);
        self.unflushed.store(false, Ordering::Relaxed);
        drop(turn);
        durable::after_flush(&store.file).map_err(|error| StorageError::io("syncing", error))
    }

    fn tidy(&self) -> Result<(), StorageError> {
        self.make_room()?;
        let store = self.store();
        guarded("reading", || self.turn_over(&store, 0))
    }

    fn get(&self, space: Space, key: &[u8]) -> Result<Option<Vec<u8>>, StorageError> {
        let store = self.store();
        guarded("reading", || {
            let value = store.get(space, key)?;
            self.turn_over(&store, NEIGHBOURS * value.as_ref().map_or(0, Vec::len) as u64)?;
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
        let store = self.store();
        let entry = |entry: StoreResult<(IVec, IVec)>| {
            let read = entry.and_then(|(key, stored)| Ok((store.value(space, &key, stored)?, key)));
            read.map(|(value, key)| value.map(|value| (key.to_vec(), value))).transpose()
        };
        guarded("reading", || {
            let range = store.tree(space).range((from, to));
            let entries: Vec<Entry> = match direction {
                Direction::Forward => range.filter_map(entry).take(limit).collect::<StoreResult<_>>()?,
                Direction::Backward => range.rev().filter_map(entry).take(limit).collect::<StoreResult<_>>()?,
            };
            let bytes = entries.iter().map(|(_, value)| value.len() as u64).sum::<u64>();
            self.turn_over(&store, if limit == 1 { NEIGHBOURS * bytes } else { bytes })?;
            Ok(entries)
        })
    }

    fn rewrite(&self) -> Result<(), StorageError> {
        self.rewrite_store(None)
    }

    fn clear(&self, space: Space) -> Result<(), StorageError> {
        let cleared = self.clear_by_key(space);
        match cleared {
            // What cannot be read cannot be deleted either: all but it is written anew.
            Err(StorageError::Damaged(what)) => {
                tracing::warn!(what, space = space.name(), "the store is rewritten without what is damaged in it");
                self.failed.store(false, Ordering::Relaxed);
                self.accept_rescue()?;
                self.rewrite_store(Some(space))
            }
            cleared => cleared,
        }
    }

    fn is_rescued(&self) -> bool {
        self.rescued.load(Ordering::Relaxed)
    }

    fn accept_rescue(&self) -> Result<(), StorageError> {
        if self.rescued.swap(false, Ordering::Relaxed) {
            self.sync()?;
            self.folder.take_new_store()?;
        }
        Ok(())
    }

    fn bytes_on_disk(&self) -> Result<u64, StorageError> {
        guarded("measuring", || self.store().db.size_on_disk())
    }

    fn note_head(&self, position: u64) {
        self.folder.note_head(position);
    }

    fn noted_head(&self) -> Option<u64> {
        self.folder.noted_head()
    }
}

/// Whether what stands under a key of `space` is the number of the value.
const fn is_apart(space: Space) -> bool {
    matches!(space, Space::Frames | Space::Blobs)
}

/// Does something with sled, and makes errors of what it says and of its panics.
fn guarded<T>(doing: &str, act: impl FnOnce() -> StoreResult<T>) -> Result<T, StorageError> {
    match panics::caught(act) {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) => Err(translated(doing, error)),
        Err(panic) => Err(StorageError::Damaged(format!("{doing} failed: {panic}"))),
    }
}

fn translated(doing: &str, error: Error) -> StorageError {
    match error {
        Error::Io(source) => StorageError::io(doing, source),
        Error::Corruption { at, .. } => match at {
            Some(at) => StorageError::Damaged(format!("{doing} failed at {at:?}")),
            None => StorageError::Damaged(format!("{doing} failed")),
        },
        other => StorageError::io(doing, io::Error::other(other.to_string())),
    }
}
