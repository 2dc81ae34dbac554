//! Reads of durable events: from the tail where it has them, else from the frames.

use super::{
    Damage, ReadError, RemovedEvent,
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
    /// At most `limit` events behind position `after`, oldest first: fewer are all there are.
    pub fn read(&self, after: u64, limit: usize) -> Result<Vec<Arc<Event>>, ReadError> {
        let head = self.head();
        let mut events = Vec::with_capacity(head.saturating_sub(after).min(limit as u64).min(4096) as usize);
        let mut next = after.saturating_add(1);
        // Where retention removed events, others take their place.
        while next <= head && events.len() < limit {
            let last = head.min(next.saturating_add((limit - events.len()) as u64 - 1));
            next = self.read_on(next, last, &mut |place| {
                if let Place::Event(event) = place {
                    events.push(event);
                }
            })?;
        }
        Ok(events)
    }

    /// At most `limit` events before position `before`, newest first.
    pub fn read_back(&self, before: u64, limit: usize) -> Result<Vec<Arc<Event>>, ReadError> {
        let newest = self.head().min(before.saturating_sub(1));
        let mut events = Vec::new();
        let mut fetch = Fetch::new(self);
        for position in (1..=newest).rev() {
            if events.len() >= limit {
                break;
            }
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
        let mut fetch = Fetch::new(self);
        let (mut events, mut next) = (Vec::new(), from_version.max(1));
        while events.len() < limit {
            let positions = self.positions(stream, next, limit - events.len())?;
            if positions.is_empty() {
                break;
            }
            next += positions.len() as u64;
            for position in positions {
                events.extend(fetch.event(position)?);
            }
        }
        Ok(events)
    }

    /// At most `limit` events of `stream` before version `before_version`, newest first.
    pub fn read_stream_back(
        &self,
        stream: &StreamId,
        before_version: u64,
        limit: usize,
    ) -> Result<Vec<Arc<Event>>, ReadError> {
        let head = self.index.head(stream)?.map_or(0, |head| head.version);
        let mut newest = head.min(before_version.saturating_sub(1));
        let (mut events, mut fetch) = (Vec::new(), Fetch::new(self));
        while newest > 0 && events.len() < limit {
            let oldest = (newest + 1).saturating_sub((limit - events.len()) as u64).max(1);
            let positions = self.positions(stream, oldest, (newest + 1 - oldest) as usize)?;
            for position in positions.into_iter().rev() {
                events.extend(fetch.event(position)?);
            }
            newest = oldest - 1;
        }
        Ok(events)
    }

    /// The index is a moment ahead of the head: only what is published counts.
    fn positions(&self, stream: &StreamId, from_version: u64, limit: usize) -> Result<Vec<u64>, ReadError> {
        let head = self.head();
        let mut positions = self.index.positions(stream, from_version, limit)?;
        positions.truncate(positions.partition_point(|position| *position <= head));
        Ok(positions)
    }

    /// Reads some of what stands from `next` to `last`: from the tail if it has `next`, else from frames. Returns the position
    /// to go on at.
    fn read_on(&self, next: u64, last: u64, take: &mut dyn FnMut(Place)) -> Result<u64, ReadError> {
        let copied = self.copy_tail(next, last, take);
        if copied > 0 { Ok(next + copied) } else { self.read_frames(next, last, take) }
    }

    /// Copies what the tail has from `next` to `last`, if it has `next`.
    fn copy_tail(&self, next: u64, last: u64, take: &mut dyn FnMut(Place)) -> u64 {
        let tail = read_lock(&self.tail);
        let events = (next..=last).map_while(|position| tail.get(position).cloned());
        events.map(|event| take(Place::Event(event))).count() as u64
    }

    /// Reads some frames from `next` on, up to `last` or to where the tail begins. Returns the position to go on at.
    fn read_frames(&self, next: u64, last: u64, take: &mut dyn FnMut(Place)) -> Result<u64, ReadError> {
        let first = frame_at(&*self.storage, next)?;
        let mut position = take_frame(&*self.storage, &first, next, last, take)?;
        if position <= last {
            let (from, to) = (Bound::Included(frame_key(position)), Bound::Included(frame_key(last)));
            for (key, value) in self.storage.scan(Space::Frames, from, to, Direction::Forward, FRAMES_AT_ONCE)? {
                let frame = sound(Frame::read(&key, value), position)?;
                if frame.first_position != position {
                    return Err(missing(position));
                }
                position = take_frame(&*self.storage, &frame, position, last, take)?;
            }
        }
        Ok(position)
    }
}

/// What stands at a position.
#[derive(Debug, Clone, PartialEq)]
pub enum Place {
    /// An event.
    Event(Arc<Event>),
    /// What is left of one that was removed.
    Removed(RemovedEvent),
}

/// Fetches single events, and keeps the frame that it read last: neighbours are often wanted together.
struct Fetch<'a> {
    shared: &'a Shared,
    frame: Option<Arc<Frame>>,
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
            _ => self.shared.frame_at(position)?,
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
    take: &mut dyn FnMut(Place),
) -> Result<u64, ReadError> {
    let last = last.min(frame.last_position());
    for position in from..=last {
        take(read_place(storage, frame, position)?);
    }
    Ok(last + 1)
}

