//! Reads of durable events: from the tail where it has them, else from the frames.

use super::{
    Damage, ReadError,
    blobs::read_blob,
    frame::{Frame, frame_key},
    record::{Record, StoredBody, read_record},
    shared::{Shared, read_lock},
};
use crate::{
    event::{Event, StreamId},
    storage::{Direction, Space, Storage},
};
use std::{ops::Bound, sync::Arc};

/// How many frames are fetched at once where several are needed: up to 1 MiB.
const FRAMES_AT_ONCE: usize = 16;

impl Shared {
    /// At most `limit` events behind position `after`, oldest first.
    pub fn read(&self, after: u64, limit: usize) -> Result<Vec<Arc<Event>>, ReadError> {
        let last = self.head().min(after.saturating_add(limit as u64));
        let mut events = Vec::with_capacity(last.saturating_sub(after).min(4096) as usize);
        let mut next = after.saturating_add(1);
        while next <= last {
            let before = next;
            next += self.copy_tail(next, last, &mut events);
            if next == before {
                next = self.read_frames(next, last, &mut events)?;
            }
        }
        Ok(events)
    }

    /// At most `limit` events before position `before`, newest first.
    pub fn read_back(&self, before: u64, limit: usize) -> Result<Vec<Arc<Event>>, ReadError> {
        let newest = self.head().min(before.saturating_sub(1));
        let oldest = (newest + 1).saturating_sub(limit as u64).max(1);
        let mut events = Vec::new();
        let mut fetch = Fetch::new(self);
        for position in (oldest..=newest).rev() {
            events.extend(fetch.event(position)?);
        }
        Ok(events)
    }

    /// The event at `position`.
    pub fn event(&self, position: u64) -> Result<Option<Arc<Event>>, ReadError> {
        if position == 0 || position > self.head() {
            return Ok(None);
        }
        Fetch::new(self).event(position)
    }

    /// At most `limit` events of `stream` from version `from_version` on, oldest first.
    pub fn read_stream(
        &self,
        stream: &StreamId,
        from_version: u64,
        limit: usize,
    ) -> Result<Vec<Arc<Event>>, ReadError> {
        let positions = self.positions(stream, from_version, limit)?;
        let mut fetch = Fetch::new(self);
        positions.into_iter().filter_map(|position| fetch.event(position).transpose()).collect()
    }

    /// At most `limit` events of `stream` before version `before_version`, newest first.
    pub fn read_stream_back(
        &self,
        stream: &StreamId,
        before_version: u64,
        limit: usize,
    ) -> Result<Vec<Arc<Event>>, ReadError> {
        let head = self.index.head(stream)?.map_or(0, |head| head.version);
        let newest = head.min(before_version.saturating_sub(1));
        let oldest = (newest + 1).saturating_sub(limit as u64).max(1);
        let positions = self.positions(stream, oldest, (newest + 1 - oldest) as usize)?;
        let mut fetch = Fetch::new(self);
        positions.into_iter().rev().filter_map(|position| fetch.event(position).transpose()).collect()
    }

    /// The index is a moment ahead of the head: only what is published counts.
    fn positions(&self, stream: &StreamId, from_version: u64, limit: usize) -> Result<Vec<u64>, ReadError> {
        let head = self.head();
        let mut positions = self.index.positions(stream, from_version, limit)?;
        positions.truncate(positions.partition_point(|position| *position <= head));
        Ok(positions)
    }

    /// Copies what the tail has from `next` to `last`, if it has `next`.
    fn copy_tail(&self, next: u64, last: u64, events: &mut Vec<Arc<Event>>) -> u64 {
        let tail = read_lock(&self.tail);
        let before = events.len();
        events.extend((next..=last).map_while(|position| tail.get(position).cloned()));
        (events.len() - before) as u64
    }

    /// Reads some frames from `next` on, up to `last` or to where the tail begins. Returns the position to go on at.
    fn read_frames(&self, next: u64, last: u64, events: &mut Vec<Arc<Event>>) -> Result<u64, ReadError> {
        let first = frame_at(&*self.storage, next)?;
        let mut position = take_frame(&*self.storage, &first, next, last, events)?;
        if position <= last {
            let (from, to) = (Bound::Included(frame_key(position)), Bound::Included(frame_key(last)));
            for (key, value) in self.storage.scan(Space::Frames, from, to, Direction::Forward, FRAMES_AT_ONCE)? {
                let frame = sound(Frame::read(&key, value), position)?;
                if frame.first_position != position {
                    return Err(missing(position));
                }
                position = take_frame(&*self.storage, &frame, position, last, events)?;
            }
        }
        Ok(position)
    }
}

/// Fetches single events, and keeps the frame that it read last: neighbours are often wanted together.
struct Fetch<'a> {
    shared: &'a Shared,
    frame: Option<Frame>,
}

impl<'a> Fetch<'a> {
    fn new(shared: &'a Shared) -> Self {
        Self { shared, frame: None }
    }

    /// The event at a durable `position`; `None` where retention removed it.
    fn event(&mut self, position: u64) -> Result<Option<Arc<Event>>, ReadError> {
        if let Some(event) = read_lock(&self.shared.tail).get(position) {
            return Ok(Some(event.clone()));
        }
        let storage = &*self.shared.storage;
        let frame = match self.frame.take() {
            Some(frame) if frame.record(position).is_some() => frame,
            _ => frame_at(storage, position)?,
        };
        let frame = self.frame.insert(frame);
        read_event(storage, frame, position)
    }
}

/// The frame that holds `position`.
pub fn frame_at(storage: &dyn Storage, position: u64) -> Result<Frame, ReadError> {
    let to = Bound::Included(frame_key(position));
    let found = storage.scan(Space::Frames, Bound::Unbounded, to, Direction::Backward, 1)?.pop();
    let (key, value) = found.ok_or_else(|| missing(position))?;
    let frame = sound(Frame::read(&key, value), position)?;
    if frame.last_position() < position { Err(missing(position)) } else { Ok(frame) }
}

fn take_frame(
    storage: &dyn Storage,
    frame: &Frame,
    from: u64,
    last: u64,
    events: &mut Vec<Arc<Event>>,
) -> Result<u64, ReadError> {
    let last = last.min(frame.last_position());
    for position in from..=last {
        events.extend(read_event(storage, frame, position)?);
    }
    Ok(last + 1)
}

fn read_event(storage: &dyn Storage, frame: &Frame, position: u64) -> Result<Option<Arc<Event>>, ReadError> {
    let damaged = |what: String| ReadError::Damaged(Damage { position, what });
    let record = frame.record(position).ok_or_else(|| missing(position))?;
    let Record::Event(stored) = read_record(record).map_err(damaged)? else { return Ok(None) };
    let data = match stored.body {
        StoredBody::Inline(_) => None,
        StoredBody::Blob(hash, _) => {
            let bytes = read_blob(storage, &hash)?.ok_or_else(|| damaged(format!("its blob {hash} is missing")))?;
            Some(String::from_utf8(bytes).map_err(|_| damaged(format!("its blob {hash} is not UTF-8")))?)
        }
    };
    match stored.decode(position, data.as_deref()) {
        Ok(event) => Ok(Some(Arc::new(event))),
        Err(source) => Err(ReadError::Event { position, source }),
    }
}

fn sound(frame: Result<Frame, super::frame::BadFrame>, position: u64) -> Result<Frame, ReadError> {
    frame.map_err(|bad| ReadError::Damaged(Damage { position, what: bad.what() }))
}

fn missing(position: u64) -> ReadError {
    ReadError::Damaged(Damage { position, what: "its record batch is missing".into() })
}
