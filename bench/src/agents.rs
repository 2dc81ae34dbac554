//! Agents: what a turn costs beside the model's own time, how fast an answer's pieces come into the log and to those who
//! follow it, and what many agents at once take.

use crate::{
    Outcome,
    load::Connection,
    model,
    options::Options,
    report::{Table, Unit, median},
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
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

const FOLLOWERS: usize = 100;
const AGENTS: usize = 100;
const TURNS: usize = 10;
/// How long anything may take.
const PATIENCE: Duration = Duration::from_secs(300);

/// Measures all three.
pub fn run(options: &Options) -> Outcome {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let address = runtime.block_on(model::serve())?;
    let pieces = options.either(4_000, 400);
    let of = |name: &str, path: String| {
        format!("[models.{name}]\nprovider = \"openai\"\nbase_url = \"http://{address}{path}\"\nmodel = \"m\"\n")
    };
    let config = format!(
        "{}{}{}[runner]\nconcurrency = {AGENTS}\n",
        of("one", "/turns/1".into()),
        of("many", format!("/turns/{TURNS}")),
        of("pieces", format!("/pieces/{pieces}")),
    );
    let dir = options.temporary_dir()?;
    let server = Server::start(options, &dir.path().join("data"), &config)?;
    runtime.block_on(turns(options, &server, address))?;
    runtime.block_on(deltas(&server, pieces))?;
    runtime.block_on(many(&server))
}

/// Runs a script; gives how long that took, and its job.
async fn job(connection: &mut Connection, script: &str) -> Outcome<(Duration, Value)> {
    let begun = Instant::now();
    let body = json!({ "script": script }).to_string();
    let answer = timeout(PATIENCE, connection.post("/v1/jobs?wait=300s", body.as_bytes(), &[200, 201])).await??;
    let took = begun.elapsed();
    let job: Value = serde_json::from_slice(&answer)?;
    if job["state"] != "completed" {
        return Err(format!("a job did not complete: {job}").into());
    }
    Ok((took, job))
}

async fn turns(options: &Options, server: &Server, model: SocketAddr) -> Outcome {
    let rounds = options.either(200, 20);
    let mut connection = Connection::open(server.address).await?;
    let own = median(&asked_directly(model, rounds).await?);
    // Each is an agent of its own, with a session of its own.
    let script = format!("for i = 1, {rounds} do assert(agent('x', {{ model = 'one', tools = false }})) end");
    let (single, _) = job(&mut connection, &script).await?;
    let agents = rounds.div_ceil(TURNS);
    let script =
        format!("for i = 1, {agents} do assert(agent('x', {{ model = 'many', tools = {{ 'process_list' }} }})) end");
    let (with_calls, _) = job(&mut connection, &script).await?;
    let empty: Vec<f64> = {
        let mut times = Vec::new();
        for _ in 0..20 {
            times.push(job(&mut connection, "return 1").await?.0.as_secs_f64() * 1_000.0);
        }
        times
    };
    let mut table = Table::new(
        "agents",
        "a turn of a model that answers at once",
        &[("turns", Unit::Count), ("each", Unit::Ms), ("the model's own", Unit::Ms), ("overhead", Unit::Ms)],
    );
    for (name, count, took) in
        [("one turn an agent", rounds, single), ("ten turns with a call each", agents * TURNS, with_calls)]
    {
        let each = (took.as_secs_f64() * 1_000.0 - median(&empty)).max(0.0) / count as f64;
        table.row(name, [count as f64, each, own, (each - own).max(0.0)].map(Some));
    }
    table.note("the model's own time is that of the same request over a connection that is open");
    table.print();
    Ok(())
}

/// How long the model takes by itself, in milliseconds.
async fn asked_directly(model: SocketAddr, rounds: usize) -> Outcome<Vec<f64>> {
    let body = json!({ "model": "m", "messages": [{ "role": "user", "content": "x" }], "stream": true }).to_string();
    let length = body.len();
    let request = format!(
        "POST /turns/1/chat/completions HTTP/1.1\r\nhost: {model}\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}"
    );
    let mut stream = TcpStream::connect(model).await?;
    stream.set_nodelay(true)?;
    let mut buffer = vec![0; 16 << 10];
    let mut times = Vec::with_capacity(rounds);
    for _ in 0..rounds {
        let begun = Instant::now();
        stream.write_all(request.as_bytes()).await?;
        let mut read = Vec::new();
        while !read.ends_with(b"0\r\n\r\n") {
            match stream.read(&mut buffer).await? {
                0 => return Err("the model has gone".into()),
                count => read.extend_from_slice(&buffer[..count]),
            }
        }
        times.push(begun.elapsed().as_secs_f64() * 1_000.0);
    }
    Ok(times)
}

async fn deltas(server: &Server, pieces: usize) -> Outcome {
    let mut table = Table::new(
        "agents",
        "an answer in pieces of 4 KiB",
        &[("deltas", Unit::Count), ("to the log", Unit::PerSecond), ("to followers", Unit::PerSecond)],
    );
    let script = "assert(agent('x', { model = 'pieces', tools = false }))";
    for followers in [0, FOLLOWERS] {
        let mut connection = Connection::open(server.address).await?;
        let mut clients = Vec::new();
        for _ in 0..followers {
            let feed = Connection::open(server.address)
                .await?
                .feed("/v1/events?after=head&types=chat.delta,job.completed")
                .await?;
            clients.push(tokio::spawn(count(feed)));
        }
        let begun = Instant::now();
        let (took, _) = job(&mut connection, script).await?;
        let mut delivered = 0;
        for client in clients {
            let deltas = client.await??;
            if deltas < pieces {
                return Err(format!("a follower got {deltas} of {pieces} deltas").into());
            }
            delivered += deltas;
        }
        let all = begun.elapsed();
        let to_followers = (followers > 0).then(|| delivered as f64 / all.as_secs_f64());
        let name = format!("{followers} followers");
        table.row(name, [Some(pieces as f64), Some(pieces as f64 / took.as_secs_f64()), to_followers]);
    }
    table.note("every follower got every delta; the followers and the model share the machine with the server");
    table.print();
    Ok(())
}

/// How many deltas come before the job's end.
async fn count(mut feed: crate::load::Feed) -> Outcome<usize> {
    let mut deltas = 0;
    loop {
        let data = timeout(PATIENCE, feed.next()).await??.ok_or("a feed ended")?;
        if !data.contains("\"type\":\"chat.delta\"") {
            return Ok(deltas);
        }
        deltas += 1;
    }
}

async fn many(server: &Server) -> Outcome {
    let before = server.resident_bytes();
    let over = Arc::new(AtomicBool::new(false));
    let begun = Instant::now();
    let mut agents = Vec::new();
    for _ in 0..AGENTS {
        let mut connection = Connection::open(server.address).await?;
        agents.push(tokio::spawn(async move {
            let script = "return (assert(agent('x', { model = 'many', tools = { 'process_list' } })))";
            job(&mut connection, script).await.map(|(took, _)| took)
        }));
    }
    let done = over.clone();
    let all = tokio::spawn(async move {
        let mut times = Vec::new();
        for agent in agents {
            times.push(
                agent.await.map_err(|error| error.to_string()).and_then(|took| took.map_err(|error| error.to_string())),
            );
        }
        done.store(true, Ordering::Release);
        times
    });
    let mut peak = before;
    while !over.load(Ordering::Acquire) {
        peak = peak.max(server.resident_bytes());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let took = begun.elapsed().as_secs_f64();
    let times = all.await?.into_iter().collect::<Result<Vec<Duration>, String>>()?;
    let ms: Vec<f64> = times.iter().map(|time| time.as_secs_f64() * 1_000.0).collect();
    let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
    let mut table = Table::new(
        "agents",
        "100 agents of 10 turns at once",
        &[
            ("turns", Unit::PerSecond),
            ("an agent, middle", Unit::Ms),
            ("before", Unit::MiB),
            ("peak", Unit::MiB),
            ("grown", Unit::MiB),
        ],
    );
    let cells = [(AGENTS * TURNS) as f64 / took, median(&ms), mib(before), mib(peak), mib(peak.saturating_sub(before))];
    table.row("at once", cells.map(Some));
    table.note("resident memory of the server with its helper processes");
    table.print();
    Ok(())
}
