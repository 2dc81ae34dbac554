//! Threads of a library's pool that are to rest. sled keeps seven for what it writes, and wakes all of them for each write,
//! of which one finds something to do: on few cores the others are in the way of whoever waits for it.

use std::{
    pin::pin,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    task::{Context, Wake, Waker},
    thread,
    time::Duration,
};

/// How many threads there are too many. Two are left.
const TOO_MANY: usize = 5;
/// How many times one is sent to rest at most, as it may be done before anybody waits for it.
const TIMES: usize = 1_000;
/// When a call takes as long, all go back to work: those that are left might wait for one another.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// How many rest.
static RESTING: AtomicUsize = AtomicUsize::new(0);
static CALLS_BEGUN: AtomicU64 = AtomicU64::new(0);
static CALLS_ENDED: AtomicU64 = AtomicU64::new(0);

/// A call that gives the threads work.
pub struct Call(());

impl Call {
    /// It begins now, and ends when this is dropped.
    pub fn begin() -> Self {
        CALLS_BEGUN.fetch_add(1, Ordering::Relaxed);
        Self(())
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        CALLS_ENDED.fetch_add(1, Ordering::Relaxed);
    }
}

/// Whoever wakes this rests.
struct Rest;

impl Wake for Rest {
    fn wake(self: Arc<Self>) {
        RESTING.fetch_add(1, Ordering::Relaxed);
        let mut seen = None;
        loop {
            thread::park_timeout(LOOK_EVERY);
            let (ended, begun) = (CALLS_ENDED.load(Ordering::Relaxed), CALLS_BEGUN.load(Ordering::Relaxed));
            let running = (begun > ended).then_some(ended);
            if running.is_some() && running == seen {
                break;
            }
            seen = running;
        }
        RESTING.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Sends the threads that are too many to rest, once in a process. `work` gives a future that one of them completes, and
/// with which it is done.
pub fn send_to_rest<F: Future>(mut work: impl FnMut() -> F) {
    static SENT: Mutex<usize> = Mutex::new(0);
    let mut sent = SENT.lock().unwrap_or_else(PoisonError::into_inner);
    let waker = Waker::from(Arc::new(Rest));
    for _ in 0..TIMES {
        if *sent == TOO_MANY {
            return;
        }
        // Whoever completes it wakes the one that waits for it, as the last it does.
        if pin!(work()).poll(&mut Context::from_waker(&waker)).is_pending() {
            *sent += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::{SledOptions, Space, Storage, Write, open_sled};
    use std::time::Instant;

    fn resting(wanted: usize) {
        let until = Instant::now() + 10 * LOOK_EVERY;
        while RESTING.load(Ordering::Relaxed) != wanted {
            assert!(Instant::now() < until, "{RESTING:?} threads rest, and not {wanted}");
            thread::sleep(Duration::from_millis(1));
        }
    }

    #[test]
    fn those_that_are_left_write_on_and_get_help_where_they_are_stuck() {
        let dir = tempfile::tempdir().unwrap();
        for round in 0..3_u8 {
            let storage = open_sled(dir.path(), SledOptions::default()).unwrap();
            for key in 0..100_u8 {
                let write = Write { space: Space::Meta, key: vec![round, key], value: Some(vec![key; 1_000]) };
                storage.write(vec![write]).unwrap();
                storage.sync().unwrap();
            }
        }
        resting(TOO_MANY);
        let stuck = Call::begin();
        resting(0);
        drop(stuck);
    }
}
