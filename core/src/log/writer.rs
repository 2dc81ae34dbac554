//! The one thread that writes: takes all that waits, writes it as one group, syncs, and only then publishes. After a
//! failed write or sync it writes nothing more.

use super::{
    ReadError,
    blobs::{blob_writes, has_blob},
    index::Index,
    kinds::Found,
    queue::{Pending, Queue},
    shared::{Shared, lock, write_lock},
};
use crate::{
    event::{Event, StreamId},
    id::Hash,
    storage::{Space, Storage, StorageError, Write},
};
use std::{
    collections::HashSet,
    mem,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, MutexGuard, PoisonError, atomic::Ordering},
    time::{Duration, Instant},
};

/// What part of the time of a group the writer waits for the next to be as large.
const GATHER_FRACTION: u32 = 4;

/// From so many calls on, a group's first half is written while the second is on its way.
const HALVED_CALLS: usize = 48;

/// The writer's own state.
pub struct Writer {
    shared: Arc<Shared>,
    /// The hash of the last frame.
    chain: Hash,
    /// How many calls the last group came from.
    last_calls: usize,
    /// How long the last group took.
    last_commit: Duration,
    /// How far the index is being written behind the head.
    index: IndexWriting,
    /// Which types of events are in the stretch that is being written.
    kinds: Found,
}

/// What was written since the last sync.
#[derive(Default)]
pub struct Group {
    /// Each frame's events, and what they take in storage.
    frames: Vec<(Vec<Arc<Event>>, usize)>,
    /// What it counts for against the limit, in bytes.
    bytes: usize,
    /// How many calls made it.
    calls: usize,
}

/// The index is written in small steps between groups.
enum IndexWriting {
    /// There is too little to write.
    Rests,
    /// These streams' pages are to be written; then all is in pages up to the position.
    Pages(Vec<StreamId>, u64),
    /// The pages wait for a sync.
    Written(u64),
    /// The pages are durable: the position may be written.
    Durable(u64),
}

impl Writer {
    /// Goes on behind the frame whose hash is `chain`.
    pub fn new(shared: Arc<Shared>, chain: Hash) -> Self {
        Self {
            shared,
            chain,
            last_calls: 1,
            last_commit: Duration::ZERO,
            index: IndexWriting::Rests,
            kinds: Found::default(),
        }
    }

    /// Writes until the log is closed or a write fails.
    pub fn run(mut self) {
        let shared = self.shared.clone();
        attempt(&shared, || self.write_on());
    }

    fn write_on(&mut self) -> Result<(), ReadError> {
        loop {
            let (pending, closed, until) = self.wait();
            self.commit(pending, until)?;
            if closed {
                return write_whole_index(&self.shared.index, &*self.shared.storage, self.shared.head());
            }
            self.write_some_index()?;
        }
    }

    /// Returns what waits, as soon as something does or the log was closed; and until when more is worth waiting for.
    fn wait(&self) -> (Pending, bool, Option<Instant>) {
        let mut queue = lock(&self.shared.queue);
        loop {
            if queue.closed || self.writes_index() || queue.has_part() {
                return (queue.take(), queue.closed, None);
            }
            if queue.pending.calls > 0 {
                let until = Instant::now() + self.last_commit / GATHER_FRACTION;
                let is_halved = self.last_calls >= HALVED_CALLS;
                queue = self.gather(queue, if is_halved { self.last_calls / 2 } else { self.last_calls }, until);
                return (queue.take(), queue.closed, is_halved.then_some(until));
            }
            let left = queue.since.map(|since| self.shared.patience.saturating_sub(since.elapsed()));
            if left.is_some_and(|left| left.is_zero()) {
                return (queue.take(), false, None);
            }
            queue = self.sleep(queue, 1, left);
        }
    }

