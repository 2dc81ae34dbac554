//! Readers that stop reading while 100,000 events pass: none of them misses one, and none of them costs the server
//! memory.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use moonlog_tests::{Server, eventually, eventually_within, resident_kib};
use serde_json::{Value, json};
use std::{cell::Cell, time::Duration};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::TcpStream,
};

/// Events that pass while the readers stall.
const EVENTS: u64 = 100_000;
const JOBS: u64 = 10;
const READERS: usize = 4;
/// What each event carries: enough that a queue per reader could not hide.
const PADDING: usize = 300;
/// Jobs before, until the server's caches are full: the log's tail, rendered events, the store's pages.
const WARM_UP_JOBS: u64 = 16;
/// The bound on what the server's memory may grow by while readers stall, and while they catch up. Queues for them would
/// hold 45 MB each, 180 MB in all.
const GROWTH_MAX_KIB: u64 = 64 << 10;

fn script() -> String {
    let events = EVENTS / JOBS;
    format!("local pad = string.rep('x', {PADDING}) for i = 1, {events} do emit('n', {{ i = i, pad = pad }}) end")
}

/// A feed on a socket of its own, so that nothing reads ahead: the kernel's buffers are all that there is.
async fn open(server: &Server) -> TcpStream {
    let address = server.url().trim_start_matches("http://");
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = format!(
        "GET /v1/events?types=job.emitted&after=head HTTP/1.1\r\nhost: {address}\r\naccept: text/event-stream\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut first = [0; 1];
    stream.read_exact(&mut first).await.unwrap();
    stream
}

/// Reads the rest: positions of the events, until `count` of them.
async fn read_all(stream: TcpStream, count: usize) -> Vec<(u64, String)> {
    let mut lines = BufReader::new(stream);
    let mut positions = Vec::with_capacity(count);
    let mut line = String::new();
    let mut id = 0;
    while positions.len() < count {
        line.clear();
        assert!(lines.read_line(&mut line).await.unwrap() > 0, "the feed ended after {} events", positions.len());
        // Lines that end a chunk of HTTP stand between, at times in the middle of an event: fields are what matters.
        if let Some(text) = line.strip_prefix("id: ") {
            id = text.trim().parse().unwrap();
        } else if let Some(name) = line.strip_prefix("event: ") {
            positions.push((id, name.trim().to_owned()));
        }
    }
    positions
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stalled_readers_miss_nothing_and_cost_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path()).await;
    for _ in 0..WARM_UP_JOBS {
        let job = server.submit(&json!({ "script": script() })).await;
        assert_eq!(server.ended(&job).await["state"], "completed");
    }
    let before = resident_kib(server.pid());

    let head = server.ndjson("/v1/events?types=runner.*,job.completed").await.last().unwrap()["position"].clone();
    let mut readers = Vec::new();
    for _ in 0..READERS {
        readers.push(open(&server).await);
    }
    let peak = Cell::new(before);
    for _ in 0..JOBS {
        let job = server.submit(&json!({ "script": script() })).await;
        let ended = eventually_within(Duration::from_secs(120), "the job to end", || async {
            peak.set(peak.get().max(resident_kib(server.pid())));
            let job = server.get(&format!("/v1/jobs/{job}")).await;
            job["ended_at"].is_string().then_some(job)
        });
        assert_eq!(ended.await["state"], "completed");
    }
    let open_feeds = || async {
        let text = server.request(reqwest::Method::GET, "/metrics").send().await.unwrap().text().await.unwrap();
        let line = text.lines().find(|line| line.starts_with("moonlog_feeds_open")).unwrap().to_owned();
        (line.ends_with(&format!(" {READERS}"))).then_some(())
    };
    eventually("the stalled feeds to be open, and no other", open_feeds).await;

    let expected: Vec<u64> = server
        .ndjson(&format!("/v1/events?types=job.emitted&after={head}"))
        .await
        .iter()
        .map(|event: &Value| event["position"].as_u64().unwrap())
        .collect();
    assert_eq!(expected.len() as u64, EVENTS);
    let reading: Vec<_> = readers.into_iter().map(|stream| tokio::spawn(read_all(stream, expected.len()))).collect();
    for reader in reading {
        let told = tokio::time::timeout(Duration::from_secs(120), reader).await.expect("all of it, in time").unwrap();
        assert!(told.iter().all(|(_, name)| name == "job.emitted"));
        let told: Vec<u64> = told.into_iter().map(|(position, _)| position).collect();
        assert!(told == expected, "a reader that stalled missed or repeated events");
    }
    let peak = peak.get().max(resident_kib(server.pid()));
    println!("memory: {before} KiB before, {peak} KiB at most while {READERS} readers stalled");
    assert!(
        peak < before + GROWTH_MAX_KIB,
        "{before} KiB grew to {peak} KiB while {READERS} readers stalled: more than {GROWTH_MAX_KIB} KiB more"
    );
}
