//! Gives events their places: checks what an append expects, and numbers its events. All in memory, under one lock; what
//! it makes waits here until the writer takes it.

use super::{
    AppendError, Appended, Expected, Poisoned, StreamHead,
    frame::{FRAME_OVERHEAD_BYTES, FrameBuilder},
    prepare::{Prepared, PreparedBody},
    record::{StoredBody, put_event},
};
use crate::{
    event::{Event, StreamId},
    id::Hash,
    time::Timestamp,
};
use std::{collections::HashMap, mem, sync::Arc, time::Instant};

/// How many streams' ends are remembered. Others are looked up in the index.
const HEADS_MAX: usize = 8192;

/// What waits to be written together.
#[derive(Default)]
pub struct Pending {
    /// Blobs, which are written before any frame.
    pub blobs: Vec<(Hash, Vec<u8>)>,
    /// Frames in their order, each with its events.
    pub frames: Vec<(FrameBuilder, Vec<Arc<Event>>)>,
    /// What it counts for against the limit, in bytes.
    pub bytes: usize,
    /// How many calls made it, not counting those that are in no hurry.
    pub calls: usize,
    /// Since when something waits that is in no hurry.
    pub since: Option<Instant>,
}

/// Whether the log takes events.
#[derive(Clone)]
pub enum Intake {
    /// It does.
    Open,
    /// It was closed.
    Stopped,
    /// A write failed.
    Poisoned(Poisoned),
}

/// See the module.
pub struct Sequencer {
    next_position: u64,
    last_time: Timestamp,
    /// The ends of streams, with events that are not durable yet. At least those of streams that have such events.
    heads: HashMap<StreamId, Option<StreamHead>>,
    /// Counts how often `heads` was thinned out.
    evictions: u64,
    pub intake: Intake,
    pub pending: Pending,
    /// After how many calls in `pending` the sleeping writer wants to be woken; `None` while it is awake.
    pub wake_at_calls: Option<usize>,
}

impl Sequencer {
    /// Goes on behind `head`, whose event has the time `last_time`.
    pub fn new(head: u64, last_time: Timestamp) -> Self {
        Self {
            next_position: head + 1,
            last_time,
            heads: HashMap::new(),
            evictions: 0,
            intake: Intake::Open,
            pending: Pending::default(),
            wake_at_calls: None,
        }
    }

    /// Whether events are taken.
    pub fn check_intake(&self) -> Result<(), AppendError> {
        match &self.intake {
            Intake::Open => Ok(()),
            Intake::Stopped => Err(AppendError::Stopped),
            Intake::Poisoned(poisoned) => Err(poisoned.clone().into()),
        }
    }

    /// The streams of `appends` whose end is not remembered, and a mark for [`Self::learn`].
    pub fn unknown(&self, appends: &[Prepared]) -> (Vec<StreamId>, u64) {
        let streams = appends.iter().map(|append| &append.stream);
        (streams.filter(|stream| !self.heads.contains_key(stream)).cloned().collect(), self.evictions)
    }

    /// Takes over durable ends that were looked up since `mark`. What is remembered by now is newer.
    pub fn learn(&mut self, mark: u64, heads: Vec<(StreamId, Option<StreamHead>)>) {
        if mark == self.evictions {
            for (stream, head) in heads {
                self.heads.entry(stream).or_insert(head);
            }
        }
    }

    /// Forgets ends that the index knows by now, where too many are remembered.
    pub fn thin_out(&mut self, durable: u64) {
        if self.heads.len() > HEADS_MAX {
            self.heads.retain(|_, head| head.as_ref().is_some_and(|head| head.position > durable));
            self.evictions += 1;
        }
    }

    /// Gives the events of all appends their places, or of none. The ends of all their streams are known.
    pub fn place(
        &mut self,
        appends: Vec<Prepared>,
        one_frame: bool,
        now: Timestamp,
    ) -> Result<Vec<Appended>, AppendError> {
        self.check_expectations(&appends)?;
        let time = now.max(self.last_time);
        self.last_time = time;
        let together: usize = appends.iter().map(Prepared::stored_bytes).sum();
        if one_frame {
            self.make_room(together);
        }
        let mut appended = Vec::with_capacity(appends.len());
        for append in appends {
            if !one_frame {
                self.make_room(append.stored_bytes());
            }
            appended.push(self.place_one(append, time));
        }
        Ok(appended)
    }

