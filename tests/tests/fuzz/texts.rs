//! Texts that people write.

use super::LONG;
use moonlog_core::{diff, schedule::Cron, time::Timestamp};
use moonlog_runner::tool::{Policy, Rule};
use std::time::Instant;

/// A cron pattern with its time zone: `pattern · line end · zone`. The times that it names come in order, and soon.
pub fn cron(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let (pattern, zone) = text.split_once('\n').unwrap_or((text, "UTC"));
    let begun = Instant::now();
    for now in [0, 1_795_000_000_000_000, -62_000_000_000_000_000, 200_000_000_000_000_000] {
        let now = Timestamp::from_micros(now);
        let _ = Cron::parse(pattern, zone, now);
        if let Ok(cron) = Cron::read(pattern, zone) {
            let next = cron.next(now);
            assert!(next.is_none_or(|next| next > now), "{pattern} {zone}: {next:?} is not behind {now}");
            let last = cron.last(now);
            assert!(last.is_none_or(|last| last <= now), "{pattern} {zone}: {last:?} is behind {now}");
        }
    }
    assert!(begun.elapsed() < LONG, "{pattern} {zone} took {:?}", begun.elapsed());
}

/// `moonlog.toml`.
pub fn config(data: &[u8]) {
    thread_local!(static FILE: tempfile::NamedTempFile = tempfile::NamedTempFile::new().expect("a file"));
    FILE.with(|file| {
        std::fs::write(file.path(), data).expect("it is written");
        if let Err(error) = moonlog_api::config::Config::load(Some(file.path()), [], &[]) {
            assert!(!error.to_string().is_empty());
        }
    });
}

/// A unified diff and what a file holds behind it: `diff · NUL · text`. Which lines it changes, and what the file held before.
pub fn diff(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let (diff, after) = text.split_once('\0').unwrap_or((text, ""));
    let begun = Instant::now();
    let _ = diff::replaced_lines(diff);
    let _ = diff::before(after, diff);
    assert!(begun.elapsed() < LONG, "a diff took {:?}", begun.elapsed());
}

/// A rule for tool calls, and an input that it is asked about: `rule · NUL · tool · NUL · input`.
pub fn rule(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let mut parts = text.splitn(3, '\0');
    let (rule, tool) = (parts.next().unwrap_or_default(), parts.next().unwrap_or("execute"));
    let Ok(rule) = Rule::parse(rule) else { return };
    let input = parts.next().unwrap_or_default();
    let value = serde_json::from_str(input).unwrap_or_else(|_| serde_json::json!({ "command": input, "path": input }));
    let policy = Policy { deny: vec![rule], ..Policy::default() };
    let begun = Instant::now();
    let _ = policy.decide(tool, &value);
    assert!(begun.elapsed() < LONG, "a rule took {:?}", begun.elapsed());
}
