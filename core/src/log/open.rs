//! What happens at the start: the end of the log is found, a torn tail is cut, and the index is brought up to date from
//! where it was last written.

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
const FORMAT_KEY: &[u8] = b"log format";
const FORMAT: u32 = 1;
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
}

/// Finds where the log ends, and checks at least what came since the index was last written.
pub fn open(storage: &Arc<dyn Storage>, options: &LogOptions) -> Result<Opened, OpenError> {
    check_format(&**storage)?;
    let mut report = OpenReport { torn_tail: cut_torn_tail(&**storage)?, ..OpenReport::default() };
    let last = last_frame(&**storage)?;
    let head = last.as_ref().map_or(0, Frame::last_position);
    let index = Index::new(storage.clone());
    let mut checkpoint = index.checkpoint()?;
    if let Some(durable) = storage.noted_head().max(checkpoint).filter(|durable| *durable > head) {
        report.lost_tail = Some(format!("the log ends at position {head}, and once had {durable}"));
        index.clear()?;
        checkpoint = None;
        storage.note_head(head);
    }
    let whole = storage.bytes_on_disk()? <= options.verify_at_open_max_bytes;
    let mut walk = match checkpoint {
        Some(0) | None => Walk::begin(&index, 0),
        Some(checkpoint) if whole => Walk::begin(&index, checkpoint),
        Some(checkpoint) => Walk::behind(&index, &frame_at(&**storage, checkpoint).map_err(damage)?, checkpoint)?,
    };
    if checkpoint.is_none() {
        // Whatever is there without a checkpoint is not known to be whole.
        index.clear()?;
    }
    walk.all(storage, options)?;
    report.head = head;
    report.indexed_events = walk.indexed;
    let (chain, time) = (walk.chain, walk.time);
    Ok(Opened { index, head, chain, time, report })
}

fn check_format(storage: &dyn Storage) -> Result<(), OpenError> {
    match storage.get(Space::Meta, FORMAT_KEY)? {
        None => storage.write(vec![Write::put(Space::Meta, FORMAT_KEY, FORMAT.to_le_bytes())])?,
        Some(value) => match value.try_into().map(u32::from_le_bytes) {
            Ok(found) if found <= FORMAT => {}
            Ok(found) => return Err(StorageError::NewerFormat { found, supported: FORMAT }.into()),
            Err(_) => return Err(StorageError::Damaged("the log's format cannot be read".into()).into()),
        },
    }
    Ok(())
}

fn last_entry(storage: &dyn Storage) -> Result<Option<Entry>, StorageError> {
    Ok(storage.scan(Space::Frames, Bound::Unbounded, Bound::Unbounded, Direction::Backward, 1)?.pop())
}

/// A last frame that is shorter than it should be was being written when the machine stopped: nobody was told of it.
fn cut_torn_tail(storage: &dyn Storage) -> Result<Option<String>, OpenError> {
    let Some((key, value)) = last_entry(storage)? else { return Ok(None) };
    let Err(BadFrame::Torn(what)) = Frame::read(&key, value) else { return Ok(None) };
    storage.write(vec![Write::delete(Space::Frames, key.clone())])?;
    storage.sync()?;
    let position = position_of_key(&key).unwrap_or_default();
    Ok(Some(format!("the record batch from position {position} on was torn and is cut: {what}")))
}

fn last_frame(storage: &dyn Storage) -> Result<Option<Frame>, OpenError> {
    let Some((key, value)) = last_entry(storage)? else { return Ok(None) };
    let position = position_of_key(&key).unwrap_or_default();
    Frame::read(&key, value)
        .map(Some)
        .map_err(|bad| OpenError::Damaged(Damage { position, what: format!("the record batch: {}", bad.what()) }))
}

/// Walks frames to the end, and gives the index what it does not have.
struct Walk<'a> {
    index: &'a Index,
    /// What the index has.
    checkpoint: u64,
    next: u64,
    chain: Hash,
    time: Timestamp,
    indexed: u64,
}

impl<'a> Walk<'a> {
    fn begin(index: &'a Index, checkpoint: u64) -> Self {
        let time = Timestamp::from_micros(i64::MIN);
        Self { index, checkpoint, next: 1, chain: Hash::ZERO, time, indexed: 0 }
    }

    /// Begins with the frame that holds `checkpoint`.
    fn behind(index: &'a Index, frame: &Frame, checkpoint: u64) -> Result<Self, OpenError> {
        let begun = Self::begin(index, checkpoint);
        Ok(Self { next: frame.first_position, chain: frame.previous, ..begun })
    }

    fn all(&mut self, storage: &Arc<dyn Storage>, options: &LogOptions) -> Result<(), OpenError> {
        loop {
            let from = Bound::Included(frame_key(self.next));
            let entries = storage.scan(Space::Frames, from, Bound::Unbounded, Direction::Forward, FRAMES_AT_ONCE)?;
            if entries.is_empty() {
                return Ok(());
            }
            for (key, value) in entries {
                let position = position_of_key(&key).unwrap_or(self.next);
                let frame = Frame::read(&key, value).map_err(|bad| {
                    OpenError::Damaged(Damage { position, what: format!("the record batch: {}", bad.what()) })
                })?;
                self.frame(&frame)?;
            }
            if self.index.unwritten() >= 8 * options.index_flush_events {
                write_whole_index(self.index, &**storage, self.next - 1).map_err(damage)?;
            }
        }
    }

    fn frame(&mut self, frame: &Frame) -> Result<(), OpenError> {
        let first = frame.first_position;
        let damaged = |position, what| Err(OpenError::Damaged(Damage { position, what }));
        if first != self.next {
            return damaged(self.next, format!("positions {} to {} are missing", self.next, first - 1));
        }
        if frame.previous != self.chain {
            return damaged(first, "the record batch does not follow on the one before it".into());
        }
        for position in first..=frame.last_position() {
            let record = read_record(frame.record(position).unwrap_or_default());
            let (stream, version, closed) = match record {
                Ok(Record::Removed { stream, version, .. }) => (stream, version, false),
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

fn damage(error: ReadError) -> OpenError {
    match error {
        ReadError::Damaged(damage) => OpenError::Damaged(damage),
        ReadError::Storage(error) => OpenError::Storage(error),
        other => OpenError::Read(other),
    }
}
