//! How long a start takes on a long log: storage, log and read model.

use crate::{
    Outcome,
    history::History,
    options::Options,
    report::{Table, Unit},
};
use moonlog_core::{
    event::StreamId,
    log::{Append, Expected, Log, LogOptions},
    projection::{Views, ViewsOptions},
    storage::{Direction, SledOptions, Space, Storage, Write, open_sled},
    time::Timestamp,
};
use std::{
    ops::Bound,
    path::Path,
    time::{Instant, SystemTime},
};

/// How many events a server has folded since its last snapshot at most, by default.
pub const BEHIND: usize = 50_000;
/// The time to stay under, in milliseconds.
const TARGET_MS: f64 = 1_000.0;

/// Starts on one log in several conditions.
pub fn run(options: &Options) -> Outcome {
    let count = options.either(1_000_000, 200_000);
    let dir = options.temporary_dir()?;
    let dir = dir.path();
    let mut history = History::new();
    let mut table = Table::new(
        "startup",
        "open storage, log and read model",
        &[
            ("events", Unit::Count),
            ("storage", Unit::Ms),
            ("log", Unit::Ms),
            ("views", Unit::Ms),
            ("total", Unit::Ms),
            ("of target", Unit::Ratio),
        ],
    );

    let begun = Instant::now();
    write(dir, &mut history, count - BEHIND, true)?;
    let written = begun.elapsed();
    row(&mut table, dir, "with a snapshot")?;
    write(dir, &mut history, BEHIND, false)?;
    row(&mut table, dir, "with a snapshot, 50,000 events behind")?;
    forget(dir, Space::Snapshots)?;
    row(&mut table, dir, "without a snapshot")?;
    forget(dir, Space::Snapshots)?;
    forget(dir, Space::Index)?;
    row(&mut table, dir, "without snapshot and index")?;

    table.note(format!("target {TARGET_MS} ms with a snapshot; wrote the log in {:.1} s", written.as_secs_f64()));
    table.note("the operating system has the files in its cache");
    table.print();
    Ok(())
}

/// The clock of the log.
pub fn now() -> Timestamp {
    let since_1970 = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_micros(i64::try_from(since_1970.as_micros()).unwrap_or(i64::MAX))
}

/// Appends so many events to the log in `dir`, and stores a snapshot if wanted.
pub fn write(dir: &Path, history: &mut History, count: usize, snapshot: bool) -> Outcome {
    let (log, _) = Log::open(open_sled(dir, SledOptions::default())?, LogOptions::new(now))?;
    let mut left = count;
    while left > 0 {
        let some = left.min(64);
        left -= some;
        let append = |(job, event)| Append::new(StreamId::Job(job), Expected::Any, vec![event]);
        let appended = log.append_all(history.by_ref().take(some).map(append).collect())?;
        // Not so far ahead that the log refuses.
        if let Some(position) = appended.first().and_then(|first| first.first_position.checked_sub(4_096)) {
            log.durable_blocking(position)?;
        }
    }
    if snapshot {
        Views::open(&log, ViewsOptions::default())?.checkpoint()?;
    }
    log.close();
    Ok(())
}

fn row(table: &mut Table, dir: &Path, name: &str) -> Outcome {
    let begun = Instant::now();
    let storage = open_sled(dir, SledOptions::default())?;
    let storage_ms = ms(begun);
    let begun = Instant::now();
    let (log, _) = Log::open(storage, LogOptions::new(now))?;
    let log_ms = ms(begun);
    let begun = Instant::now();
    let views = Views::open(&log, ViewsOptions::default())?;
    let views_ms = ms(begun);
    let total = storage_ms + log_ms + views_ms;
    let cells = [views.applied() as f64, storage_ms, log_ms, views_ms, total, total / TARGET_MS];
    table.row(name, cells.map(Some));
    drop(views);
    log.close();
    Ok(())
}

fn ms(begun: Instant) -> f64 {
    begun.elapsed().as_secs_f64() * 1000.0
}

/// Deletes derived data.
pub fn forget(dir: &Path, space: Space) -> Outcome {
    let storage = open_sled(dir, SledOptions::default())?;
    loop {
        let some = storage.scan(space, Bound::Unbounded, Bound::Unbounded, Direction::Forward, 1_000)?;
        if some.is_empty() {
            storage.sync()?;
            return Ok(());
        }
        storage.write(some.into_iter().map(|(key, _)| Write::delete(space, key)).collect())?;
    }
}
