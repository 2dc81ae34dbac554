//! What a run has besides its runner: chance, the time, ids, and a memory of what was told to anyone, which outlives every
//! crash.

use crate::scripts::Chance;
use moonlog_core::{
    id::{Hash, JobId, SessionId},
    time::Timestamp,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::time::Instant;
use uuid::Uuid;

/// When every run begins.
const BEGINNING_MICROS: i64 = 1_700_000_000_000_000;

pub struct World {
    /// Whether the run has agents, sessions and hosts.
    pub has_agents: bool,
    chance: Mutex<Chance>,
    clock: Mutex<Clock>,
    memory: Mutex<Memory>,
}

/// The wall clock: it goes with the runtime's time, stands still between two lives, and can be set. The runner's own follows it
/// forward and is never set back, as [`moonlog_runner::SteadyClock`] is.
struct Clock {
    at_micros: i64,
    since: Option<Instant>,
    /// By how much the runner's own is ahead.
    ahead_micros: i64,
}

/// What somebody outside knows.
#[derive(Default)]
pub struct Memory {
    /// Jobs whose submission was acknowledged.
    pub jobs: Vec<JobId>,
    /// The job of each idempotency key, where it was told.
    pub keys: BTreeMap<String, JobId>,
    /// Signals that were acknowledged, by their own key.
    pub signals: BTreeMap<String, JobId>,
    /// Jobs whose cancellation was acknowledged.
    pub cancels: BTreeSet<JobId>,
    /// Jobs that somebody asked to delete, and whether that was acknowledged.
    pub deletes: BTreeMap<JobId, bool>,
    /// Sessions whose creation was acknowledged, and whose closing.
    pub sessions: Vec<SessionId>,
    pub closed: BTreeSet<SessionId>,
    /// The jobs that answer what was said and acknowledged, with their sessions.
    pub said: BTreeMap<JobId, SessionId>,
    /// What an endpoint of webhooks has taken, by `webhook-id`.
    pub posted: BTreeSet<String>,
    /// What a reader of the feed has seen, in its order: the position, and what was shown.
    pub seen: Vec<(u64, Hash)>,
    /// The highest position that anybody could read.
    pub head: u64,
    /// What was started outside, in order.
    pub acts: Vec<Act>,
    /// The first thing that went wrong.
    pub failure: Option<String>,
}

/// A command was started.
pub struct Act {
    /// The idempotency key that it was given.
    pub key: String,
    /// How far the log could be read then.
    pub head: u64,
}

impl World {
    pub fn new(seed: u64) -> Self {
        let mut chance = Chance::new(seed);
        Self {
            has_agents: chance.one_in(2),
            chance: Mutex::new(chance),
            clock: Mutex::new(Clock { at_micros: BEGINNING_MICROS, since: None, ahead_micros: 0 }),
            memory: Mutex::default(),
        }
    }

    pub fn chance(&self) -> MutexGuard<'_, Chance> {
        self.chance.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn memory(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn clock(&self) -> MutexGuard<'_, Clock> {
        self.clock.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn below(&self, n: u64) -> u64 {
        self.chance().below(n)
    }

    pub fn one_in(&self, n: u64) -> bool {
        self.chance().one_in(n)
    }

    /// Something went wrong. The first is told.
    pub fn fail(&self, what: impl Into<String>) {
        self.memory().failure.get_or_insert(what.into());
    }

    /// The runner's time.
    pub fn now(&self) -> Timestamp {
        let ahead = self.clock().ahead_micros;
        Timestamp::from_micros(self.calendar().as_micros() + ahead)
    }

    /// What the wall clock shows.
    pub fn calendar(&self) -> Timestamp {
        let clock = self.clock();
        let since = clock.since.map_or(0, |since| Instant::now().duration_since(since).as_micros() as i64);
        Timestamp::from_micros(clock.at_micros + since)
    }

    /// The clock goes, in the time of the runtime that this is called in.
    pub fn start_clock(&self) {
        self.clock().since = Some(Instant::now());
    }

    /// The clock stands still.
    pub fn stop_clock(&self) {
        let now = self.calendar();
        let mut clock = self.clock();
        (clock.at_micros, clock.since) = (now.as_micros(), None);
    }

    /// Sets the clock.
    pub fn jump_ms(&self, by: i64) {
        let mut clock = self.clock();
        clock.at_micros += by * 1_000;
        clock.ahead_micros = (clock.ahead_micros - by * 1_000).max(0);
    }

    pub fn new_id(&self) -> Uuid {
        let ms = (self.now().as_micros() / 1_000) as u64;
        let mut chance = self.chance();
        let bytes = [0; 10].map(|_: u8| chance.below(256) as u8);
        uuid::Builder::from_unix_timestamp_millis(ms, &bytes).into_uuid()
    }

    /// Others go on meanwhile, for as long as chance has it.
    pub async fn dawdle(&self) {
        let (kind, count) = {
            let mut chance = self.chance();
            (chance.below(5), chance.below(6))
        };
        match kind {
            0 => {}
            1..=3 => {
                for _ in 0..count {
                    tokio::task::yield_now().await;
                }
            }
            _ => tokio::time::sleep(Duration::from_millis(count)).await,
        }
    }
}
