//! Gives events their places: checks what an append expects, and numbers its events. All in memory, under one lock.

use super::{
    AppendError, Appended, Expected, Poisoned, StreamHead,
    blob_holds::BlobHolds,
    prepare::{Prepared, PreparedBody, PreparedEvent},
    queue::Queue,
    record::{StoredBody, put_event},
};
use crate::{event::StreamId, time::Timestamp};
use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

/// How many streams' ends are remembered. Others are looked up in the index.
const HEADS_MAX: usize = 8192;

/// How many removed streams are remembered: those who know nothing of that act soon or never.
const REMOVED_MAX: usize = 65_536;

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
    /// Streams that were removed since the start: who knows nothing of that must not begin them anew.
    removed: HashSet<StreamId>,
    /// Blobs that are still to be named.
    pub blobs: BlobHolds,
    pub intake: Intake,
}

impl Sequencer {
    /// Goes on behind `head`, whose event has the time `last_time`.
    pub fn new(head: u64, last_time: Timestamp) -> Self {
        Self {
            next_position: head + 1,
            last_time,
            heads: HashMap::new(),
            evictions: 0,
            removed: HashSet::new(),
            blobs: BlobHolds::default(),
            intake: Intake::Open,
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
        let looked_for =
            appends.iter().filter(|append| append.expected != Expected::Fresh).map(|append| &append.stream);
        (looked_for.filter(|stream| !self.heads.contains_key(stream)).cloned().collect(), self.evictions)
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

    /// Forgets streams whose events were removed. They begin anew for whoever expects that they are not there.
    pub fn forget(&mut self, streams: &[StreamId]) {
        if self.removed.len() + streams.len() > REMOVED_MAX {
            self.removed.clear();
        }
        for stream in streams {
            self.heads.remove(stream);
            self.removed.insert(stream.clone());
        }
        // Ends that are being looked up may be theirs.
        self.evictions += 1;
    }

    /// Checks what appends that belong together expect. The ends of all their streams are known. Returns the time of their
    /// events.
    pub fn admit(&mut self, appends: &[Prepared], now: Timestamp) -> Result<Timestamp, AppendError> {
        self.check_expectations(appends)?;
        self.last_time = now.max(self.last_time);
        Ok(self.last_time)
    }

    /// The time of the last event; before all times where there is none.
    pub fn last_time(&self) -> Timestamp {
        self.last_time
    }

    /// The position of the next event.
    pub fn next_position(&self) -> u64 {
        self.next_position
    }

    /// Gives the events of an admitted append their places. There is room for them in the queue's last frame.
    pub fn place(&mut self, append: Prepared, time: Timestamp, queue: &mut Queue) -> Appended {
        let Prepared { stream, events, bodies, .. } = append;
        let known = self.heads.get(&stream).copied().flatten();
        let mut head = known.unwrap_or(StreamHead { version: 0, position: 0, closed: false });
        let first_position = self.next_position;
        let pending = &mut queue.pending;
        pending.bytes += events.iter().map(PreparedEvent::stored_bytes).sum::<usize>();
        let Some((frame, framed)) = pending.frames.last_mut() else { unreachable!("room was made") };
        framed.reserve(events.len());
        for PreparedEvent { mut event, cause, body } in events {
            let Some(placed) = Arc::get_mut(&mut event) else { unreachable!("nobody else has it") };
            head.version += 1;
            placed.position = self.next_position;
            placed.version = head.version;
            placed.time = time;
            placed.cause = cause.map(|cause| cause.position(self.next_position));
            let body = match body {
                PreparedBody::Inline(range) => StoredBody::Inline(&bodies[range]),
                PreparedBody::Blob(hash, data) => {
                    self.blobs.named(hash);
                    let bytes = data.len() as u64;
                    placed.blob = Some((hash, bytes));
                    pending.bytes += data.len();
                    pending.blobs.push((hash, data));
                    StoredBody::Blob(hash, bytes)
                }
            };
            if let Some(hash) = placed.body.named_blob() {
                self.blobs.named(hash);
            }
            frame.push(|out| put_event(out, placed, body));
            head.closed = placed.body.is_terminal();
            framed.push(event);
            self.next_position += 1;
        }
        head.position = self.next_position - 1;
        let appended = Appended { first_position, last_position: head.position, last_version: head.version, time };
        self.heads.insert(stream, Some(head));
        appended
    }

    fn check_expectations(&self, appends: &[Prepared]) -> Result<(), AppendError> {
        // Versions and ends as the appends before in the same call leave them.
        let mut left: HashMap<&StreamId, (u64, bool)> = HashMap::new();
        for Prepared { stream, expected, events, .. } in appends {
            let known =
                self.heads.get(stream).copied().flatten().map_or((0, false), |head| (head.version, head.closed));
            let (actual, closed) = left.get(stream).copied().unwrap_or(known);
            let holds = match *expected {
                Expected::Any if actual == 0 && self.removed.contains(stream) => {
                    return Err(AppendError::Closed { stream: stream.clone() });
                }
                Expected::Any => true,
                Expected::NoStream | Expected::Fresh => actual == 0,
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
}
