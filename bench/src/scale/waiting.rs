//! Jobs that wait, up to 100,000 at a time: what they cost a server that runs, and its start.

use super::{growth::Growth, probe};
use crate::{
    Outcome,
    options::Options,
    report::{Unit, median},
    server::Server,
    waiting_jobs,
};
use std::time::Instant;

/// Lets jobs wait, up to each size.
pub fn run(options: &Options) -> Outcome {
    let sizes: &[usize] = if options.quick { &[5_000, 10_000, 20_000] } else { &[12_500, 25_000, 50_000, 100_000] };
    let dir = options.temporary_dir()?;
    let data = dir.path().join("data");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mut table = Growth::new("as jobs wait", "jobs");
    let mut done = 0;
    for size in sizes {
        table.size(*size as u64);
        let server = Server::start(options, &data, "")?;
        let begun = Instant::now();
        runtime.block_on(waiting_jobs::submit(server.address, size - done, probe::PATIENCE))?;
        table.put("jobs come to wait", Unit::PerSecond, (size - done) as f64 / begun.elapsed().as_secs_f64());
        done = *size;
        // Longer than a waiting job keeps its script.
        std::thread::sleep(std::time::Duration::from_secs(4));
        table.put("memory", Unit::MiB, probe::resident_mib(&server));
        runtime.block_on(async {
            probe::others(&mut table, server.address).await?;
            for (name, path) in [
                ("50 that wait", "/v1/jobs?state=waiting"),
                ("queued, of which there are none", "/v1/jobs?state=queued"),
            ] {
                let times = probe::times(server.address, 20, || path.to_owned()).await?;
                table.put(name, Unit::Ms, median(&times));
            }
            probe::jobs(&mut table, server.address, 2_000).await
        })?;
        drop(server);
        let begun = Instant::now();
        let server = Server::start(options, &data, "")?;
        table.put("start after kill -9", Unit::Ms, begun.elapsed().as_secs_f64() * 1000.0);
        runtime.block_on(waiting_jobs::at_rest(server.address, probe::PATIENCE))?;
        table.put("  until all wait again", Unit::Ms, begun.elapsed().as_secs_f64() * 1000.0);
        table.put("  memory then", Unit::MiB, probe::resident_mib(&server));
        drop(server);
    }
    table.print();
    Ok(())
}
