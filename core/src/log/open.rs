//! What happens at the start: the end of the log is found, a torn tail is cut, and the index is brought up to date from
//! where it was last written.
//!
//! Where the storage takes no writes, such as on a full disk, none of that is written down: the log is read as if it were,
//! and takes no events.

use super::{
    Damage, LogOptions, OpenError, OpenReport, ReadError,
    frame::{BadFrame, Frame, frame_key, position_of_key},
    index::{Index, StreamHead},
    reader::frame_at,
    record::{Record, read_record},
    writer::write_whole_index,
};
use crate::{
    id::Hash,
    storage::{Direction, Entry, Space, Storage, StorageError, Write},
    time::Timestamp,
};
use std::{ops::Bound, sync::Arc};

/// The version of the log's own grammar, under this key in `Space::Meta`.
pub const FORMAT_KEY: &[u8] = b"log format";
/// The newest grammar: the first that knows what [`super::removed`] describes. A log gets it when something is removed.
pub const FORMAT: u32 = 2;
/// The grammar of a log that was never removed from.
const FORMAT_AT_FIRST: u32 = 1;
const FRAMES_AT_ONCE: usize = 16;

/// Where the log ends.
pub struct Opened {
    /// The stream index, up to the head.
    pub index: Index,
    /// The last position.
    pub head: u64,
    /// The last frame's hash.
    pub chain: Hash,
    /// The last event's time.
    pub time: Timestamp,
    /// What was found.
    pub report: OpenReport,
    /// Whether something may have been removed.
    pub has_gaps: bool,
    /// Why nothing could be written, where nothing could: then the log is only to be read.
    pub refused: Option<StorageError>,
}

/// Finds where the log ends, and checks at least what came since the index was last written. Where the index is damaged, it
/// is made anew from what it was derived from.
pub fn open(storage: &Arc<dyn Storage>, options: &LogOptions) -> Result<Opened, OpenError> {
    let damage = match open_with_index(storage, options) {
        Err(OpenError::Storage(StorageError::Damaged(what))) => what,
        opened => return opened,
    };
    // The damage may be elsewhere: then the second try finds it again.
    if let Err(error) = storage.clear(Space::Index) {
        tracing::error!(%error, "the stream index cannot be cleared");
        return Err(StorageError::Damaged(damage).into());
    }
    let mut opened = open_with_index(storage, options)?;
    tracing::warn!(damage, "the stream index was damaged, and is made anew");
    opened.report.index_damage = Some(damage);
    Ok(opened)
}

fn open_with_index(storage: &Arc<dyn Storage>, options: &LogOptions) -> Result<Opened, OpenError> {
    let mut mending = Mending { storage, refused: None };
    let has_gaps = check_format(&mut mending)? > FORMAT_AT_FIRST;
    let (last, torn_tail) = end(&mut mending)?;
    let mut report = OpenReport { torn_tail, ..OpenReport::default() };
    let head = last.as_ref().map_or(0, Frame::last_position);
    let index = Index::new(storage.clone());
    let mut checkpoint = index.checkpoint()?;
    if storage.is_rescued() && storage.noted_head().max(checkpoint).is_none_or(|durable| durable > head) {
        let what = format!("pages of the store from there on cannot be read; {head} events before can be");
        return Err(OpenError::Damaged(Damage::new(head + 1, what).under(Space::Frames, &frame_key(head + 1))));
    }
    if let Some(durable) = storage.noted_head().max(checkpoint).filter(|durable| *durable > head) {
        report.lost_tail = Some(format!("the log ends at position {head}, and once had {durable}"));
        // What was noted stays until something is appended: who opens the log only to read it does not hide the loss.
        mending.clear(&index)?;
        checkpoint = None;
    }
    let whole = storage.bytes_on_disk()? <= options.verify_at_open_max_bytes;
    let mut walk = match checkpoint {
        Some(0) | None => Walk::begin(&index, head, 0),
        Some(checkpoint) if whole => Walk::begin(&index, head, checkpoint),
        Some(checkpoint) => Walk::behind(&index, head, &frame_at(&**storage, checkpoint).map_err(damage)?, checkpoint)?,
    };
    if checkpoint.is_none() {
        // Whatever is there without a checkpoint is not known to be whole.
        mending.clear(&index)?;
    }
    walk.all(&mut mending, options)?;
    if storage.is_rescued() {
        tracing::warn!("the store was damaged where nothing stands that cannot be made anew");
        storage.accept_rescue()?;
        report.index_damage = Some("pages of the store could not be read; no event was in them".into());
    }
    report.head = head;
    report.indexed_events = walk.indexed;
    let (chain, time) = (walk.chain, walk.time);
    Ok(Opened { index, head, chain, time, report, has_gaps, refused: mending.refused })
}

/// What is written at the start, as long as the storage takes it.
struct Mending<'a> {
    storage: &'a Arc<dyn Storage>,
    refused: Option<StorageError>,
}

