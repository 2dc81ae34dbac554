//! `moonlog kill`: sends a signal to a process's group.

use super::process_ref;
use crate::cli::{
    args::Kill,
    client::{Client, segment},
    failure::{Failure, Status},
    output,
};
use serde_json::json;

/// Runs the command.
pub async fn run(client: &Client, options: &Kill) -> Result<Status, Failure> {
    let id = process_ref::resolve(client, &options.process).await?;
    let signal = options.signal.name();
    client.post(&format!("/v1/processes/{}/signal", segment(&id)), &json!({ "signal": signal })).await?;
    output::text(&format!("{id} was sent {signal}"))?;
    Ok(Status::Done)
}
