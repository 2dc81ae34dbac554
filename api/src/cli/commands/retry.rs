//! `moonlog retry`: submits an ended job again, as a new job.

use super::{job_ref, jobs::text};
use crate::cli::{
    args::Retry,
    client::{Client, segment},
    failure::{Failure, Status},
    output,
};
use serde_json::json;

/// Runs the command.
pub async fn run(client: &Client, options: &Retry) -> Result<Status, Failure> {
    let id = job_ref::resolve(client, &options.job).await?;
    let job = client.post(&format!("/v1/jobs/{}/retry", segment(&id)), &json!({})).await?;
    output::text(&text(&job["id"]))?;
    Ok(Status::Done)
}
