//! Durations as people write and read them.

use moonlog_core::time::Timestamp;

/// `ms` milliseconds, as short as it is useful: `349ms`, `3.4s`, `12s`, `3m 05s`, `1h 02m`.
pub fn show(ms: u64) -> String {
    let seconds = ms / 1000;
    match seconds {
        0 => format!("{ms}ms"),
        1..10 => format!("{}.{}s", seconds, ms % 1000 / 100),
        10..60 => format!("{seconds}s"),
        60..3600 => format!("{}m {:02}s", seconds / 60, seconds % 60),
        _ => format!("{}h {:02}m", seconds / 3600, seconds % 3600 / 60),
    }
}

/// The time from `start` to `end`.
pub fn between(start: Timestamp, end: Timestamp) -> String {
    show(end.ms_since(start))
}

/// How long ago the RFC 3339 time `text` was; the text itself where it is none.
pub fn ago(text: &str, now: Timestamp) -> String {
    text.parse::<Timestamp>().map_or_else(
        |_| text.to_owned(),
        |time| match now.ms_since(time) / 1000 {
            seconds @ 0..86_400 => format!("{} ago", show(seconds.max(1) * 1000).replace(".0s", "s")),
            seconds => format!("{}d ago", seconds / 86_400),
        },
    )
}

/// Now, by this machine's clock.
pub fn now() -> Timestamp {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_micros(i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
}

/// Reads `250ms`, `90s`, `5m`, `2h`, or a number of seconds, as milliseconds.
pub fn parse_ms(text: &str) -> Option<u64> {
    let text = text.trim();
    let units = [("ms", 1.0), ("s", 1e3), ("m", 60e3), ("h", 3600e3), ("d", 86_400e3), ("", 1e3)];
    let (number, unit) = units.iter().find_map(|(unit, ms)| text.strip_suffix(unit).map(|number| (number, ms)))?;
    let number: f64 = number.trim().parse().ok()?;
    (number.is_finite() && number >= 0.0).then_some((number * unit) as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shown() {
        let cases = [
            (0, "0ms"),
            (349, "349ms"),
            (3_456, "3.4s"),
            (9_999, "9.9s"),
            (10_000, "10s"),
            (185_000, "3m 05s"),
            (3_720_000, "1h 02m"),
        ];
        for (ms, text) in cases {
            assert_eq!(show(ms), text);
        }
    }

    #[test]
    fn parsed() {
        let cases = [
            ("250ms", Some(250)),
            ("90s", Some(90_000)),
            ("1.5m", Some(90_000)),
            ("2 h", Some(7_200_000)),
            ("3", Some(3000)),
            ("", None),
            ("-1s", None),
            ("soon", None),
            ("infs", None),
        ];
        for (text, ms) in cases {
            assert_eq!(parse_ms(text), ms, "{text}");
        }
    }

    #[test]
    fn ages() {
        let now = "2026-11-21T07:32:31.5Z".parse().unwrap();
        assert_eq!(ago("2026-11-21T07:32:29Z", now), "2s ago");
        assert_eq!(ago("2026-11-19T07:32:29Z", now), "2d ago");
        assert_eq!(ago("2026-11-21T08:00:00Z", now), "1s ago");
    }
}
