//! Removing streams: their records give way to what [`super::removed`] describes, and blobs that no event names any more
//! are deleted.
//!
//! What is to be removed is written down first (`Space::Meta`), so that a removal which a crash cuts off is finished at the
//! next start:
//!
//! ```text
//! "removing stream " · stream -> nothing
//! "removing blob " · hash 32  -> nothing                      a blob that one of its events named
//! "removing"                  -> nothing | "sweep later"      the two kinds above are complete: it is to be done
//! "unswept blob " · hash 32   -> nothing                      an event that named it was removed; whether others do is not known
//! "removed through"           -> u64 little-endian            how far the caller's own record of removals was carried out
//! "removed bytes"             -> u64 little-endian            about what was removed since the store was last rewritten
//! ```
//!
//! Frames are rewritten from the newest to the oldest, so that what is left of a stream in between is its beginning. Each
//! is replaced in whole, and its hash stays what it was.
//!
//! Whether a blob is named by what is left is found out by looking through the whole log, so that is done once for many
//! removals where they follow on each other: until then their blobs are noted as unswept.

use super::{
    ReadError,
    blobs::blob_deletes,
    frame::{Frame, frame_key},
    open::{FORMAT, FORMAT_KEY},
    reader::{frame_at, read_event},
    record::{Record, Rest, StoredBody, StoredEvent, put_stream, read_record},
    removed::RemovedRecord,
    shared::{Shared, lock, write_lock},
};
use crate::{
    event::{EventBody, StreamId},
    id::Hash,
    storage::{Direction, Space, StorageError, Write},
};
use std::{
    collections::BTreeSet,
    ops::{Bound, Range},
    sync::{Arc, atomic::Ordering},
};
use tokio::sync::{OwnedMutexGuard, OwnedRwLockReadGuard, OwnedRwLockWriteGuard};

const STREAM_PREFIX: &[u8] = b"removing stream ";
const BLOB_PREFIX: &[u8] = b"removing blob ";
const UNSWEPT_PREFIX: &[u8] = b"unswept blob ";
const COMPLETE_KEY: &[u8] = b"removing";
const SWEEP_LATER: &[u8] = b"sweep later";
pub const THROUGH_KEY: &[u8] = b"removed through";
const BYTES_KEY: &[u8] = b"removed bytes";
const FRAMES_AT_ONCE: usize = 16;
const WRITES_AT_ONCE: usize = 256;

/// A backup is being read: what it has read must not change behind it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a backup is under way: try again when it is done")]
pub struct BackupUnderWay;

/// When the blobs that a removal leaves behind are looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sweep {
    /// Within it, with all that earlier ones have left.
    Now,
    /// With another one.
    Later,
}

/// The right to remove streams: there is one at a time, and none while a backup is read.
pub struct Removal {
    shared: Arc<Shared>,
    _turn: OwnedMutexGuard<()>,
    _still: OwnedRwLockWriteGuard<()>,
}

/// While this lives, nothing is removed.
pub struct Still {
    _still: OwnedRwLockReadGuard<()>,
}

/// What a removal has removed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub struct RemovedCounts {
    /// Events.
    pub events: u64,
    /// What their records took, less what is left of them, in bytes.
    pub bytes: u64,
    /// Blobs that no event names any more.
    pub blobs: u64,
    /// What those took, in bytes.
    pub blob_bytes: u64,
    /// What blobs of its events take that are still to be looked for, in bytes, as far as the events say: other events may
    /// name them.
    #[serde(skip)]
    pub unswept_bytes: u64,
}

impl std::ops::AddAssign for RemovedCounts {
    fn add_assign(&mut self, other: Self) {
        self.events += other.events;
        self.bytes += other.bytes;
        self.blobs += other.blobs;
        self.blob_bytes += other.blob_bytes;
        self.unswept_bytes += other.unswept_bytes;
    }
}

impl Removal {
    /// Removes all events of `streams`, which must take no more of them. `through` is the caller's: it is given back by
    /// [`super::Log::removed_through`] once everything up to it was carried out. Blocks.
    ///
    /// # Errors
    /// Where the storage fails: then the log takes nothing more until restart, and the removal is finished there.
    pub fn remove(&self, streams: &[StreamId], through: u64) -> Result<RemovedCounts, ReadError> {
        self.poisoning(|shared| shared.remove(streams, BTreeSet::new(), Some(through), Sweep::Now))
    }

