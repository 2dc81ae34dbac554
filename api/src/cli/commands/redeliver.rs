//! `moonlog redeliver`: delivers events to a webhook once more.

use super::jobs::text;
use crate::cli::{
    args::Redeliver,
    client::{Client, segment},
    failure::{Failure, Status},
    output,
};
use serde_json::json;

/// Runs the command.
pub async fn run(client: &Client, options: &Redeliver) -> Result<Status, Failure> {
    let body = match options.event {
        Some(event) => json!({ "event": event }),
        None => json!({ "failed": true }),
    };
    let answer = client.post(&format!("/v1/webhooks/{}/redeliver", segment(&options.webhook)), &body).await?;
    output::text(&format!("{} to be delivered again", text(&answer["redelivering"])))?;
    Ok(Status::Done)
}
