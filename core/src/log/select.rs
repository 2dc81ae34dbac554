//! Reads of those events that a feed wants, told by what stands before their fields: only these are decoded. A feed that few
//! events fit looks through the whole log.

use super::{
    Log, Place, ReadError, RemovedEvent,
    frame::{Frame, frame_key},
    reader::{frame_at, missing, place_of, record_at, sound},
    record::Record,
    shared::{Shared, read_lock},
};
use crate::{
    event::{Event, EventBody},
    id::{JobId, ProcessId, SessionId},
    storage::{Direction, Space},
};
use std::ops::Bound;

/// How many frames are fetched at once: up to 1 MiB.
const FRAMES_AT_ONCE: usize = 16;

/// What feeds ask of an event, or of what is left of one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Traits {
    /// Its type; `None` where that is not known: then it may be any.
    pub name: Option<&'static str>,
    /// The job it belongs to.
    pub job: Option<JobId>,
    /// The session it belongs to.
    pub session: Option<SessionId>,
    /// The process it belongs to.
    pub process: Option<ProcessId>,
}

/// What was found of what is wanted.
#[derive(Debug, Clone, PartialEq)]
pub struct Selected {
    /// It, oldest first.
    pub places: Vec<Place>,
    /// Everything up to this position was looked at.
    pub through: u64,
}

impl From<&Event> for Traits {
    fn from(event: &Event) -> Self {
        Self { name: Some(event.body.name()), job: event.job, session: event.session, process: event.process }
    }
}

impl From<&RemovedEvent> for Traits {
    fn from(event: &RemovedEvent) -> Self {
        Self { name: event.name, job: event.job, session: event.session, process: event.process }
    }
}

impl Traits {
    fn of(record: &Record<'_>, position: u64) -> Self {
        match record {
            Record::Event(stored) => Self {
                name: EventBody::name_of(stored.code),
                job: stored.job,
                session: stored.session,
                process: stored.process,
            },
            Record::Removed(removed) => Self::from(&removed.clone().at(position)),
        }
    }
}

/// A look at what stands behind a position.
struct Look<'a> {
    shared: &'a Shared,
    wanted: &'a dyn Fn(&Traits) -> bool,
    last: u64,
    limit: usize,
    found: Selected,
}

impl Log {
    /// The next `limit` durable positions behind `after`, with what stands there or what is left of it.
    ///
    /// # Errors
    /// Where they cannot be read.
    pub fn places(&self, after: u64, limit: usize) -> Result<Vec<Place>, ReadError> {
        Ok(self.select(after, limit, usize::MAX, &|_| true)?.places)
    }

    /// What of the next `scan` durable positions behind `after` is wanted, at most `limit` of it.
    ///
    /// # Errors
    /// Where they cannot be read.
    pub fn select(
        &self,
        after: u64,
        scan: usize,
        limit: usize,
        wanted: &dyn Fn(&Traits) -> bool,
    ) -> Result<Selected, ReadError> {
        let shared = &*self.shared;
        let last = shared.head().min(after.saturating_add(scan as u64));
        let found = Selected { places: Vec::new(), through: after };
        let mut look = Look { shared, wanted, last, limit, found };
        while look.goes_on() {
            if !look.at_tail() {
                look.at_frames()?;
            }
        }
        Ok(look.found)
    }
}

impl Look<'_> {
    fn goes_on(&self) -> bool {
        self.found.through < self.last && self.found.places.len() < self.limit
    }

    /// Looks at what the tail has, if it has the next; whether it had.
    fn at_tail(&mut self) -> bool {
        let before = self.found.through;
        let tail = read_lock(&self.shared.tail);
        while self.goes_on()
            && let Some(event) = tail.get(self.found.through + 1)
        {
            if (self.wanted)(&Traits::from(&**event)) {
                self.found.places.push(Place::Event(event.clone()));
            }
            self.found.through += 1;
        }
        self.found.through > before
    }

    /// Looks at some frames.
    fn at_frames(&mut self) -> Result<(), ReadError> {
        let storage = &*self.shared.storage;
        let first = frame_at(storage, self.found.through + 1)?;
        self.frame(&first)?;
        if !self.goes_on() {
            return Ok(());
        }
        let (from, to) = (Bound::Included(frame_key(self.found.through + 1)), Bound::Included(frame_key(self.last)));
        for (key, value) in storage.scan(Space::Frames, from, to, Direction::Forward, FRAMES_AT_ONCE)? {
            let next = self.found.through + 1;
            let frame = sound(Frame::read(&key, value), next)?;
            if frame.first_position != next {
                return Err(missing(next));
            }
            self.frame(&frame)?;
            if !self.goes_on() {
                break;
            }
        }
        Ok(())
    }

    fn frame(&mut self, frame: &Frame) -> Result<(), ReadError> {
        while self.goes_on() && self.found.through < frame.last_position() {
            let position = self.found.through + 1;
            let record = record_at(frame, position)?;
            if (self.wanted)(&Traits::of(&record, position)) {
                self.found.places.push(place_of(&*self.shared.storage, record, position)?);
            }
            self.found.through = position;
        }
        Ok(())
    }
}
