//! What is asked of a server at every size.

use super::growth::Growth;
use crate::{
    Outcome,
    history::{BATCH, WORKFLOWS, job_id},
    load::Connection,
    report::{Unit, median, quantile},
    server::Server,
};
use serde_json::json;
use std::{
    net::SocketAddr,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

/// How long jobs may take to come to rest.
pub const PATIENCE: Duration = Duration::from_secs(600);

/// Numbers that look as if they were drawn, always the same.
pub struct Draw(u64);

impl Draw {
    pub const fn new() -> Self {
        Self(0x9e37_79b9_7f4a_7c15)
    }

    /// One from 1 to `most`.
    pub const fn up_to(&mut self, most: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        1 + self.0 % most
    }
}

/// The times that a request took, in milliseconds: so many requests, whose paths are made one by one.
pub async fn times(address: SocketAddr, count: usize, mut path: impl FnMut() -> String) -> Outcome<Vec<f64>> {
    let mut connection = Connection::open(address).await?;
    let mut times = Vec::with_capacity(count);
    for _ in 0..count {
        let path = path();
        let begun = Instant::now();
        let (status, body) = connection.request("GET", &path, b"").await?;
        times.push(begun.elapsed().as_secs_f64() * 1000.0);
        if status != 200 {
            return Err(format!("{path} answered {status}: {}", String::from_utf8_lossy(&body)).into());
        }
    }
    Ok(times)
}

/// The middle of the times of some requests.
async fn row(table: &mut Growth, at: SocketAddr, name: &str, count: usize, path: impl FnMut() -> String) -> Outcome {
    let times = times(at, count, path).await?;
    table.put(name, Unit::Ms, median(&times));
    Ok(())
}

/// Lists, feeds and single jobs of a mixed history with so many ended jobs and events.
pub async fn history(table: &mut Growth, address: SocketAddr, jobs: u64, events: u64) -> Outcome {
    let mut draw = Draw::new();
    row(table, address, "a job", 200, || format!("/v1/jobs/{}", job_id(draw.up_to(jobs)))).await?;
    row(table, address, "a job's feed", 100, || format!("/v1/jobs/{}/events?limit=200", job_id(draw.up_to(jobs))))
        .await?;
    let feed = |after, rest: &str| format!("/v1/events?after={after}&limit=50{rest}");
    row(table, address, "50 events from anywhere", 100, || feed(draw.up_to(events - 1_000), "")).await?;
    let near = events - 20_000;
    row(table, address, "50 ends from anywhere", 30, || feed(draw.up_to(near), "&types=job.completed")).await?;
    row(table, address, "50 retries, of which there are none", 1, || feed(0, "&types=step.retry_scheduled")).await?;
    row(table, address, "  the same again", 5, || feed(0, "&types=step.retry_scheduled")).await?;
    row(table, address, "events of a job in the whole log", 1, || feed(0, &format!("&job={}", job_id(jobs)))).await?;
    row(table, address, "the newest 50 jobs", 30, || "/v1/jobs".into()).await?;
    row(table, address, "50 jobs from anywhere", 30, || format!("/v1/jobs?cursor={}", job_id(draw.up_to(jobs))))
        .await?;
    row(table, address, "50 of a workflow", 20, || format!("/v1/jobs?workflow=build-{}", draw.up_to(WORKFLOWS) - 1))
        .await?;
    row(table, address, "50 that failed", 20, || "/v1/jobs?state=failed".into()).await?;
    row(table, address, "50 of any old label", 10, || format!("/v1/jobs?label=batch={}", draw.up_to(jobs) / BATCH))
        .await?;
    row(table, address, "cancelled, of which there are none", 5, || "/v1/jobs?state=cancelled".into()).await?;
    others(table, address).await
}

/// What is asked whatever the log holds.
pub async fn others(table: &mut Growth, address: SocketAddr) -> Outcome {
    row(table, address, "queues", 50, || "/v1/queues".into()).await?;
    row(table, address, "approvals", 50, || "/v1/approvals".into()).await?;
    row(table, address, "metrics", 20, || "/metrics?".into()).await
}

/// Runs so many jobs of one step each to their ends on 64 connections: how many in a second, and each one's time in milliseconds.
pub async fn run_jobs(address: SocketAddr, jobs: usize) -> Outcome<(f64, Vec<f64>)> {
    let script = "step('s', function() return args.n end) return args.n";
    let body: Arc<[u8]> = json!({ "script": script, "args": { "n": 7 } }).to_string().into_bytes().into();
    let left = Arc::new(AtomicUsize::new(jobs));
    let begun = Instant::now();
    let tasks: Vec<_> = (0..64)
        .map(|_| {
            let (body, left) = (body.clone(), left.clone());
            tokio::spawn(async move {
                let (mut connection, mut each) = (Connection::open(address).await?, Vec::new());
                while left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok() {
                    let begun = Instant::now();
                    connection.post("/v1/jobs?wait=60s", &body, &[200]).await?;
                    each.push(begun.elapsed().as_secs_f64() * 1000.0);
                }
                Outcome::Ok(each)
            })
        })
        .collect();
    let mut each = Vec::new();
    for task in tasks {
        each.extend(task.await??);
    }
    Ok((jobs as f64 / begun.elapsed().as_secs_f64(), each))
}

/// The rate of jobs and their times, as rows.
pub async fn jobs(table: &mut Growth, address: SocketAddr, jobs: usize) -> Outcome {
    let (rate, each) = run_jobs(address, jobs).await?;
    table.put("jobs over HTTP", Unit::PerSecond, rate);
    table.put("  p50", Unit::Ms, median(&each));
    table.put("  p99", Unit::Ms, quantile(&each, 0.99));
    Ok(())
}

/// The least memory that the server has within two seconds, in MiB.
pub fn resident_mib(server: &Server) -> f64 {
    let begun = Instant::now();
    let mut least = u64::MAX;
    while begun.elapsed() < Duration::from_secs(2) {
        least = least.min(server.resident_bytes());
        std::thread::sleep(Duration::from_millis(50));
    }
    least as f64 / f64::from(1 << 20)
}

/// What the files below a folder take of the disk, in bytes.
pub fn disk_bytes(dir: &Path) -> std::io::Result<u64> {
    use std::os::unix::fs::MetadataExt;
    let mut bytes = 0;
    for entry in std::fs::read_dir(dir)? {
        let entry = entry?;
        let about = entry.metadata()?;
        bytes += if about.is_dir() { disk_bytes(&entry.path())? } else { about.blocks() * 512 };
    }
    Ok(bytes)
}
