//! Whose turn it is: jobs that could go on, in the order in which they get places, and how many places are taken. Pure.

use crate::options::QueueOptions;
use moonlog_core::{id::JobId, projection::JobState, time::Timestamp};
use std::{
    cmp::Reverse,
    collections::{BTreeMap, HashMap},
    sync::Arc,
};
use tokio::sync::oneshot;

/// Who waits for a place, in the order in which they get one: higher priority first, then the older one.
pub(super) type Turn = (Reverse<i32>, u64, JobId);

/// What a place is wanted for.
#[derive(Debug)]
pub(super) enum Ready {
    /// A queued job.
    Start,
    /// A running or waiting job without a task.
    Resume,
    /// A waiting job whose task waits for this.
    Grant(oneshot::Sender<()>),
}

/// What decides a job's turn.
#[derive(Debug, Clone)]
pub(super) struct Place {
    pub(super) queue: Arc<str>,
    pub(super) turn: Turn,
    pub(super) key: Option<String>,
}

impl Place {
    pub(super) fn of(job: &JobState) -> Self {
        Self {
            queue: job.submitted.queue.as_str().into(),
            turn: (Reverse(job.submitted.priority), job.submitted_position, job.id),
            key: job.submitted.concurrency_key.clone(),
        }
    }
}

#[derive(Default)]
struct Queue {
    limits: QueueOptions,
    paused: bool,
    /// It starts no job before this time.
    held_until: Option<Timestamp>,
    running: usize,
    /// Apart, since a paused queue passes over all of them.
    starts: BTreeMap<Turn, Ready>,
    others: BTreeMap<Turn, Ready>,
}

impl Queue {
    /// Whether it starts jobs at all.
    fn may_start(&self, now: Timestamp) -> bool {
        !self.paused && self.held_until.is_none_or(|until| until <= now)
    }

    fn first(&self, now: Timestamp) -> Option<&Turn> {
        if self.running >= self.limits.concurrency {
            return None;
        }
        let starts = self.starts.keys().next().filter(|_| self.may_start(now));
        starts.into_iter().chain(self.others.keys().next()).min()
    }
}

/// All queues.
pub(super) struct Turns {
    concurrency: usize,
    limits: BTreeMap<String, QueueOptions>,
    running: usize,
    queues: HashMap<Arc<str>, Queue>,
    of: HashMap<JobId, (Arc<str>, Turn)>,
}

impl Turns {
    /// At most `concurrency` places over all queues, and in each what `limits` says.
    pub(super) fn new(concurrency: usize, limits: BTreeMap<String, QueueOptions>) -> Self {
        Self { concurrency, limits, running: 0, queues: HashMap::new(), of: HashMap::new() }
    }

    fn queue(&mut self, name: &Arc<str>) -> &mut Queue {
        self.queues.entry(name.clone()).or_insert_with(|| Queue {
            limits: self.limits.get(&**name).cloned().unwrap_or_default(),
            ..Queue::default()
        })
    }

    /// A paused queue starts no job, but lets those that it has started go on.
    pub(super) fn set_paused(&mut self, queue: &str, paused: bool) {
        self.queue(&queue.into()).paused = paused;
    }

    /// A queue starts no job before `until`, where it is held; those that it has started go on.
    pub(super) fn hold(&mut self, queue: &Arc<str>, until: Option<Timestamp>) {
        self.queue(queue).held_until = until;
    }

    /// When the first of the queues that are held at `now` and have jobs to start may do so. One whose time is over waits for a
    /// place alone.
    pub(super) fn next_held(&self, now: Timestamp) -> Option<Timestamp> {
        let held = self.queues.values().filter(|queue| !queue.starts.is_empty() && !queue.paused);
        held.filter_map(|queue| queue.held_until).filter(|until| *until > now).min()
    }

    /// Whether the job waits for a place.
    pub(super) fn contains(&self, job: &JobId) -> bool {
        self.of.contains_key(job)
    }

    /// Lets a job wait for a place.
    pub(super) fn push(&mut self, queue: Arc<str>, turn: Turn, ready: Ready) {
        self.remove(&turn.2);
        self.of.insert(turn.2, (queue.clone(), turn));
        let queue = self.queue(&queue);
        let ready_ones = if matches!(ready, Ready::Start) { &mut queue.starts } else { &mut queue.others };
        ready_ones.insert(turn, ready);
    }

    /// The job wants no place any more. Gives the queue in which it waited for one.
    pub(super) fn remove(&mut self, job: &JobId) -> Option<Arc<str>> {
        let (name, turn) = self.of.remove(job)?;
        let queue = self.queue(&name);
        queue.starts.remove(&turn);
        queue.others.remove(&turn);
        Some(name)
    }

