//! The journal as a script is matched against it: what it does is offered, what it was given is taken.
//!
//! Order: everything that the script does must stand in the journal in the same order. What the runner delivered waits
//! in the journal until every branch of the script is blocked; so a delivery that was appended while the script was
//! still running (before what it did last) is no mismatch.

use super::entry::{Entry, Met, Open, Role, sort};
use crate::{
    event::{Event, EventBody, StepFinished, StepStarted},
    time::Timestamp,
};
use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

/// The recorded events of one run, and how far its script has come.
#[derive(Debug, Default)]
pub struct Journal {
    entries: Vec<Entry>,
    cursor: usize,
    finishes: HashMap<(Arc<str>, u32), usize>,
    open: Vec<Open>,
    skipped: HashSet<String>,
}

/// What the journal says to something that the script does.
#[derive(Debug)]
pub enum Offer<'a> {
    /// It is recorded, and next.
    Matched,
    /// The record has ended: this is new.
    New,
    /// Something else is recorded.
    Other(&'a Entry),
}

/// What the journal says to the script closing one of its operations.
#[derive(Debug)]
pub enum Close<'a> {
    /// The operation's end is recorded.
    Recorded,
    /// It is not, and the record has ended.
    New,
    /// It is not, and something else is recorded.
    Other(&'a Entry),
}

/// Something that a script was given.
#[derive(Debug, Clone)]
pub enum Delivery {
    /// The end of an operation.
    Finished {
        /// Its event.
        event: StepFinished,
        /// Whether it will be tried again.
        retry: bool,
        /// When.
        time: Timestamp,
    },
    /// The next attempt at a code step.
    Attempt {
        /// Its event.
        event: StepStarted,
        /// When.
        time: Timestamp,
    },
}

/// A code step's recorded end.
#[derive(Debug, Clone)]
pub struct RecordedFinish {
    /// Its event.
    pub event: StepFinished,
    /// Whether it will be tried again.
    pub retry: bool,
    /// The time of the last delivery before it.
    pub now: Option<Timestamp>,
    /// Whether nothing at all is recorded behind it.
    pub last: bool,
}

impl Journal {
    /// The journal of run `run` from a job's events. Other events are passed over.
    pub fn new(run: u32, events: &[Arc<Event>]) -> Self {
        let sorted = sort(run, events);
        let mut finishes = HashMap::new();
        for (index, entry) in sorted.entries.iter().enumerate() {
            if let EventBody::StepFinished(finished) = &entry.event.body {
                // Attempts at what the runner performs are the runner's own: the script knows one end.
                let attempt = if entry.code { finished.attempt } else { 1 };
                finishes.insert((Arc::from(finished.path.as_str()), attempt), index);
            }
        }
        Self { entries: sorted.entries, cursor: 0, finishes, open: sorted.open, skipped: HashSet::new() }
    }

    /// All entries, with what became of them.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// Whether nothing recorded is left: what the script does from here on is new.
    pub fn is_over(&mut self) -> bool {
        self.peek().is_none()
    }

    /// The next recorded entry.
    pub fn peek(&mut self) -> Option<&Entry> {
        while let Some(entry) = self.entries.get(self.cursor) {
            if entry.met == Met::Pending && inside(&self.skipped, &entry.place) {
                self.entries[self.cursor].met = Met::Skipped;
            } else if entry.met == Met::Pending {
                break;
            }
            self.cursor += 1;
        }
        self.entries.get(self.cursor)
    }

    /// The index of the next thing that the script itself did.
    fn next_intent(&mut self) -> Option<usize> {
        self.peek()?;
        (self.cursor..self.entries.len()).find(|&index| {
            let entry = &self.entries[index];
            entry.met == Met::Pending && entry.role == Role::Intent && !inside(&self.skipped, &entry.place)
        })
    }

