//! `moonlog schedule`: sets a schedule.

use super::{jobs::text, schedules::next};
use crate::cli::{
    args::Schedule,
    arguments,
    client::{Client, segment},
    duration,
    failure::{Failure, Status},
    output,
};
use reqwest::Method;
use serde_json::{Value, json};

/// Runs the command.
pub async fn run(client: &Client, options: &Schedule) -> Result<Status, Failure> {
    let workflow = client.get(&format!("/v1/workflows/{}", segment(&options.workflow))).await?;
    let schema = Some(&workflow["args_schema"]).filter(|schema| schema.is_object());
    let args = arguments::read(options.args.as_deref(), &options.arg, schema)?;
    let mut body = json!({
        "cron": options.cron,
        "workflow": options.workflow,
        "time_zone": options.time_zone,
        "overlap": options.overlap,
        "catch_up": options.catch_up,
        "paused": options.paused,
        "args": args,
        "queue": options.queue,
    });
    if let Some(jitter) = &options.jitter {
        let ms = duration::parse_ms(jitter)
            .ok_or_else(|| Failure::usage(format!("--jitter takes a duration such as 30s, not `{jitter}`")))?;
        body["jitter_ms"] = ms.into();
    }
    let request = client.request(Method::PUT, &format!("/v1/schedules/{}", segment(&options.name))).json(&body);
    let set: Value = client.read(request).await?;
    if options.format.json {
        output::json(&set)?;
    } else {
        output::text(&format!("{} is set; next: {}", text(&set["name"]), next(&set)))?;
    }
    Ok(Status::Done)
}
