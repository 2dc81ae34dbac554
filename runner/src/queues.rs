//! The queues as clients see them.

use crate::runner::Runner;
use moonlog_core::time::Timestamp;
use serde::Serialize;
use std::{collections::BTreeSet, sync::PoisonError};

/// A queue as it stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct QueueView {
    /// Its name.
    pub name: String,
    /// Whether it starts no jobs.
    pub paused: bool,
    /// Queued jobs.
    pub depth: usize,
    /// Running jobs.
    pub running: usize,
    /// How many may run at once.
    pub concurrency: usize,
    /// How many may be queued.
    pub capacity: usize,
    /// How many may start in a minute; 0: any number.
    pub rate_per_minute: u64,
    /// How many of one concurrency key may; 0: any number.
    pub key_rate_per_minute: u64,
    /// How many were started within the last minute, where that is limited.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub started_in_minute: Option<u64>,
    /// When the next may start, where the rate keeps it from starting now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_start_at: Option<Timestamp>,
}

impl Runner {
    /// The queues as they stand: those of the configuration, and those that have jobs.
    pub fn queues(&self) -> Vec<QueueView> {
        let inner = self.inner();
        let options = &inner.options;
        let now = (options.clock)();
        let mut rates = inner.start_rates.lock().unwrap_or_else(PoisonError::into_inner);
        inner.views.with(|projection| {
            let mut names: BTreeSet<String> = options.queues.keys().cloned().collect();
            names.insert("default".into());
            names.extend(projection.queues().iter().map(|(name, _)| name.to_string()));
            names
                .into_iter()
                .map(|name| {
                    let limits = options.queues.get(&name).cloned().unwrap_or_default();
                    let queue = projection.queues().get(&name);
                    QueueView {
                        paused: queue.is_some_and(|queue| queue.paused),
                        depth: queue.map_or(0, |queue| queue.depth() as usize),
                        running: queue.map_or(0, |queue| queue.running as usize),
                        concurrency: limits.concurrency,
                        capacity: limits.capacity,
                        rate_per_minute: limits.rate_per_minute,
                        key_rate_per_minute: limits.key_rate_per_minute,
                        started_in_minute: rates.started_in_minute(&name, now),
                        next_start_at: rates.queue_free_at(&name, now),
                        name,
                    }
                })
                .collect()
        })
    }
}