    /// The same, but for blobs that no event names any more: those are deleted by the next [`Self::sweep`] or
    /// [`Self::remove`], whether that is before or after a restart.
    ///
    /// # Errors
    /// As [`Self::remove`].
    pub fn remove_unswept(&self, streams: &[StreamId], through: u64) -> Result<RemovedCounts, ReadError> {
        self.poisoning(|shared| shared.remove(streams, BTreeSet::new(), Some(through), Sweep::Later))
    }

    /// Deletes the blobs that [`Self::remove_unswept`] has left, and that no event names. Blocks.
    ///
    /// # Errors
    /// As [`Self::remove`].
    pub fn sweep(&self) -> Result<RemovedCounts, ReadError> {
        self.poisoning(Shared::sweep_unswept)
    }

    fn poisoning(
        &self,
        act: impl FnOnce(&Shared) -> Result<RemovedCounts, ReadError>,
    ) -> Result<RemovedCounts, ReadError> {
        if let Some(poisoned) = self.shared.poisoned.get() {
            return Err(poisoned.clone().into());
        }
        act(&self.shared).inspect_err(|error| self.shared.poison(error))
    }
}

impl Shared {
    /// The right to remove, when whoever else removes is done.
    pub async fn begin_removal(self: &Arc<Self>) -> Result<Removal, BackupUnderWay> {
        let turn = self.removing.clone().lock_owned().await;
        let still = self.still.clone().try_write_owned().map_err(|_| BackupUnderWay)?;
        Ok(Removal { shared: self.clone(), _turn: turn, _still: still })
    }

    /// Keeps everything from being removed, when what is being removed is.
    pub async fn hold_still(&self) -> Still {
        Still { _still: self.still.clone().read_owned().await }
    }

    /// Finishes a removal that a crash has cut off.
    pub fn finish_removal(&self) -> Result<(), ReadError> {
        let streams = self.noted(STREAM_PREFIX)?.into_iter().map(|bytes| Rest(&bytes).stream());
        let damaged = |what| StorageError::Damaged(format!("what was being removed: {what}"));
        let streams = streams.collect::<Result<Vec<_>, _>>().map_err(damaged)?;
        let blobs = self.noted_blobs(BLOB_PREFIX)?;
        if let Some(complete) = self.storage.get(Space::Meta, COMPLETE_KEY)? {
            tracing::info!(streams = streams.len(), "a removal that was cut off is finished");
            let sweep = if complete == SWEEP_LATER { Sweep::Later } else { Sweep::Now };
            self.remove(&streams, blobs, None, sweep)?;
        } else {
            let never_begun = noted_keys(&streams, &blobs).map(|key| Write::delete(Space::Meta, key));
            self.write_in_parts(never_begun.collect())?;
        }
        Ok(())
    }

    pub fn removed_through(&self) -> Result<u64, StorageError> {
        self.number(THROUGH_KEY)
    }

    pub fn removed_bytes(&self) -> Result<u64, StorageError> {
        self.number(BYTES_KEY)
    }

    /// Whether blobs are noted that no event may name any more.
    pub fn is_unswept(&self) -> Result<bool, StorageError> {
        Ok(!self.noted_up_to(UNSWEPT_PREFIX, 1)?.is_empty())
    }

    /// Rewrites the store without what was removed from it.
    pub fn rewrite(&self) -> Result<(), StorageError> {
        self.storage.rewrite()?;
        self.storage.write(vec![Write::delete(Space::Meta, BYTES_KEY)])
    }

    fn remove(
        &self,
        streams: &[StreamId],
        mut blobs: BTreeSet<Hash>,
        through: Option<u64>,
        sweep: Sweep,
    ) -> Result<RemovedCounts, ReadError> {
        let mut positions = Vec::new();
        for stream in streams {
            positions.extend(self.index.positions(stream, 1, usize::MAX)?);
        }
        positions.sort_unstable();
        let mut counts = RemovedCounts::default();
        let frames = self.look_through(&positions, &mut blobs, &mut counts)?;
        self.has_gaps.store(true, Ordering::Release);
        self.note_removal(streams, &blobs, sweep)?;
        // Before it and behind it, so that nothing of what was there is kept.
        self.frames.forget();
        for frame in frames.into_iter().rev() {
            self.rewrite_frame(&positions[frame], &mut counts)?;
        }
        self.storage.sync()?;
        self.frames.forget();
        if let Some(last) = positions.last() {
            write_lock(&self.tail).forget_through(*last);
        }
        for stream in streams {
            self.index.remove(stream)?;
        }
        lock(&self.sequencer).forget(streams);
        let mut swept = blobs.clone();
        if sweep == Sweep::Now {
            counts.unswept_bytes = 0;
            swept.extend(self.noted_blobs(UNSWEPT_PREFIX)?);
            self.sweep(&swept, &mut counts)?;
        }
        let mut writes = vec![self.removed_more(counts)?];
        writes.extend(through.map(|through| Write::put(Space::Meta, THROUGH_KEY, through.to_le_bytes())));
        match sweep {
            Sweep::Now => writes.extend(unswept_keys(&swept).map(|key| Write::delete(Space::Meta, key))),
            Sweep::Later => writes.extend(unswept_keys(&blobs).map(|key| Write::put(Space::Meta, key, []))),
        }
        writes.push(Write::delete(Space::Meta, COMPLETE_KEY));
        writes.extend(noted_keys(streams, &blobs).map(|key| Write::delete(Space::Meta, key)));
        self.write_in_parts(writes)?;
        self.storage.sync()?;
        Ok(counts)
    }

