//! Who waits for a position to be durable.

use super::{Poisoned, shared::lock};
use std::{cmp::Reverse, collections::BinaryHeap, sync::Mutex};
use tokio::sync::oneshot;

/// The answer to one that waits.
pub type Answer = Result<(), Poisoned>;

/// Those who wait, the lowest position first.
#[derive(Default)]
pub struct Waiters(Mutex<BinaryHeap<Reverse<Waiter>>>);

struct Waiter {
    position: u64,
    sender: oneshot::Sender<Answer>,
}

impl Waiters {
    /// Waits for `position`.
    pub fn register(&self, position: u64) -> oneshot::Receiver<Answer> {
        let (sender, receiver) = oneshot::channel();
        lock(&self.0).push(Reverse(Waiter { position, sender }));
        receiver
    }

    /// Everything up to `head` is durable.
    pub fn reached(&self, head: u64) {
        let mut waiters = lock(&self.0);
        while waiters.peek().is_some_and(|Reverse(waiter)| waiter.position <= head) {
            if let Some(Reverse(waiter)) = waiters.pop() {
                // Whoever stopped waiting does not mind.
                let _ = waiter.sender.send(Ok(()));
            }
        }
    }

    /// Nothing more will be durable.
    pub fn failed(&self, poisoned: &Poisoned) {
        for Reverse(waiter) in lock(&self.0).drain() {
            let _ = waiter.sender.send(Err(poisoned.clone()));
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
