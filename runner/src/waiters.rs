//! Who waits for a job's end.

use moonlog_core::{event::Event, id::JobId};
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};
use tokio::sync::oneshot;

/// Those that wait.
#[derive(Default)]
pub(crate) struct Waiters {
    ends: Mutex<HashMap<JobId, Vec<oneshot::Sender<()>>>>,
}

impl Waiters {
    /// Comes when the job's terminal event has been folded after this call.
    pub(crate) fn end_of(&self, job: JobId) -> oneshot::Receiver<()> {
        let (sender, receiver) = oneshot::channel();
        let mut ends = self.ends.lock().unwrap_or_else(PoisonError::into_inner);
        let waiting = ends.entry(job).or_default();
        waiting.retain(|other| !other.is_closed());
        waiting.push(sender);
        receiver
    }

    /// Forgets the waiters of `job` that have gone.
    pub(crate) fn forget(&self, job: &JobId) {
        let mut ends = self.ends.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(waiting) = ends.get_mut(job) {
            waiting.retain(|other| !other.is_closed());
            if waiting.is_empty() {
                ends.remove(job);
            }
        }
    }

    /// These events have been folded.
    pub(crate) fn wake(&self, events: &[Arc<Event>]) {
        let mut ended = events.iter().filter(|event| event.body.is_terminal()).filter_map(|event| event.job).peekable();
        if ended.peek().is_some() {
            let mut ends = self.ends.lock().unwrap_or_else(PoisonError::into_inner);
            for waiting in ended.filter_map(|job| ends.remove(&job)).flatten() {
                let _ = waiting.send(());
            }
        }
    }
}
