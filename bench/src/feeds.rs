//! Many followers of one feed: that each gets every event once and in order, and how long that takes.

use crate::{
    Outcome,
    load::{Connection, Feed},
    options::Options,
    report::{Table, Unit, quantile},
    server::Server,
    startup::now,
};
use moonlog_core::time::Timestamp;
use serde::Deserialize;
use serde_json::{Value, json};
use std::{net::SocketAddr, time::Duration};
use tokio::time::{MissedTickBehavior, interval, timeout};

const CLIENTS: usize = 500;
const EVENTS_PER_SECOND: u64 = 200;
/// How long nothing may come, where something should.
const PATIENCE: Duration = Duration::from_secs(60);

/// Signals a waiting job, and follows that.
pub fn run(options: &Options) -> Outcome {
    let dir = options.temporary_dir()?;
    let server = Server::start(options, &dir.path().join("data"), "")?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let events = EVENTS_PER_SECOND * options.either(20, 5);
    let processor_time = server.processor_time();
    let (latencies, seconds) = runtime.block_on(follow(server.address, events))?;
    let processor_time = server.processor_time() - processor_time;
    let mut table = Table::new(
        "feeds",
        "500 clients follow 200 events a second",
        &[
            ("events", Unit::Count),
            ("events", Unit::PerSecond),
            ("deliveries", Unit::PerSecond),
            ("p50", Unit::Ms),
            ("p99", Unit::Ms),
            ("max", Unit::Ms),
            ("server cpus", Unit::Ratio),
        ],
    );
    let deliveries = latencies.len() as f64 / seconds;
    let times = [0.5, 0.99, 1.0].map(|share| quantile(&latencies, share));
    let cells = [events as f64, events as f64 / seconds, deliveries].into_iter().chain(times);
    table.row("from append to client", cells.chain([processor_time.as_secs_f64() / seconds]).map(Some));
    table.note("every client got every event once, in order; the clients share the machine with the server");
    table.print();
    Ok(())
}

/// How long each delivery took, in milliseconds, and the whole, in seconds.
async fn follow(address: SocketAddr, events: u64) -> Outcome<(Vec<f64>, f64)> {
    let mut producer = Connection::open(address).await?;
    let job = json!({ "script": "wait_for('never')" }).to_string();
    let job: Value = serde_json::from_slice(&producer.post("/v1/jobs", job.as_bytes(), &[201]).await?)?;
    let job = job["id"].as_str().ok_or("a job has no id")?.to_owned();
    let mut clients = Vec::new();
    for _ in 0..CLIENTS {
        let feed = Connection::open(address).await?.feed("/v1/events?after=0&types=job.signalled").await?;
        clients.push(tokio::spawn(read(feed, events)));
    }
    let mut ticks = interval(Duration::from_micros(1_000_000 / EVENTS_PER_SECOND));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let begun = now();
    for n in 0..events {
        ticks.tick().await;
        let body = json!({ "payload": { "n": n, "text": "something that a job would say" } }).to_string();
        producer.post(&format!("/v1/jobs/{job}/signals/tick"), body.as_bytes(), &[202]).await?;
    }
    let mut latencies = Vec::new();
    for client in clients {
        latencies.extend(client.await??);
    }
    Ok((latencies, now().as_secs_f64() - begun.as_secs_f64()))
}

/// What is looked at of an event.
#[derive(Deserialize)]
struct Signalled {
    position: u64,
    time: Timestamp,
    data: Data,
}

#[derive(Deserialize)]
struct Data {
    payload: Payload,
}

#[derive(Deserialize)]
struct Payload {
    n: u64,
}

async fn read(mut feed: Feed, events: u64) -> Outcome<Vec<f64>> {
    let mut latencies = Vec::new();
    let mut before = 0;
    for n in 0..events {
        let next = timeout(PATIENCE, feed.next()).await.map_err(|_| format!("event {n} did not come"))?;
        let data = next?.ok_or("a feed ended")?;
        let received = now();
        let event: Signalled = serde_json::from_str(&data)?;
        if event.data.payload.n != n || event.position <= before {
            return Err(format!("expected event {n} behind position {before}, got {data}").into());
        }
        before = event.position;
        latencies.push((received.as_secs_f64() - event.time.as_secs_f64()) * 1000.0);
    }
    Ok(latencies)
}
