//! How often something may happen: at most so much within any span of time. Pure: the time is an argument.

use crate::time::Timestamp;
use std::collections::VecDeque;

/// A minute, in milliseconds.
pub const MINUTE_MS: u64 = 60_000;

/// A sliding window: what was used within the last span, against a limit. Exact, at one entry for each use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RateWindow {
    limit: u64,
    span_ms: u64,
    uses: VecDeque<(Timestamp, u64)>,
    used: u64,
}

impl RateWindow {
    /// At most `limit` within any `span_ms`.
    pub const fn new(limit: u64, span_ms: u64) -> Self {
        Self { limit, span_ms, uses: VecDeque::new(), used: 0 }
    }

    /// What may be used within the span.
    pub const fn limit(&self) -> u64 {
        self.limit
    }

    /// What was used within the span that ends at `now`.
    pub fn used(&mut self, now: Timestamp) -> u64 {
        self.forget(now);
        self.used
    }

    /// When `amount` more may be used: `None` at once. What is more than the whole limit may be used when nothing else is.
    pub fn free_at(&mut self, now: Timestamp, amount: u64) -> Option<Timestamp> {
        self.forget(now);
        let fits = self.limit.saturating_sub(amount);
        let mut used = self.used;
        let mut free = None;
        for (at, amount) in &self.uses {
            if used <= fits {
                break;
            }
            used -= amount;
            free = Some(at.plus_ms(self.span_ms));
        }
        free
    }

    /// Records a use. Those of the past may be told in any order.
    pub fn add(&mut self, at: Timestamp, amount: u64) {
        if amount == 0 {
            return;
        }
        let behind = self.uses.iter().rev().take_while(|(other, _)| *other > at).count();
        self.uses.insert(self.uses.len() - behind, (at, amount));
        self.used = self.used.saturating_add(amount);
    }

    /// Takes back what was recorded at `at` and did not come about, as far as it still counts.
    pub fn take_back(&mut self, at: Timestamp, amount: u64) {
        if let Some(place) = self.uses.iter().position(|(other, used)| *other == at && *used == amount) {
            self.uses.remove(place);
            self.used -= amount;
        }
    }

    /// Whether nothing counts at `now`.
    pub fn is_empty(&mut self, now: Timestamp) -> bool {
        self.forget(now);
        self.uses.is_empty()
    }

    fn forget(&mut self, now: Timestamp) {
        while let Some((at, amount)) = self.uses.front().copied() {
            if at.plus_ms(self.span_ms) > now {
                return;
            }
            self.uses.pop_front();
            self.used -= amount;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Timestamp {
        Timestamp::from_micros(1_760_000_000_000_000).plus_ms(ms)
    }

    #[test]
    fn no_more_than_the_limit_fits_into_any_span() {
        let mut window = RateWindow::new(3, 100);
        for ms in [0, 10, 50] {
            assert_eq!(window.free_at(at(ms), 1), None, "{ms}");
            window.add(at(ms), 1);
        }
        assert_eq!(window.free_at(at(60), 1), Some(at(100)), "when the first is out of it");
        assert_eq!(window.free_at(at(60), 2), Some(at(110)));
        assert_eq!(window.free_at(at(99), 1), Some(at(100)));
        assert_eq!(window.free_at(at(100), 1), None);
        window.add(at(100), 1);
        assert_eq!((window.used(at(100)), window.used(at(151)), window.used(at(200))), (3, 1, 0));
        assert!(window.is_empty(at(200)));
    }

    #[test]
    fn what_is_more_than_the_limit_waits_until_nothing_counts() {
        let mut window = RateWindow::new(10, 100);
        assert_eq!(window.free_at(at(0), 50), None);
        window.add(at(0), 50);
        assert_eq!(window.free_at(at(1), 1), Some(at(100)));
        window.take_back(at(0), 50);
        assert_eq!(window.free_at(at(1), 1), None);
    }

    #[test]
    fn what_is_read_from_a_log_may_come_in_any_order() {
        let mut window = RateWindow::new(2, 100);
        window.add(at(50), 1);
        window.add(at(20), 1);
        assert_eq!(window.free_at(at(60), 1), Some(at(120)));
        assert_eq!(window.used(at(130)), 1);
    }

    #[test]
    fn any_run_of_uses_that_waits_as_told_keeps_the_limit() {
        for (limit, span) in [(1, 7), (3, 100), (5, 11)] {
            let mut window = RateWindow::new(limit, span);
            let (mut now, mut uses) = (0_u64, Vec::new());
            for n in 0..200_u64 {
                now += n * 7_919 % 13;
                while let Some(free) = window.free_at(at(now), 1) {
                    assert!(free > at(now), "it never says to wait for the past");
                    now = free.ms_since(at(0));
                }
                window.add(at(now), 1);
                uses.push(now);
            }
            for (index, first) in uses.iter().enumerate() {
                let within = uses[index..].iter().take_while(|use_| **use_ < first + span).count() as u64;
                assert!(within <= limit, "{within} within {span} ms from {first}");
            }
        }
    }
}
