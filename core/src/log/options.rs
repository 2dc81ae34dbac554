//! The log's limits, and what opening it found.

use crate::time::Timestamp;
use std::{fmt, sync::Arc, time::Duration};

/// Where the log's times come from.
pub type Clock = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// How a log is set up. Every limit has a default.
#[derive(Clone)]
pub struct LogOptions {
    /// The time of an append.
    pub clock: Clock,
    /// How much of the newest events stays decoded in memory, in bytes.
    pub tail_cache_bytes: usize,
    /// How much of the stored record batches that were read last for single events stays in memory, in bytes.
    pub frame_cache_bytes: usize,
    /// How much may wait to be written before [`super::Log::ready`] waits, in bytes. Appends are refused at four times
    /// that.
    pub pending_max_bytes: usize,
    /// How long events wait at most to be written with others, where nobody is in a hurry to have them written.
    pub patience: Duration,
    /// The largest blob, and so the largest event, in bytes.
    pub blob_max_bytes: usize,
    /// After how many events the stream index is written behind the head.
    pub index_flush_events: usize,
    /// A storage of up to this size is verified in whole when it is opened; of a larger one, what came since the index
    /// was last written. In bytes.
    pub verify_at_open_max_bytes: u64,
}

impl LogOptions {
    /// The defaults, with the time from `clock`.
    pub fn new(clock: impl Fn() -> Timestamp + Send + Sync + 'static) -> Self {
        Self {
            clock: Arc::new(clock),
            tail_cache_bytes: 4 << 20,
            frame_cache_bytes: 1 << 20,
            pending_max_bytes: 8 << 20,
            patience: Duration::from_millis(2),
            blob_max_bytes: 64 << 20,
            index_flush_events: 8192,
            verify_at_open_max_bytes: 32 << 20,
        }
    }
}

impl fmt::Debug for LogOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LogOptions")
            .field("tail_cache_bytes", &self.tail_cache_bytes)
            .field("frame_cache_bytes", &self.frame_cache_bytes)
            .field("pending_max_bytes", &self.pending_max_bytes)
            .field("patience", &self.patience)
            .field("blob_max_bytes", &self.blob_max_bytes)
            .field("index_flush_events", &self.index_flush_events)
            .field("verify_at_open_max_bytes", &self.verify_at_open_max_bytes)
            .finish_non_exhaustive()
    }
}

/// What opening a log found and mended.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize)]
pub struct OpenReport {
    /// The last event's position; 0 in an empty log.
    pub head: u64,
    /// A torn tail that was cut: where it began, and what was wrong with it. Nothing in it was acknowledged.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub torn_tail: Option<String>,
    /// Events that were durable once and are gone from the end of the log, such as after its file was truncated.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lost_tail: Option<String>,
    /// Why the stream index was made anew, where it was damaged. Nothing is lost by that.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub index_damage: Option<String>,
    /// How many events were read to bring the stream index up to date.
    pub indexed_events: u64,
}

impl OpenReport {
    /// Whether something had to be mended.
    pub fn is_repaired(&self) -> bool {
        self.torn_tail.is_some() || self.lost_tail.is_some()
    }
}