    /// Adds a blob, to be written before whatever is placed after it.
    pub fn push_blob(&mut self, hash: Hash, bytes: Vec<u8>) {
        self.pending.bytes += bytes.len();
        self.pending.blobs.push((hash, bytes));
    }

    /// What waits to be written.
    pub fn take(&mut self) -> Pending {
        mem::take(&mut self.pending)
    }

    fn check_expectations(&self, appends: &[Prepared]) -> Result<(), AppendError> {
        // Versions and ends as the appends before in the same call leave them.
        let mut left: HashMap<&StreamId, (u64, bool)> = HashMap::new();
        for Prepared { stream, expected, events } in appends {
            let known =
                self.heads.get(stream).copied().flatten().map_or((0, false), |head| (head.version, head.closed));
            let (actual, closed) = left.get(stream).copied().unwrap_or(known);
            let holds = match *expected {
                Expected::Any => true,
                Expected::NoStream => actual == 0,
                Expected::Open => actual > 0,
                Expected::Version(version) => actual == version,
            };
            // A wrong version is told first: who expected none wants to know that there is one.
            if !holds {
                return Err(AppendError::Conflict { stream: stream.clone(), expected: *expected, actual });
            }
            let ends_early = events.iter().rev().skip(1).any(|event| event.event.body.is_terminal());
            if closed || ends_early {
                return Err(AppendError::Closed { stream: stream.clone() });
            }
            let closes = events.last().is_some_and(|event| event.event.body.is_terminal());
            if appends.len() > 1 {
                left.insert(stream, (actual + events.len() as u64, closes));
            }
        }
        Ok(())
    }

    fn make_room(&mut self, bytes: usize) {
        if self.pending.frames.last().is_none_or(|(frame, _)| !frame.fits(bytes)) {
            self.pending.frames.push((FrameBuilder::new(self.next_position), Vec::new()));
            self.pending.bytes += FRAME_OVERHEAD_BYTES;
        }
    }

    fn place_one(&mut self, append: Prepared, time: Timestamp) -> Appended {
        self.pending.bytes += append.stored_bytes();
        let Prepared { stream, events, .. } = append;
        let head = self.heads.entry(stream.clone()).or_default();
        let mut version = head.map_or(0, |head| head.version);
        let first_position = self.next_position;
        let Pending { blobs, frames, bytes, .. } = &mut self.pending;
        let Some((frame, framed)) = frames.last_mut() else { unreachable!("room was made") };
        let mut closed = false;
        for prepared in events {
            version += 1;
            let (stored, blob) = match prepared.body {
                PreparedBody::Inline(bytes) => (bytes, None),
                PreparedBody::Blob(hash, data) => {
                    let blob = (hash, data.len() as u64);
                    *bytes += data.len();
                    blobs.push((hash, data));
                    (Vec::new(), Some(blob))
                }
            };
            let event = prepared.event;
            let event = Event {
                position: self.next_position,
                stream: stream.clone(),
                version,
                time,
                job: event.job,
                session: event.session,
                process: event.process,
                step: event.step,
                cause: event.cause.map(|cause| cause.position(self.next_position)),
                origin: event.origin,
                body: event.body,
                blob,
            };
            let body = match blob {
                None => StoredBody::Inline(&stored),
                Some((hash, bytes)) => StoredBody::Blob(hash, bytes),
            };
            frame.push(|out| put_event(out, &event, body));
            closed = event.body.is_terminal();
            framed.push(Arc::new(event));
            self.next_position += 1;
        }
        let last_position = self.next_position - 1;
        *head = Some(StreamHead { version, position: last_position, closed });
        Appended { first_position, last_position, last_version: version, time }
    }
}
