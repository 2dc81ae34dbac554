//! `moonlog run`: submits a workflow or a script, shows it while it runs, prints its result.

use super::{job_ref, result, script_file};
use crate::cli::{
    args::Run,
    arguments,
    client::{Client, segment},
    connect::Connection,
    duration,
    failure::{Failure, Status},
    output,
    tree::{Show, watch},
};
use serde_json::{Map, Value, json};
use std::{
    io::{IsTerminal, stderr},
    path::Path,
};

/// Runs the command.
pub async fn run(connection: &Connection, options: &Run) -> Result<Status, Failure> {
    let client = &connection.client;
    let target = Target::read(client, &options.target).await?;
    let body = body(client, options, &target).await?;
    let job = client.post("/v1/jobs", &body).await?;
    let id = job["id"].as_str().unwrap_or_default().to_owned();
    if options.detach {
        if options.format.json {
            output::json(&job)?;
        } else {
            output::text(&id)?;
        }
        if connection.is_embedded() {
            output::note("hint: no server is running; the job goes on when one does: moonlog serve");
        }
        return Ok(Status::Done);
    }
    let show = match (options.quiet, stderr().is_terminal()) {
        (true, _) => Show::Nothing,
        (false, true) => Show::Live,
        (false, false) => Show::Lines,
    };
    let ending = watch(client, &id, &target.phases, show).await?;
    match &ending.tree.end {
        Some((_, end)) => result::print(&id, end, options.format.json),
        None if ending.left => {
            let goes_on = if connection.is_embedded() { "it goes on when a server runs" } else { "it goes on" };
            Err(Failure::failed(format!("left job {id} before it ended")).hint(format!("{goes_on}; moonlog show {id}")))
        }
        None => Err(Failure::failed(format!("the feed of job {id} ended before the job did"))),
    }
}

/// What is to be run.
struct Target {
    what: What,
    phases: Vec<String>,
    schema: Option<Value>,
}

enum What {
    Workflow(String),
    Script { source: String, name: String },
}

impl Target {
    async fn read(client: &Client, text: &str) -> Result<Self, Failure> {
        let path = Path::new(text);
        let is_file = text == "-" || text.contains('/') || path.extension().is_some_and(|e| e == "lua" || e == "luau");
        if is_file {
            let (source, name) = (script_file::read(path)?, script_file::stem(path));
            // A script that does not compile is refused by the server, with the reasons.
            let info = moonlog_scripts::check(&name, &source).unwrap_or_default();
            let schema = info.args_schema.map(|schema| schema.to_value());
            return Ok(Self { what: What::Script { source, name }, phases: info.phases, schema });
        }
        let workflow = client.get(&format!("/v1/workflows/{}", segment(text))).await.map_err(|failure| {
            if path.is_file() { failure.hint(format!("to run the file, give its path: ./{text}")) } else { failure }
        })?;
        let phases = workflow["phases"].as_array().into_iter().flatten().filter_map(Value::as_str);
        let phases = phases.map(str::to_owned).collect();
        let schema = ["args_schema", "args"].iter().map(|name| &workflow[*name]).find(|value| value.is_object());
        Ok(Self { what: What::Workflow(text.to_owned()), phases, schema: schema.cloned() })
    }
}

async fn body(client: &Client, options: &Run, target: &Target) -> Result<Value, Failure> {
    let mut body = Map::new();
    let mut put = |name: &str, value: Option<Value>| {
        if let Some(value) = value {
            body.insert(name.to_owned(), value);
        }
    };
    match &target.what {
        What::Workflow(name) => put("workflow", Some(json!(name))),
        What::Script { source, name } => {
            put("script", Some(json!({ "source": source, "name": name })));
        }
    }
    put("args", arguments::read(options.args.as_deref(), &options.arg, target.schema.as_ref())?);
    if let Some(job) = &options.resume {
        put("resume_from", Some(json!(job_ref::resolve(client, job).await?)));
    }
    put("queue", options.queue.as_ref().map(|queue| json!(queue)));
    put("idempotency_key", options.idempotency_key.as_ref().map(|key| json!(key)));
    if let Some(text) = &options.timeout {
        let ms = duration::parse_ms(text).filter(|&ms| ms > 0);
        let wrong = || Failure::usage(format!("--timeout: `{text}` is no duration")).hint("such as 90s, 5m or 2h");
        put("timeout_ms", Some(json!(ms.ok_or_else(wrong)?)));
    }
    if !options.label.is_empty() {
        put("labels", Some(labels(&options.label)?));
    }
    Ok(Value::Object(body))
}

/// The labels that were typed.
pub fn labels(pairs: &[String]) -> Result<Value, Failure> {
    let mut labels = Map::new();
    for pair in pairs {
        let Some((key, value)) = pair.split_once('=').filter(|(key, _)| !key.is_empty()) else {
            return Err(Failure::usage(format!("--label takes KEY=VALUE, not `{pair}`")));
        };
        labels.insert(key.to_owned(), json!(value));
    }
    Ok(Value::Object(labels))
}