    /// Those who were served together will come again together, but not at the same instant. Without a moment's
    /// patience, the first of them would get a sync of its own, while the others wait for the next.
    fn gather<'a>(&self, mut queue: MutexGuard<'a, Queue>, calls: usize, until: Instant) -> MutexGuard<'a, Queue> {
        while queue.pending.calls < calls && !queue.closed {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            queue = self.sleep(queue, calls, Some(left));
        }
        queue
    }

    /// Sleeps until so many calls wait, or a part of one, but no longer than `at_most`.
    fn sleep<'a>(
        &self,
        mut queue: MutexGuard<'a, Queue>,
        calls: usize,
        at_most: Option<Duration>,
    ) -> MutexGuard<'a, Queue> {
        queue.sleep(calls);
        let work = &self.shared.work;
        let mut queue = match at_most {
            None => work.wait(queue).unwrap_or_else(PoisonError::into_inner),
            Some(at_most) => work.wait_timeout(queue, at_most).unwrap_or_else(PoisonError::into_inner).0,
        };
        queue.awake();
        queue
    }

    /// What comes behind a part of an append: its next part, or its end.
    fn rest(&self) -> Pending {
        let mut queue = lock(&self.shared.queue);
        while queue.has_part() && queue.pending.frames.is_empty() {
            queue = self.sleep(queue, 0, None);
        }
        queue.take()
    }

    /// `until`: how long to wait for as many calls as came last time, once these are written.
    fn commit(&mut self, pending: Pending, until: Option<Instant>) -> Result<(), ReadError> {
        let begun = Instant::now();
        let mut group = self.write_group(pending)?;
        if let Some(until) = until {
            let missing = self.last_calls.saturating_sub(group.calls);
            let second_half = self.gather(lock(&self.shared.queue), missing, until).take();
            self.write_more(second_half, &mut group)?;
        }
        self.finish_group(group, begun)
    }

    /// Writes what is to be synced together.
    pub fn write_group(&mut self, pending: Pending) -> Result<Group, ReadError> {
        let mut group = Group::default();
        self.write_more(pending, &mut group)?;
        Ok(group)
    }

    fn write_more(&mut self, pending: Pending, group: &mut Group) -> Result<(), ReadError> {
        let mut part = pending.part;
        self.write(pending, group)?;
        while part {
            let pending = self.rest();
            part = pending.part;
            self.write(pending, group)?;
        }
        Ok(())
    }

    /// Syncs what was written, and tells everyone.
    pub fn finish_group(&mut self, group: Group, begun: Instant) -> Result<(), ReadError> {
        // Blobs alone wait for the events that name them.
        if !group.frames.is_empty() {
            self.shared.storage.sync()?;
            self.publish(&group.frames);
            self.last_commit = begun.elapsed();
            self.last_calls = group.calls.max(1);
            if let IndexWriting::Written(position) = self.index {
                self.index = IndexWriting::Durable(position);
            }
        }
        if group.bytes > 0 {
            self.shared.pending_bytes.fetch_sub(group.bytes, Ordering::AcqRel);
            self.shared.drained.notify_waiters();
        }
        if let Some(last) = group.frames.last().and_then(|(events, _)| events.last()) {
            self.shared.storage.note_head(last.position);
            self.shared.storage.tidy()?;
            let trimmed = write_lock(&self.shared.tail).trim();
            drop(trimmed);
        }
        Ok(())
    }

    fn write(&mut self, pending: Pending, group: &mut Group) -> Result<(), ReadError> {
        let Pending { blobs, frames, bytes, calls, part: _ } = pending;
        group.bytes += bytes;
        group.calls += calls;
        let mut writes = self.blob_writes(blobs)?;
        if let IndexWriting::Durable(position) = self.index {
            self.index = IndexWriting::Rests;
            writes.push(Index::checkpoint_write(position));
        }
        for (frame, events) in frames {
            group.frames.push((events, frame.len_bytes()));
            let (key, value, hash) = frame.finish(self.chain);
            self.chain = hash;
            writes.push(Write { space: Space::Frames, key, value: Some(value) });
        }
        if !writes.is_empty() {
            self.shared.storage.write(writes)?;
        }
        Ok(())
    }

    fn blob_writes(&self, blobs: Vec<(Hash, Vec<u8>)>) -> Result<Vec<Write>, ReadError> {
        let mut writes = Vec::new();
        let mut seen = HashSet::new();
        for (hash, bytes) in blobs {
            if seen.insert(hash) && !has_blob(&*self.shared.storage, &hash)? {
                writes.extend(blob_writes(&hash, &bytes));
            }
        }
        Ok(writes)
    }

    /// The group is durable: now everyone may know.
    fn publish(&mut self, frames: &[(Vec<Arc<Event>>, usize)]) {
        let shared = &self.shared;
        for event in frames.iter().flat_map(|(events, _)| events) {
            self.kinds.note(event.position, Some(event.body.code()), &shared.kinds);
        }
        let mut tail = write_lock(&shared.tail);
        for (events, bytes) in frames {
            shared.index.extend(events);
            tail.extend(events, *bytes);
        }
        drop(tail);
        let Some(head) = frames.iter().flat_map(|(events, _)| events).last().map(|event| event.position) else {
            return;
        };
        shared.head.store(head, Ordering::Release);
        // Who is to act comes before those who follow.
        shared.waiters.reached(head);
        shared.head_watch.send_replace(head);
        frames.iter().for_each(|(events, _)| shared.watches.notify(events));
    }

    /// Whether the index is behind the head, and on its way there.
    pub const fn writes_index(&self) -> bool {
        matches!(self.index, IndexWriting::Pages(..))
    }

    /// Brings the index a step nearer to the head, when there is enough to write.
    pub fn write_some_index(&mut self) -> Result<(), ReadError> {
        let index = &self.shared.index;
        self.index = match mem::replace(&mut self.index, IndexWriting::Rests) {
            IndexWriting::Rests if index.unwritten() >= self.shared.index_flush_events => {
                IndexWriting::Pages(index.unwritten_streams(), self.shared.head())
            }
            IndexWriting::Pages(mut streams, position) => {
                index.write_pages(&mut streams)?;
                if streams.is_empty() {
                    IndexWriting::Written(position)
                } else {
                    IndexWriting::Pages(streams, position)
                }
            }
            other => other,
        };
        Ok(())
    }
}

/// Does a part of a writer's work. Where it fails, nothing more is written.
pub fn attempt<T>(shared: &Shared, work: impl FnOnce() -> Result<T, ReadError>) -> Option<T> {
    match catch_unwind(AssertUnwindSafe(work)) {
        Ok(Ok(done)) => return Some(done),
        Ok(Err(error)) => shared.poison(&error),
        // Those who wait must not wait for ever.
        Err(_) => shared.poison(&StorageError::Damaged("the log's writer panicked".into()).into()),
    }
    None
}

/// Writes all of the index, which has everything up to `head`.
pub fn write_whole_index(index: &Index, storage: &dyn Storage, head: u64) -> Result<(), ReadError> {
    let mut streams = index.unwritten_streams();
    while !streams.is_empty() {
        index.write_pages(&mut streams)?;
    }
    if index.checkpoint()? != Some(head) {
        storage.sync()?;
        storage.write(vec![Index::checkpoint_write(head)])?;
        storage.sync()?;
    }
    Ok(())
}
