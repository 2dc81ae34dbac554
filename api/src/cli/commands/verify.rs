//! `moonlog verify`: walks the log's chain, by the running server or, where there is none, on the closed data folder,
//! so that a log that does not open can be looked at too.

use crate::{
    cli::{
        args::Verify,
        assemble,
        client::Client,
        connect::{self, Found},
        context::Context,
        failure::{Failure, Status},
        output,
    },
    config::Config,
};
use moonlog_core::{
    log,
    storage::{SledOptions, open_sled},
};
use serde_json::{Value, json};

/// Runs the command.
pub async fn run(context: &Context, options: &Verify) -> Result<Status, Failure> {
    let report = match connect::find(context).await? {
        Found::Server(client) => by_server(&client).await?,
        Found::Nothing => offline(&context.loaded.config)?,
    };
    tell(&report, options)
}

async fn by_server(client: &Client) -> Result<Value, Failure> {
    client.get("/v1/verify").await
}

fn offline(config: &Config) -> Result<Value, Failure> {
    let folder = &config.log.folder;
    if !folder.is_dir() {
        return Err(
            Failure::usage(format!("there is no data folder {}", folder.display())).hint("--data DIR names another")
        );
    }
    let options = SledOptions { cache_bytes: config.log.cache_bytes, reserve_bytes: config.log.reserve_bytes };
    let storage = open_sled(folder, options).map_err(|error| assemble::not_stored(config, error))?;
    let report = log::verify(&*storage)
        .map_err(|error| Failure::failed(format!("the log in {} cannot be read: {error}", folder.display())))?;
    Ok(json!({
        "ok": report.is_sound(), "head": report.head, "events": report.events, "removed": report.removed,
        "frames": report.frames, "streams": report.streams, "blobs": report.blobs, "chain": report.chain,
        "damage": report.damage,
    }))
}

fn tell(report: &Value, options: &Verify) -> Result<Status, Failure> {
    let damage = report["damage"].as_array().map_or(&[][..], Vec::as_slice);
    let sound = damage.is_empty() && report["ok"] != false;
    if options.format.json {
        output::json(report)?;
        return if sound { Ok(Status::Done) } else { Err(Failure::silent(Status::Failed)) };
    }
    let number = |name: &str| report[name].as_u64().unwrap_or(0);
    if sound {
        output::text(&format!(
            "the log is sound: {} events in {} streams, {} record batches, {} blobs; head {}, chain {}",
            number("events"),
            number("streams"),
            number("frames"),
            number("blobs"),
            number("head"),
            report["chain"].as_str().unwrap_or_default(),
        ))?;
        return Ok(Status::Done);
    }
    let places = damage.iter().map(|damage| {
        let place = damage["place"].as_str().map(|place| format!(" ({place})")).unwrap_or_default();
        format!("at position {}{place}: {}", damage["position"], damage["what"].as_str().unwrap_or("damaged"))
    });
    Err(Failure::failed(format!("the log is damaged; {} events before and around it can be read", number("events")))
        .details(places.collect::<Vec<_>>())
        .hint("restore the data folder from a copy; the events before the first damaged position are whole"))
}
