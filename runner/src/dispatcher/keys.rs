//! Concurrency keys: at most one job of a key runs, the others are parked meanwhile. Pure.

use super::turns::Turn;
use moonlog_core::id::JobId;
use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
};

/// A queued job that may contend for its key again.
pub(super) type Contender = (Arc<str>, Turn);

/// Who holds which key, and who waits for it.
#[derive(Debug, Default)]
pub(super) struct Keys {
    keys: HashMap<String, Key>,
    /// By job: the key that it holds.
    held: HashMap<JobId, String>,
    /// By job: the key that it is parked for, and where.
    parked: HashMap<JobId, (String, Contender)>,
    /// By job: the key that it was let go for, and has not taken yet.
    contending: HashMap<JobId, String>,
}

#[derive(Debug, Default)]
struct Key {
    holder: Option<JobId>,
    /// By queue, since one queue may have a free place where another has none.
    waiting: HashMap<Arc<str>, BTreeSet<Turn>>,
}

impl Keys {
    /// Whether another job than `job` holds the key.
    pub(super) fn is_held(&self, key: &str, job: &JobId) -> bool {
        self.keys.get(key).and_then(|key| key.holder).is_some_and(|holder| holder != *job)
    }

    /// Gives `job` the key, unless another has it.
    pub(super) fn take(&mut self, key: &str, job: JobId) -> bool {
        if self.is_held(key, &job) {
            return false;
        }
        self.contending.remove(&job);
        self.keys.entry(key.to_owned()).or_default().holder = Some(job);
        self.held.insert(job, key.to_owned());
        true
    }

    /// Keeps a queued job until the key is free.
    pub(super) fn park(&mut self, key: &str, queue: Arc<str>, turn: Turn) {
        let job = turn.2;
        self.contending.remove(&job);
        self.keys.entry(key.to_owned()).or_default().waiting.entry(queue.clone()).or_default().insert(turn);
        self.parked.insert(job, (key.to_owned(), (queue, turn)));
    }

    /// The job's attempt has ended: of each queue the first in turn may contend for its key.
    pub(super) fn release(&mut self, job: &JobId) -> Vec<Contender> {
        let Some(name) = self.held.remove(job) else { return Vec::new() };
        let Some(key) = self.keys.get_mut(&name) else { return Vec::new() };
        key.holder = None;
        let first = self.first_of(&name);
        self.forget_unused(&name);
        first
    }

    /// What kept the jobs of a key from starting is over: of each queue the first in turn may contend for it, unless a job
    /// holds it.
    pub(super) fn first_of(&mut self, name: &str) -> Vec<Contender> {
        let Some(key) = self.keys.get(name).filter(|key| key.holder.is_none()) else { return Vec::new() };
        let first: Vec<Contender> =
            key.waiting.iter().filter_map(|(queue, turns)| turns.first().map(|turn| (queue.clone(), *turn))).collect();
        first.iter().for_each(|contender| self.let_go(name, contender));
        first
    }

    /// The queue in which the job is parked.
    pub(super) fn parked_in(&self, job: &JobId) -> Option<Arc<str>> {
        self.parked.get(job).map(|(_, (queue, _))| queue.clone())
    }

    /// The job starts no more. Where it was the one to contend for its key, the next of its queue does.
    pub(super) fn dropped(&mut self, job: &JobId, queue: &str) -> Option<Contender> {
        if let Some((name, (queue, turn))) = self.parked.remove(job) {
            if let Some(turns) = self.keys.get_mut(&name).and_then(|key| key.waiting.get_mut(&queue)) {
                turns.remove(&turn);
            }
            self.forget_unused(&name);
            return None;
        }
        let name = self.contending.remove(job)?;
        let key = self.keys.get(&name).filter(|key| key.holder.is_none())?;
        let (queue, turns) = key.waiting.get_key_value(queue)?;
        let next = (queue.clone(), *turns.first()?);
        self.let_go(&name, &next);
        Some(next)
    }

    fn let_go(&mut self, name: &str, (queue, turn): &Contender) {
        if let Some(turns) = self.keys.get_mut(name).and_then(|key| key.waiting.get_mut(queue)) {
            turns.remove(turn);
        }
        self.parked.remove(&turn.2);
        self.contending.insert(turn.2, name.to_owned());
        self.forget_unused(name);
    }

    fn forget_unused(&mut self, name: &str) {
        if let Some(key) = self.keys.get_mut(name) {
            key.waiting.retain(|_, turns| !turns.is_empty());
            if key.holder.is_none() && key.waiting.is_empty() {
                self.keys.remove(name);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cmp::Reverse;

    fn turn(n: u8) -> Turn {
        (Reverse(0), n.into(), JobId::from_bytes([n; 16]))
    }

    fn place(queue: &str, n: u8) -> Contender {
        (queue.into(), turn(n))
    }

    #[test]
    fn one_of_each_queue_contends_when_the_key_is_free() {
        let mut keys = Keys::default();
        assert!(keys.take("k", turn(1).2));
        assert!(keys.take("k", turn(1).2), "again, such as after a restart");
        assert!(!keys.take("k", turn(2).2));
        for (queue, n) in [("a", 3), ("a", 2), ("b", 4)] {
            keys.park("k", queue.into(), turn(n));
        }
        let mut first = keys.release(&turn(1).2);
        first.sort();
        assert_eq!(first, [place("a", 2), place("b", 4)]);
        assert!(keys.take("k", turn(4).2));
        // The other one comes too late, and is parked again.
        keys.park("k", "a".into(), turn(2));
        assert_eq!(keys.release(&turn(4).2), [place("a", 2)]);
    }

    #[test]
    fn the_next_contends_where_the_first_is_cancelled() {
        let mut keys = Keys::default();
        keys.take("k", turn(1).2);
        for n in 2..=4 {
            keys.park("k", "a".into(), turn(n));
        }
        assert_eq!(keys.dropped(&turn(3).2, "a"), None, "it was only parked");
        assert_eq!(keys.release(&turn(1).2), [place("a", 2)]);
        assert_eq!(keys.dropped(&turn(2).2, "a"), Some(place("a", 4)));
        assert_eq!(keys.dropped(&turn(4).2, "a"), None);
    }

    #[test]
    fn nothing_is_kept_of_what_is_over() {
        let mut keys = Keys::default();
        keys.take("k", turn(1).2);
        keys.park("k", "a".into(), turn(2));
        keys.release(&turn(1).2);
        keys.take("k", turn(2).2);
        keys.release(&turn(2).2);
        keys.dropped(&turn(2).2, "a");
        assert!(keys.keys.is_empty() && keys.held.is_empty() && keys.parked.is_empty() && keys.contending.is_empty());
    }
}
