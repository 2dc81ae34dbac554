//! How fast events become durable, beside raw appends of the same bytes and beside SQLite.

use crate::{
    Outcome,
    floor::{RawFile, rate_of},
    options::Options,
    report::{Table, Unit, median},
    startup::now,
};
use moonlog_core::{
    event::{EventBody, JobEmitted, NewEvent, StreamId},
    id::JobId,
    json::Json,
    log::{Append, Expected, Log, LogOptions},
    storage::{SledOptions, open_sled},
};
use std::{
    path::Path,
    sync::Arc,
    sync::atomic::{AtomicUsize, Ordering},
    time::{Duration, Instant},
};
use tokio::runtime::Runtime;

/// What an event carries, in bytes.
const EVENT_BYTES: usize = 256;
const GROUPS: [usize; 4] = [1, 8, 64, 512];
const APPENDERS: usize = 64;

/// Groups from one appender, then single events from many.
pub fn run(options: &Options) -> Outcome {
    let dir = options.temporary_dir()?;
    groups(options, dir.path())?;
    concurrent(options, dir.path())
}

/// One appender that waits for each group.
fn groups(options: &Options, dir: &Path) -> Outcome {
    let (log, mut raw) = (open(&dir.join("groups"))?, RawFile::create(dir)?);
    #[cfg(feature = "sqlite")]
    let mut sqlite = crate::sqlite::Sqlite::create(&dir.join("groups.sqlite"))?;
    let mut table = Table::new(
        "append",
        "256-byte events in groups, one appender that waits for each group",
        &[
            ("moonlog", Unit::PerSecond),
            ("raw + fdatasync", Unit::PerSecond),
            ("of raw", Unit::Ratio),
            ("target", Unit::Ratio),
            ("SQLite", Unit::PerSecond),
            ("of SQLite", Unit::Ratio),
        ],
    );
    let stream = stream(0);
    for group in GROUPS {
        let name = format!("groups of {group}");
        if !name.contains(&options.only) {
            continue;
        }
        let bytes = vec![b'x'; EVENT_BYTES * group];
        let events = vec![event(); group];
        let mut rounds = Rounds::default();
        for _ in 0..options.either(7, 3) {
            let time = Duration::from_millis(options.either(500, 200));
            rounds.raw.push(raw.rate(&bytes, time)? * group as f64);
            rounds.moonlog.push(rate_of(time, || append(&log, &stream, events.clone()))?);
            #[cfg(feature = "sqlite")]
            rounds.sqlite.push(rate_of(time, || sqlite.append(group, &bytes[..EVENT_BYTES]))?);
        }
        let target = (group >= 64).then_some(0.6);
        let (of_raw, of_sqlite) = (rounds.ratio(&rounds.raw), rounds.ratio(&rounds.sqlite));
        let cells = [rounds.moonlog(), Some(median(&rounds.raw)), of_raw, target, rounds.sqlite(), of_sqlite];
        table.row(name, cells);
    }
    table.print();
    log.close();
    Ok(())
}

