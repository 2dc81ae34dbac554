//! Which positions a stream's events have. Derived from the frames: built in memory, and written behind the head in pages.
//!
//! ```text
//! 0 u8                                        -> position up to which all pages are there, u64 little-endian
//! 1 u8 · stream · first version u64 big-end.  -> page
//! page = closed u8 · count varint · first position varint · (distance to the next position varint)*(count - 1)
//! ```
//!
//! The position is written after a sync that came after its pages, so it never promises too much. Pages may know more
//! than it says: what is read again at the next start is recognised by its version.

use super::{
    Damage, ReadError,
    record::{Rest, put_stream, put_varint},
    shared::{lock, read_lock, write_lock},
};
use crate::{
    event::{Event, StreamId},
    storage::{Direction, Space, Storage, StorageError, Write},
};
use std::{
    collections::HashMap,
    iter,
    ops::Bound,
    sync::{
        Arc, Mutex, RwLock,
        atomic::{AtomicBool, Ordering},
    },
};

const CHECKPOINT_KEY: [u8; 1] = [0];
const PAGE_PREFIX: u8 = 1;
/// The most positions in a page.
const PAGE_MAX: usize = 512;
/// How many streams are written in one step.
const STEP_STREAMS: usize = 128;
/// How many pages are removed in one step.
const REMOVED_AT_ONCE: usize = 256;

/// The end of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StreamHead {
    /// The last event's version.
    pub version: u64,
    /// The last event's position.
    pub position: u64,
    /// Whether that event ended the stream.
    pub closed: bool,
}

/// See the module.
pub struct Index {
    storage: Arc<dyn Storage>,
    tails: RwLock<Tails>,
    /// Held while pages are written or removed.
    paging: Mutex<()>,
    /// Whether pages count that are stored.
    has_pages: AtomicBool,
}

#[derive(Default)]
struct Tails {
    streams: HashMap<StreamId, Stretch>,
    events: usize,
}

/// Neighbouring versions of one stream: a page, or what is not in pages yet.
struct Stretch {
    first_version: u64,
    positions: Vec<u64>,
    closed: bool,
}

impl Stretch {
    fn head(&self) -> Option<StreamHead> {
        let position = *self.positions.last()?;
        Some(StreamHead {
            version: self.first_version + self.positions.len() as u64 - 1,
            position,
            closed: self.closed,
        })
    }
}

impl Index {
    /// An index over what `storage` holds of it.
    pub fn new(storage: Arc<dyn Storage>) -> Self {
        Self { storage, tails: RwLock::default(), paging: Mutex::default(), has_pages: AtomicBool::new(true) }
    }

    /// The position up to which all pages are there.
    pub fn checkpoint(&self) -> Result<Option<u64>, StorageError> {
        let value = self.storage.get(Space::Index, &CHECKPOINT_KEY)?;
        Ok(value.and_then(|value| value.try_into().ok()).map(u64::from_le_bytes))
    }

    /// What writes the checkpoint.
    pub fn checkpoint_write(position: u64) -> Write {
        Write::put(Space::Index, CHECKPOINT_KEY, position.to_le_bytes())
    }

    /// Deletes all of it.
    pub fn clear(&self) -> Result<(), StorageError> {
        *write_lock(&self.tails) = Tails::default();
        self.storage.clear(Space::Index)
    }

    /// Takes pages that are stored for nothing: they are wrong, and cannot be deleted.
    pub fn forget_pages(&self) {
        self.has_pages.store(false, Ordering::Relaxed);
    }

    /// Adds durable events, whose versions follow on what is known.
    pub fn extend(&self, events: &[Arc<Event>]) {
        let mut tails = write_lock(&self.tails);
        for run in events.chunk_by(|event, next| event.stream == next.stream) {
            let (Some(first), Some(last)) = (run.first(), run.last()) else { continue };
            let positions = run.iter().map(|event| event.position);
            tails.push(&first.stream, first.version, positions, last.body.is_terminal());
        }
    }

    /// Adds an event that is read from its frame again. What is known already is passed over.
    ///
    /// # Errors
    /// Where a version is missing before it.
    pub fn absorb(&self, stream: &StreamId, event: StreamHead) -> Result<(), ReadError> {
        let known = self.head(stream)?;
        let version = known.map_or(0, |head| head.version);
        if event.version <= version {
            return Ok(());
        }
        let damaged = |what| ReadError::Damaged(Damage::new(event.position, what));
        if event.version != version + 1 {
            return Err(damaged(format!("{stream} goes from version {version} to {}", event.version)));
        }
        if known.is_some_and(|head| head.closed) {
            return Err(damaged(format!("{stream} goes on behind its end at version {version}")));
        }
        write_lock(&self.tails).push(stream, event.version, iter::once(event.position), event.closed);
        Ok(())
    }

