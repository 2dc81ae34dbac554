//! A log that grows: appends, reads, starts, disk and memory at each size.

use super::{growth::Growth, probe};
use crate::{
    Outcome,
    history::{History, job_id, script},
    options::Options,
    report::{Unit, median},
    server::Server,
    startup::{forget, now},
};
use moonlog_core::{
    event::{EventBody, EventBody::JobLogged, JobLogged as Logged, NewEvent, StreamId},
    id::JobId,
    log::{Append, Expected, Log, LogOptions},
    projection::{Views, ViewsOptions},
    storage::{SledOptions, Space, open_sled},
};
use std::{
    path::Path,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

/// The rate of appends is that of the last so many events before a size.
const RATE_EVENTS: u64 = 200_000;
/// How many jobs a server runs before it is killed.
const JOBS: usize = 2_000;

/// Grows one log to each size, and looks at it.
pub fn run(options: &Options) -> Outcome {
    let sizes: &[u64] =
        if options.quick { &[250_000, 500_000, 1_000_000] } else { &[1_000_000, 2_000_000, 4_000_000, 8_000_000] };
    let dir = options.temporary_dir()?;
    let dir = dir.path();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mut table = Growth::new("as the log grows", "events");
    let mut history = History::mixed();
    for size in sizes {
        table.size(*size);
        let head = grow(&mut table, dir, &mut history, *size)?;
        table.put("disk, an event", Unit::Bytes, probe::disk_bytes(&dir.join("log"))? as f64 / head as f64);
        let server = start(&mut table, options, dir, "start after a stop")?;
        table.put("memory after a start", Unit::MiB, probe::resident_mib(&server));
        runtime.block_on(probe::history(&mut table, server.address, history.ended(), head))?;
        runtime.block_on(probe::jobs(&mut table, server.address, JOBS))?;
        table.put("memory after that", Unit::MiB, probe::resident_mib(&server));
        // It is killed.
        drop(server);
        let server = start(&mut table, options, dir, "start after kill -9")?;
        let verified = runtime.block_on(probe::times(server.address, 1, || "/v1/verify".into()))?;
        table.put("verify", Unit::Ms, median(&verified));
        table.put("memory after verify", Unit::MiB, probe::resident_mib(&server));
        drop(server);
        forget(dir, Space::Snapshots)?;
        let server = start(&mut table, options, dir, "start without a snapshot")?;
        table.put("memory after it", Unit::MiB, probe::resident_mib(&server));
        drop(server);
    }
    table.note("the operating system has the files in its cache; times are from the command to the first connection");
    table.print();
    Ok(())
}

fn start(table: &mut Growth, options: &Options, dir: &Path, name: &str) -> Outcome<Server> {
    let begun = Instant::now();
    let server = Server::start(options, dir, "")?;
    table.put(name, Unit::Ms, begun.elapsed().as_secs_f64() * 1000.0);
    Ok(server)
}

/// Appends as a server does, folding what is durable beside it, until the log has so many events; then reads some.
pub fn grow(table: &mut Growth, dir: &Path, history: &mut History, size: u64) -> Outcome<u64> {
    let (log, _) = Log::open(open_sled(dir, SledOptions::default())?, LogOptions::new(now))?;
    let views = Views::open(&log, ViewsOptions::default())?;
    let done = AtomicBool::new(false);
    let begun = Instant::now();
    let before = log.head();
    let rate = thread::scope(|scope| {
        let folding = scope.spawn(|| {
            while !done.load(Ordering::Acquire) {
                views.catch_up()?;
                thread::sleep(Duration::from_millis(1));
            }
            Outcome::Ok(())
        });
        let appended = append(&log, history, size);
        done.store(true, Ordering::Release);
        folding.join().map_err(|_| "folding panicked")??;
        appended
    })?;
    table.put("appends", Unit::PerSecond, rate);
    table.put("  from the size before", Unit::PerSecond, (log.head() - before) as f64 / begun.elapsed().as_secs_f64());
    reads(table, &log, history.ended())?;
    views.catch_up()?;
    views.checkpoint()?;
    let head = log.head();
    log.close();
    Ok(head)
}

/// Appends up to `size`: the rate of the last events.
fn append(log: &Log, history: &mut History, size: u64) -> Outcome<f64> {
    let (mut begun, mut counted) = (Instant::now(), 0);
    let shared_script = log.put_blob(b"return 1".to_vec())?;
    let put = |some: Vec<(JobId, NewEvent)>| {
        let mut appends = Vec::with_capacity(some.len());
        for (job, event) in some {
            if matches!(&event.body, EventBody::JobSubmitted(submitted) if submitted.script_hash != shared_script) {
                log.put_blob(script(&job).into_bytes())?;
            }
            appends.push(Append::new(StreamId::Job(job), Expected::Any, vec![event]));
        }
        let last = log.append_all(appends)?.last().map_or(0, |appended| appended.last_position);
        // Not so far ahead that the log refuses.
        Outcome::Ok(log.durable_blocking(last.saturating_sub(4_096))?)
    };
    while log.head() < size {
        put(history.take(64).collect())?;
        counted += 64;
        if counted == 64 || log.head() + RATE_EVENTS < size {
            (begun, counted) = (Instant::now(), 64);
        }
    }
    let rate = counted as f64 / begun.elapsed().as_secs_f64();
    for some in history.rest().chunks(64) {
        put(some.to_vec())?;
    }
    log.durable_blocking(log.head())?;
    Ok(rate)
}

/// Single durable appends, events by their positions, and jobs' streams, without a server.
fn reads(table: &mut Growth, log: &Log, jobs: u64) -> Outcome {
    let mut draw = probe::Draw::new();
    let us = |begun: Instant| begun.elapsed().as_secs_f64() * 1e6;
    let mut times = Vec::new();
    for _ in 0..300 {
        let logged = NewEvent::new(JobLogged(Logged { level: "info".into(), message: "still here".into() }));
        let begun = Instant::now();
        let appended = log.append(Append::new(StreamId::System, Expected::Any, vec![logged]))?;
        log.durable_blocking(appended.last_position)?;
        times.push(us(begun));
    }
    table.put("a durable append", Unit::Us, median(&times));
    times.clear();
    for _ in 0..2_000 {
        let position = draw.up_to(log.head());
        let begun = Instant::now();
        log.event(position)?.ok_or("an event is not there")?;
        times.push(us(begun));
    }
    table.put("an event by its position", Unit::Us, median(&times));
    times.clear();
    for _ in 0..500 {
        let stream = StreamId::Job(job_id(draw.up_to(jobs)));
        let begun = Instant::now();
        if log.read_stream(&stream, 0, 4_096)?.is_empty() {
            return Err(format!("{stream} is not there").into());
        }
        times.push(us(begun));
    }
    table.put("a job's events", Unit::Us, median(&times));
    Ok(())
}
