//! Threads of a library's pool that are to rest for good. sled keeps seven for what it writes, and wakes all of them for
//! each write, of which one finds something to do: on few cores the others are in the way of whoever waits for it.

use std::{
    pin::pin,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Wake, Waker},
    thread,
};

/// How many threads there are too many: two are left, so that one may wait for the other.
const TOO_MANY: usize = 5;
/// How many times one is sent to rest at most, as it may be done before anybody waits for it.
const TIMES: usize = 1_000;

/// How many rest.
static RESTING: AtomicUsize = AtomicUsize::new(0);

/// Never returns, wherever it is called.
struct Rest;

impl Wake for Rest {
    fn wake(self: Arc<Self>) {
        RESTING.fetch_add(1, Ordering::Relaxed);
        loop {
            thread::park();
        }
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
    use std::time::{Duration, Instant};

    #[test]
    fn those_that_are_left_write_on() {
        let dir = tempfile::tempdir().unwrap();
        for round in 0..3_u8 {
            let storage = open_sled(dir.path(), SledOptions::default()).unwrap();
            for key in 0..100_u8 {
                let write = Write { space: Space::Meta, key: vec![round, key], value: Some(vec![key; 1_000]) };
                storage.write(vec![write]).unwrap();
                storage.sync().unwrap();
            }
        }
        let until = Instant::now() + Duration::from_secs(10);
        while RESTING.load(Ordering::Relaxed) < TOO_MANY {
            assert!(Instant::now() < until, "{RESTING:?} threads rest");
            thread::sleep(Duration::from_millis(1));
        }
    }
}
