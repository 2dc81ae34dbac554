//! Who waits for a job's end, and for a position to be folded. Each is woken once, when it has come.

use moonlog_core::{event::Event, id::JobId};
use std::{
    collections::{BTreeMap, HashMap},
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
};
use tokio::sync::oneshot;

/// Those that wait for positions, and up to where all have come.
#[derive(Default)]
struct Applied {
    position: u64,
    waiting: BTreeMap<u64, Vec<oneshot::Sender<()>>>,
    /// Whether no more will come.
    over: bool,
}

/// Those that wait.
#[derive(Default)]
pub(crate) struct Waiters {
    ends: Mutex<HashMap<JobId, Vec<oneshot::Sender<()>>>>,
    applied: Mutex<Applied>,
}

/// A wait for a job's end. Nothing of it is left when it is dropped.
pub(crate) struct EndOf<'a> {
    waiters: &'a Waiters,
    job: JobId,
    receiver: oneshot::Receiver<()>,
}

impl Future for EndOf<'_> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        Pin::new(&mut self.receiver).poll(context).map(|_| ())
    }
}

impl Drop for EndOf<'_> {
    fn drop(&mut self) {
        self.receiver.close();
        let mut ends = self.waiters.ends.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(waiting) = ends.get_mut(&self.job) {
            waiting.retain(|other| !other.is_closed());
            if waiting.is_empty() {
                ends.remove(&self.job);
            }
        }
    }
}

impl Waiters {
    /// Comes when the job's terminal event has been folded after this call.
    pub(crate) fn end_of(&self, job: JobId) -> EndOf<'_> {
        let (sender, receiver) = oneshot::channel();
        self.ends.lock().unwrap_or_else(PoisonError::into_inner).entry(job).or_default().push(sender);
        EndOf { waiters: self, job, receiver }
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
        if let Some(last) = events.last() {
            self.advance(last.position);
        }
    }

    /// Everything up to `position` has been folded.
    pub(crate) fn advance(&self, position: u64) {
        let mut applied = self.applied.lock().unwrap_or_else(PoisonError::into_inner);
        applied.position = position.max(applied.position);
        let later = applied.waiting.split_off(&(position + 1));
        for waiting in std::mem::replace(&mut applied.waiting, later).into_values().flatten() {
            let _ = waiting.send(());
        }
    }

    /// Up to where all has been folded.
    pub(crate) fn position(&self) -> u64 {
        self.applied.lock().unwrap_or_else(PoisonError::into_inner).position
    }

    /// Nothing more will be folded: the log refuses, or the runner stops.
    pub(crate) fn end(&self) {
        let mut applied = self.applied.lock().unwrap_or_else(PoisonError::into_inner);
        applied.over = true;
        applied.waiting.clear();
    }

    pub(crate) fn is_over(&self) -> bool {
        self.applied.lock().unwrap_or_else(PoisonError::into_inner).over
    }

    /// Comes with `true` when the events up to `position` have been folded, with `false` where they never will be.
    pub(crate) async fn applied(&self, position: u64) -> bool {
        let waiting = {
            let mut applied = self.applied.lock().unwrap_or_else(PoisonError::into_inner);
            if applied.position >= position || applied.over {
                return applied.position >= position;
            }
            let (sender, receiver) = oneshot::channel();
            applied.waiting.entry(position).or_default().push(sender);
            receiver
        };
        waiting.await.is_ok()
    }
}