/// The event at `position` of a frame; `None` where it was removed.
pub fn read_event(storage: &dyn Storage, frame: &Frame, position: u64) -> Result<Option<Arc<Event>>, ReadError> {
    Ok(match read_place(storage, frame, position)? {
        Place::Event(event) => Some(event),
        Place::Removed(_) => None,
    })
}

fn read_place(storage: &dyn Storage, frame: &Frame, position: u64) -> Result<Place, ReadError> {
    place_of(storage, record_at(frame, position)?, position)
}

/// The record at `position` of a frame.
pub fn record_at(frame: &Frame, position: u64) -> Result<Record<'_>, ReadError> {
    let record = frame.record(position).ok_or_else(|| missing(position))?;
    read_record(record).map_err(|what| ReadError::Damaged(Damage::new(position, what)))
}

/// What stands at `position`, whose record this is.
pub fn place_of(storage: &dyn Storage, record: Record<'_>, position: u64) -> Result<Place, ReadError> {
    let damaged = |what: String| ReadError::Damaged(Damage::new(position, what));
    let stored = match record {
        Record::Event(stored) => stored,
        Record::Removed(removed) => return Ok(Place::Removed(removed.at(position))),
    };
    let data = match stored.body {
        StoredBody::Inline(_) => None,
        StoredBody::Blob(hash, _) => match read_blob(storage, &hash) {
            Ok(Some(bytes)) => {
                Some(String::from_utf8(bytes).map_err(|_| damaged(format!("its blob {hash} is not UTF-8")))?)
            }
            Ok(None) => return gone(storage, position, damaged(format!("its blob {hash} is missing"))),
            Err(error @ ReadError::Blob { .. }) => return gone(storage, position, error),
            Err(error) => return Err(error),
        },
    };
    match stored.decode(position, data.as_deref()) {
        Ok(event) => Ok(Place::Event(Arc::new(event))),
        Err(source) => Err(ReadError::Event { position, source }),
    }
}

/// An event's blob is not there: because the event was removed since its frame was read, or because of `damage`.
fn gone(storage: &dyn Storage, position: u64, damage: ReadError) -> Result<Place, ReadError> {
    removed_at(storage, position)?.map(Place::Removed).ok_or(damage)
}

/// What is left of the event at a position, where it was removed.
pub fn removed_at(storage: &dyn Storage, position: u64) -> Result<Option<RemovedEvent>, ReadError> {
    let frame = frame_at(storage, position)?;
    Ok(match frame.record(position).map(read_record) {
        Some(Ok(Record::Removed(removed))) => Some(removed.at(position)),
        _ => None,
    })
}

/// A frame that was read, or what is wrong with it.
pub fn sound(frame: Result<Frame, super::frame::BadFrame>, position: u64) -> Result<Frame, ReadError> {
    frame.map_err(|bad| ReadError::Damaged(Damage::new(position, bad.what())))
}

/// Why nothing stands at `position`.
pub fn missing(position: u64) -> ReadError {
    ReadError::Damaged(Damage::new(position, "its record batch is missing"))
}
