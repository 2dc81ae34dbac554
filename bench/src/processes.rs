//! Processes over HTTP: how soon one is there, how fast what it writes is recorded and followed, and how fast that is
//! searched, beside what the machine's own tools do.

use crate::{
    Outcome,
    load::{Connection, Feed},
    options::Options,
    report::{Table, Unit, median, quantile},
    server::Server,
};
use serde_json::{Value, json};
use std::{
    fs::File,
    io::{BufWriter, Write},
    net::SocketAddr,
    path::Path,
    process::{Command, Stdio},
    time::{Duration, Instant},
};
use tokio::time::timeout;

/// More than is written, so that all of it is recorded.
const CONFIG: &str = "[limits]\nprocess_output_bytes = 1_000_000_000";
/// How long nothing may come, where something should.
const PATIENCE: Duration = Duration::from_secs(120);
/// What is searched for: it stands on one line, in the middle.
const NEEDLE: &str = "needle-[0-9]+x";

/// Starts, outputs and searches.
pub fn run(options: &Options) -> Outcome {
    let dir = options.temporary_dir()?;
    let server = Server::start(options, &dir.path().join("data"), CONFIG)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(starts(server.address, options.either(300, 50)))?;
    let file = dir.path().join("output");
    let bytes = options.either(100_000_000, 20_000_000);
    write(&file, bytes)?;
    let id = runtime.block_on(outputs(server.address, &file, bytes))?;
    runtime.block_on(searches(server.address, &file, &id, bytes))
}

/// From the request to the answer, and to the first event that a follower sees, beside a bare start.
async fn starts(address: SocketAddr, rounds: usize) -> Outcome {
    let mut client = Connection::open(address).await?;
    let mut feed = Connection::open(address).await?.feed("/v1/events?after=head&types=process.started").await?;
    let body = json!({ "command": "true" }).to_string();
    let (mut answered, mut told, mut bare) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..rounds {
        let begun = Instant::now();
        client.post("/v1/processes", body.as_bytes(), &[201]).await?;
        answered.push(ms(begun));
        next(&mut feed).await?;
        told.push(ms(begun));
        let begun = Instant::now();
        let mut child = Command::new("true").stdin(Stdio::null()).spawn()?;
        bare.push(ms(begun));
        child.wait()?;
    }
    let mut table = Table::new(
        "processes",
        "from the request to the process",
        &[("p50", Unit::Ms), ("p99", Unit::Ms), ("of bare", Unit::Ratio)],
    );
    let floor = median(&bare);
    for (name, times) in [("start, no server", bare), ("answer, durable", answered), ("first event", told)] {
        let (p50, p99) = (median(&times), quantile(&times, 0.99));
        table.row(name, [p50, p99, p50 / floor].map(Some));
    }
    table.print();
    Ok(())
}

/// From what a process writes to the durable log, and to a follower, beside `cat` to a file. Gives the process.
async fn outputs(address: SocketAddr, file: &Path, bytes: usize) -> Outcome<String> {
    let mib = bytes as f64 / f64::from(1 << 20);
    let begun = Instant::now();
    let copy = File::create(file.with_extension("copy"))?;
    let floor = Command::new("cat").arg(file).stdout(copy).status()?;
    let floor = mib / seconds(begun, floor.success(), "cat")?;

    let mut client = Connection::open(address).await?;
    let body = json!({ "command": "cat", "args": [file] }).to_string();
    let begun = Instant::now();
    let id = start(&mut client, &body).await?;
    let ended = client.get(&format!("/v1/processes/{id}/output?wait=true")).await?;
    let log = mib / seconds(begun, ended["running"] == false && whole(&ended, bytes), "the process")?;

    let feed = Connection::open(address).await?;
    let mut feed = feed.feed("/v1/events?after=head&types=process.output,process.exited").await?;
    let begun = Instant::now();
    start(&mut client, &body).await?;
    let mut seen = 0;
    loop {
        let event: Value = serde_json::from_str(&next(&mut feed).await?)?;
        match event["data"]["text"].as_str() {
            Some(text) => seen += text.len(),
            None => break,
        }
    }
    let client = mib / seconds(begun, seen == bytes, "the feed")?;

    let mut table = Table::new(
        "processes",
        "MiB a second from a process that writes as fast as it can",
        &[("MiB", Unit::Count), ("MiB", Unit::PerSecond), ("of the floor", Unit::Ratio)],
    );
    for (name, rate) in [("cat to a file", floor), ("to the durable log", log), ("to an SSE client", client)] {
        table.row(name, [mib, rate, rate / floor].map(Some));
    }
    table.note("the floor syncs nothing; the log is synced with every group");
    table.print();
    Ok(id)
}

