//! The way in to the log.

use super::{
    Append, AppendError, Appended, LogOptions, OpenError, OpenReport, Poisoned, ReadError, StreamWatch, VerifyReport,
};
use crate::{
    event::{Event, StreamId},
    id::Hash,
    storage::Storage,
};
use std::sync::Arc;
use tokio::sync::watch;

/// A log. Clones are the same log.
#[derive(Clone)]
pub struct Log {
    storage: Arc<dyn Storage>,
}

/// The end of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StreamHead {
    /// The last event's version.
    pub version: u64,
    /// The last event's position.
    pub position: u64,
    /// Whether that event ended the stream.
    pub closed: bool,
}

impl Log {
    /// Opens the log that `storage` holds, or begins one. Cuts a torn tail, and says so.
    ///
    /// # Errors
    /// Where the log is damaged elsewhere, or the storage fails.
    pub fn open(_storage: Arc<dyn Storage>, _options: LogOptions) -> Result<(Self, OpenReport), OpenError> {
        todo!()
    }

    /// Gives the events their places and hands them over to be written. Returns at once, before they are durable;
    /// nothing reads or hears of them until they are.
    ///
    /// # Errors
    /// Where the stream is not as expected, or the log takes nothing.
    pub fn append(&self, _append: Append) -> Result<Appended, AppendError> {
        todo!()
    }

    /// The same for several appends: all of them or none. A stream that occurs more than once is checked as the
    /// appends before left it.
    ///
    /// # Errors
    /// As [`Self::append`].
    pub fn append_all(&self, _appends: Vec<Append>) -> Result<Vec<Appended>, AppendError> {
        todo!()
    }

    /// The same for a sequence of events that may be too large to be stored together: it is cut in pieces between
    /// events, and after a crash a first part of it may be there without the rest. A `step.retry_scheduled` stays
    /// with the event before it.
    ///
    /// # Errors
    /// As [`Self::append`].
    pub fn append_long(&self, _append: Append) -> Result<Appended, AppendError> {
        todo!()
    }

    /// Returns when not too much waits to be written. For those who would rather wait than be refused.
    pub async fn ready(&self) {
        todo!()
    }

    /// Returns when everything up to `position` is durable.
    ///
    /// # Errors
    /// Where a write failed, so that it never will be.
    pub async fn durable(&self, _position: u64) -> Result<(), Poisoned> {
        todo!()
    }

    /// The same for a thread that runs no tasks.
    ///
    /// # Errors
    /// As [`Self::durable`].
    pub fn durable_blocking(&self, _position: u64) -> Result<(), Poisoned> {
        todo!()
    }

    /// The last durable position; 0 in an empty log.
    pub fn head(&self) -> u64 {
        todo!()
    }

    /// The last durable position, as it grows.
    pub fn watch_head(&self) -> watch::Receiver<u64> {
        todo!()
    }

    /// Wakes for durable events in one stream.
    pub fn watch_stream(&self, _stream: &StreamId) -> StreamWatch {
        todo!()
    }

    /// At most `limit` durable events behind position `after`, oldest first.
    ///
    /// # Errors
    /// Where they cannot be read.
    pub fn read(&self, _after: u64, _limit: usize) -> Result<Vec<Arc<Event>>, ReadError> {
        todo!()
    }

    /// At most `limit` durable events before position `before`, newest first.
    ///
    /// # Errors
    /// Where they cannot be read.
    pub fn read_back(&self, _before: u64, _limit: usize) -> Result<Vec<Arc<Event>>, ReadError> {
        todo!()
    }

    /// At most `limit` durable events of a stream behind version `after_version`, oldest first.
    ///
    /// # Errors
    /// Where they cannot be read.
    pub fn read_stream(
        &self,
        _stream: &StreamId,
        _after_version: u64,
        _limit: usize,
    ) -> Result<Vec<Arc<Event>>, ReadError> {
        todo!()
    }

    /// At most `limit` durable events of a stream before version `before_version`, newest first.
    ///
    /// # Errors
    /// Where they cannot be read.
    pub fn read_stream_back(
        &self,
        _stream: &StreamId,
        _before_version: u64,
        _limit: usize,
    ) -> Result<Vec<Arc<Event>>, ReadError> {
        todo!()
    }

    /// The durable event at `position`.
    ///
    /// # Errors
    /// Where it cannot be read.
    pub fn event(&self, _position: u64) -> Result<Option<Arc<Event>>, ReadError> {
        todo!()
    }

    /// The durable end of a stream; `None` where it has no event.
    ///
    /// # Errors
    /// Where it cannot be read.
    pub fn stream_head(&self, _stream: &StreamId) -> Result<Option<StreamHead>, ReadError> {
        todo!()
    }

    /// The position of a stream's durable event `version`.
    ///
    /// # Errors
    /// Where it cannot be read.
    pub fn position_of(&self, _stream: &StreamId, _version: u64) -> Result<Option<u64>, ReadError> {
        todo!()
    }

    /// The version that a stream had at `position`: that of its last durable event there or before, 0 for none.
    ///
    /// # Errors
    /// Where it cannot be read.
    pub fn version_at(&self, _stream: &StreamId, _position: u64) -> Result<u64, ReadError> {
        todo!()
    }

    /// Stores bytes under their hash, durable before any event that is appended after this returns.
    ///
    /// # Errors
    /// Where they are too large, or the log takes nothing.
    pub fn put_blob(&self, _bytes: Vec<u8>) -> Result<Hash, AppendError> {
        todo!()
    }

    /// The bytes with this hash.
    ///
    /// # Errors
    /// Where they cannot be read, or are damaged.
    pub fn blob(&self, _hash: &Hash) -> Result<Option<Vec<u8>>, ReadError> {
        todo!()
    }

    /// What keeps the log; for data that is derived from it.
    pub fn storage(&self) -> &Arc<dyn Storage> {
        &self.storage
    }

    /// Walks the durable log and checks what can be checked.
    ///
    /// # Errors
    /// Where the storage cannot be read at all. Damage is in the report.
    pub fn verify(&self) -> Result<VerifyReport, ReadError> {
        super::verify(&*self.storage)
    }

    /// Why the log takes no more events, where it does not.
    pub fn is_poisoned(&self) -> Option<Poisoned> {
        todo!()
    }

    /// Writes what waits, brings the index up to date, and stops. Reads are still served.
    pub fn close(&self) {
        todo!()
    }
}
