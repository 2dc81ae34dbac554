//! Reading the log by position, a page at a time.

use super::Filter;
use moonlog_core::{
    event::{Event, StreamId},
    id::JobId,
    log::{Log, Place, ReadError, Selected, Traits},
};
use std::sync::Arc;

/// Events of a page near the head, which are in memory.
const PAGE_NEAR: usize = 128;
/// Events of a page further back, which is read and decoded on a thread of its own.
const PAGE_FAR: usize = 256;
/// Positions that are looked at at once further back, where the filter leaves most of them out.
const SCAN_FAR: usize = 4_096;
/// A page of large events ends early, in bytes of data that is stored apart.
const PAGE_BLOB_BYTES: u64 = 1 << 20;

/// What a feed is of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scope {
    /// The whole log.
    All,
    /// A job's stream.
    Job(JobId),
}

/// Why a feed cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum FeedError {
    /// The log cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// No such job.
    #[error("no such job")]
    NoSuchJob,
    /// The cursor is beyond the head.
    #[error("position {after} is beyond the head of the log, {head}")]
    BeyondHead {
        /// The cursor.
        after: u64,
        /// The head.
        head: u64,
    },
    /// Retention removed events behind the cursor that the feed would have given.
    #[error("events behind position {after} were removed; the first one that is still there is at {first}")]
    Removed {
        /// The cursor.
        after: u64,
        /// The first position behind them of an event that it gives; the one behind the head where there is none.
        first: u64,
    },
    /// The task that read was dropped with the server.
    #[error("the server stops")]
    Stopped,
}

/// A cursor over the log or over one stream of it.
pub struct Reader {
    log: Log,
    scope: Scope,
    filter: Filter,
    /// Everything up to this position was looked at.
    scanned: u64,
    /// Of a job's stream: the version of the last event that was looked at.
    version: u64,
    /// Of a job's stream: its last event was looked at, and none can follow.
    ended: bool,
}

impl Reader {
    /// A cursor behind position `after`; `None` for the head.
    ///
    /// # Errors
    /// Where `after` is beyond the head, the job is not there, or the log cannot be read.
    pub fn open(log: &Log, scope: Scope, filter: Filter, after: Option<u64>) -> Result<Self, FeedError> {
        let head = log.head();
        let scanned = after.unwrap_or(head);
        if scanned > head {
            return Err(FeedError::BeyondHead { after: scanned, head });
        }
        let (mut version, mut ended) = (0, false);
        if let Some(stream) = scope.stream() {
            let Some(end) = log.stream_head(&stream)? else { return Err(FeedError::NoSuchJob) };
            version = if scanned == 0 { 0 } else { log.version_at(&stream, scanned)? };
            ended = end.closed && version >= end.version;
        }
        let scanned = scanned.max(Self::passed_over(log, &scope, &filter)?);
        Ok(Self { log: log.clone(), scope, filter, scanned, version, ended })
    }

    /// The position up to which nothing can fit: no event names a job before that was submitted. Where something was removed, the
    /// job may have been there before, and a reader has to be told.
    fn passed_over(log: &Log, scope: &Scope, filter: &Filter) -> Result<u64, ReadError> {
        match (scope, filter.job) {
            (Scope::All, Some(job)) if !log.has_gaps() => {
                Ok(log.position_of(&StreamId::Job(job), 1)?.map_or(0, |first| first - 1))
            }
            _ => Ok(0),
        }
    }

    /// The next events that the filter wants, and whether there was anything to look at. Returns after one page, be
    /// nothing of it wanted, so that the caller keeps control over long scans.
    ///
    /// # Errors
    /// Where the log cannot be read, or events were removed from it.
    pub async fn next(&mut self, until: Option<u64>) -> Result<Page, FeedError> {
        // Asked for before the read: everything up to here will have been looked at when the read finds no more.
        let head = self.log.head();
        let limit = until.unwrap_or(head).min(head);
        if self.ended || self.scanned >= limit {
            return Ok(Page { events: Vec::new(), more: false });
        }
        let far = head - self.scanned > 8 * PAGE_FAR as u64;
        let size = if far { PAGE_FAR } else { PAGE_NEAR };
        let Selected { places, through } = if far {
            let (log, scope, filter) = (self.log.clone(), self.scope.clone(), self.filter.clone());
            let (scanned, version) = (self.scanned, self.version);
            let scan = if filter.is_all() { size } else { SCAN_FAR };
            blocking(move || read(&log, &scope, &filter, scanned, version, (scan, size), limit)).await??
        } else {
            read(&self.log, &self.scope, &self.filter, self.scanned, self.version, (size, size), limit)?
        };
        if places.is_empty() {
            self.check_stream()?;
        }
        let mut is_cut = false;
        let (mut wanted, mut blob_bytes) = (Vec::new(), 0);
        for place in places {
            match place {
                Place::Event(event) if event.position > limit => break,
                Place::Event(event) => {
                    self.rewind_to(&event);
                    if self.filter.fits(&event) {
                        blob_bytes += event.blob.map_or(0, |(_, bytes)| bytes);
                        wanted.push(event);
                    }
                }
                Place::Removed(removed) if removed.position > limit => break,
                Place::Removed(removed) if !self.filter.wants(&Traits::from(&removed)) => {
                    self.scanned = removed.position
                }
                Place::Removed(removed) if wanted.is_empty() => return Err(self.gap(removed.position).await),
                // What comes before the gap is given first.
                Place::Removed(_) => {
                    is_cut = true;
                    break;
                }
            }
            if blob_bytes >= PAGE_BLOB_BYTES {
                is_cut = true;
                break;
            }
        }
        if !is_cut {
            self.scanned = self.scanned.max(through.min(limit));
        }
        Ok(Page { events: wanted, more: !self.ended && self.scanned < limit })
    }