/// One line of the whole record, beside a tool on the same bytes in a file.
async fn searches(address: SocketAddr, file: &Path, id: &str, bytes: usize) -> Outcome {
    // The tool that users would take, else the one that is everywhere.
    let tool = if Command::new("rg").arg("--version").output().is_ok() { "rg" } else { "grep" };
    let mib = bytes as f64 / f64::from(1 << 20);
    let mut client = Connection::open(address).await?;
    let path = format!("/v1/processes/{id}/search?pattern=needle-%5B0-9%5D%2Bx");
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for _ in 0..5 {
        let begun = Instant::now();
        let found = client.get(&path).await?;
        ours.push(mib / seconds(begun, found["matches"].as_array().is_some_and(|found| found.len() == 1), "search")?);
        let begun = Instant::now();
        let regular = if tool == "rg" { "-e" } else { "-E" };
        let found = Command::new(tool).args(["-n", regular, NEEDLE]).arg(file).stdin(Stdio::null()).output()?;
        theirs.push(mib / seconds(begun, found.status.success(), tool)?);
    }
    let mut table = Table::new(
        "processes",
        "MiB a second searched for a regular expression",
        &[("MiB", Unit::Count), ("MiB", Unit::PerSecond), ("of the tool", Unit::Ratio)],
    );
    let (ours, theirs) = (median(&ours), median(&theirs));
    table.row(tool, [mib, theirs, 1.0].map(Some));
    table.row("a recorded output", [mib, ours, ours / theirs].map(Some));
    table.print();
    Ok(())
}

async fn start(client: &mut Connection, body: &str) -> Outcome<String> {
    let started: Value = serde_json::from_slice(&client.post("/v1/processes", body.as_bytes(), &[201]).await?)?;
    Ok(started["id"].as_str().ok_or("a process has no id")?.to_owned())
}

async fn next(feed: &mut Feed) -> Outcome<String> {
    let next = timeout(PATIENCE, feed.next()).await.map_err(|_| "an event did not come")?;
    Ok(next?.ok_or("a feed ended")?)
}

fn whole(shown: &Value, bytes: usize) -> bool {
    shown["truncated"]["original_bytes"] == bytes
}

/// Lines of text as a build would write, with the one that is searched for.
fn write(file: &Path, bytes: usize) -> Outcome {
    let mut out = BufWriter::new(File::create(file)?);
    let (mut written, mut n) = (0, 0_u64);
    let mut needle = Some("needle-4711x\n");
    while written < bytes {
        let line = match needle.take_if(|_| written >= bytes / 2) {
            Some(needle) => needle.to_owned(),
            None => {
                format!("[{n:>9}] compiling module {:08x}, needle-free, with {} warnings\n", n * 2_654_435_761, n % 7)
            }
        };
        let line = &line.as_bytes()[..line.len().min(bytes - written)];
        out.write_all(line)?;
        written += line.len();
        n += 1;
    }
    Ok(out.flush()?)
}

fn ms(begun: Instant) -> f64 {
    begun.elapsed().as_secs_f64() * 1000.0
}

fn seconds(begun: Instant, ok: bool, what: &str) -> Outcome<f64> {
    let seconds = begun.elapsed().as_secs_f64();
    if ok { Ok(seconds) } else { Err(format!("{what} did not do what it should").into()) }
}