/// Many appenders, each of which appends one event and waits until it is durable.
fn concurrent(options: &Options, dir: &Path) -> Outcome {
    let name = "64 appenders";
    if !name.contains(&options.only) {
        return Ok(());
    }
    let log = open(&dir.join("concurrent"))?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    #[cfg(feature = "sqlite")]
    let sqlite = crate::sqlite::SqliteWriter::start(&dir.join("concurrent.sqlite"), vec![b'x'; EVENT_BYTES])?;
    let mut rounds = Rounds::default();
    for _ in 0..options.either(7, 3) {
        let time = Duration::from_millis(options.either(1_000, 300));
        rounds.moonlog.push(appenders(&runtime, time, |nth| {
            let (log, stream, event) = (log.clone(), stream(nth as u64 + 1), event());
            move || {
                let log = log.clone();
                let appended = log.append(Append::new(stream.clone(), Expected::Any, vec![event.clone()]));
                async move { Ok(log.durable(appended?.last_position).await?) }
            }
        })?);
        #[cfg(feature = "sqlite")]
        rounds.sqlite.push(appenders(&runtime, time, |_| {
            let sqlite = sqlite.clone();
            move || sqlite.clone().append()
        })?);
    }
    let mut table = Table::new(
        "append",
        "256-byte events from 64 appenders at a time, each waits for its own",
        &[
            ("moonlog", Unit::PerSecond),
            ("SQLite", Unit::PerSecond),
            ("of SQLite", Unit::Ratio),
            ("target", Unit::Ratio),
        ],
    );
    let of_sqlite = rounds.ratio(&rounds.sqlite);
    table.row(name, [rounds.moonlog(), rounds.sqlite(), of_sqlite, Some(1.0)]);
    table.note("SQLite: WAL, synchronous=FULL, one writer with one transaction for all that waits");
    if cfg!(not(feature = "sqlite")) {
        table.note("build with --features sqlite to compare");
    }
    table.print();
    log.close();
    Ok(())
}

/// Events a second of each, by round.
#[derive(Default)]
struct Rounds {
    moonlog: Vec<f64>,
    raw: Vec<f64>,
    sqlite: Vec<f64>,
}

impl Rounds {
    fn moonlog(&self) -> Option<f64> {
        Some(median(&self.moonlog))
    }

    fn sqlite(&self) -> Option<f64> {
        (!self.sqlite.is_empty()).then(|| median(&self.sqlite))
    }

    /// The middle of the ratios of rounds that ran one after the other: what disturbs the machine disturbs both.
    fn ratio(&self, others: &[f64]) -> Option<f64> {
        let ratios: Vec<f64> = self.moonlog.iter().zip(others).map(|(ours, theirs)| ours / theirs).collect();
        (!ratios.is_empty()).then(|| median(&ratios))
    }
}

fn open(dir: &Path) -> Outcome<Log> {
    Ok(Log::open(open_sled(dir, SledOptions::default())?, LogOptions::new(now))?.0)
}

fn append(log: &Log, stream: &StreamId, events: Vec<NewEvent>) -> Outcome<usize> {
    let count = events.len();
    let appended = log.append_long(Append::new(stream.clone(), Expected::Any, events))?;
    log.durable_blocking(appended.last_position)?;
    Ok(count)
}

/// How often in a second all tasks together get through `act`.
fn appenders<A, F>(runtime: &Runtime, time: Duration, make: impl Fn(usize) -> A) -> Outcome<f64>
where
    A: Fn() -> F + Send + 'static,
    F: Future<Output = Outcome> + Send,
{
    let done = Arc::new(AtomicUsize::new(0));
    let begun = Instant::now();
    let tasks: Vec<_> = (0..APPENDERS)
        .map(|nth| {
            let (act, done) = (make(nth), done.clone());
            runtime.spawn(async move {
                while begun.elapsed() < time {
                    act().await?;
                    done.fetch_add(1, Ordering::Relaxed);
                }
                Outcome::Ok(())
            })
        })
        .collect();
    for task in tasks {
        runtime.block_on(task)??;
    }
    Ok(done.load(Ordering::Relaxed) as f64 / begun.elapsed().as_secs_f64())
}

fn stream(nth: u64) -> StreamId {
    let mut bytes = [7; 16];
    bytes[8..].copy_from_slice(&nth.to_be_bytes());
    StreamId::Job(JobId::from_bytes(bytes))
}

/// An event whose fields take [`EVENT_BYTES`].
fn event() -> NewEvent {
    let emitted = |filling: usize| {
        let value = Json::from_written(format!("\"{}\"", "x".repeat(filling)));
        EventBody::JobEmitted(JobEmitted { name: "bench".into(), value })
    };
    let around = emitted(200).encode().map_or(0, |bytes| bytes.len() - 200);
    emitted(EVENT_BYTES - around).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_carries_256_bytes() {
        assert_eq!(event().body.encode().unwrap().len(), EVENT_BYTES);
    }
}
