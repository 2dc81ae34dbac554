//! Pausing and resuming a queue.

use crate::{
    event::{EventBody, QueueChanged},
    projection::Queues,
};

/// Pauses a queue: its queued jobs do not start; those that run go on.
pub fn decide_pause(queues: &Queues, queue: &str) -> Vec<EventBody> {
    if queues.is_paused(queue) {
        return Vec::new();
    }
    vec![EventBody::QueuePaused(QueueChanged { queue: queue.to_owned() })]
}

/// Lets a paused queue start jobs again.
pub fn decide_resume(queues: &Queues, queue: &str) -> Vec<EventBody> {
    if !queues.is_paused(queue) {
        return Vec::new();
    }
    vec![EventBody::QueueResumed(QueueChanged { queue: queue.to_owned() })]
}
