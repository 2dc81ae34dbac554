//! A cron pattern in a time zone.

use crate::time::Timestamp;
use croner::{
    errors::CronError,
    parser::{CronParser, Seconds},
};
use jiff::{Zoned, tz::TimeZone};

/// The longest pattern, in bytes.
const PATTERN_MAX_BYTES: usize = 256;

/// When something is due: a pattern of five fields (minute, hour, day of the month, month, day of the week) or of six
/// with seconds first, or a nickname such as `@daily`.
#[derive(Debug, Clone)]
pub struct Cron {
    pattern: croner::Cron,
    zone: TimeZone,
}

/// What is wrong with a pattern or a time zone.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidCron {
    /// The pattern is none.
    #[error("`{pattern}` is no cron pattern such as `0 3 * * 1-5`: {reason}")]
    Pattern {
        /// What was given.
        pattern: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The pattern never comes.
    #[error("`{0}` never comes")]
    Never(String),
    /// The time zone is none.
    #[error("`{0}` is no time zone such as `UTC` or `Europe/Berlin`")]
    TimeZone(String),
}

impl Cron {
    /// Reads a pattern and the name of a time zone.
    ///
    /// # Errors
    /// What is wrong with either, or that the pattern never comes after `now`.
    pub fn parse(pattern: &str, time_zone: &str, now: Timestamp) -> Result<Self, InvalidCron> {
        let cron = Self::read(pattern, time_zone)?;
        match cron.next(now) {
            Some(_) => Ok(cron),
            None => Err(InvalidCron::Never(short(pattern))),
        }
    }

    /// Reads a pattern that was accepted once; it may have come for the last time.
    ///
    /// # Errors
    /// What is wrong with either.
    pub fn read(pattern: &str, time_zone: &str) -> Result<Self, InvalidCron> {
        let invalid = |reason: String| InvalidCron::Pattern { pattern: short(pattern), reason };
        if pattern.len() > PATTERN_MAX_BYTES {
            return Err(invalid(format!("it has {} bytes, and {PATTERN_MAX_BYTES} are allowed", pattern.len())));
        }
        let parser = CronParser::builder().seconds(Seconds::Optional).build();
        let pattern = parser.parse(pattern).map_err(|error| invalid(error.to_string()))?;
        let zone = TimeZone::get(time_zone).map_err(|_| InvalidCron::TimeZone(short(time_zone)))?;
        Ok(Self { pattern, zone })
    }

    /// The first time behind `after`.
    pub fn next(&self, after: Timestamp) -> Option<Timestamp> {
        found(self.pattern.find_next_occurrence(&self.zoned(after)?, false))
    }

    /// The last time up to `until`.
    pub fn last(&self, until: Timestamp) -> Option<Timestamp> {
        // Patterns know whole seconds.
        let second = Timestamp::from_micros(until.as_micros() - until.as_micros().rem_euclid(1_000_000));
        found(self.pattern.find_previous_occurrence(&self.zoned(second)?, true))
    }

    fn zoned(&self, time: Timestamp) -> Option<Zoned> {
        let time = jiff::Timestamp::from_microsecond(time.as_micros()).ok()?;
        Some(time.to_zoned(self.zone.clone()))
    }
}

fn found(time: Result<Zoned, CronError>) -> Option<Timestamp> {
    time.ok().map(|time| Timestamp::from_micros(time.timestamp().as_microsecond()))
}

fn short(text: &str) -> String {
    text.chars().take(80).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn next(pattern: &str, zone: &str, after: &str, count: usize) -> Vec<String> {
        let cron = Cron::parse(pattern, zone, at(after)).unwrap();
        let mut time = at(after);
        let mut found = Vec::new();
        for _ in 0..count {
            time = cron.next(time).unwrap();
            found.push(time.to_string());
        }
        found
    }

    #[test]
    fn patterns_go_by_their_time_zone() {
        for (pattern, zone, after, expected) in [
            ("0 3 * * *", "UTC", "2026-11-21T03:00:00Z", "2026-11-22T03:00:00.000000Z"),
            ("0 3 * * *", "Europe/Berlin", "2026-11-21T03:00:00Z", "2026-11-22T02:00:00.000000Z"),
            ("*/10 * * * * *", "UTC", "2026-11-21T03:00:00.5Z", "2026-11-21T03:00:10.000000Z"),
            ("@daily", "UTC", "2026-11-21T03:00:00Z", "2026-11-22T00:00:00.000000Z"),
            ("30 9 * * mon-fri", "Asia/Tokyo", "2026-11-21T00:00:00Z", "2026-11-23T00:30:00.000000Z"),
        ] {
            assert_eq!(next(pattern, zone, after, 1), [expected], "{pattern} {zone}");
        }
    }

    #[test]
    fn a_day_with_another_length_has_each_firing_once() {
        // Clocks in Berlin go from 2:00 to 3:00 on 2026-03-29, and from 3:00 to 2:00 on 2026-10-25.
        let spring = next("30 2 * * *", "Europe/Berlin", "2026-03-28T00:00:00Z", 3);
        assert_eq!(spring.len(), 3);
        assert!(spring[1].starts_with("2026-03-29T01:"), "{spring:?}");
        let autumn = next("30 2 * * *", "Europe/Berlin", "2026-10-24T12:00:00Z", 2);
        assert!(autumn[0].starts_with("2026-10-25") && autumn[1].starts_with("2026-10-26"), "{autumn:?}");
    }

    #[test]
    fn the_last_time_may_be_now() {
        let cron = Cron::read("* * * * *", "UTC").unwrap();
        for (until, last) in [
            ("2026-11-21T03:00:00Z", "2026-11-21T03:00:00.000000Z"),
            ("2026-11-21T03:00:59.9Z", "2026-11-21T03:00:00.000000Z"),
        ] {
            assert_eq!(cron.last(at(until)).unwrap().to_string(), last);
        }
    }

    #[test]
    fn what_is_wrong_is_said() {
        let now = at("2026-11-21T00:00:00Z");
        let long = "1,".repeat(200);
        for (pattern, zone, said) in [
            ("", "UTC", "no cron pattern"),
            ("61 * * * *", "UTC", "`61 * * * *` is no cron pattern"),
            ("* * *", "UTC", "no cron pattern"),
            ("0 0 30 2 *", "UTC", "never comes"),
            (&long, "UTC", "256 are allowed"),
            ("* * * * *", "Mars/Base", "`Mars/Base` is no time zone"),
        ] {
            let error = Cron::parse(pattern, zone, now).unwrap_err().to_string();
            assert!(error.contains(said), "{pattern} {zone}: {error}");
        }
    }
}
