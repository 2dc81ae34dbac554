//! `moonlog jobs`: lists jobs, newest first.

use crate::cli::{
    args::Jobs,
    client::Client,
    duration,
    failure::{Failure, Status},
    output,
    table::Table,
};
use moonlog_core::time::Timestamp;
use serde_json::{Value, json};

/// The server's largest page.
const PAGE: usize = 200;

/// Runs the command.
pub async fn run(client: &Client, options: &Jobs) -> Result<Status, Failure> {
    let (jobs, next) = fetch(client, options).await?;
    if options.format.json {
        output::json(&json!({"items": jobs, "next": next}))?;
        return Ok(Status::Done);
    }
    if jobs.is_empty() {
        output::note("no jobs");
        return Ok(Status::Done);
    }
    let now = duration::now();
    let mut table = Table::new(&["ID", "STATE", "WORKFLOW", ">STEPS", ">TIME", "SUBMITTED", "ABOUT"]);
    for job in &jobs {
        table.row([
            text(&job["id"]),
            text(&job["state"]),
            text(&job["workflow"]),
            job["steps"]["total"].to_string(),
            took(job, now),
            duration::ago(&text(&job["submitted_at"]), now),
            about(job),
        ]);
    }
    output::table(&table)?;
    if !next.is_null() {
        output::note(&format!("there are more: --limit {}", options.limit * 4));
    }
    Ok(Status::Done)
}

async fn fetch(client: &Client, options: &Jobs) -> Result<(Vec<Value>, Value), Failure> {
    let mut jobs = Vec::new();
    let mut cursor = String::new();
    loop {
        let limit = (options.limit - jobs.len()).min(PAGE).to_string();
        let value = |option: &Option<String>| option.clone().unwrap_or_default();
        let query = [
            ("state", value(&options.state)),
            ("workflow", value(&options.workflow)),
            ("label", value(&options.label)),
            ("queue", value(&options.queue)),
            ("exhausted", if options.exhausted { "true".to_owned() } else { String::new() }),
            ("parent", value(&options.parent)),
            ("since", value(&options.since)),
            ("limit", limit),
            ("cursor", cursor.clone()),
        ];
        let query: Vec<(&str, &str)> = query.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let mut page = client.get_with("/v1/jobs", &query).await?;
        if let Value::Array(items) = page["items"].take() {
            jobs.extend(items);
        }
        let next = page["next"].take();
        match next.as_str() {
            Some(next) if jobs.len() < options.limit => next.clone_into(&mut cursor),
            _ => return Ok((jobs, next)),
        }
    }
}

/// A JSON text as it is; anything else as JSON; nothing for `null`.
pub fn text(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// From start to end, or to now.
pub fn took(job: &Value, now: Timestamp) -> String {
    let time = |name: &str| job[name].as_str().and_then(|text| text.parse::<Timestamp>().ok());
    match (time("started_at"), time("ended_at")) {
        (Some(start), end) => duration::between(start, end.unwrap_or(now)),
        _ => String::new(),
    }
}

/// What is worth knowing about it: why it failed, what it waits for, where it is.
fn about(job: &Value) -> String {
    let line = |text: &Value| text.as_str().unwrap_or_default().lines().next().unwrap_or_default().to_owned();
    if job["error"].is_object() {
        return line(&job["error"]["message"]);
    }
    if job["waiting"].is_object() {
        return waiting(&job["waiting"]);
    }
    line(&job["phase"])
}

/// What a job waits for, in words.
pub fn waiting(waiting: &Value) -> String {
    if let (Some("capacity"), Some(title)) = (waiting["for"].as_str(), waiting["title"].as_str()) {
        return format!("waits: {title}");
    }
    let name = ["title", "name", "until"].iter().map(|field| text(&waiting[*field])).find(|text| !text.is_empty());
    format!("waits for {} {}", text(&waiting["for"]), name.unwrap_or_default()).trim_end().to_owned()
}
