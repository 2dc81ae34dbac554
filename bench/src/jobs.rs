//! How fast jobs and steps are, from outside: a server process, and HTTP.

use crate::{
    Outcome,
    floor::RawFile,
    load::{Connection, expect, result},
    options::Options,
    report::{Table, Unit, median, quantile},
    server::Server,
};
use serde_json::json;
use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};

/// What the floor appends, in bytes.
const FLOOR_BYTES: usize = 256;

const PURE: &str = "for i = 1, args.n do step('s', function() return i end) end return args.n";
const SLEEP: &str = "for i = 1, args.n do sleep(0) end return args.n";
const EXEC: &str = "for i = 1, args.n do assert(exec('true')) end return args.n";
const HTTP: &str = "for i = 1, args.n do assert(http.get(args.url)) end return args.n";

/// What is measured: so many jobs of so many steps each, on so many connections with a job at a time.
struct Workload {
    name: &'static str,
    script: &'static str,
    jobs: usize,
    steps: usize,
    connections: usize,
    /// How many times the floor its steps should reach.
    target: Option<f64>,
}

impl Workload {
    /// With so many jobs, of so many steps, on so many connections.
    const fn new(
        name: &'static str,
        script: &'static str,
        (jobs, steps, connections): (usize, usize, usize),
        target: Option<f64>,
    ) -> Self {
        Self { name, script, jobs, steps, connections, target }
    }
}

/// Runs every workload on one server.
pub fn run(options: &Options) -> Outcome {
    let dir = options.temporary_dir()?;
    let mut raw = RawFile::create(dir.path())?;
    let config = "[http]\nallow_private = [\"127.0.0.1\"]\n";
    let server = Server::start(options, &dir.path().join("data"), config)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let url = runtime.block_on(peer())?;
    let mut table = Table::new(
        "jobs",
        "jobs over HTTP, and their steps",
        &[
            ("rate", Unit::PerSecond),
            ("fdatasync", Unit::PerSecond),
            ("of fdatasync", Unit::Ratio),
            ("target", Unit::Ratio),
            ("job p50", Unit::Ms),
            ("job p99", Unit::Ms),
            ("server cpu each", Unit::Ms),
        ],
    );
    let many = options.either(5_000, 1_000);
    let workloads = [
        Workload::new("64 jobs of 100 pure steps, steps", PURE, (64, 100, 64), Some(6.0)),
        Workload::new("a job of 2,000 pure steps, steps", PURE, (1, 2_000, 1), Some(0.6)),
        Workload::new("a job of sleep(0), steps", SLEEP, (1, 500, 1), Some(0.6)),
        Workload::new("a job of http to loopback, steps", HTTP, (1, 500, 1), Some(0.6)),
        Workload::new("a job of exec(\"true\"), steps", EXEC, (1, 200, 1), None),
        Workload::new("one-step jobs on 64 connections, jobs", PURE, (many, 1, 64), Some(1.5)),
        Workload::new("one-step jobs on one connection, jobs", PURE, (many / 5, 1, 1), None),
    ];
    for workload in workloads.iter().filter(|workload| workload.name.contains(&options.only)) {
        let rounds = if workload.steps == 1 { 3 } else { options.either(7, 3) };
        let (mut rates, mut floors, mut ratios, mut waits) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        let processor_time = server.processor_time();
        for _ in 0..rounds {
            let before = floor(&mut raw)?;
            let (rate, each) = runtime.block_on(measure(server.address, workload, &url))?;
            let floor = (before + floor(&mut raw)?) / 2.0;
            rates.push(rate);
            floors.push(floor);
            ratios.push(rate / floor);
            waits.extend(each);
        }
        let units = (rounds * workload.jobs * workload.steps) as f64;
        let processor_ms = (server.processor_time() - processor_time).as_secs_f64() * 1000.0 / units;
        let cells = [median(&rates), median(&floors), median(&ratios)].map(Some).into_iter();
        let times = [quantile(&waits, 0.5), quantile(&waits, 0.99), processor_ms].map(Some);
        table.row(workload.name, cells.chain([workload.target]).chain(times));
    }
    table.note(
        "fdatasync: appends of 256 bytes, each synced, right before and after; pure steps need none of their own",
    );
    table.print();
    Ok(())
}

fn floor(raw: &mut RawFile) -> Outcome<f64> {
    Ok(raw.rate(&[b'x'; FLOOR_BYTES], Duration::from_millis(200))?)
}

/// Runs a workload once: its rate, and how long each job took, in milliseconds.
async fn measure(address: SocketAddr, workload: &Workload, url: &str) -> Outcome<(f64, Vec<f64>)> {
    let body = json!({ "script": workload.script, "args": { "n": workload.steps, "url": url } }).to_string();
    let body: Arc<[u8]> = body.into_bytes().into();
    let left = Arc::new(AtomicUsize::new(workload.jobs));
    let mut connections = Vec::new();
    for _ in 0..workload.connections {
        connections.push(Connection::open(address).await?);
    }
    let begun = Instant::now();
    let tasks: Vec<_> = connections
        .into_iter()
        .map(|mut connection| {
            let (body, left, steps) = (body.clone(), left.clone(), workload.steps);
            tokio::spawn(async move {
                let mut each = Vec::new();
                while left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok() {
                    let begun = Instant::now();
                    let job = connection.post("/v1/jobs?wait=60s", &body, &[200]).await?;
                    each.push(begun.elapsed().as_secs_f64() * 1000.0);
                    expect(result(&job), steps, &job)?;
                }
                Outcome::Ok(each)
            })
        })
        .collect();
    let mut each = Vec::new();
    for task in tasks {
        each.extend(task.await??);
    }
    let rate = (workload.jobs * workload.steps) as f64 / begun.elapsed().as_secs_f64();
    Ok((rate, each))
}

/// An HTTP server that says `ok` to everything: its address.
pub async fn peer() -> Outcome<String> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let url = format!("http://{}/", listener.local_addr()?);
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut request = [0; 4_096];
                let mut filled = 0;
                while let Ok(read @ 1..) = stream.read(&mut request[filled..]).await {
                    filled += read;
                    if request[..filled].ends_with(b"\r\n\r\n") {
                        filled = 0;
                        if stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await.is_err() {
                            return;
                        }
                    }
                }
            });
        }
    });
    Ok(url)
}
