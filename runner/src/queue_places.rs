//! Places in queues for submissions under way. A job that is being taken is counted here until the projections have it, and
//! never in both: so a queue takes as many as it has room for, however many come at once.

use moonlog_core::log::Appended;
use std::{
    collections::{BTreeSet, HashMap},
    mem,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// The places of all queues.
#[derive(Default)]
pub(crate) struct QueuePlaces(Mutex<HashMap<String, Arc<Mutex<UnderWay>>>>);

/// The submissions to one queue that the projections may not know of yet.
#[derive(Default)]
struct UnderWay {
    /// Those that are not appended yet.
    reserved: usize,
    /// The positions of those that are. Once they are folded, the projections count them.
    appended: BTreeSet<u64>,
}

/// What the projections count, at one moment.
pub(crate) struct Counted {
    /// The last position that they have folded.
    pub(crate) applied: u64,
    /// How many jobs are queued.
    pub(crate) depth: usize,
}

impl QueuePlaces {
    /// A place in `queue`, where fewer than `capacity` are taken.
    pub(crate) fn take(&self, queue: &str, capacity: usize, counted: impl FnOnce() -> Counted) -> Option<QueuePlace> {
        let under_way = {
            let mut queues = locked(&self.0);
            match queues.get(queue) {
                Some(under_way) => under_way.clone(),
                None => queues.entry(queue.to_owned()).or_default().clone(),
            }
        };
        let mut now = locked(&under_way);
        // Looked at under the lock: what is appended now is either in here or folded.
        let counted = counted();
        now.appended = now.appended.split_off(&(counted.applied + 1));
        if counted.depth + now.reserved + now.appended.len() >= capacity {
            return None;
        }
        now.reserved += 1;
        drop(now);
        Some(QueuePlace { under_way, reserved: true })
    }
}

/// A place that is held; given back when this is dropped, if it was not handed over.
pub(crate) struct QueuePlace {
    under_way: Arc<Mutex<UnderWay>>,
    reserved: bool,
}

impl QueuePlace {
    /// Appends what takes the place, and hands it over to the position that this gives. Where it fails, the place is free again.
    pub(crate) fn hand_over<E>(mut self, append: impl FnOnce() -> Result<Appended, E>) -> Result<Appended, E> {
        let under_way = self.under_way.clone();
        let mut now = locked(&under_way);
        let appended = append();
        now.reserved -= 1;
        self.reserved = false;
        now.appended.extend(appended.as_ref().ok().map(|appended| appended.last_position));
        appended
    }
}

impl Drop for QueuePlace {
    fn drop(&mut self) {
        if mem::take(&mut self.reserved) {
            locked(&self.under_way).reserved -= 1;
        }
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use moonlog_core::time::Timestamp;

    /// Appended as one event at `position`.
    fn at(position: u64) -> Appended {
        Appended { first_position: position, last_position: position, last_version: 1, time: Timestamp::default() }
    }

    fn counted(applied: u64, depth: usize) -> Counted {
        Counted { applied, depth }
    }

    #[test]
    fn a_place_is_counted_once_from_the_moment_it_is_taken() {
        let places = QueuePlaces::default();
        let take = |applied, depth| places.take("q", 2, || counted(applied, depth));
        let first = take(10, 0).unwrap();
        let second = take(10, 0).unwrap();
        assert!(take(10, 0).is_none(), "both are reserved");
        assert_eq!(first.hand_over(|| Ok::<_, ()>(at(11))), Ok(at(11)));
        assert!(take(10, 0).is_none(), "it is appended, and not folded");
        assert!(take(11, 1).is_none(), "it is folded, and the other one is reserved");
        drop(second);
        let third = take(11, 1).expect("one was given back");
        assert_eq!(third.hand_over(|| Err("refused")), Err("refused"));
        let fourth = take(11, 1).expect("a place that was not used is free");
        assert_eq!(fourth.hand_over(|| Ok::<_, ()>(at(20))), Ok(at(20)));
        assert!(take(20, 2).is_none());
        assert!(take(25, 0).is_some(), "both have begun");
        assert!(places.take("other", 1, || counted(0, 0)).is_some(), "queues are apart");
    }
}
