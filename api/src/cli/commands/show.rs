//! `moonlog show`: one job, with its steps as a tree.

use super::{
    job_ref,
    jobs::{text, took, waiting},
    usage,
};
use crate::cli::{
    args::Show,
    client::{Client, segment},
    duration,
    failure::{Failure, Status},
    feed::{Feed, Query},
    output,
    paint::{Look, Paint, harmless},
    tree::JobTree,
};
use moonlog_core::time::Timestamp;
use serde_json::Value;

const TYPES: &str = "job.*,step.*,tool.*,process.started,process.backgrounded,process.exited";

/// Runs the command.
pub async fn run(client: &Client, options: &Show) -> Result<Status, Failure> {
    let id = job_ref::resolve(client, &options.job).await?;
    let job = client.get(&format!("/v1/jobs/{}", segment(&id))).await?;
    if options.format.json {
        output::json(&job)?;
        return Ok(Status::Done);
    }
    let mut tree = JobTree::new(&[]);
    let query = Query { job: Some(id), types: Some(TYPES.into()), ..Query::default() };
    let mut feed = Feed::open(client, query).await?;
    while let Some(event) = feed.next().await? {
        tree.apply(&event);
    }
    output::text(&describe(&job, &tree, duration::now()))?;
    Ok(Status::Done)
}

/// A job in words: its fields, and the tree of its steps.
pub fn describe(job: &Value, tree: &JobTree, now: Timestamp) -> String {
    let paint = Paint::for_terminal(&std::io::stdout());
    let columns = if output::is_terminal() { output::columns() } else { 10_000 };
    format!("{}\n{}", facts(job, now, paint), tree.whole(now, columns, paint).join("\n"))
}

fn facts(job: &Value, now: Timestamp, paint: Paint) -> String {
    let mut facts: Vec<(&str, String)> =
        ["id", "workflow", "state", "phase"].map(|name| (name, text(&job[name]))).into();
    let mut add = |name, text: String| {
        if !text.is_empty() && text != "{}" && text != "[]" {
            facts.push((name, text));
        }
    };
    add("args", text(&job["args"]));
    add("labels", text(&job["labels"]));
    add("parent", text(&job["parent"]));
    add("resumed from", text(&job["resumed_from"]));
    add("submitted", text(&job["submitted_at"]));
    add("took", took(job, now));
    if job["attempt"].as_u64().is_some_and(|attempt| attempt > 1) {
        add("attempt", text(&job["attempt"]));
    }
    if job["waiting"].is_object() {
        add("waiting", waiting(&job["waiting"]));
    }
    if job["error"].is_object() {
        add("error", format!("{} ({})", text(&job["error"]["message"]), text(&job["error"]["code"])));
    }
    add("used", usage::words(&job["usage"]));
    add("result", result(&job["result"]));
    facts
        .into_iter()
        .filter(|(_, text)| !text.is_empty())
        .map(|(name, text)| format!("{} {}\n", paint.put(Look::Dim, &format!("{name:<12}")), lines(&text)))
        .collect()
}

fn lines(text: &str) -> String {
    let lines: Vec<_> = text.trim_end().lines().map(|line| harmless(line).into_owned()).collect();
    lines.join(&format!("\n{}", " ".repeat(13)))
}

/// The result in a line; all of it is in `--json`.
fn result(result: &Value) -> String {
    const LONGEST: usize = 200;
    let all = match &result["markdown"] {
        Value::String(markdown) => {
            format!("Markdown, {} lines; `moonlog show --json` has it", markdown.lines().count())
        }
        _ => text(result),
    };
    if all.chars().count() <= LONGEST { all } else { all.chars().take(LONGEST).chain("…".chars()).collect() }
}
