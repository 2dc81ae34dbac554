//! Real jobs, up to 100,000: submitted over HTTP and run to their ends by a server.

use super::{growth::Growth, probe};
use crate::{
    Outcome,
    options::Options,
    report::{Unit, median},
    server::Server,
    startup::forget,
};
use moonlog_core::storage::Space;
use std::time::Instant;

/// The rate of jobs is that of the last so many before a size.
const RATE_JOBS: usize = 5_000;

/// Runs jobs up to each size, and looks at the server.
pub fn run(options: &Options) -> Outcome {
    let sizes: &[usize] = if options.quick { &[5_000, 10_000, 20_000] } else { &[12_500, 25_000, 50_000, 100_000] };
    let dir = options.temporary_dir()?;
    let data = dir.path().join("data");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mut table = Growth::new("as jobs end", "jobs");
    let mut done = 0;
    for size in sizes {
        table.size(*size as u64);
        let server = Server::start(options, &data, "")?;
        runtime.block_on(async {
            probe::run_jobs(server.address, size - done - RATE_JOBS.min(size - done)).await?;
            probe::jobs(&mut table, server.address, RATE_JOBS.min(size - done)).await?;
            lists(&mut table, &server).await?;
            probe::others(&mut table, server.address).await
        })?;
        done = *size;
        table.put("memory", Unit::MiB, probe::resident_mib(&server));
        table.put("disk, a job", Unit::Bytes, probe::disk_bytes(&data.join("log"))? as f64 / done as f64);
        drop(server);
        let begun = Instant::now();
        let server = Server::start(options, &data, "")?;
        table.put("start after kill -9", Unit::Ms, begun.elapsed().as_secs_f64() * 1000.0);
        drop(server);
        forget(&data, Space::Snapshots)?;
        let begun = Instant::now();
        let server = Server::start(options, &data, "")?;
        table.put("start without a snapshot", Unit::Ms, begun.elapsed().as_secs_f64() * 1000.0);
        drop(server);
    }
    table.print();
    Ok(())
}

async fn lists(table: &mut Growth, server: &Server) -> Outcome {
    for (name, count, path) in [
        ("the newest 50 jobs", 30, "/v1/jobs"),
        ("50 that completed", 30, "/v1/jobs?state=completed"),
        ("failed, of which there are none", 5, "/v1/jobs?state=failed"),
        ("a workflow that has none", 5, "/v1/jobs?workflow=none"),
    ] {
        let times = probe::times(server.address, count, || path.to_owned()).await?;
        table.put(name, Unit::Ms, median(&times));
    }
    Ok(())
}