    /// Offers what the script does now.
    pub fn offer(&mut self, body: &EventBody) -> Offer<'_> {
        match self.next_intent() {
            None => Offer::New,
            Some(index) if same(&self.entries[index].event.body, body) => {
                self.entries[index].met = Met::Matched;
                Offer::Matched
            }
            Some(index) => Offer::Other(&self.entries[index]),
        }
    }

    /// The script closes its operation `path` (it cancels it, or it has no more need of it).
    pub fn close(&mut self, path: &str, attempt: u32) -> Close<'_> {
        let key = (Arc::from(path), attempt);
        if let Some(&index) = self.finishes.get(&key)
            && self.entries[index].met == Met::Pending
        {
            self.entries[index].met = Met::Matched;
            return Close::Recorded;
        }
        match self.next_intent() {
            None => Close::New,
            Some(index) => Close::Other(&self.entries[index]),
        }
    }

    /// The recorded end of the operation `path` that the script began a moment ago, where that end is an earlier run's.
    pub fn take_reused(&mut self, path: &str) -> Option<StepFinished> {
        let entry = self.finishes.get(&(Arc::from(path), 1)).and_then(|index| self.entries.get_mut(*index))?;
        let EventBody::StepFinished(finished) = &entry.event.body else { return None };
        if entry.role != Role::Reused || entry.met != Met::Pending {
            return None;
        }
        entry.met = Met::Matched;
        Some(finished.clone())
    }

    /// The script cancels a code step between two attempts, of which `attempt` would be the next. Whether its
    /// `step.started` is recorded already (by a script that was stopped before it could write the end).
    pub fn close_before(&mut self, path: &str, attempt: u32) -> bool {
        let begun = self.entries.iter_mut().find(|entry| {
            entry.met == Met::Pending
                && entry.role == Role::Attempt
                && matches!(&entry.event.body, EventBody::StepStarted(s) if s.path == path && s.attempt == attempt)
        });
        begun.map(|entry| entry.met = Met::Matched).is_some()
    }

    /// Whether attempt `attempt` at the code step `path` has a recorded end. If it has, the step is not to be entered,
    /// and all that is recorded inside it is passed over.
    pub fn skip_recorded(&mut self, path: &str, attempt: u32) -> bool {
        let recorded = self.finishes.contains_key(&(Arc::from(path), attempt));
        if recorded {
            self.skipped.insert(format!("{path}@{attempt}"));
        }
        recorded
    }

    /// Whether nothing inside attempt `attempt` at the code step `path` waited for anything: as far as is recorded, its
    /// function ran through.
    pub fn ran_through(&self, path: &str, attempt: u32) -> bool {
        let inside = format!("{path}@{attempt}/");
        let own = |entry: &&Entry| entry.place.starts_with(&inside) || *entry.place == inside[..inside.len() - 1];
        self.entries.iter().filter(own).all(|entry| match &entry.event.body {
            EventBody::StepStarted(_) | EventBody::StepFinished(_) => {
                entry.code && !matches!(entry.role, Role::Delivery | Role::Attempt)
            }
            _ => true,
        })
    }

    /// The recorded end of a code step, where that is what comes next.
    pub fn take_code_finish(&mut self) -> Option<RecordedFinish> {
        let entry = self.peek()?;
        let Role::CodeFinish { retry } = entry.role else { return None };
        let EventBody::StepFinished(event) = &entry.event.body else { return None };
        let event = event.clone();
        let now = self.time_at(self.cursor);
        self.entries[self.cursor].met = Met::Delivered;
        let last = self.peek().is_none();
        Some(RecordedFinish { event, retry, now, last })
    }

    /// What `now()` was to the script when it did what stands at `index`: the time of the last delivery, also of those
    /// inside steps that are not entered again.
    fn time_at(&self, index: usize) -> Option<Timestamp> {
        let mut at = self.entries.get(index)?.last_delivery;
        while let Some(index) = at {
            let entry = &self.entries[index];
            // What the script closed before it was given is no delivery to it.
            if entry.met != Met::Matched {
                return Some(entry.event.happened_at());
            }
            at = index.checked_sub(1).and_then(|before| self.entries[before].last_delivery);
        }
        None
    }

    /// The path and attempt of the code step whose recorded end comes next.
    pub fn next_code_finish(&mut self) -> Option<(&str, u32)> {
        let entry = self.peek()?;
        match (&entry.role, &entry.event.body) {
            (Role::CodeFinish { .. }, EventBody::StepFinished(event)) => Some((&event.path, event.attempt)),
            _ => None,
        }
    }

    /// What the script was given next, where that is what comes next.
    pub fn take_delivery(&mut self) -> Option<Delivery> {
        let entry = self.peek()?;
        let time = entry.event.happened_at();
        let delivery = match (&entry.role, &entry.event.body) {
            (Role::Delivery, EventBody::StepFinished(event)) => {
                Delivery::Finished { event: event.clone(), retry: false, time }
            }
            (Role::Attempt, EventBody::StepStarted(event)) => Delivery::Attempt { event: event.clone(), time },
            _ => return None,
        };
        self.entries[self.cursor].met = Met::Delivered;
        Some(delivery)
    }

    /// The operations inside attempt `attempt` of the code step `path` that were left open, innermost last: whoever
    /// ended the step was stopped before it could close them. None where the step was entered: then the script closes
    /// them itself.
    pub fn left_open(&self, path: &str, attempt: u32) -> Vec<(Arc<str>, u32)> {
        if !self.skipped.contains(&format!("{path}@{attempt}")) {
            return Vec::new();
        }
        let prefix = format!("{path}@{attempt}/");
        let inside = self.open.iter().filter(|open| open.path.starts_with(&prefix));
        inside.map(|open| (Arc::clone(&open.path), open.attempt)).collect()
    }
}

/// Whether `place` stands inside one of the `skipped` attempts.
fn inside(skipped: &HashSet<String>, place: &str) -> bool {
    !skipped.is_empty()
        && place.match_indices('/').any(|(end, _)| {
            let prefix = &place[..end];
            let segment = prefix.rsplit('/').next().unwrap_or(prefix);
            segment.contains('@') && skipped.contains(prefix)
        })
}

/// Whether what the script does now is what was recorded. Spec hashes are left out: they cover the script's own hash,
/// and a changed script may still do the same.
fn same(recorded: &EventBody, now: &EventBody) -> bool {
    match (recorded, now) {
        (EventBody::StepStarted(a), EventBody::StepStarted(b)) => {
            a.path == b.path && a.kind == b.kind && a.name == b.name && a.attempt == b.attempt && a.input == b.input
        }
        (a, b) => a == b,
    }
}