    /// The last event of `stream`.
    pub fn head(&self, stream: &StreamId) -> Result<Option<StreamHead>, ReadError> {
        if let Some(tail) = read_lock(&self.tails).streams.get(stream) {
            return Ok(tail.head());
        }
        Ok(self.page_before(stream, u64::MAX)?.and_then(|page| page.head()))
    }

    /// At most `limit` positions of `stream`, ascending, from `from_version` on.
    pub fn positions(&self, stream: &StreamId, from_version: u64, limit: usize) -> Result<Vec<u64>, ReadError> {
        let from_version = from_version.max(1);
        // The tail first: what is flushed in between is then in the pages as well as here.
        let (in_tail, tail_first) = self.tail_positions(stream);
        let mut found = Vec::new();
        if from_version < tail_first {
            let mut next = from_version;
            let mut page = self.page_before(stream, from_version)?;
            while let Some(Stretch { first_version, positions, .. }) = page {
                let skip = next.saturating_sub(first_version) as usize;
                let room = (limit - found.len()).min(tail_first.saturating_sub(next) as usize);
                let taken = positions.get(skip..).unwrap_or_default();
                found.extend(taken.iter().take(room));
                next = first_version + positions.len() as u64;
                if found.len() >= limit || next >= tail_first {
                    break;
                }
                page = self.page_at(stream, next)?;
            }
        }
        let skip = from_version.saturating_sub(tail_first) as usize;
        let rest = limit - found.len();
        found.extend(in_tail.get(skip..).unwrap_or_default().iter().take(rest));
        Ok(found)
    }

    /// The version of the last event of `stream` at or before `position`; 0 for none.
    pub fn version_at(&self, stream: &StreamId, position: u64) -> Result<u64, ReadError> {
        let (in_tail, tail_first) = self.tail_positions(stream);
        let count = |positions: &[u64]| positions.partition_point(|at| *at <= position) as u64;
        if in_tail.first().is_some_and(|first| *first <= position) {
            return Ok(tail_first - 1 + count(&in_tail));
        }
        // Bisect the versions before the tail by the pages that hold them.
        let (mut low, mut high) =
            (0, if tail_first == u64::MAX { self.head(stream)?.map_or(0, |h| h.version) } else { tail_first - 1 });
        while low < high {
            let middle = low + (high - low).div_ceil(2);
            let Some(page) = self.page_before(stream, middle)? else { return Ok(low) };
            let (Some(first), Some(last)) = (page.positions.first(), page.head()) else { return Ok(low) };
            if *first > position {
                high = page.first_version - 1;
            } else if last.position <= position {
                low = last.version.min(high);
            } else {
                return Ok(page.first_version - 1 + count(&page.positions));
            }
        }
        Ok(low)
    }

    /// How many events are not in pages yet.
    pub fn unwritten(&self) -> usize {
        read_lock(&self.tails).events
    }

    /// The streams with events that are not in pages yet.
    pub fn unwritten_streams(&self) -> Vec<StreamId> {
        let mut streams: Vec<_> = read_lock(&self.tails).streams.keys().cloned().collect();
        // In one order, so that the same log is written in the same way.
        streams.sort_unstable();
        streams
    }

    /// Writes the pages of some of `streams`, and takes those off the list. Only one thread may do that at a time.
    pub fn write_pages(&self, streams: &mut Vec<StreamId>) -> Result<(), ReadError> {
        let _paging = lock(&self.paging);
        let step = streams.split_off(streams.len().saturating_sub(STEP_STREAMS));
        let mut writes = Vec::new();
        for stream in &step {
            let Some((mut page, flushed_first)) = self.unwritten_page(stream) else { continue };
            if flushed_first > 1
                && let Some(last) = self.page_before(stream, flushed_first - 1)?
                && last.positions.len() < PAGE_MAX
            {
                page.first_version = last.first_version;
                page.positions.splice(0..0, last.positions);
            }
            let pages = page.positions.chunks(PAGE_MAX).zip((page.first_version..).step_by(PAGE_MAX));
            writes.extend(pages.map(|(positions, first_version)| {
                let value = page_value(positions, page.closed);
                Write::put(Space::Index, page_key(stream, first_version), value)
            }));
        }
        self.storage.write(writes)?;
        let mut tails = write_lock(&self.tails);
        for stream in &step {
            if let Some(tail) = tails.streams.remove(stream) {
                tails.events -= tail.positions.len();
            }
        }
        if tails.streams.is_empty() {
            tails.streams = HashMap::new();
        }
        Ok(())
    }

