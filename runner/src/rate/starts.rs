//! How many jobs a queue has started within a minute, and how many of each concurrency key. Pure.

use crate::options::QueueOptions;
use moonlog_core::{rate::RateWindow, time::Timestamp};
use std::collections::{BTreeMap, HashMap};

/// The queues whose jobs start at a rate.
#[derive(Debug, Default)]
pub(crate) struct StartRates {
    queues: HashMap<String, RateWindow>,
    /// What a key of each queue may: a window without uses.
    key_limits: HashMap<String, RateWindow>,
    /// By queue and key.
    keys: HashMap<(String, String), RateWindow>,
    /// How many keys there were when those that count no more were last looked for.
    swept: usize,
}

impl StartRates {
    pub(crate) fn new(queues: &BTreeMap<String, QueueOptions>) -> Self {
        let window = |limit: u64, queue: &QueueOptions| (limit > 0).then(|| RateWindow::new(limit, queue.rate_span_ms));
        let of_queue =
            |(name, queue): (&String, &QueueOptions)| Some((name.clone(), window(queue.rate_per_minute, queue)?));
        let of_key =
            |(name, queue): (&String, &QueueOptions)| Some((name.clone(), window(queue.key_rate_per_minute, queue)?));
        Self {
            queues: queues.iter().filter_map(of_queue).collect(),
            key_limits: queues.iter().filter_map(of_key).collect(),
            ..Self::default()
        }
    }

    /// Whether anything is limited.
    pub(crate) fn is_any(&self) -> bool {
        !self.queues.is_empty() || !self.key_limits.is_empty()
    }

    /// When the queue may start its next job, where that is not now.
    pub(crate) fn queue_free_at(&mut self, queue: &str, now: Timestamp) -> Option<Timestamp> {
        self.queues.get_mut(queue)?.free_at(now, 1)
    }

    /// When the queue may start the next job of a key, where that is not now.
    pub(crate) fn key_free_at(&mut self, queue: &str, key: &str, now: Timestamp) -> Option<Timestamp> {
        self.keys.get_mut(&(queue.to_owned(), key.to_owned()))?.free_at(now, 1)
    }

    /// How many jobs the queue has started within the last minute.
    pub(crate) fn started_in_minute(&mut self, queue: &str, now: Timestamp) -> Option<u64> {
        Some(self.queues.get_mut(queue)?.used(now))
    }

    /// What the queue may start in a minute, and of each key.
    pub(crate) fn limits(&self, queue: &str) -> (u64, u64) {
        let of_queue = self.queues.get(queue).map_or(0, RateWindow::limit);
        (of_queue, self.key_limits.get(queue).map_or(0, RateWindow::limit))
    }

    /// A job was started.
    pub(crate) fn started(&mut self, queue: &str, key: Option<&str>, at: Timestamp) {
        if let Some(window) = self.queues.get_mut(queue) {
            window.add(at, 1);
        }
        let (Some(key), Some(limit)) = (key, self.key_limits.get(queue)) else { return };
        let of = (queue.to_owned(), key.to_owned());
        self.keys.entry(of).or_insert_with(|| limit.clone()).add(at, 1);
        // Now and then those that count no more are let go of.
        if self.keys.len() > 2 * self.swept.max(64) {
            self.keys.retain(|_, window| !window.is_empty(at));
            self.swept = self.keys.len();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Timestamp {
        Timestamp::from_micros(1_760_000_000_000_000).plus_ms(ms)
    }

    fn rates(rate_per_minute: u64, key_rate_per_minute: u64) -> StartRates {
        let queue = QueueOptions { rate_per_minute, key_rate_per_minute, ..QueueOptions::default() };
        StartRates::new(&[("q".to_owned(), queue), ("free".to_owned(), QueueOptions::default())].into())
    }

    #[test]
    fn queues_and_keys_have_rates_of_their_own() {
        let mut rates = rates(3, 1);
        assert!(rates.is_any());
        rates.started("q", Some("a"), at(0));
        assert_eq!(rates.key_free_at("q", "a", at(1)), Some(at(60_000)));
        assert_eq!(rates.key_free_at("q", "b", at(1)), None);
        rates.started("q", Some("b"), at(10));
        rates.started("q", None, at(20));
        assert_eq!(rates.queue_free_at("q", at(30)), Some(at(60_000)));
        assert_eq!(rates.started_in_minute("q", at(30)), Some(3));
        assert_eq!(rates.queue_free_at("free", at(30)), None);
        assert_eq!(rates.queue_free_at("q", at(60_000)), None);
        assert_eq!(rates.started_in_minute("q", at(60_010)), Some(1));
    }

    #[test]
    fn keys_that_count_no_more_are_let_go_of() {
        let mut rates = rates(0, 1);
        for n in 0..10_000 {
            rates.started("q", Some(&n.to_string()), at(n * 1_000));
        }
        assert!(rates.keys.len() <= 200, "{} keys of the last minute", rates.keys.len());
        assert!(!StartRates::new(&BTreeMap::new()).is_any());
    }
}
