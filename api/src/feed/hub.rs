//! Where feeds are opened, and what they share.

use super::{FeedError, Filter, Follow, Format, Reader, Scope, pulse::Pulse, render::Renderer};
use moonlog_core::log::Log;
use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::sync::{Semaphore, watch};

/// The limits of feeds.
#[derive(Debug, Clone)]
pub struct FeedOptions {
    /// How many may be open at once.
    pub max_open: usize,
    /// How long a feed may be silent before it gives a sign of life.
    pub keep_alive: Duration,
    /// The largest data that is shown in an event.
    pub inline_max_bytes: u64,
    /// How much rendered text is kept for all feeds.
    pub cache_bytes: usize,
}

/// What feeds have done.
#[derive(Debug, Default)]
pub struct FeedStats {
    open: AtomicU64,
    events: AtomicU64,
}

impl FeedStats {
    pub(super) fn sent(&self, events: u64) {
        self.events.fetch_add(events, Ordering::Relaxed);
    }

    pub(super) fn closed(&self) {
        self.open.fetch_sub(1, Ordering::Relaxed);
    }

    /// Feeds that are open.
    pub fn open(&self) -> u64 {
        self.open.load(Ordering::Relaxed)
    }

    /// Events that were given, over all feeds.
    pub fn events(&self) -> u64 {
        self.events.load(Ordering::Relaxed)
    }
}

/// What all feeds share.
pub struct FeedHub {
    pub(super) log: Log,
    pub(super) options: FeedOptions,
    pub(super) renderer: Renderer,
    pub(super) pulse: Pulse,
    pub(super) stop: watch::Receiver<bool>,
    pub(super) stats: FeedStats,
    places: Arc<Semaphore>,
}

impl FeedHub {
    /// Feeds of `log`. They end when `stop` becomes true.
    pub fn new(log: Log, options: FeedOptions, stop: watch::Receiver<bool>) -> Arc<Self> {
        Arc::new(Self {
            renderer: Renderer::new(options.inline_max_bytes, options.cache_bytes),
            pulse: Pulse::start(&log),
            places: Arc::new(Semaphore::new(options.max_open.min(Semaphore::MAX_PERMITS))),
            stats: FeedStats::default(),
            log,
            options,
            stop,
        })
    }

    /// A cursor behind position `after`; `None` for the head.
    ///
    /// # Errors
    /// As [`Reader::open`].
    pub fn reader(&self, scope: Scope, filter: Filter, after: Option<u64>) -> Result<Reader, FeedError> {
        Reader::open(&self.log, scope, filter, after)
    }

    /// Opens a feed that gives what `reader` reads: up to the head as it is now, or on and on. `None` where too many are
    /// open.
    pub fn follow(
        self: &Arc<Self>,
        reader: Reader,
        format: Format,
        follow: bool,
        limit: Option<u64>,
    ) -> Option<Follow> {
        let place = self.places.clone().try_acquire_owned().ok()?;
        self.stats.open.fetch_add(1, Ordering::Relaxed);
        let until = (!follow).then(|| self.log.head());
        Some(Follow::new(self.clone(), reader, format, until, limit, place))
    }

    /// What feeds have done.
    pub fn stats(&self) -> &FeedStats {
        &self.stats
    }
}