    /// Forgets a stream whose events were removed.
    pub fn remove(&self, stream: &StreamId) -> Result<(), StorageError> {
        let _paging = lock(&self.paging);
        {
            let mut tails = write_lock(&self.tails);
            if let Some(tail) = tails.streams.remove(stream) {
                tails.events -= tail.positions.len();
            }
        }
        loop {
            let (from, to) = (Bound::Included(page_key(stream, 0)), Bound::Included(page_key(stream, u64::MAX)));
            let pages = self.storage.scan(Space::Index, from, to, Direction::Forward, REMOVED_AT_ONCE)?;
            if pages.is_empty() {
                return Ok(());
            }
            self.storage.write(pages.into_iter().map(|(key, _)| Write::delete(Space::Index, key)).collect())?;
        }
    }

    fn unwritten_page(&self, stream: &StreamId) -> Option<(Stretch, u64)> {
        let tails = read_lock(&self.tails);
        let tail = tails.streams.get(stream)?;
        let page =
            Stretch { first_version: tail.first_version, positions: tail.positions.clone(), closed: tail.closed };
        Some((page, tail.first_version))
    }

    /// What of `stream` is not in pages, and the first version of it (the end of all versions, where all is in pages).
    fn tail_positions(&self, stream: &StreamId) -> (Vec<u64>, u64) {
        match read_lock(&self.tails).streams.get(stream) {
            Some(tail) => (tail.positions.clone(), tail.first_version),
            None => (Vec::new(), u64::MAX),
        }
    }

    /// The page that holds `version`, or the last one before it.
    fn page_before(&self, stream: &StreamId, version: u64) -> Result<Option<Stretch>, ReadError> {
        let (from, to) = (page_key(stream, 0), page_key(stream, version));
        self.page_in(stream, Bound::Included(from), Bound::Included(to), Direction::Backward)
    }

    fn page_at(&self, stream: &StreamId, version: u64) -> Result<Option<Stretch>, ReadError> {
        let (from, to) = (page_key(stream, version), page_key(stream, u64::MAX));
        self.page_in(stream, Bound::Included(from), Bound::Included(to), Direction::Forward)
    }

    fn page_in(
        &self,
        stream: &StreamId,
        from: Bound<Vec<u8>>,
        to: Bound<Vec<u8>>,
        direction: Direction,
    ) -> Result<Option<Stretch>, ReadError> {
        if !self.has_pages.load(Ordering::Relaxed) {
            return Ok(None);
        }
        let read = self.storage.scan(Space::Index, from, to, direction, 1).and_then(|mut entries| {
            let Some((key, value)) = entries.pop() else { return Ok(None) };
            let damaged = |what| StorageError::Damaged(format!("an index page of {stream}: {what}"));
            read_page(&key, &value).map(Some).map_err(damaged)
        });
        if let Err(StorageError::Damaged(what)) = &read {
            // It is derived: the next start makes it anew.
            tracing::error!(what, "the stream index is damaged; a restart mends it");
            let _ = self.storage.write(vec![Write::delete(Space::Index, CHECKPOINT_KEY)]);
        }
        Ok(read?)
    }
}

impl Tails {
    fn push(
        &mut self,
        stream: &StreamId,
        first_version: u64,
        positions: impl ExactSizeIterator<Item = u64>,
        closed: bool,
    ) {
        self.events += positions.len();
        match self.streams.get_mut(stream) {
            Some(tail) => {
                tail.positions.extend(positions);
                tail.closed = closed;
            }
            None => {
                let tail = Stretch { first_version, positions: positions.collect(), closed };
                self.streams.insert(stream.clone(), tail);
            }
        }
    }
}

fn page_key(stream: &StreamId, first_version: u64) -> Vec<u8> {
    let mut key = vec![PAGE_PREFIX];
    put_stream(&mut key, stream);
    key.extend_from_slice(&first_version.to_be_bytes());
    key
}

fn page_value(positions: &[u64], closed: bool) -> Vec<u8> {
    let mut value = vec![u8::from(closed)];
    put_varint(&mut value, positions.len() as u64);
    let mut before = 0;
    for position in positions {
        put_varint(&mut value, position - before);
        before = *position;
    }
    value
}

/// Panics where a page is not written as it was read.
pub(super) fn check_page(key: &[u8], value: &[u8]) {
    if let Ok(page) = read_page(key, value) {
        let written = page_value(&page.positions, page.closed);
        let again = read_page(key, &written).map(|again| (again.positions, again.closed));
        assert_eq!(again, Ok((page.positions, page.closed)));
    }
}

fn read_page(key: &[u8], value: &[u8]) -> Result<Stretch, String> {
    let first_version = key.last_chunk().map(|bytes| u64::from_be_bytes(*bytes)).ok_or("its key is too short")?;
    let mut rest = Rest(value);
    let closed = rest.byte()? != 0;
    let count = rest.varint()?;
    let mut positions = Vec::new();
    let mut position = 0u64;
    for _ in 0..count {
        position = position.checked_add(rest.varint()?).ok_or("a position is too large")?;
        positions.push(position);
    }
    rest.end()?;
    Ok(Stretch { first_version, positions, closed })
}
