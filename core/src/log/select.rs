//! Reads of those events that a feed wants, told by what stands before their fields: only these are decoded. A feed that few
//! events fit looks through the whole log, but for stretches that are known to have none of its types (`kinds`).

use super::{
    Kinds, Log, Place, ReadError, RemovedEvent,
    frame::{Frame, frame_key},
    kinds::{Found, end_of_stretch},
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

/// The stored code of what stands in a record, or was there before it was removed; `None` where that is not known.
fn code_of(record: &Record<'_>) -> Option<u16> {
    match record {
        Record::Event(stored) => Some(stored.code),
        Record::Removed(removed) => removed.code(),
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
    kinds: Kinds,
    wanted: &'a dyn Fn(&Traits) -> bool,
    last: u64,
    limit: usize,
    found: Selected,
    seen: Found,
}

impl Log {
    /// The next `limit` durable positions behind `after`, with what stands there or what is left of it.
    ///
    /// # Errors
    /// Where they cannot be read.
    pub fn places(&self, after: u64, limit: usize) -> Result<Vec<Place>, ReadError> {
        Ok(self.select(after, limit, usize::MAX, Kinds::ALL, &|_| true)?.places)
    }

    /// What of the next `scan` durable positions behind `after` is wanted, at most `limit` of it. `kinds` has the types of all that
    /// is wanted: where it has not all types, stretches without any of them are passed over and not counted, and the last that is
    /// looked at is looked at to its end.
    ///
    /// # Errors
    /// Where they cannot be read.
    pub fn select(
        &self,
        after: u64,
        scan: usize,
        limit: usize,
        kinds: Kinds,
        wanted: &dyn Fn(&Traits) -> bool,
    ) -> Result<Selected, ReadError> {
        let (shared, head) = (&*self.shared, self.shared.head());
        let last = after.saturating_add(scan as u64);
        let last = head.min(if kinds == Kinds::ALL { last } else { end_of_stretch(last) });
        let found = Selected { places: Vec::new(), through: after };
        let mut look = Look { shared, kinds, wanted, last, limit, found, seen: Found::default() };
        while look.goes_on() {
            if look.pass(head) {
                continue;
            }
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

    /// Passes over stretches that have nothing of what is wanted; whether there were any.
    fn pass(&mut self, head: u64) -> bool {
        let before = self.found.through;
        let through = self.shared.kinds.without(self.kinds, before + 1).min(head);
        if through > before {
            self.seen.pass();
            self.found.through = through;
            self.last = head.min(self.last.saturating_add(through - before));
        }
        through > before
    }

    /// Whether stretches end here, so that those behind may be passed over.
    fn is_between_stretches(&self) -> bool {
        self.kinds != Kinds::ALL && end_of_stretch(self.found.through) == self.found.through
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
            self.seen.note(event.position, Some(event.body.code()), &self.shared.kinds);
        }
        self.found.through > before
    }

    /// Looks at some frames.
    fn at_frames(&mut self) -> Result<(), ReadError> {
        let storage = &*self.shared.storage;
        let first = frame_at(storage, self.found.through + 1)?;
        self.frame(&first)?;
        if !self.goes_on() || self.is_between_stretches() {
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
            if !self.goes_on() || self.is_between_stretches() {
                break;
            }
        }
        Ok(())
    }

    fn frame(&mut self, frame: &Frame) -> Result<(), ReadError> {
        let begin = self.found.through;
        while self.goes_on() && self.found.through < frame.last_position() {
            if self.found.through > begin && self.is_between_stretches() {
                return Ok(());
            }
            let position = self.found.through + 1;
            let record = record_at(frame, position)?;
            let code = code_of(&record);
            if (self.wanted)(&Traits::of(&record, position)) {
                self.found.places.push(place_of(&*self.shared.storage, record, position)?);
            }
            self.found.through = position;
            self.seen.note(position, code, &self.shared.kinds);
        }
        Ok(())
    }
}
