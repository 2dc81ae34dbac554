//! What the log's handles and its writer share.

use super::{
    Clock, Poisoned, ReadError, frame_cache::FrameCache, index::Index, kinds::Stretches, queue::Queue,
    sequencer::Sequencer, stepper::Stepped, tail::Tail, waiters::Waiters, watches::Watches,
};
use crate::storage::Storage;
use std::{
    sync::{
        Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};
use tokio::sync::{Notify, watch};

/// See the module.
pub struct Shared {
    /// What keeps the log.
    pub storage: Arc<dyn Storage>,
    /// The time.
    pub clock: Clock,
    /// Limits, as in the options.
    pub pending_max_bytes: usize,
    /// Limits, as in the options.
    pub patience: Duration,
    /// Limits, as in the options.
    pub blob_max_bytes: usize,
    /// Limits, as in the options.
    pub index_flush_events: usize,
    /// Where appends get their places.
    pub sequencer: Mutex<Sequencer>,
    /// Where they wait. Locked behind the sequencer where both are.
    pub queue: Mutex<Queue>,
    /// Wakes the writer.
    pub work: Condvar,
    /// Wakes who steps the writer, where it has no thread.
    pub stepped: Option<Stepped>,
    /// How much waits to be written or is being written, in bytes.
    pub pending_bytes: AtomicUsize,
    /// Wakes those who wait for less of it.
    pub drained: Notify,
    /// The newest durable events.
    pub tail: RwLock<Tail>,
    /// The frames that were read last.
    pub frames: FrameCache,
    /// Where streams' events are.
    pub index: Index,
    /// Which types of events are where.
    pub kinds: Stretches,
    /// The last durable position. Set when tail and index have it.
    pub head: AtomicU64,
    /// The same, for those who watch it.
    pub head_watch: watch::Sender<u64>,
    /// Who watches streams.
    pub watches: Arc<Watches>,
    /// Who waits for positions.
    pub waiters: Waiters,
    /// Whether something was ever removed.
    pub has_gaps: AtomicBool,
    /// Held while streams are removed.
    pub removing: Arc<tokio::sync::Mutex<()>>,
    /// Shared by those who need what is there to stay; held alone by who removes.
    pub still: Arc<tokio::sync::RwLock<()>>,
    /// Why nothing is written any more.
    pub poisoned: OnceLock<Poisoned>,
}

impl Shared {
    /// The last durable position.
    pub fn head(&self) -> u64 {
        self.head.load(Ordering::Acquire)
    }

    /// Wakes the writer, or who steps it.
    pub fn wake(&self) {
        match &self.stepped {
            None => self.work.notify_one(),
            Some(stepped) => stepped.wake(),
        }
    }

    /// Returns when everything up to `position` is durable.
    pub async fn durable(&self, position: u64) -> Result<(), Poisoned> {
        if position <= self.head() {
            return Ok(());
        }
        let waiter = self.waiters.register(position);
        // It may have come in between, and then nobody would wake this waiter.
        if position <= self.head() {
            return Ok(());
        }
        let waiter = waiter?;
        self.hurry();
        match waiter.await {
            Ok(answer) => answer,
            Err(_) => Err(super::driver::closed()),
        }
    }

    /// Takes no more events, and tells everyone who waits.
    pub fn poison(&self, error: &ReadError) {
        let disk_full = matches!(error, ReadError::Storage(error) if error.is_disk_full());
        let poisoned = Poisoned { reason: error.to_string().into(), disk_full };
        tracing::error!(reason = %poisoned.reason, disk_full, "a write to the log failed; it takes no more events");
        let mut sequencer = lock(&self.sequencer);
        // A later failure is a consequence of the first.
        let poisoned = self.poisoned.get_or_init(|| poisoned).clone();
        sequencer.intake = super::sequencer::Intake::Poisoned(poisoned.clone());
        lock(&self.queue).take();
        self.pending_bytes.store(0, Ordering::Release);
        drop(sequencer);
        self.waiters.end(poisoned);
        self.drained.notify_waiters();
    }
}

/// Locks; a panic while it was locked changes nothing about what it guards here.
pub fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// As [`lock`].
pub fn read_lock<T>(lock: &RwLock<T>) -> RwLockReadGuard<'_, T> {
    lock.read().unwrap_or_else(PoisonError::into_inner)
}

/// As [`lock`].
pub fn write_lock<T>(lock: &RwLock<T>) -> RwLockWriteGuard<'_, T> {
    lock.write().unwrap_or_else(PoisonError::into_inner)
}
