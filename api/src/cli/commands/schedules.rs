//! `moonlog schedules`: lists schedules, and shows one.

use super::jobs::text;
use crate::cli::{
    args::Schedules,
    client::{Client, segment},
    duration,
    failure::{Failure, Status},
    output,
    table::Table,
};
use serde_json::Value;

/// Runs the command.
pub async fn run(client: &Client, options: &Schedules) -> Result<Status, Failure> {
    if let Some(name) = &options.name {
        let schedule = client.get(&format!("/v1/schedules/{}", segment(name))).await?;
        output::json(&schedule)?;
        return Ok(Status::Done);
    }
    let answer = client.get_with("/v1/schedules", &[("limit", "200")]).await?;
    if options.format.json {
        output::json(&answer)?;
        return Ok(Status::Done);
    }
    let items = answer["items"].as_array().map(Vec::as_slice).unwrap_or_default();
    if items.is_empty() {
        output::note("no schedules");
        return Ok(Status::Done);
    }
    let now = duration::now();
    let mut table = Table::new(&["NAME", "CRON", "ZONE", "WORKFLOW", "NEXT", "LAST", ">FIRED", ">SKIPPED"]);
    for item in items {
        table.row([
            text(&item["name"]),
            text(&item["cron"]),
            text(&item["time_zone"]),
            text(&item["workflow"]),
            next(item),
            item["last_due"].as_str().map(|due| duration::ago(due, now)).unwrap_or_default(),
            text(&item["fired"]),
            text(&item["skipped"]),
        ]);
    }
    output::table(&table)?;
    Ok(Status::Done)
}

/// When it comes next, or that it does not.
pub fn next(schedule: &Value) -> String {
    match schedule["next"][0].as_str() {
        Some(next) => next.split('.').next().unwrap_or_default().to_owned() + "Z",
        None if schedule["paused"] == true => "paused".into(),
        None => "never".into(),
    }
}