impl Mending<'_> {
    /// Does something that writes, where nothing was refused yet. Whether it is done.
    fn attempt(&mut self, write: impl FnOnce(&dyn Storage) -> Result<(), StorageError>) -> Result<bool, StorageError> {
        if self.refused.is_some() {
            return Ok(false);
        }
        match write(&**self.storage) {
            Ok(()) => Ok(true),
            Err(error @ StorageError::Io { .. }) => {
                self.refused = Some(error);
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }

    fn clear(&mut self, index: &Index) -> Result<(), StorageError> {
        if !self.attempt(|_| index.clear())? {
            index.forget_pages();
        }
        Ok(())
    }
}

fn check_format(mending: &mut Mending<'_>) -> Result<u32, OpenError> {
    match mending.storage.get(Space::Meta, FORMAT_KEY)? {
        None => {
            let format = Write::put(Space::Meta, FORMAT_KEY, FORMAT_AT_FIRST.to_le_bytes());
            mending.attempt(|storage| storage.write(vec![format]))?;
            Ok(FORMAT_AT_FIRST)
        }
        Some(value) => match value.try_into().map(u32::from_le_bytes) {
            Ok(found) if found <= FORMAT => Ok(found),
            Ok(found) => Err(StorageError::NewerFormat { found, supported: FORMAT }.into()),
            Err(_) => Err(StorageError::Damaged("the log's format cannot be read".into()).into()),
        },
    }
}

/// The last frame, and what was wrong with one behind it. A last frame that is shorter than it should be was being written
/// when the machine stopped: nobody was told of it.
fn end(mending: &mut Mending<'_>) -> Result<(Option<Frame>, Option<String>), OpenError> {
    let mut last = last_entry(&**mending.storage, Bound::Unbounded)?;
    let mut torn = None;
    if let Some((key, value)) = &last
        && let Err(BadFrame::Torn(what)) = Frame::read(key, value.clone())
    {
        let delete = Write::delete(Space::Frames, key.clone());
        mending.attempt(|storage| storage.write(vec![delete]).and_then(|()| storage.sync()))?;
        let position = position_of_key(key).unwrap_or_default();
        torn = Some(format!("the record batch from position {position} on was torn and is cut: {what}"));
        last = last_entry(&**mending.storage, Bound::Excluded(key.clone()))?;
    }
    let Some((key, value)) = last else { return Ok((None, torn)) };
    let position = position_of_key(&key).unwrap_or_default();
    let damaged =
        |bad: BadFrame| OpenError::Damaged(Damage::new(position, format!("the record batch: {}", bad.what())));
    Ok((Some(Frame::read(&key, value).map_err(damaged)?), torn))
}

fn last_entry(storage: &dyn Storage, before: Bound<Vec<u8>>) -> Result<Option<Entry>, StorageError> {
    Ok(storage.scan(Space::Frames, Bound::Unbounded, before, Direction::Backward, 1)?.pop())
}

/// Walks frames to the end, and gives the index what it does not have.
struct Walk<'a> {
    index: &'a Index,
    /// Where the log ends.
    head: u64,
    /// What the index has.
    checkpoint: u64,
    next: u64,
    chain: Hash,
    time: Timestamp,
    indexed: u64,
}

impl<'a> Walk<'a> {
    fn begin(index: &'a Index, head: u64, checkpoint: u64) -> Self {
        let time = Timestamp::from_micros(i64::MIN);
        Self { index, head, checkpoint, next: 1, chain: Hash::ZERO, time, indexed: 0 }
    }

    /// Begins with the frame that holds `checkpoint`.
    fn behind(index: &'a Index, head: u64, frame: &Frame, checkpoint: u64) -> Result<Self, OpenError> {
        let begun = Self::begin(index, head, checkpoint);
        Ok(Self { next: frame.first_position, chain: frame.previous, ..begun })
    }

    fn all(&mut self, mending: &mut Mending<'_>, options: &LogOptions) -> Result<(), OpenError> {
        loop {
            let (from, to) = (Bound::Included(frame_key(self.next)), Bound::Included(frame_key(self.head)));
            let entries = mending.storage.scan(Space::Frames, from, to, Direction::Forward, FRAMES_AT_ONCE)?;
            if entries.is_empty() {
                return Ok(());
            }
            for (key, value) in entries {
                let position = position_of_key(&key).unwrap_or(self.next);
                let frame = Frame::read(&key, value).map_err(|bad| {
                    OpenError::Damaged(Damage::new(position, format!("the record batch: {}", bad.what())))
                })?;
                self.frame(&frame)?;
            }
            if mending.refused.is_none() && self.index.unwritten() >= 8 * options.index_flush_events {
                match write_whole_index(self.index, &**mending.storage, self.next - 1) {
                    Err(ReadError::Storage(error @ StorageError::Io { .. })) => mending.refused = Some(error),
                    written => written.map_err(damage)?,
                }
            }
        }
    }

    fn frame(&mut self, frame: &Frame) -> Result<(), OpenError> {
        let first = frame.first_position;
        let damaged = |position, what| Err(OpenError::Damaged(Damage::new(position, what)));
        if first != self.next {
            return damaged(self.next, format!("positions {} to {} are missing", self.next, first - 1));
        }
        if frame.previous != self.chain {
            return damaged(first, "the record batch does not follow on the one before it".into());
        }
        for position in first..=frame.last_position() {
            let record = read_record(frame.record(position).unwrap_or_default());
            let (stream, version, closed) = match record {
                // A stream that was removed is as if it had never been. Where a removal was cut off, its last events are
                // gone, and the first ones still there: those that are left have no gap.
                Ok(Record::Removed(_)) => continue,
                Ok(Record::Event(event)) => {
                    self.time = event.time.max(self.time);
                    (event.stream, event.version, event.closes)
                }
                Err(what) => return damaged(position, what),
            };
            if position > self.checkpoint {
                self.index.absorb(&stream, StreamHead { version, position, closed }).map_err(damage)?;
                self.indexed += 1;
            }
        }
        self.next = frame.last_position() + 1;
        self.chain = frame.hash;
        Ok(())
    }
}

/// Why the log does not open, where something cannot be read.
pub fn damage(error: ReadError) -> OpenError {
    match error {
        ReadError::Damaged(damage) => OpenError::Damaged(damage),
        ReadError::Storage(error) => OpenError::Storage(error),
        other => OpenError::Read(other),
    }
}
