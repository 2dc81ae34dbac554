//! `moonlog cancel`: asks a job to stop.

use super::job_ref;
use crate::cli::{
    args::Cancel,
    client::{Client, segment},
    failure::{Failure, Status},
    output,
};
use serde_json::json;

/// Runs the command.
pub async fn run(client: &Client, options: &Cancel) -> Result<Status, Failure> {
    let id = job_ref::resolve(client, &options.job).await?;
    let body = options.reason.as_ref().map_or_else(|| json!({}), |reason| json!({"reason": reason}));
    client.post(&format!("/v1/jobs/{}/cancel", segment(&id)), &body).await?;
    output::text(&format!("{id} is asked to stop"))?;
    Ok(Status::Done)
}
