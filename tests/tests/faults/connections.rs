//! Clients that open connections and leave them, send byte by byte, or never read: others are served meanwhile.

use super::times;
use moonlog_tests::{Server, Settings, eventually, resident_kib};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use reqwest::{Client, StatusCode};
use serde_json::json;
use std::{
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::Semaphore,
};

/// As many descriptors as this process may have.
fn descriptors() -> u64 {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    let wanted = hard.min(20_000);
    setrlimit(Resource::RLIMIT_NOFILE, wanted, hard).unwrap();
    wanted
}

/// Opens `count` connections, a few at a time, and sends `first` on each.
async fn open(server: &Server, count: usize, first: &'static str) -> Vec<TcpStream> {
    let address = server.url().trim_start_matches("http://").to_owned();
    let turns = Arc::new(Semaphore::new(64));
    let opening: Vec<_> = (0..count)
        .map(|_| {
            let (address, turns) = (address.clone(), turns.clone());
            tokio::spawn(async move {
                let _turn = turns.acquire_owned().await.unwrap();
                let mut stream = TcpStream::connect(address).await.ok()?;
                stream.write_all(first.as_bytes()).await.ok()?;
                Some(stream)
            })
        })
        .collect();
    let mut open = Vec::with_capacity(count);
    for opening in opening {
        open.extend(opening.await.unwrap());
    }
    open
}

/// A request on a connection of its own is answered, and a job runs with a process of its own.
async fn check_served(server: &Server, what: &str) -> Duration {
    let client =
        Client::builder().no_proxy().pool_max_idle_per_host(0).timeout(Duration::from_secs(60)).build().unwrap();
    let begun = Instant::now();
    let health =
        client.get(format!("{}/healthz", server.url())).send().await.unwrap_or_else(|error| panic!("{what}: {error}"));
    assert_eq!(health.status(), StatusCode::OK, "{what}");
    let taken = begun.elapsed();
    let body = json!({ "script": "return exec('echo', { 'x' }).stdout" });
    let job = client.post(format!("{}/v1/jobs?wait=60s", server.url())).json(&body).send().await.unwrap();
    assert_eq!(job.status(), StatusCode::OK, "{what}");
    assert_eq!(job.json::<serde_json::Value>().await.unwrap()["result"], "x\n", "{what}");
    taken
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_connections_that_are_opened_and_left_keep_nobody_out() {
    let room = descriptors().saturating_sub(500) as usize;
    let count = 10_000.min(room);
    if count < 10_000 {
        eprintln!("\n!!! only {count} connections: the limit of open files is no higher !!!\n");
    }
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path()).await;
    server.run("return 1").await;
    let before = resident_kib(server.pid());
    let left = open(&server, count, "").await;
    assert!(left.len() > count * 9 / 10, "{} of {count} were opened", left.len());
    let taken = check_served(&server, "behind those that ask nothing").await;
    let grown = resident_kib(server.pid()).saturating_sub(before);
    println!("{} connections left open: answered within {taken:?}, {grown} KiB more", left.len());
    assert!(grown < 200 << 10, "{grown} KiB");
    drop(left);
    // With few descriptors, the log and the processes have theirs.
    let folder = tempfile::tempdir().unwrap();
    let few = Settings { before: Some("ulimit -n 256".into()), ..Settings::default() };
    let server = Server::start_with(folder.path(), &few).await;
    let left = open(&server, 600, "GET /v1/jobs HTTP/1.1\r\nhost: loc").await;
    let taken = check_served(&server, "with 256 descriptors").await;
    println!("{} connections to a server with 256 descriptors: answered within {taken:?}", left.len());
    assert!(server.terminate().await.success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_sends_byte_by_byte_or_never_reads_keeps_nobody_out_and_nobody_else_is_cut() {
    let folder = tempfile::tempdir().unwrap();
    let config = "[limits]\nconnections = 40\nfeeds = 8\nconnection_keep_ms = 300\n";
    let server = Server::start_with(folder.path(), &Settings { config: config.into(), ..Settings::default() }).await;
    server.run("for i = 1, 100 do emit('large', string.rep('x', 30000)) end").await;
    let address = server.url().trim_start_matches("http://").to_owned();
    // These are served however full it is: a feed that is not read for a while, and a wait for a job.
    let mut feed =
        open(&server, 1, "GET /v1/events?after=0 HTTP/1.1\r\nhost: localhost\r\naccept: text/event-stream\r\n\r\n")
            .await;
    let waiting = server.submit(&json!({ "script": "return wait_for('go')" })).await;
    let patient = {
        let url = format!("{}/v1/jobs/{waiting}?wait=60s", server.url());
        tokio::spawn(
            async move { Client::builder().no_proxy().build().unwrap().get(url).send().await.unwrap().status() },
        )
    };
    let heads = open(&server, 30, "GET /healthz HTTP/1.1\r\nhost: ").await;
    let bodies = open(&server, 30, "POST /v1/jobs HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: 100000\r\n\r\n{").await;
    let readers = open(
        &server,
        30,
        "GET /v1/events?limit=1000&follow=false HTTP/1.1\r\nhost: localhost\r\naccept: application/json\r\n\r\n",
    )
    .await;
    let dripping = tokio::spawn(async move {
        let mut all: Vec<TcpStream> = heads.into_iter().chain(bodies).collect();
        loop {
            for stream in &mut all {
                let _ = stream.try_write(b"x");
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    for n in 0..times(5, 50) {
        let taken = check_served(&server, &format!("{n}")).await;
        assert!(taken < Duration::from_secs(20), "{taken:?}");
        // More of them come all the time.
        drop(open(&server, 10, "GET /healthz HTTP/1.1\r\nx: ").await);
    }
    assert!(!patient.is_finished(), "a request that is waited for is not cut");
    server.post(&format!("/v1/jobs/{waiting}/signals/go"), &json!({})).await;
    assert_eq!(patient.await.unwrap(), StatusCode::OK);
    dripping.abort();
    drop(readers);
    // The feed goes on from where it was, to the last event.
    let head = server.ndjson("/v1/events").await.len();
    let mut feed = feed.pop().unwrap();
    let wanted = format!("id: {head}\n");
    let mut tail = String::new();
    let mut buffer = vec![0; 1 << 16];
    while !tail.contains(&wanted) {
        let count = tokio::time::timeout(Duration::from_secs(60), feed.read(&mut buffer)).await.unwrap().unwrap();
        assert!(count > 0, "the feed was cut");
        tail.push_str(&String::from_utf8_lossy(&buffer[..count]));
        let cut = (0..=tail.len().saturating_sub(100_000)).rev().find(|at| tail.is_char_boundary(*at)).unwrap_or(0);
        tail.drain(..cut);
    }
    let alone = || async { TcpStream::connect(&address).await.ok() };
    eventually("a connection", alone).await;
    assert!(server.terminate().await.success());
}
