//! Queues: which are paused, what is queued in which order, and how much runs.

use super::{JobState, JobStatus};
use crate::id::JobId;
use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
};

/// A queued job's place: higher priority first, then the one that was submitted first.
type Place = (Reverse<i32>, u64, JobId);

/// One queue.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct QueueState {
    /// Whether it starts no jobs.
    pub paused: bool,
    /// Jobs that run.
    pub running: u64,
    /// Jobs that wait, holding no place of the runner.
    pub waiting: u64,
    queued: BTreeSet<Place>,
}

impl QueueState {
    /// How many jobs are queued.
    pub fn depth(&self) -> u64 {
        self.queued.len() as u64
    }

    /// The queued jobs, in the order in which they should start.
    pub fn queued(&self) -> impl Iterator<Item = JobId> + '_ {
        self.queued.iter().map(|(_, _, job)| *job)
    }

    fn is_unused(&self) -> bool {
        *self == Self::default()
    }
}

/// How many jobs with one concurrency key have begun and not ended.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct KeyCounts {
    /// Those that run.
    pub running: u64,
    /// Those that wait.
    pub waiting: u64,
}

/// All queues that are paused or have jobs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Queues {
    queues: BTreeMap<Arc<str>, QueueState>,
    keys: HashMap<Arc<str>, KeyCounts>,
}

impl Queues {
    /// The queue, where it is paused or has jobs.
    pub fn get(&self, name: &str) -> Option<&QueueState> {
        self.queues.get(name)
    }

    /// Whether the queue is paused.
    pub fn is_paused(&self, name: &str) -> bool {
        self.get(name).is_some_and(|queue| queue.paused)
    }

    /// Every queue that is paused or has jobs, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&Arc<str>, &QueueState)> {
        self.queues.iter()
    }

    /// How many jobs with this concurrency key have begun and not ended.
    pub fn with_key(&self, key: &str) -> KeyCounts {
        self.keys.get(key).copied().unwrap_or_default()
    }

    pub(super) fn set_paused(&mut self, name: &str, paused: bool) {
        self.change(name, |queue| queue.paused = paused);
    }

    /// The job has come to where it stands.
    pub(super) fn enter(&mut self, job: &JobState) {
        self.count(job, true);
    }

    /// The job leaves where it stands.
    pub(super) fn leave(&mut self, job: &JobState) {
        self.count(job, false);
    }

    fn count(&mut self, job: &JobState, enters: bool) {
        if job.status.is_ended() {
            return;
        }
        let step = |count: &mut u64| *count = if enters { *count + 1 } else { count.saturating_sub(1) };
        self.change(&job.submitted.queue, |queue| match job.status {
            JobStatus::Queued => {
                let place = (Reverse(job.submitted.priority), job.submitted_position, job.id);
                if enters {
                    queue.queued.insert(place);
                } else {
                    queue.queued.remove(&place);
                }
            }
            JobStatus::Running => step(&mut queue.running),
            _ => step(&mut queue.waiting),
        });
        let (Some(key), false) = (&job.submitted.concurrency_key, job.status == JobStatus::Queued) else { return };
        let mut counts = self.with_key(key);
        match job.status {
            JobStatus::Running => step(&mut counts.running),
            _ => step(&mut counts.waiting),
        }
        if counts == KeyCounts::default() {
            self.keys.remove(key.as_str());
        } else {
            self.keys.insert(key.as_str().into(), counts);
        }
    }

    /// Changes a queue, and forgets it when nothing is left to say of it.
    fn change(&mut self, name: &str, change: impl FnOnce(&mut QueueState)) {
        let queue = match self.queues.get_mut(name) {
            Some(queue) => queue,
            None => self.queues.entry(name.into()).or_default(),
        };
        change(queue);
        if queue.is_unused() {
            self.queues.remove(name);
        }
    }
}
