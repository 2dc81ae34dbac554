//! `moonlog compact`: ended jobs that are kept no longer leave the log, and the disk gets its room back.

use crate::cli::{
    args::Compact,
    client::Client,
    duration,
    failure::{Failure, Status},
    output,
};
use serde_json::{Map, Value, json};

/// Runs the command.
pub async fn run(client: &Client, options: &Compact) -> Result<Status, Failure> {
    let mut body = Map::new();
    if let Some(text) = &options.older_than {
        let ms = duration::parse_ms(text).ok_or_else(|| {
            Failure::usage(format!("`{text}` is no duration")).hint("such as --older-than 30d, 12h or 90s")
        })?;
        body.insert("max_age_ms".into(), json!(ms));
    }
    body.extend(options.keep.map(|jobs| ("max_ended_jobs".to_owned(), json!(jobs))));
    body.extend(options.max_bytes.map(|bytes| ("max_bytes".to_owned(), json!(bytes))));
    if options.dry_run {
        body.insert("dry_run".into(), json!(true));
    }
    let done = client.post("/v1/compact", &Value::Object(body)).await?;
    if options.format.json {
        output::json(&done)?;
        return Ok(Status::Done);
    }
    let number = |name: &str| done[name].as_u64().unwrap_or_default();
    if options.dry_run {
        output::text(&format!("{} ended jobs would be deleted", number("deleted")))?;
        return Ok(Status::Done);
    }
    let exported =
        if number("exported") > 0 { format!(", {} of them exported", number("exported")) } else { String::new() };
    let (before, after) = (number("disk_bytes_before"), number("disk_bytes_after"));
    output::text(&format!(
        "{} ended jobs deleted{exported}; the store has {after} bytes, and had {before}",
        number("deleted")
    ))?;
    for refused in done["refusals"].as_array().into_iter().flatten() {
        output::note(&format!("kept: {}", refused["error"]["message"].as_str().unwrap_or_default()));
    }
    Ok(Status::Done)
}
