//! `moonlog replay`: runs a job's script against its journal, with no side effect.

use super::{job_ref, script_file};
use crate::bundle::{self, Bundle};
use crate::cli::{
    args::Replay as Options,
    client::{Client, segment},
    failure::{Failure, Status},
    feed::{Feed, Query},
    output,
    paint::{Look, Paint, harmless},
    tree::JobTree,
};
use moonlog_core::{
    event::{Event, EventBody},
    projection::{FlowState, JobState},
};
use moonlog_scripts::{
    Engine, EngineOptions,
    replay::{Outcome, Replay, ReplayOptions, Role, Verdict, Walked},
};
use serde_json::{Value, json};
use std::{
    fs::File,
    io::{BufRead, BufReader, IsTerminal, stdin},
    path::Path,
    sync::Arc,
};

/// What a replay looks at; what processes wrote is not in it.
const TYPES: &str = "job.*,step.*,tool.*,process.started,process.backgrounded,process.exited";

/// A job's history, wherever it comes from.
pub struct History {
    job: String,
    workflow: String,
    script: String,
    events: Vec<Arc<Event>>,
}

/// Whether `target` is a bundle's file and not a job.
pub fn is_bundle(target: &str) -> bool {
    target.contains(['/', '.']) || (Path::new(target).is_file() && target.parse::<moonlog_core::id::JobId>().is_err())
}

/// Replays a bundle. Needs no server.
pub fn run_bundle(options: &Options) -> Result<Status, Failure> {
    let path = Path::new(&options.target);
    let file = File::open(path).map_err(|error| Failure::file("read", path, &error))?;
    let input = bundle::unpacked(BufReader::new(file)).map_err(|error| Failure::file("read", path, &error))?;
    let bundle = Bundle::read(input).map_err(|error| Failure::failed(format!("{}: {error}", path.display())))?;
    let events: Vec<_> = bundle.events.into_iter().map(Arc::new).collect();
    if let (Some(at), None, false) = (options.at, &options.script, options.step) {
        return at_of_bundle(&events, at, options);
    }
    let history = History { job: bundle.header.job, workflow: bundle.header.workflow, script: bundle.script, events };
    replay(&history, options)
}

/// Replays a job of a server.
pub async fn run(client: &Client, options: &Options) -> Result<Status, Failure> {
    let job = job_ref::resolve(client, &options.target).await?;
    if let (Some(at), None, false) = (options.at, &options.script, options.step) {
        return at_of_job(client, &job, at, options).await;
    }
    let events = events(client, &job).await?;
    let Some(EventBody::JobSubmitted(submitted)) = events.first().map(|event| event.body.clone()) else {
        return Err(Failure::failed(format!("the log does not hold the beginning of job {job}")));
    };
    let script = match &options.script {
        Some(_) => String::new(),
        None => String::from_utf8_lossy(&client.blob(&submitted.script_hash.to_string()).await?).into_owned(),
    };
    // The script computes: not on the threads that serve connections.
    let (options, history) =
        (Options { ..clone(options) }, History { job, workflow: submitted.workflow.clone(), script, events });
    tokio::task::spawn_blocking(move || replay(&history, &options))
        .await
        .map_err(|error| Failure::failed(format!("the replay broke off: {error}")))?
}

async fn events(client: &Client, job: &str) -> Result<Vec<Arc<Event>>, Failure> {
    let query = Query { job: Some(job.to_owned()), types: Some(TYPES.into()), ..Query::default() };
    let mut feed = Feed::open(client, query).await?;
    let mut events = Vec::new();
    while let Some(event) = feed.next().await? {
        events.push(Arc::new(event));
    }
    Ok(events)
}

fn clone(options: &Options) -> Options {
    let Options { target, at, script, step, format } = options;
    Options { target: target.clone(), at: *at, script: script.clone(), step: *step, format: *format }
}

fn replay(history: &History, options: &Options) -> Result<Status, Failure> {
    let script = match &options.script {
        Some(path) => script_file::read(path)?,
        None => history.script.clone(),
    };
    let name = options.script.as_deref().map(script_file::stem);
    let engine = Engine::new(EngineOptions::default());
    let replay = ReplayOptions { at: options.at, name, ..ReplayOptions::default() };
    let verdict = Replay::run(&engine, &script, &history.events, &replay);
    if options.format.json {
        output::json(&as_json(history, &verdict, options.step))?;
    } else if options.step {
        walk(&verdict.walk)?;
    }
    conclude(history, &verdict, options)
}

fn conclude(history: &History, verdict: &Verdict, options: &Options) -> Result<Status, Failure> {
    let History { job, workflow, .. } = history;
    let failure = match &verdict.outcome {
        Outcome::Deterministic if options.format.json => return Ok(Status::Done),
        Outcome::Deterministic => {
            let count = |role| verdict.walk.iter().filter(|walked| walked.role == role).count();
            let fits = match &options.script {
                Some(path) => format!("{} fits the history of job {job}", path.display()),
                None => format!("{} of job {job} is deterministic", harmless(workflow)),
            };
            let (matched, delivered) = (count(Role::Matched), count(Role::Delivered));
            let events = history.events.len();
            output::text(&format!("{fits}: {events} events, {matched} matched, {delivered} delivered"))?;
            return Ok(Status::Done);
        }
        Outcome::Mismatch(mismatch) => {
            let mut lines = mismatch.to_string().lines().map(|line| line.trim().to_owned()).collect::<Vec<_>>();
            let first = if lines.is_empty() { String::new() } else { lines.remove(0) };
            Failure::failed(first).details(lines)
        }
        Outcome::OtherEnd { recorded, now } => Failure::failed("the script ends otherwise than recorded")
            .details([format!("recorded: {recorded}"), format!("now:      {now}")]),
        Outcome::Error(error) => {
            let mut lines = error.message.lines().map(str::to_owned).collect::<Vec<_>>();
            let first = if lines.is_empty() { error.code.clone() } else { lines.remove(0) };
            lines.extend(error.traceback.iter().flat_map(|text| text.lines()).map(str::to_owned));
            Failure::failed(format!("the script cannot be replayed: {first}")).details(lines)
        }
    };
    match &verdict.outcome {
        _ if options.format.json => Err(Failure::silent(Status::Failed)),
        Outcome::Error(_) => Err(failure),
        _ if options.script.is_some() => {
            Err(failure.hint("running jobs keep the script that they were submitted with"))
        }
        _ => Err(failure.hint(format!("moonlog replay {job} --step shows what was matched before"))),
    }
}

