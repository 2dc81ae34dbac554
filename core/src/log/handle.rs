//! The way in to the log.

use super::{
    Append, AppendError, Appended, LogOptions, OpenError, OpenReport, Poisoned, ReadError, Stepper, StreamHead,
    StreamWatch, VerifyReport,
    driver::{Driver, Writing},
    frame_cache::FrameCache,
    kinds::Stretches,
    open::{damage, open},
    prepare::{check_blob_size, cut, fit_one_frame, prepare},
    sequencer::Sequencer,
    shared::{Shared, lock},
    stepper::Stepped,
    tail::Tail,
    verify::verify_up_to,
    waiters::Waiters,
    watches::Watches,
    writer::Writer,
};
use crate::{
    event::{Event, StreamId},
    id::Hash,
    storage::Storage,
};
use std::{
    sync::{
        Arc, Condvar, Mutex, OnceLock, RwLock,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    thread,
};
use tokio::sync::{Notify, watch};

/// How soon an append is to be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hurry {
    /// With the next group.
    AtOnce,
    /// With what comes next, as [`Log::append_unhurried`] says.
    None,
}

/// A log. Clones are the same log; when the last is gone, it is closed.
#[derive(Clone)]
pub struct Log {
    pub(super) shared: Arc<Shared>,
    writer: Arc<Writing>,
}

impl Log {
    /// Opens the log that `storage` holds, or begins one. Cuts a torn tail, and says so. Where the storage takes no writes,
    /// the log is opened for reading: it is poisoned from the start.
    ///
    /// # Errors
    /// Where the log is damaged elsewhere, or the storage fails.
    pub fn open(storage: Arc<dyn Storage>, options: LogOptions) -> Result<(Self, OpenReport), OpenError> {
        Self::open_driven(storage, options, false, |_, writer| {
            let thread = thread::Builder::new().name("moonlog-writer".into()).spawn(|| writer.run());
            thread.map(Driver::Thread).map_err(OpenError::Thread)
        })
    }