    /// Takes the first in turn over all queues that have a free place, if any place is free. The place is not taken yet.
    pub(super) fn next(&mut self, now: Timestamp) -> Option<(Arc<str>, Turn, Ready)> {
        if self.running >= self.concurrency {
            return None;
        }
        let firsts = self.queues.iter().filter_map(|(name, queue)| Some((*queue.first(now)?, name)));
        let (turn, name) = firsts.min()?;
        let name = name.clone();
        self.of.remove(&turn.2);
        let queue = self.queue(&name);
        // What was held is over, or this is none that it holds.
        queue.held_until = queue.held_until.filter(|until| *until > now);
        let ready = queue.starts.remove(&turn).or_else(|| queue.others.remove(&turn))?;
        Some((name, turn, ready))
    }

    /// Whether a job that comes to `queue` now would get a place at once.
    pub(super) fn has_free_place(&mut self, queue: &Arc<str>, now: Timestamp) -> bool {
        if !self.of.is_empty() || self.running >= self.concurrency {
            return false;
        }
        let queue = self.queue(queue);
        queue.running < queue.limits.concurrency && queue.may_start(now)
    }

    /// Takes a place.
    pub(super) fn take_place(&mut self, queue: &Arc<str>) {
        self.running += 1;
        self.queue(queue).running += 1;
    }

    /// Gives a place back.
    pub(super) fn give_back(&mut self, queue: &Arc<str>) {
        self.running -= 1;
        self.queue(queue).running -= 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn turn(priority: i32, n: u8) -> Turn {
        (Reverse(priority), n.into(), JobId::from_bytes([n; 16]))
    }

    fn turns(concurrency: usize) -> Turns {
        let narrow = QueueOptions { concurrency: 1, capacity: 10, ..QueueOptions::default() };
        Turns::new(concurrency, [("narrow".to_owned(), narrow)].into())
    }

    fn at(ms: u64) -> Timestamp {
        Timestamp::default().plus_ms(ms)
    }

    /// Which jobs come next, when each takes its place.
    fn all(turns: &mut Turns) -> Vec<u64> {
        all_at(turns, at(0))
    }

    fn all_at(turns: &mut Turns, now: Timestamp) -> Vec<u64> {
        let mut order = Vec::new();
        while let Some((queue, turn, _)) = turns.next(now) {
            turns.take_place(&queue);
            order.push(turn.1);
        }
        order
    }

    #[test]
    fn turns_go_by_priority_then_by_age_over_all_queues() {
        let mut turns = turns(10);
        for (queue, turn) in [("a", turn(0, 2)), ("b", turn(0, 1)), ("a", turn(5, 4)), ("b", turn(5, 3))] {
            turns.push(queue.into(), turn, Ready::Start);
        }
        assert_eq!(all(&mut turns), [3, 4, 1, 2]);
    }

    #[test]
    fn no_more_run_than_there_are_places() {
        let mut turns = turns(2);
        for (queue, n) in [("narrow", 1), ("narrow", 2), ("a", 3), ("a", 4)] {
            turns.push(queue.into(), turn(0, n), Ready::Start);
        }
        assert_eq!(all(&mut turns), [1, 3]);
        turns.give_back(&"a".into());
        assert_eq!(all(&mut turns), [4]);
        turns.give_back(&"narrow".into());
        assert_eq!(all(&mut turns), [2]);
    }

    #[test]
    fn a_paused_queue_starts_nothing_and_lets_the_rest_go_on() {
        let mut turns = turns(10);
        turns.set_paused("a", true);
        turns.push("a".into(), turn(9, 1), Ready::Start);
        turns.push("a".into(), turn(0, 2), Ready::Resume);
        assert_eq!(all(&mut turns), [2]);
        turns.set_paused("a", false);
        assert_eq!(all(&mut turns), [1]);
    }

    #[test]
    fn a_held_queue_starts_nothing_before_its_time() {
        let mut turns = turns(10);
        turns.hold(&"a".into(), Some(at(50)));
        assert_eq!(turns.next_held(at(0)), None, "nothing waits");
        turns.push("a".into(), turn(9, 1), Ready::Start);
        turns.push("a".into(), turn(0, 2), Ready::Resume);
        turns.push("b".into(), turn(0, 3), Ready::Start);
        assert_eq!(turns.next_held(at(0)), Some(at(50)));
        assert_eq!(all_at(&mut turns, at(49)), [2, 3]);
        assert_eq!(turns.next_held(at(50)), None, "its time is over: only a place is waited for");
        assert_eq!(all_at(&mut turns, at(50)), [1]);
        assert_eq!(turns.next_held(at(50)), None);
    }

    #[test]
    fn a_job_stands_in_one_place_only() {
        let mut turns = turns(10);
        turns.push("a".into(), turn(0, 1), Ready::Start);
        turns.push("a".into(), turn(0, 1), Ready::Resume);
        assert!(turns.contains(&turn(0, 1).2));
        assert!(matches!(turns.next(at(0)), Some((_, _, Ready::Resume))));
        assert!(turns.next(at(0)).is_none());
        turns.push("a".into(), turn(0, 1), Ready::Start);
        turns.remove(&turn(0, 1).2);
        assert!(turns.next(at(0)).is_none() && turns.of.is_empty());
    }
}