fn as_json(history: &History, verdict: &Verdict, with_walk: bool) -> Value {
    let outcome = match &verdict.outcome {
        Outcome::Deterministic => json!({"outcome": "deterministic"}),
        Outcome::Mismatch(mismatch) => json!({"outcome": "mismatch", "mismatch": {
            "position": mismatch.position, "path": mismatch.path, "recorded": mismatch.recorded,
            "asked": mismatch.asked, "script": mismatch.script, "line": mismatch.line,
        }}),
        Outcome::OtherEnd { recorded, now } => json!({"outcome": "other_end", "recorded": recorded, "now": now}),
        Outcome::Error(error) => json!({"outcome": "error", "error": error}),
    };
    let mut all = json!({"job": history.job, "workflow": history.workflow, "events": history.events.len()});
    if let (Value::Object(all), Value::Object(outcome)) = (&mut all, outcome) {
        all.extend(outcome);
        if with_walk {
            let walked = |walked: &Walked| {
                json!({"position": walked.position, "version": walked.version, "type": walked.event,
                    "step": walked.step, "role": role(walked.role), "value": walked.value})
            };
            all.insert("walk".into(), verdict.walk.iter().map(walked).collect());
        }
    }
    all
}

const fn role(role: Role) -> &'static str {
    match role {
        Role::Matched => "matched",
        Role::Delivered => "delivered",
        Role::Skipped => "skipped",
        Role::Outside => "outside",
        Role::Unmet => "unmet",
    }
}

/// Prints the events; on a terminal one at a time.
fn walk(walk: &[Walked]) -> Result<(), Failure> {
    let paint = Paint::for_terminal(&std::io::stdout());
    let columns = if output::is_terminal() { output::columns() } else { 10_000 };
    let ask = output::is_terminal() && stdin().is_terminal();
    let mut all = !ask;
    let mut answers = BufReader::new(stdin()).lines();
    for walked in walk {
        output::text(&console::truncate_str(&told(walked, paint), columns, "…"))?;
        if all {
            continue;
        }
        output::note("[Enter: next, a: all, q: quit]");
        match answers.next().and_then(Result::ok).as_deref().map(str::trim) {
            Some("q") | None => return Err(Failure::silent(Status::Done)),
            Some("a") => all = true,
            Some(_) => {}
        }
    }
    Ok(())
}

fn told(walked: &Walked, paint: Paint) -> String {
    let look = match walked.role {
        Role::Matched => Look::Green,
        Role::Delivered => Look::Cyan,
        Role::Skipped | Role::Outside => Look::Dim,
        Role::Unmet => Look::Red,
    };
    let step = walked.step.as_deref().map(|step| format!(" {}", harmless(step))).unwrap_or_default();
    let value = walked.value.as_ref().map(|value| format!(" = {}", harmless(value.as_str()))).unwrap_or_default();
    format!(
        "{:>6} v{:<5} {} {}{step}{}",
        walked.position,
        walked.version,
        paint.put(look, &format!("{:<9}", role(walked.role))),
        walked.event,
        paint.put(Look::Dim, &value),
    )
}

/// The job's state as of a version, from a server.
async fn at_of_job(client: &Client, job: &str, at: u64, options: &Options) -> Result<Status, Failure> {
    let state = client.get_with(&format!("/v1/jobs/{}/state", segment(job)), &[("at", &at.to_string())]).await?;
    if options.format.json {
        output::json(&state)?;
        return Ok(Status::Done);
    }
    let events = events(client, job).await?;
    show_state(&state["job"], &events, at)
}

/// The same, from a bundle.
fn at_of_bundle(events: &[Arc<Event>], at: u64, options: &Options) -> Result<Status, Failure> {
    let last = events.last().map_or(0, |event| event.version);
    if at == 0 || at > last {
        return Err(Failure::usage(format!("--at: the job has the versions 1 to {last}")));
    }
    let prefix = || events.iter().filter(|event| event.version <= at);
    let job = JobState::fold(prefix()).ok_or_else(|| Failure::failed("the bundle has no beginning"))?;
    let job = json!(job.view());
    if options.format.json {
        let mut flow = FlowState::default();
        prefix().for_each(|event| flow.apply(event));
        output::json(&json!({"at": at, "job": job, "flow": flow}))?;
        return Ok(Status::Done);
    }
    show_state(&job, events, at)
}

fn show_state(job: &Value, events: &[Arc<Event>], at: u64) -> Result<Status, Failure> {
    let mut tree = JobTree::new(&[]);
    let prefix = events.iter().filter(|event| event.version <= at);
    let time = prefix.map(|event| {
        tree.apply(event);
        event.happened_at()
    });
    let now = time.last().unwrap_or_default();
    output::text(&format!("as of version {at}, {now}\n\n{}", super::show::describe(job, &tree, now)))?;
    Ok(Status::Done)
}
