//! The shared results: where the last one stands of each operation that was given a `cache`, by spec hash.
//!
//! This is an index over the log, in memory alone. New events come from the projector. What was there before is read when
//! a script asks for the first time, as far back as a result may be old; a server whose scripts share nothing reads
//! nothing.

use moonlog_core::{
    event::{Event, EventBody, StepOutcome},
    id::{Hash, JobId},
    log::{Log, ReadError},
    time::Timestamp,
};
use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// How many events one read takes.
const READ_EVENTS: usize = 4_096;

/// What an entry counts beside its result, in bytes.
const ENTRY_BYTES: u64 = 256;

/// What scripts may share.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CacheOptions {
    /// How large the results may be together, in bytes; beyond it the oldest are forgotten.
    pub max_bytes: u64,
    /// How old a result may be, whatever a script says, in milliseconds.
    pub max_age_ms: u64,
}

impl Default for CacheOptions {
    fn default() -> Self {
        Self { max_bytes: 256 << 20, max_age_ms: 7 * 24 * 3_600_000 }
    }
}

/// Where a result stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Entry {
    position: u64,
    job: JobId,
    time: Timestamp,
    bytes: u64,
}

/// The fold of events that are given in order.
#[derive(Debug, Default)]
struct Index {
    entries: HashMap<Hash, Entry>,
    by_position: BTreeMap<u64, Hash>,
    bytes: u64,
    /// Operations with a `cache` that have begun and not ended.
    open: HashMap<(JobId, String), Hash>,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct SharedResults {
    options: CacheOptions,
    index: Mutex<Index>,
    /// The last position before the projector's events; `None` once what stands up to it was read.
    unread: Mutex<Option<u64>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Index {
    fn apply(&mut self, event: &Event, max_bytes: u64) {
        let Some(job) = event.job else { return };
        match &event.body {
            // Looked for in the text first: nearly no step has one, and some inputs are large.
            EventBody::StepStarted(step)
                if step.input.as_str().contains("\"cache_ms\":") && step.input.to_value()["cache_ms"].is_u64() =>
            {
                self.open.insert((job, step.path.clone()), step.spec_hash);
            }
            EventBody::StepFinished(end) if !self.open.is_empty() => {
                let Some(hash) = self.open.remove(&(job, end.path.clone())) else { return };
                let Some(output) = end.output.as_ref().filter(|_| end.outcome == StepOutcome::Ok && !end.cached) else {
                    return;
                };
                let bytes = ENTRY_BYTES + output.as_str().len() as u64;
                self.insert(hash, Entry { position: event.position, job, time: event.happened_at(), bytes }, max_bytes);
            }
            body if body.is_terminal() && !self.open.is_empty() => self.open.retain(|(other, _), _| *other != job),
            _ => {}
        }
    }

    fn insert(&mut self, hash: Hash, entry: Entry, max_bytes: u64) {
        if self.entries.get(&hash).is_some_and(|known| known.position > entry.position) {
            return;
        }
        if let Some(older) = self.entries.insert(hash, entry) {
            self.by_position.remove(&older.position);
            self.bytes -= older.bytes;
        }
        self.by_position.insert(entry.position, hash);
        self.bytes += entry.bytes;
        while self.bytes > max_bytes {
            let Some((_, oldest)) = self.by_position.pop_first() else { return };
            if let Some(forgotten) = self.entries.remove(&oldest) {
                self.bytes -= forgotten.bytes;
            }
        }
    }
}

impl SharedResults {
    /// Shared results of a log whose events from behind `position` on will be given.
    pub fn new(options: CacheOptions, position: u64) -> Self {
        Self { options, index: Mutex::default(), unread: Mutex::new(Some(position)) }
    }

    /// The next durable events.
    pub fn apply(&self, events: &[Arc<Event>]) {
        for event in events {
            match (&event.body, event.job) {
                (EventBody::JobDeleted(_), Some(job)) => self.forget(&job, event.position),
                _ => lock(&self.index).apply(event, self.options.max_bytes),
            }
        }
    }

    /// A job was deleted: where one of its results was the last of its kind, an older one may be found again.
    pub fn forget(&self, job: &JobId, position: u64) {
        let mut unread = lock(&self.unread);
        let mut index = lock(&self.index);
        if index.entries.values().any(|entry| entry.job == *job) {
            index.entries.clear();
            index.by_position.clear();
            index.bytes = 0;
            *unread = Some(unread.unwrap_or_default().max(position));
        }
    }

    /// Where the result of an operation stands, if it is no older than `cache_ms`.
    pub fn position(&self, log: &Log, spec_hash: &Hash, cache_ms: u64, now: Timestamp) -> Option<u64> {
        if let Err(error) = self.read_back(log, now) {
            tracing::warn!(%error, "shared results cannot be read: what they stand for is done again");
        }
        let entry = *lock(&self.index).entries.get(spec_hash)?;
        (now.ms_since(entry.time) <= cache_ms.min(self.options.max_age_ms)).then_some(entry.position)
    }

    /// Reads, once, what stood in the log before. Folding goes on meanwhile.
    fn read_back(&self, log: &Log, now: Timestamp) -> Result<(), ReadError> {
        let mut unread = lock(&self.unread);
        let Some(last) = unread.take() else { return Ok(()) };
        let mut older = Index::default();
        let oldest = Timestamp::from_micros(now.as_micros() - 1_000 * self.options.max_age_ms.min(1 << 42) as i64);
        let mut after = first_since(log, oldest, last)?;
        while after < last {
            let events = log.read(after, READ_EVENTS)?;
            let Some(read) = events.last() else { break };
            after = read.position;
            for event in events.iter().filter(|event| event.position <= last) {
                older.apply(event, self.options.max_bytes);
            }
        }
        let mut index = lock(&self.index);
        for (hash, entry) in older.entries {
            index.insert(hash, entry, self.options.max_bytes);
        }
        Ok(())
    }
}

/// The position behind which the first event stands that happened at `oldest` or later: times never go backwards.
fn first_since(log: &Log, oldest: Timestamp, last: u64) -> Result<u64, ReadError> {
    let (mut low, mut high) = (0, last);
    while low < high {
        let middle = low + (high - low) / 2;
        match log.read(middle, 1)?.first() {
            Some(event) if event.time < oldest => low = event.position,
            _ => high = middle,
        }
    }
    Ok(low)
}
