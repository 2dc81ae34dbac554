//! `moonlog webhooks`: lists webhooks with what they are owed, and shows one.

use super::jobs::text;
use crate::cli::{
    args::Webhooks,
    client::{Client, segment},
    duration,
    failure::{Failure, Status},
    output,
    table::Table,
};
use serde_json::Value;

/// Runs the command.
pub async fn run(client: &Client, options: &Webhooks) -> Result<Status, Failure> {
    if let Some(name) = &options.name {
        output::json(&client.get(&format!("/v1/webhooks/{}", segment(name))).await?)?;
        return Ok(Status::Done);
    }
    let answer = client.get_with("/v1/webhooks", &[("limit", "200")]).await?;
    if options.format.json {
        output::json(&answer)?;
        return Ok(Status::Done);
    }
    let items = answer["items"].as_array().map(Vec::as_slice).unwrap_or_default();
    if items.is_empty() {
        output::note("no webhooks: [webhooks.NAME] in moonlog.toml adds one");
        return Ok(Status::Done);
    }
    let now = duration::now();
    let mut table = Table::new(&["NAME", "URL", ">PENDING", ">DELIVERED", ">FAILED", "LAST", "ABOUT"]);
    for item in items {
        table.row([
            text(&item["name"]),
            text(&item["url"]),
            text(&item["pending"]),
            text(&item["delivered"]),
            text(&item["failed"]),
            item["delivered_at"].as_str().map(|at| duration::ago(at, now)).unwrap_or_default(),
            about(item),
        ]);
    }
    output::table(&table)?;
    Ok(Status::Done)
}

fn about(item: &Value) -> String {
    if item["configured"] == false {
        return "not in the configuration any more".into();
    }
    text(&item["last_error"]["message"])
}
