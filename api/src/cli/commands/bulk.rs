//! What `cancel` and `retry` have in common where they are for many jobs.

use super::{jobs::text, run::labels};
use crate::cli::{
    args::{Many, Which},
    client::Client,
    failure::{Failure, Status},
    output,
};
use serde_json::{Map, Value, json};

/// How many refusals are shown.
const SHOWN: usize = 20;

/// The filter that was typed.
pub fn filter(which: &Which) -> Result<Map<String, Value>, Failure> {
    let mut filter = Map::new();
    if !which.label.is_empty() {
        filter.insert("labels".into(), labels(&which.label)?);
    }
    for (name, value) in [("state", &which.state), ("workflow", &which.workflow), ("queue", &which.queue)] {
        if let Some(value) = value {
            filter.insert(name.into(), json!(value));
        }
    }
    Ok(filter)
}

/// Does it, and says what came of it. `done` is the word for that.
pub async fn run(
    client: &Client,
    path: &str,
    filter: Map<String, Value>,
    mut body: Map<String, Value>,
    many: Many,
    done: &str,
) -> Result<Status, Failure> {
    if filter.is_empty() {
        let failure = Failure::usage("which jobs are meant is not said");
        return Err(failure.hint("a job's id, or all that fit --label, --state, --workflow or --queue"));
    }
    body.insert("filter".into(), filter.into());
    if let Some(limit) = many.limit {
        body.insert("limit".into(), json!(limit));
    }
    if many.dry_run {
        body.insert("dry_run".into(), json!(true));
    }
    let report = client.post(path, &Value::Object(body)).await?;
    let failed = report["failed"].as_array().map(Vec::as_slice).unwrap_or_default();
    let status = if failed.is_empty() { Status::Done } else { Status::Failed };
    if many.format.json {
        output::json(&report)?;
        return Ok(status);
    }
    let created = report["created"].as_array().filter(|created| !created.is_empty());
    let ids = if many.dry_run { report["jobs"].as_array() } else { created };
    for id in ids.into_iter().flatten() {
        output::text(&text(id))?;
    }
    let (matched, all) = (text(&report["matched"]), if report["more"] == true { ", and there are more" } else { "" });
    let rest = if many.dry_run { String::new() } else { format!(", {} {done}", text(&report["done"])) };
    output::note(&format!("{matched} jobs fit{rest}{all}"));
    for failure in failed.iter().take(SHOWN) {
        output::note(&format!("{}: {}", text(&failure["id"]), text(&failure["message"])));
    }
    Ok(status)
}