    /// The same without a thread that writes: it is written when the stepper is told to. `None` where the log is only to
    /// be read.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn open_stepped(
        storage: Arc<dyn Storage>,
        options: LogOptions,
    ) -> Result<(Self, Option<Stepper>, OpenReport), OpenError> {
        let mut stepper = None;
        let (log, report) = Self::open_driven(storage, options, true, |shared, writer| {
            let made = stepper.insert(Stepper::new(shared.clone(), writer));
            Ok(Driver::Stepper(made.clone()))
        })?;
        Ok((log, stepper, report))
    }

    fn open_driven(
        storage: Arc<dyn Storage>,
        options: LogOptions,
        stepped: bool,
        drive: impl FnOnce(&Arc<Shared>, Writer) -> Result<Driver, OpenError>,
    ) -> Result<(Self, OpenReport), OpenError> {
        let opened = open(&storage, &options)?;
        let shared = Arc::new(Shared {
            storage,
            clock: options.clock,
            pending_max_bytes: options.pending_max_bytes,
            patience: options.patience,
            blob_max_bytes: options.blob_max_bytes,
            index_flush_events: options.index_flush_events,
            sequencer: Mutex::new(Sequencer::new(opened.head, opened.time)),
            queue: Mutex::default(),
            work: Condvar::new(),
            stepped: stepped.then(Stepped::default),
            pending_bytes: AtomicUsize::new(0),
            drained: Notify::new(),
            tail: RwLock::new(Tail::new(options.tail_cache_bytes)),
            frames: FrameCache::new(options.frame_cache_bytes),
            index: opened.index,
            kinds: Stretches::default(),
            head: AtomicU64::new(opened.head),
            head_watch: watch::Sender::new(opened.head),
            watches: Arc::new(Watches::default()),
            waiters: Waiters::default(),
            has_gaps: AtomicBool::new(opened.has_gaps),
            removing: Arc::default(),
            still: Arc::default(),
            poisoned: OnceLock::new(),
        });
        let driver = if let Some(error) = opened.refused {
            shared.poison(&error.into());
            None
        } else {
            shared.finish_removal().map_err(damage)?;
            Some(drive(&shared, Writer::new(shared.clone(), opened.chain))?)
        };
        let writer = Arc::new(Writing::new(shared.clone(), driver));
        Ok((Self { shared, writer }, opened.report))
    }

    /// Gives the events their places and hands them over to be written. Returns at once, before they are durable;
    /// nothing reads or hears of them until they are.
    ///
    /// # Errors
    /// Where the stream is not as expected, or the log takes nothing.
    pub fn append(&self, append: Append) -> Result<Appended, AppendError> {
        let mut appended = self.append_all(vec![append])?;
        appended.pop().ok_or(AppendError::Stopped)
    }

    /// The same for several appends: all of them or none. A stream that occurs more than once is checked as the
    /// appends before left it.
    ///
    /// # Errors
    /// As [`Self::append`].
    pub fn append_all(&self, appends: Vec<Append>) -> Result<Vec<Appended>, AppendError> {
        let max_bytes = self.shared.blob_max_bytes;
        let prepared = appends.into_iter().map(|append| prepare(append, max_bytes));
        let mut prepared = prepared.collect::<Result<Vec<_>, _>>()?;
        fit_one_frame(&mut prepared, max_bytes)?;
        self.shared.place(&mut prepared, true, Hurry::AtOnce)
    }

    /// The same for a sequence of events that may be too large to be stored together: it is cut in pieces between
    /// events, and after a crash a first part of it may be there without the rest. A `step.retry_scheduled` or
    /// `tool.approval_requested` stays with the event before it.
    ///
    /// # Errors
    /// As [`Self::append`].
    pub fn append_long(&self, append: Append) -> Result<Appended, AppendError> {
        self.append_pieces(append, Hurry::AtOnce)
    }

    /// The same for events that nobody waits for, and behind which more will come soon: the writer takes its time, so
    /// that they share a sync with what comes next. As soon as somebody waits for them, or more is appended, they are
    /// written; else after [`LogOptions::patience`].
    ///
    /// # Errors
    /// As [`Self::append`].
    pub fn append_unhurried(&self, append: Append) -> Result<Appended, AppendError> {
        self.append_pieces(append, Hurry::None)
    }

    fn append_pieces(&self, append: Append, hurry: Hurry) -> Result<Appended, AppendError> {
        let max_bytes = self.shared.blob_max_bytes;
        let mut pieces = cut(prepare(append, max_bytes)?, max_bytes)?;
        whole(&self.shared.place(&mut pieces, false, hurry)?)
    }

    /// The same for those who would rather wait than be refused because too much waits to be written: never
    /// [`AppendError::Overloaded`].
    ///
    /// # Errors
    /// As [`Self::append`].
    pub async fn append_when_ready(&self, append: Append, hurry: Hurry) -> Result<Appended, AppendError> {
        let max_bytes = self.shared.blob_max_bytes;
        let mut pieces = cut(prepare(append, max_bytes)?, max_bytes)?;
        loop {
            self.ready().await;
            match self.shared.place(&mut pieces, false, hurry) {
                // Others were let through as well, and were quicker.
                Err(AppendError::Overloaded { .. }) => {}
                placed => return whole(&placed?),
            }
        }
    }

    /// Everything up to `position` is written at once, also what came unhurried.
    pub fn hurry(&self, position: u64) {
        if position > self.head() {
            self.shared.hurry();
        }
    }

    /// Returns when not too much waits to be written. For those who would rather wait than be refused.
    pub async fn ready(&self) {
        loop {
            let drained = self.shared.drained.notified();
            if self.shared.pending_bytes.load(Ordering::Acquire) <= self.shared.pending_max_bytes {
                return;
            }
            drained.await;
        }
    }

    /// Returns when everything up to `position` is durable.
    ///
    /// # Errors
    /// Where a write failed, so that it never will be.
    pub async fn durable(&self, position: u64) -> Result<(), Poisoned> {
        self.shared.durable(position).await
    }

    /// The same for a thread that runs no tasks: it is blocked.
    ///
    /// # Errors
    /// As [`Self::durable`].
    pub fn durable_blocking(&self, position: u64) -> Result<(), Poisoned> {
        self.shared.durable_blocking(position)
    }

    /// The last durable position; 0 in an empty log.
    pub fn head(&self) -> u64 {
        self.shared.head()
    }

    /// The last durable position, as it grows.
    pub fn watch_head(&self) -> watch::Receiver<u64> {
        self.shared.head_watch.subscribe()
    }

    /// Wakes for durable events in one stream.
    pub fn watch_stream(&self, stream: &StreamId) -> StreamWatch {
        self.shared.watches.watch(stream)
    }

    /// At most `limit` durable events behind position `after`, oldest first. Where retention removed events, those behind
    /// them take their place: fewer than `limit` are all there are.
    ///
    /// # Errors
    /// Where they cannot be read.
    pub fn read(&self, after: u64, limit: usize) -> Result<Vec<Arc<Event>>, ReadError> {
        self.shared.read(after, limit)
    }

    /// At most `limit` durable events before position `before`, newest first.
    ///
    /// # Errors
    /// Where they cannot be read.
    pub fn read_back(&self, before: u64, limit: usize) -> Result<Vec<Arc<Event>>, ReadError> {
        self.shared.read_back(before, limit)
    }

    /// At most `limit` durable events of a stream behind version `after_version`, oldest first.
    ///
    /// # Errors
    /// Where they cannot be read.
    pub fn read_stream(
        &self,
        stream: &StreamId,
        after_version: u64,
        limit: usize,
    ) -> Result<Vec<Arc<Event>>, ReadError> {
        self.shared.read_stream(stream, after_version.saturating_add(1), limit)
    }

    /// At most `limit` durable events of a stream before version `before_version`, newest first.
    ///
    /// # Errors
    /// Where they cannot be read.
    pub fn read_stream_back(
        &self,
        stream: &StreamId,
        before_version: u64,
        limit: usize,
    ) -> Result<Vec<Arc<Event>>, ReadError> {
        self.shared.read_stream_back(stream, before_version, limit)
    }

    /// The durable event at `position`.
    ///
    /// # Errors
    /// Where it cannot be read.
    pub fn event(&self, position: u64) -> Result<Option<Arc<Event>>, ReadError> {
        self.shared.event(position)
    }

    /// The durable end of a stream; `None` where it has no event.
    ///
    /// # Errors
    /// Where it cannot be read.
    pub fn stream_head(&self, stream: &StreamId) -> Result<Option<StreamHead>, ReadError> {
        self.shared.index.head(stream)
    }

    /// The position of a stream's durable event `version`.
    ///
    /// # Errors
    /// Where it cannot be read.
    pub fn position_of(&self, stream: &StreamId, version: u64) -> Result<Option<u64>, ReadError> {
        if version == 0 {
            return Ok(None);
        }
        Ok(self.shared.index.positions(stream, version, 1)?.pop())
    }

    /// The version that a stream had at `position`: that of its last durable event there or before, 0 for none.
    ///
    /// # Errors
    /// Where it cannot be read.
    pub fn version_at(&self, stream: &StreamId, position: u64) -> Result<u64, ReadError> {
        self.shared.index.version_at(stream, position)
    }

    /// Stores bytes under their hash, durable before any event that is appended after this returns.
    ///
    /// # Errors
    /// Where they are too large, or the log takes nothing.
    pub fn put_blob(&self, bytes: Vec<u8>) -> Result<Hash, AppendError> {
        self.store_blob(bytes, true)
    }

    /// The same for a blob that [`Self::hold_blob`] was called for.
    ///
    /// # Errors
    /// As [`Self::put_blob`].
    pub fn put_held_blob(&self, bytes: Vec<u8>) -> Result<Hash, AppendError> {
        self.store_blob(bytes, false)
    }

    fn store_blob(&self, bytes: Vec<u8>, hold: bool) -> Result<Hash, AppendError> {
        check_blob_size(bytes.len(), self.shared.blob_max_bytes)?;
        let hash = Hash::of(&bytes);
        let mut sequencer = self.shared.take_in()?;
        if hold {
            sequencer.blobs.hold(hash, (self.shared.clock)());
        }
        let mut queue = lock(&self.shared.queue);
        let before = queue.pending.bytes;
        queue.push_blob(hash, bytes);
        self.shared.hand_over(queue, before, Hurry::AtOnce, false);
        Ok(hash)
    }

    /// Says that an event will be appended that names a blob which is known to be stored: until then it is not deleted.
    /// What was found out about the blob before this may be out of date.
    pub fn hold_blob(&self, hash: Hash) {
        lock(&self.shared.sequencer).blobs.hold(hash, (self.shared.clock)());
    }

    /// The bytes with this hash.
    ///
    /// # Errors
    /// Where they cannot be read, or are damaged.
    pub fn blob(&self, hash: &Hash) -> Result<Option<Vec<u8>>, ReadError> {
        super::blobs::read_blob(&*self.shared.storage, hash)
    }

    /// What keeps the log; for data that is derived from it.
    pub fn storage(&self) -> &Arc<dyn Storage> {
        &self.shared.storage
    }

    /// Walks the durable log and checks what can be checked.
    ///
    /// # Errors
    /// Where the storage cannot be read at all. Damage is in the report.
    pub fn verify(&self) -> Result<VerifyReport, ReadError> {
        verify_up_to(&*self.shared.storage, self.head())
    }

    /// Why the log takes no more events, where it does not.
    pub fn is_poisoned(&self) -> Option<Poisoned> {
        self.shared.poisoned.get().cloned()
    }

    /// Writes what waits, brings the index up to date, and stops. Reads are still served.
    pub fn close(&self) {
        self.writer.close();
    }

    #[cfg(test)]
    pub(super) fn watched_streams(&self) -> usize {
        self.shared.watches.len()
    }
}

/// Where all pieces of an append stand together.
fn whole(pieces: &[Appended]) -> Result<Appended, AppendError> {
    match (pieces.first(), pieces.last()) {
        (Some(first), Some(last)) => Ok(Appended { first_position: first.first_position, ..*last }),
        _ => Err(AppendError::Stopped),
    }
}