    fn sweep_unswept(&self) -> Result<RemovedCounts, ReadError> {
        let (blobs, mut counts) = (self.noted_blobs(UNSWEPT_PREFIX)?, RemovedCounts::default());
        if blobs.is_empty() {
            return Ok(counts);
        }
        self.sweep(&blobs, &mut counts)?;
        let mut writes = vec![self.removed_more(counts)?];
        writes.extend(unswept_keys(&blobs).map(|key| Write::delete(Space::Meta, key)));
        self.write_in_parts(writes)?;
        self.storage.sync()?;
        Ok(counts)
    }

    /// Counts what was removed since the store was last rewritten.
    fn removed_more(&self, counts: RemovedCounts) -> Result<Write, StorageError> {
        let bytes = self.removed_bytes()? + counts.bytes + counts.blob_bytes;
        Ok(Write::put(Space::Meta, BYTES_KEY, bytes.to_le_bytes()))
    }

    /// Finds the frames that hold the positions, as parts of these, and which blobs their events name.
    fn look_through(
        &self,
        positions: &[u64],
        blobs: &mut BTreeSet<Hash>,
        counts: &mut RemovedCounts,
    ) -> Result<Vec<Range<usize>>, ReadError> {
        let (mut frames, mut at) = (Vec::new(), 0);
        while let Some(first) = positions.get(at) {
            let frame = self.frame_at(*first)?;
            let end = at + positions[at..].partition_point(|position| *position <= frame.last_position());
            for position in &positions[at..end] {
                blobs.extend(self.blobs_of(&frame, *position)?);
                if let Some(Ok(Record::Event(event))) = frame.record(*position).map(read_record)
                    && let StoredBody::Blob(_, bytes) = event.body
                {
                    counts.unswept_bytes += bytes;
                }
            }
            frames.push(at..end);
            at = end;
        }
        Ok(frames)
    }

    /// The blobs that the event at a position names, where it is one.
    pub fn blobs_of(&self, frame: &Frame, position: u64) -> Result<Vec<Hash>, ReadError> {
        let mut blobs = Vec::new();
        let Some(Ok(Record::Event(stored))) = frame.record(position).map(read_record) else { return Ok(blobs) };
        if let StoredBody::Blob(hash, _) = stored.body {
            blobs.push(hash);
        }
        if EventBody::names_blobs(stored.code)
            && let Some(event) = read_event(&*self.storage, frame, position)?
        {
            blobs.extend(event.body.named_blob());
        }
        Ok(blobs)
    }

    fn note_removal(&self, streams: &[StreamId], blobs: &BTreeSet<Hash>, sweep: Sweep) -> Result<(), StorageError> {
        let mut writes = vec![Write::put(Space::Meta, FORMAT_KEY, FORMAT.to_le_bytes())];
        writes.extend(noted_keys(streams, blobs).map(|key| Write::put(Space::Meta, key, [])));
        let how = if sweep == Sweep::Later { SWEEP_LATER } else { &[] };
        writes.push(Write::put(Space::Meta, COMPLETE_KEY, how));
        self.write_in_parts(writes)?;
        self.storage.sync()
    }

    fn write_in_parts(&self, mut writes: Vec<Write>) -> Result<(), StorageError> {
        while !writes.is_empty() {
            let rest = writes.split_off(writes.len().min(WRITES_AT_ONCE));
            self.storage.write(std::mem::replace(&mut writes, rest))?;
        }
        Ok(())
    }

    /// Puts what is left of them in the place of the records at `positions`, which are all in one frame.
    fn rewrite_frame(&self, positions: &[u64], counts: &mut RemovedCounts) -> Result<(), ReadError> {
        let Some(first) = positions.first() else { return Ok(()) };
        let frame = frame_at(&*self.storage, *first)?;
        let before = counts.events;
        let value = frame.with_records(|position, record| {
            positions.binary_search(&position).ok()?;
            let Ok(Record::Event(event)) = read_record(record) else { return None };
            counts.events += 1;
            Some(left_of(&event, record))
        });
        if counts.events > before {
            counts.bytes += (frame.len_bytes() as u64).saturating_sub(value.len() as u64);
            self.storage.write(vec![Write::put(Space::Frames, frame_key(frame.first_position), value)])?;
        }
        Ok(())
    }

