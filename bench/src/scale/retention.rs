//! A long log compacted to a tenth of its jobs: what the disk gets back, how long it takes, and what those who use the server
//! notice of it.

use super::{growth::Growth, probe};
use crate::{
    Outcome,
    history::{History, job_id},
    load::Connection,
    options::Options,
    report::{Table, Unit, median, quantile},
    server::Server,
};
use serde_json::{Value, json};
use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

const CONFIG: &str = "[retention]\nexport_folder = \"exported\"\n";
/// How long what is noticed is measured without a compaction.
const BEFORE: Duration = Duration::from_secs(5);

/// Compacts by number, with an export.
pub fn run(options: &Options) -> Outcome {
    let events = options.either(2_000_000, 250_000);
    let dir = options.temporary_dir()?;
    let dir = dir.path();
    let mut history = History::mixed();
    super::events::grow(&mut Growth::new("", ""), dir, &mut history, events)?;
    let jobs = history.ended();
    let server = Server::start(options, dir, CONFIG)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mut table = Table::new(
        "scale",
        "what others notice of a compaction",
        &[
            ("times", Unit::Count),
            ("p50 before", Unit::Ms),
            ("p99 before", Unit::Ms),
            ("p50 meanwhile", Unit::Ms),
            ("p99 meanwhile", Unit::Ms),
            ("max meanwhile", Unit::Ms),
        ],
    );
    let memory_before = probe::resident_mib(&server);
    let disk_before = probe::disk_bytes(&dir.join("log"))?;
    let (before, meanwhile, compacted, took, peak) = runtime.block_on(async {
        let stop = Arc::new(AtomicBool::new(false));
        let quiet = use_until(server.address, jobs, stop.clone());
        tokio::time::sleep(BEFORE).await;
        stop.store(true, Ordering::Release);
        let before = quiet.times().await?;
        let stop = Arc::new(AtomicBool::new(false));
        let busy = use_until(server.address, jobs, stop.clone());
        let begun = Instant::now();
        // Those that have run since are the newest.
        let since = before.first().map_or(0, |(_, times)| times.len() as u64);
        let body = json!({ "max_ended_jobs": jobs / 10 + since }).to_string();
        let mut connection = Connection::open(server.address).await?;
        let compaction = connection.post("/v1/compact", body.as_bytes(), &[200]);
        tokio::pin!(compaction);
        let mut peak = 0;
        let answer = loop {
            tokio::select! {
                answer = &mut compaction => break answer?,
                () = tokio::time::sleep(Duration::from_millis(100)) => peak = peak.max(server.resident_bytes()),
            }
        };
        let took = begun.elapsed();
        stop.store(true, Ordering::Release);
        let meanwhile = busy.times().await?;
        let compacted: Value = serde_json::from_slice(&answer)?;
        gone(server.address).await?;
        Outcome::Ok((before, meanwhile, compacted, took, peak))
    })?;
    for ((name, before), (_, meanwhile)) in before.iter().zip(&meanwhile) {
        let cells = [meanwhile.len() as f64, median(before), quantile(before, 0.99)];
        let during = [median(meanwhile), quantile(meanwhile, 0.99), quantile(meanwhile, 1.0)];
        table.row(*name, cells.into_iter().chain(during).map(Some));
    }
    table.print();
    let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
    let mut result = Table::new(
        "scale",
        "a log compacted to a tenth of its jobs, each of the others exported",
        &[
            ("events", Unit::Count),
            ("jobs", Unit::Count),
            ("deleted", Unit::Count),
            ("time", Unit::Ms),
            ("jobs deleted", Unit::PerSecond),
            ("disk before", Unit::MiB),
            ("disk after", Unit::MiB),
            ("of before", Unit::Ratio),
            ("exported", Unit::MiB),
            ("memory before", Unit::MiB),
            ("memory peak", Unit::MiB),
        ],
    );
    let deleted = compacted["deleted"].as_f64().unwrap_or_default();
    let after = probe::disk_bytes(&dir.join("log"))?;
    result.row(
        "max_ended_jobs",
        [
            events as f64,
            jobs as f64,
            deleted,
            took.as_secs_f64() * 1000.0,
            deleted / took.as_secs_f64(),
            mib(disk_before),
            mib(after),
            after as f64 / disk_before as f64,
            mib(probe::disk_bytes(&dir.join("exported"))?),
            memory_before,
            mib(peak),
        ]
        .map(Some),
    );
    result.note("a cursor behind which events were removed is answered with 410, and one behind them is not");
    result.print();
    Ok(())
}

/// What uses the server meanwhile.
struct Users(Vec<(&'static str, tokio::task::JoinHandle<Outcome<Vec<f64>>>)>);

impl Users {
    async fn times(self) -> Outcome<Vec<(&'static str, Vec<f64>)>> {
        let mut all = Vec::new();
        for (name, user) in self.0 {
            all.push((name, user.await??));
        }
        Ok(all)
    }
}

/// Jobs that run to their ends, the events of jobs that stay, and lists, until `stop` is set.
fn use_until(address: SocketAddr, jobs: u64, stop: Arc<AtomicBool>) -> Users {
    let job = json!({ "script": "step('s', function() return 1 end) return 1" }).to_string();
    let draw = std::sync::Mutex::new(probe::Draw::new());
    let stays = move || jobs - draw.lock().map_or(1, |mut draw| draw.up_to(jobs / 20)) + 1;
    let submit = user(address, stop.clone(), move || ("POST", "/v1/jobs?wait=60s".into(), job.clone()));
    let read = user(address, stop.clone(), move || {
        ("GET", format!("/v1/jobs/{}/events?limit=200", job_id(stays())), String::new())
    });
    let list = user(address, stop, || ("GET", "/v1/jobs".into(), String::new()));
    Users(vec![("a job from submission to end", submit), ("a job's feed", read), ("the newest 50 jobs", list)])
}

/// One request after the other, with a moment in between.
fn user(
    address: SocketAddr,
    stop: Arc<AtomicBool>,
    request: impl Fn() -> (&'static str, String, String) + Send + 'static,
) -> tokio::task::JoinHandle<Outcome<Vec<f64>>> {
    tokio::spawn(async move {
        let (mut connection, mut times) = (Connection::open(address).await?, Vec::new());
        while !stop.load(Ordering::Acquire) {
            let (method, path, body) = request();
            let begun = Instant::now();
            let (status, answer) = connection.request(method, &path, body.as_bytes()).await?;
            times.push(begun.elapsed().as_secs_f64() * 1000.0);
            if status != 200 {
                return Err(format!("{path} answered {status}: {}", String::from_utf8_lossy(&answer)).into());
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        Ok(times)
    })
}

/// Cursors before what was removed are told so.
async fn gone(address: SocketAddr) -> Outcome {
    let mut connection = Connection::open(address).await?;
    let (status, body) = connection.request("GET", "/v1/events?after=0", b"").await?;
    if status != 410 {
        return Err(format!("a cursor before what was removed was answered {status}").into());
    }
    let problem: Value = serde_json::from_slice(&body)?;
    let first = problem["first_position"].as_u64().ok_or("the problem does not name a position")?;
    let (status, _) = connection.request("GET", &format!("/v1/events?after={}", first - 1), b"").await?;
    if status != 200 {
        return Err(format!("the position that was named was answered {status}").into());
    }
    Ok(())
}
