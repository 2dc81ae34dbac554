//! Who waits for a position to be durable.

use super::{Poisoned, shared::lock};
use std::{
    cmp::Reverse,
    collections::BinaryHeap,
    pin::pin,
    sync::{Arc, Mutex},
    task::{Context, Poll, Wake},
    thread::{self, Thread},
};
use tokio::sync::oneshot;

/// The answer to one that waits.
pub type Answer = Result<(), Poisoned>;

/// Those who wait, the lowest position first.
#[derive(Default)]
pub struct Waiters(Mutex<Waiting>);

#[derive(Default)]
struct Waiting {
    waiters: BinaryHeap<Reverse<Waiter>>,
    /// Why nothing more will be durable.
    ended: Option<Poisoned>,
}

struct Waiter {
    position: u64,
    sender: oneshot::Sender<Answer>,
}

impl Waiters {
    /// Waits for `position`.
    ///
    /// # Errors
    /// Where nothing more will be durable.
    pub fn register(&self, position: u64) -> Result<oneshot::Receiver<Answer>, Poisoned> {
        let mut waiting = lock(&self.0);
        if let Some(ended) = &waiting.ended {
            return Err(ended.clone());
        }
        let (sender, receiver) = oneshot::channel();
        waiting.waiters.push(Reverse(Waiter { position, sender }));
        Ok(receiver)
    }

    /// Everything up to `head` is durable.
    pub fn reached(&self, head: u64) {
        let mut reached = Vec::new();
        let mut waiting = lock(&self.0);
        while waiting.waiters.peek().is_some_and(|Reverse(waiter)| waiter.position <= head) {
            reached.extend(waiting.waiters.pop());
        }
        // Those who are woken come again at once, and shall not wait for the others to be woken.
        drop(waiting);
        for Reverse(waiter) in reached {
            // Whoever stopped waiting does not mind.
            let _ = waiter.sender.send(Ok(()));
        }
    }

    /// Nothing more will be durable. What was said first stays.
    pub fn end(&self, why: Poisoned) {
        let mut waiting = lock(&self.0);
        let why = waiting.ended.get_or_insert(why).clone();
        for Reverse(waiter) in waiting.waiters.drain() {
            let _ = waiter.sender.send(Err(why.clone()));
        }
    }
}

/// Waits on this thread, whatever else it is used for.
pub fn wait_blocking<T>(future: impl Future<Output = T>) -> T {
    struct Unpark(Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Arc::new(Unpark(thread::current())).into();
    let mut future = pin!(future);
    loop {
        match future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(value) => return value,
            Poll::Pending => thread::park(),
        }
    }
}

impl PartialEq for Waiter {
    fn eq(&self, other: &Self) -> bool {
        self.position == other.position
    }
}

impl Eq for Waiter {}

impl PartialOrd for Waiter {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Waiter {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.position.cmp(&other.position)
    }
}