    /// Deletes those of the blobs that no event names. Looks from the newest event backwards, and no further than it must.
    fn sweep(&self, blobs: &BTreeSet<Hash>, counts: &mut RemovedCounts) -> Result<(), ReadError> {
        if blobs.is_empty() {
            return Ok(());
        }
        let head = {
            let mut sequencer = lock(&self.sequencer);
            sequencer.blobs.begin_sweep();
            sequencer.next_position() - 1
        };
        let unnamed = self.unnamed(blobs.clone(), head);
        let mut sequencer = lock(&self.sequencer);
        let unnamed = sequencer.blobs.end_sweep((self.clock)(), unnamed?.into_iter().collect());
        let mut deletes = Vec::new();
        for hash in unnamed {
            let (bytes, writes) = blob_deletes(&*self.storage, &hash)?;
            counts.blobs += u64::from(!writes.is_empty());
            counts.blob_bytes += bytes;
            deletes.extend(writes);
        }
        // Under the lock: whoever stores one of them again from here on finds that it is not there.
        self.write_in_parts(deletes)?;
        Ok(())
    }

    /// Those of the blobs that no event up to `head` names.
    fn unnamed(&self, mut blobs: BTreeSet<Hash>, head: u64) -> Result<BTreeSet<Hash>, ReadError> {
        self.durable_blocking(head)?;
        let mut to = Bound::Included(frame_key(head));
        while !blobs.is_empty() {
            let entries =
                self.storage.scan(Space::Frames, Bound::Unbounded, to, Direction::Backward, FRAMES_AT_ONCE)?;
            let Some((oldest, _)) = entries.last() else { break };
            to = Bound::Excluded(oldest.clone());
            for (key, value) in entries {
                // What cannot be read may name any of them.
                let Ok(frame) = Frame::read(&key, value) else { return Ok(BTreeSet::new()) };
                for position in frame.first_position..=frame.last_position() {
                    for hash in self.blobs_of(&frame, position)? {
                        blobs.remove(&hash);
                    }
                }
            }
        }
        Ok(blobs)
    }

    fn noted_blobs(&self, prefix: &[u8]) -> Result<BTreeSet<Hash>, StorageError> {
        let noted = self.noted(prefix)?.into_iter();
        Ok(noted.filter_map(|hash| hash.try_into().ok().map(Hash::from_bytes)).collect())
    }

    fn noted(&self, prefix: &[u8]) -> Result<Vec<Vec<u8>>, StorageError> {
        self.noted_up_to(prefix, usize::MAX)
    }

    fn noted_up_to(&self, prefix: &[u8], limit: usize) -> Result<Vec<Vec<u8>>, StorageError> {
        let mut end = prefix.to_vec();
        end.extend_from_slice(&[0xff; 8]);
        let (from, to) = (Bound::Included(prefix.to_vec()), Bound::Included(end));
        let entries = self.storage.scan(Space::Meta, from, to, Direction::Forward, limit)?;
        Ok(entries.into_iter().filter_map(|(key, _)| key.strip_prefix(prefix).map(<[u8]>::to_vec)).collect())
    }

    fn number(&self, key: &[u8]) -> Result<u64, StorageError> {
        let value = self.storage.get(Space::Meta, key)?;
        Ok(value.and_then(|value| value.try_into().ok()).map_or(0, u64::from_le_bytes))
    }
}

fn left_of(event: &StoredEvent<'_>, record: &[u8]) -> Vec<u8> {
    RemovedRecord::of(event, Hash::of(record)).to_bytes()
}

fn noted_keys<'a>(streams: &'a [StreamId], blobs: &'a BTreeSet<Hash>) -> impl Iterator<Item = Vec<u8>> + 'a {
    let streams = streams.iter().map(|stream| {
        let mut key = STREAM_PREFIX.to_vec();
        put_stream(&mut key, stream);
        key
    });
    streams.chain(blobs.iter().map(|hash| [BLOB_PREFIX, hash.as_bytes()].concat()))
}

fn unswept_keys(blobs: &BTreeSet<Hash>) -> impl Iterator<Item = Vec<u8>> + '_ {
    blobs.iter().map(|hash| [UNSWEPT_PREFIX, hash.as_bytes()].concat())
}
