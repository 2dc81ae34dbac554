//! Jobs that wait, up to 100,000 at a time: what they cost a server that runs, and its start.

use super::{growth::Growth, probe};
use crate::{
    Outcome,
    load::Connection,
    options::Options,
    report::{Unit, median},
    server::Server,
};
use serde_json::json;
use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Instant,
};

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
        runtime.block_on(submit(server.address, size - done))?;
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
        runtime.block_on(probe::at_rest(server.address))?;
        table.put("  until all wait again", Unit::Ms, begun.elapsed().as_secs_f64() * 1000.0);
        table.put("  memory then", Unit::MiB, probe::resident_mib(&server));
        drop(server);
    }
    table.print();
    Ok(())
}

/// Submits jobs that wait for a signal, and returns when all of them do.
pub async fn submit(address: SocketAddr, jobs: usize) -> Outcome {
    let body: Arc<[u8]> = json!({ "script": "return wait_for('go')" }).to_string().into_bytes().into();
    let left = Arc::new(AtomicUsize::new(jobs));
    let tasks: Vec<_> = (0..64)
        .map(|_| {
            let (body, left) = (body.clone(), left.clone());
            tokio::spawn(async move {
                let mut connection = Connection::open(address).await?;
                while left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok() {
                    connection.post("/v1/jobs", &body, &[201]).await?;
                }
                Outcome::Ok(())
            })
        })
        .collect();
    for task in tasks {
        task.await??;
    }
    probe::at_rest(address).await
}
