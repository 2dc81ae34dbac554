//! Where the time comes from: the system's clock, which anybody may set, and one that goes on whatever is done to that.

use moonlog_core::time::Timestamp;
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicI64, Ordering},
    },
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

/// Where the runner's time comes from.
pub type Clock = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// The system's clock.
pub fn system_clock() -> Clock {
    Arc::new(system_now)
}

fn system_now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_micros(i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
}

/// By how much the system's clock has to be set back for that to be said.
const SAID: Duration = Duration::from_secs(1);

/// A clock that never goes back and never stands still. Where the system's clock is set forward it follows, since that is also what it looks like
/// when the machine has slept; where it is set back, this one goes on from where it was at the same pace. So what lasts a second lasts a
/// second, and the log's times, which never go back, do not stand still until the system's clock has caught up with them.
///
/// Everything asks for the time, from all threads: so nobody waits for a lock here.
#[derive(Clone)]
pub struct SteadyClock(Arc<Steady>);

struct Steady {
    /// What `offset_micros` counts from.
    base: Instant,
    /// What has to be added to the time since `base`. It only grows.
    offset_micros: AtomicI64,
    /// Whether it was said that the system's clock is behind.
    said: AtomicBool,
}

impl SteadyClock {
    /// One that begins with the system's clock.
    pub fn new() -> Self {
        Self(Arc::new(Steady::new(system_now(), Instant::now())))
    }

    /// Goes on from `time`, where that is later: what is in the log has been.
    pub fn begin_at(&self, time: Timestamp) {
        self.0.follow(time, Instant::now());
    }

    /// As the runner and the log take it.
    pub fn clock(&self) -> Clock {
        let steady = self.0.clone();
        // In this order: who is held up between the two must not take that for a clock that was set forward.
        Arc::new(move || {
            let system = system_now();
            steady.now(system, Instant::now())
        })
    }
}

impl Default for SteadyClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Steady {
    fn new(system: Timestamp, base: Instant) -> Self {
        Self { base, offset_micros: AtomicI64::new(system.as_micros()), said: AtomicBool::new(false) }
    }

    /// The time, which is `time` or later.
    fn follow(&self, time: Timestamp, instant: Instant) -> Timestamp {
        let passed = i64::try_from(instant.saturating_duration_since(self.base).as_micros()).unwrap_or(i64::MAX);
        let offset = time.as_micros().saturating_sub(passed);
        let mut known = self.offset_micros.load(Ordering::Relaxed);
        if offset > known {
            known = self.offset_micros.fetch_max(offset, Ordering::Relaxed).max(offset);
        }
        Timestamp::from_micros(known.saturating_add(passed))
    }

    fn now(&self, system: Timestamp, instant: Instant) -> Timestamp {
        let now = self.follow(system, instant);
        let ahead_ms = now.ms_since(system);
        if u128::from(ahead_ms) < SAID.as_millis() {
            if self.said.load(Ordering::Relaxed) {
                self.said.store(false, Ordering::Relaxed);
            }
        } else if !self.said.swap(true, Ordering::Relaxed) {
            tracing::warn!(ahead_ms, "the system's clock was set back: times in the log go on from where they were");
        }
        now
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_follows_forward_and_goes_on_when_the_system_is_set_back() {
        let begun = Instant::now();
        let year = 365 * 86_400_000;
        let start = Timestamp::from_micros(1_795_000_000_000_000);
        let steady = Steady::new(start, begun);
        let mut last = start;
        // What the system's clock is set off by, in milliseconds, as time goes on by one millisecond each.
        let settings: [i64; 9] = [0, 0, 5_000, 0, year, 0, -year, year + 1_000, 2];
        for (ms, off) in (1_u64..).zip(settings) {
            let system = Timestamp::from_micros(start.plus_ms(ms).as_micros() + off * 1_000);
            let now = steady.now(system, begun + Duration::from_millis(ms));
            assert!(now > last && now >= system, "{ms} {off}");
            if system < last {
                assert_eq!(now, last.plus_ms(1), "{ms} {off}");
            }
            last = now;
        }
        assert_eq!(last.ms_since(start) as i64, year + 1_000 + 9);
    }

    #[test]
    fn it_goes_on_from_the_log() {
        let clock = SteadyClock::new();
        let now = clock.clock();
        let later = now().plus_ms(3_600_000);
        clock.begin_at(later);
        assert!(now() >= later && now().ms_since(later) < 60_000);
        clock.begin_at(Timestamp::from_micros(0));
        assert!(now() >= later);
    }
}
