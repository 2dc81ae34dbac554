//! How much memory a server holds.

use crate::{
    Outcome,
    history::History,
    load::Connection,
    options::Options,
    report::{Table, Unit},
    server::Server,
    startup::write,
    waiting_jobs,
};
use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

/// The most that waiting jobs may take in all, in MiB.
const TARGET_MIB: f64 = 200.0;
/// How long jobs may take to come to rest.
const PATIENCE: Duration = Duration::from_secs(300);

/// Measures a fresh server, one with a long log, and one with many waiting jobs.
pub fn run(options: &Options) -> Outcome {
    let dir = options.temporary_dir()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mut table =
        Table::new("memory", "resident memory of the server", &[("resident", Unit::MiB), ("target", Unit::MiB)]);

    let server = Server::start(options, &dir.path().join("fresh"), "")?;
    table.row("fresh", [Some(at_rest(&server)), None]);

    let jobs = options.either(10_000, 2_000);
    runtime.block_on(waiting_jobs::submit(server.address, jobs, PATIENCE))?;
    table.row(format!("{jobs} jobs wait for signals"), [Some(at_rest(&server)), Some(TARGET_MIB)]);
    drop(server);
    let server = Server::start(options, &dir.path().join("fresh"), "")?;
    table.row("the same, started again", [Some(at_rest(&server)), Some(TARGET_MIB)]);
    drop(server);

    let (long, events) = (dir.path().join("long"), options.either(1_000_000, 200_000));
    write(&long, &mut History::new(), events, true)?;
    let server = Server::start(options, &long, "")?;
    table.row(format!("{events} events in the log"), [Some(at_rest(&server)), None]);
    runtime.block_on(read_all(server.address, events))?;
    table.row("the same, after all of them were read", [Some(at_rest(&server)), None]);
    table.note("with its helper processes");
    table.print();
    Ok(())
}

/// Reads the whole log, as an export would.
async fn read_all(address: SocketAddr, events: usize) -> Outcome {
    let mut feed = Connection::open(address).await?.feed("/v1/events?after=0&follow=false").await?;
    let mut read = 0;
    while feed.next().await?.is_some() {
        read += 1;
    }
    if read < events { Err(format!("{read} of {events} events were read").into()) } else { Ok(()) }
}

/// The server's memory in MiB, once it has stayed the same for a while: longer than a waiting job keeps its script.
fn at_rest(server: &Server) -> f64 {
    let begun = Instant::now();
    let (mut least, mut since) = (server.resident_bytes(), Instant::now());
    while since.elapsed() < Duration::from_secs(5) && begun.elapsed() < PATIENCE {
        std::thread::sleep(Duration::from_millis(100));
        let bytes = server.resident_bytes();
        if bytes.abs_diff(least) > least / 100 {
            (least, since) = (bytes, Instant::now());
        }
    }
    server.resident_bytes() as f64 / f64::from(1 << 20)
}
