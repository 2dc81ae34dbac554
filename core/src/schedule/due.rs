//! Which of a schedule's times have come, and what becomes of each.

use super::Cron;
use crate::{event::CatchUp, id::Hash, projection::ScheduleState, time::Timestamp};

/// How many missed times are made up for at most; of more, the newest.
pub const CATCH_UP_MAX: usize = 100;
/// A time that comes later than this was missed, in milliseconds.
const ON_TIME_MS: u64 = 60_000;

/// A time that has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Due {
    /// By the pattern.
    pub at: Timestamp,
    /// What becomes of it.
    pub kind: DueKind,
}

/// What becomes of a time that has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DueKind {
    /// It is fired.
    Fire,
    /// It was missed, and with it all before it: it is skipped.
    Missed,
}

/// What has come and was not fired or skipped yet, oldest first.
pub fn due(schedule: &ScheduleState, cron: &Cron, now: Timestamp) -> Vec<Due> {
    if schedule.set.paused {
        return Vec::new();
    }
    let mut come = come(schedule, cron, now);
    let on_time = come.split_off(come.partition_point(|at| is_late(schedule, *at, now)));
    let late = match (schedule.set.catch_up, come.last()) {
        (_, None) => Vec::new(),
        (CatchUp::None, Some(last)) => vec![Due { at: *last, kind: DueKind::Missed }],
        (CatchUp::Last, Some(last)) => vec![Due { at: *last, kind: DueKind::Fire }],
        (CatchUp::All, Some(_)) => come.iter().map(|at| Due { at: *at, kind: DueKind::Fire }).collect(),
    };
    late.into_iter().chain(on_time.into_iter().map(|at| Due { at, kind: DueKind::Fire })).collect()
}

/// When to look again: the time at which the next firing comes.
pub fn next_due(schedule: &ScheduleState, cron: &Cron, now: Timestamp) -> Option<Timestamp> {
    if schedule.set.paused {
        return None;
    }
    let next = cron.next(schedule.done_until(now))?;
    Some(next.plus_ms(jitter_ms(schedule, next)))
}

/// The times that have come, oldest first. One that its jitter holds back holds back those behind it.
fn come(schedule: &ScheduleState, cron: &Cron, now: Timestamp) -> Vec<Timestamp> {
    let done = schedule.done_until(now);
    let mut times = Vec::new();
    let mut until = now;
    while let Some(at) = cron.last(until).filter(|at| *at > done && times.len() < CATCH_UP_MAX) {
        times.push(at);
        until = Timestamp::from_micros(at.as_micros() - 1);
    }
    times.reverse();
    let held = times.iter().position(|at| at.plus_ms(jitter_ms(schedule, *at)) > now);
    times.truncate(held.unwrap_or(times.len()));
    times
}

fn is_late(schedule: &ScheduleState, at: Timestamp, now: Timestamp) -> bool {
    now.ms_since(at.plus_ms(jitter_ms(schedule, at))) > ON_TIME_MS
}