    /// A stream that was removed meanwhile has no more events, and will not end.
    fn check_stream(&self) -> Result<(), FeedError> {
        let Some(stream) = self.scope.stream() else { return Ok(()) };
        if self.log.stream_head(&stream)?.is_some_and(|end| end.version >= self.version) {
            return Ok(());
        }
        Err(FeedError::Removed { after: self.scanned, first: self.log.head() + 1 })
    }

    /// An event that would have been given was removed at `position`: where the next one is that is still there.
    async fn gap(&self, position: u64) -> FeedError {
        let (log, filter, after) = (self.log.clone(), self.filter.clone(), self.scanned);
        let first = blocking(move || next_fitting(&log, &filter, position)).await;
        match first {
            Ok(Ok(first)) => FeedError::Removed { after, first },
            Ok(Err(error)) => error.into(),
            Err(stopped) => stopped,
        }
    }

    /// Everything up to this position was looked at.
    pub fn scanned(&self) -> u64 {
        self.scanned
    }

    /// Puts the cursor back: what came after `event` was not taken.
    pub fn rewind_to(&mut self, event: &Event) {
        self.scanned = event.position;
        self.version = event.version;
        self.ended = matches!(self.scope, Scope::Job(_)) && event.body.is_terminal();
    }

    /// Whether nothing can follow any more.
    pub fn ended(&self) -> bool {
        self.ended
    }

    /// Whether what this reads takes no more events, looked at or not.
    ///
    /// # Errors
    /// Where the log cannot be read.
    pub fn closed(&self) -> Result<bool, ReadError> {
        match self.scope.stream() {
            None => Ok(false),
            Some(stream) => Ok(self.log.stream_head(&stream)?.is_some_and(|end| end.closed)),
        }
    }

    /// What this reads.
    pub fn scope(&self) -> &Scope {
        &self.scope
    }
}

/// A part of what a reader gives.
pub struct Page {
    /// What the filter wants.
    pub events: Vec<Arc<Event>>,
    /// Whether there is more to look at already.
    pub more: bool,
}

impl Scope {
    /// The one stream it is of.
    pub fn stream(&self) -> Option<StreamId> {
        match self {
            Self::All => None,
            Self::Job(job) => Some(StreamId::Job(*job)),
        }
    }
}

/// Reads what the filter wants of the next positions, or events of a stream; of all that is up to `limit`, where there are fewer.
fn read(
    log: &Log,
    scope: &Scope,
    filter: &Filter,
    scanned: u64,
    version: u64,
    (scan, size): (usize, usize),
    limit: u64,
) -> Result<Selected, ReadError> {
    let Some(stream) = scope.stream() else {
        return log.select(scanned, scan, size, filter.kinds(), &|event| filter.wants(event));
    };
    let events = log.read_stream(&stream, version, size)?;
    let through = if events.len() == size { scanned } else { limit };
    Ok(Selected { places: events.into_iter().map(Place::Event).collect(), through })
}

/// The position of the first event behind `position` that the filter wants; the one behind the head where there is none.
fn next_fitting(log: &Log, filter: &Filter, position: u64) -> Result<u64, ReadError> {
    let mut after = position;
    loop {
        let head = log.head();
        let found = log.select(after, SCAN_FAR, PAGE_FAR, filter.kinds(), &|event| filter.wants(event))?;
        let event = |place: &Place| if let Place::Event(event) = place { Some(event.position) } else { None };
        if let Some(position) = found.places.iter().find_map(event) {
            return Ok(position);
        }
        if found.through == after {
            return Ok(head.max(after) + 1);
        }
        after = found.through;
    }
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, FeedError> {
    tokio::task::spawn_blocking(work).await.map_err(|_| FeedError::Stopped)
}
