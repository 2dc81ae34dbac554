//! A run with many agents, and the same run again that takes all of its results over: what agents cost moonlog itself, with
//! a model that answers at once, and what is left of that where nothing is asked any more.

use crate::{
    Outcome,
    load::Connection,
    options::Options,
    report::{Table, Unit, median},
    server::Server,
};
use serde_json::{Value, json};
use std::{net::SocketAddr, time::Instant};

const CONFIG: &str = "[models.main]\nprovider = \"scripted\"\nfile = \"turns.json\"\n";
const TURNS: &str = r#"[{ "text": "It is as it should be." }]"#;

/// As many agents side by side as a job may have.
const SCRIPT: &str = "local all = {}
    for i = 1, args.n do all[i] = function() return (assert(agent('Look at part ' .. i, { tools = false }))) end end
    local results, errors = parallel(all)
    return #results";

/// Measures the run, and its resumption by the same server and by one that was started anew.
pub fn run(options: &Options) -> Outcome {
    let dir = options.temporary_dir()?;
    let data = dir.path().join("data");
    std::fs::create_dir_all(&data)?;
    std::fs::write(data.join("turns.json"), TURNS)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (agents, rounds) = (options.either(1_000_usize, 200), options.either(5, 2));
    let mut table = Table::new(
        "resume",
        "agents side by side in one job, with a model that answers at once",
        &[("agents", Unit::PerSecond), ("job", Unit::Ms), ("of the first", Unit::Ratio)],
    );
    let mut server = Server::start(options, &data, CONFIG)?;
    let mut first = Vec::new();
    let mut job = String::new();
    for _ in 0..rounds {
        let (ms, id) = runtime.block_on(submit(server.address, agents, None))?;
        first.push(ms);
        job = id;
    }
    let (mut again, mut restarted) = (Vec::new(), Vec::new());
    for _ in 0..rounds {
        again.push(runtime.block_on(submit(server.address, agents, Some(&job)))?.0);
    }
    for _ in 0..rounds {
        drop(server);
        server = Server::start(options, &data, CONFIG)?;
        restarted.push(runtime.block_on(submit(server.address, agents, Some(&job)))?.0);
    }
    let whole = median(&first);
    for (name, times) in [("asked", &first), ("resumed", &again), ("resumed after a restart", &restarted)] {
        let ms = median(times);
        table.row(format!("{agents} agents, {name}"), [Some(agents as f64 * 1_000.0 / ms), Some(ms), Some(ms / whole)]);
    }
    table.print();
    Ok(())
}

/// Runs the job, and gives how many milliseconds that took, and its id. Where it resumes another one, all must be taken over.
async fn submit(address: SocketAddr, agents: usize, resume_from: Option<&str>) -> Outcome<(f64, String)> {
    let mut connection = Connection::open(address).await?;
    let body = json!({ "script": SCRIPT, "args": { "n": agents }, "resume_from": resume_from });
    let begun = Instant::now();
    let answer = connection.post("/v1/jobs?wait=5m", body.to_string().as_bytes(), &[200]).await?;
    let ms = begun.elapsed().as_secs_f64() * 1_000.0;
    let job: Value = serde_json::from_slice(&answer)?;
    let taken_over = if resume_from.is_some() { agents } else { 0 };
    if job["result"] != agents || job["steps"]["cached"] != taken_over {
        return Err(format!("the job went wrong: {job}").into());
    }
    Ok((ms, job["id"].as_str().unwrap_or_default().to_owned()))
}