/// How much later than its pattern says a schedule comes: the same at every look.
fn jitter_ms(schedule: &ScheduleState, at: Timestamp) -> u64 {
    if schedule.set.jitter_ms == 0 {
        return 0;
    }
    let hash = Hash::of(format!("{}/{}", schedule.name, at.as_micros()).as_bytes());
    let mut number = [0; 8];
    number.copy_from_slice(&hash.as_bytes()[..8]);
    u64::from_le_bytes(number) % (schedule.set.jitter_ms + 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::ScheduleSet;
    use std::sync::Arc;

    const MINUTE: i64 = 60_000_000;

    fn minute(n: i64) -> Timestamp {
        Timestamp::from_micros(n * MINUTE)
    }

    fn schedule(change: impl FnOnce(&mut ScheduleSet)) -> (ScheduleState, Cron) {
        let mut set = ScheduleSet { cron: "* * * * *".into(), time_zone: "UTC".into(), ..ScheduleSet::default() };
        change(&mut set);
        let cron = Cron::read(&set.cron, &set.time_zone).unwrap();
        (ScheduleState::new("s".into(), Arc::new(set), minute(10), 1), cron)
    }

    fn fire(n: i64) -> Due {
        Due { at: minute(n), kind: DueKind::Fire }
    }

    #[test]
    fn a_time_is_due_once_it_has_come() {
        let (mut schedule, cron) = schedule(|_| {});
        assert_eq!(next_due(&schedule, &cron, minute(10)), Some(minute(11)));
        assert_eq!(due(&schedule, &cron, Timestamp::from_micros(11 * MINUTE - 1)), []);
        assert_eq!(due(&schedule, &cron, minute(11)), [fire(11)]);
        schedule.last_due = Some(minute(11));
        assert_eq!(due(&schedule, &cron, minute(11)), []);
        assert_eq!(next_due(&schedule, &cron, minute(11)), Some(minute(12)));
    }

    #[test]
    fn what_was_missed_goes_by_catch_up() {
        // One minute late is on time still.
        for (catch_up, expected) in [
            (CatchUp::None, vec![Due { at: minute(13), kind: DueKind::Missed }, fire(14), fire(15)]),
            (CatchUp::Last, vec![fire(13), fire(14), fire(15)]),
            (CatchUp::All, vec![fire(11), fire(12), fire(13), fire(14), fire(15)]),
        ] {
            let (schedule, cron) = schedule(|set| set.catch_up = catch_up);
            assert_eq!(due(&schedule, &cron, minute(15)), expected, "{catch_up:?}");
        }
    }

    #[test]
    fn years_without_a_server_are_bounded() {
        let (schedule, cron) = schedule(|set| {
            set.cron = "* * * * * *".into();
            set.catch_up = CatchUp::All;
        });
        let now = minute(10 + 60 * 24 * 365 * 5);
        let all = due(&schedule, &cron, now);
        assert_eq!((all.len(), all.last().unwrap().at), (CATCH_UP_MAX, now));
    }

    #[test]
    fn a_clock_that_was_set_back_stops_no_schedule() {
        let (mut schedule, cron) = schedule(|set| set.catch_up = CatchUp::All);
        let year = 60 * 24 * 365;
        schedule.last_due = Some(minute(year));
        // By a little: what was fired is not fired again.
        for now in [year - 59, year - 1, year] {
            assert_eq!(due(&schedule, &cron, minute(now)), [], "{now}");
            assert_eq!(next_due(&schedule, &cron, minute(now)), Some(minute(year + 1)));
        }
        // By a year, also to before it was set: it goes on from there, and makes up for nothing.
        for now in [1_000, -100] {
            schedule.last_due = Some(minute(year));
            assert_eq!(due(&schedule, &cron, minute(now)), [fire(now)]);
            schedule.last_due = Some(minute(now));
            assert_eq!(due(&schedule, &cron, minute(now)), []);
            assert_eq!(next_due(&schedule, &cron, minute(now)), Some(minute(now + 1)));
        }
    }

    #[test]
    fn a_paused_schedule_is_never_due() {
        let (schedule, cron) = schedule(|set| set.paused = true);
        assert_eq!((due(&schedule, &cron, minute(20)), next_due(&schedule, &cron, minute(20))), (vec![], None));
    }

    #[test]
    fn jitter_delays_each_time_by_its_own_and_keeps_the_order() {
        let (mut schedule, cron) = schedule(|set| set.jitter_ms = 600_000);
        let mut delays = std::collections::BTreeSet::new();
        for _ in 0..20 {
            let at = next_due(&schedule, &cron, minute(10)).unwrap();
            let first = due(&schedule, &cron, at)[0];
            assert_eq!(due(&schedule, &cron, Timestamp::from_micros(at.as_micros() - 1)), []);
            let delay = at.ms_since(first.at);
            assert!(delay <= 600_000);
            delays.insert(delay);
            schedule.last_due = Some(first.at);
        }
        assert!(delays.len() > 10);
    }
}
