//! `moonlog cancel`: asks a job to stop, or all that fit.

use super::{bulk, job_ref};
use crate::cli::{
    args::Cancel,
    client::{Client, segment},
    failure::{Failure, Status},
    output,
};
use serde_json::{Map, Value, json};

/// Runs the command.
pub async fn run(client: &Client, options: &Cancel) -> Result<Status, Failure> {
    let reason = options.reason.as_ref().map(|reason| ("reason".to_owned(), json!(reason)));
    let body: Map<String, Value> = reason.into_iter().collect();
    let Some(job) = &options.job else {
        let filter = bulk::filter(&options.which)?;
        return bulk::run(client, "/v1/jobs/cancel", filter, body, options.many, "asked to stop").await;
    };
    let id = job_ref::resolve(client, job).await?;
    client.post(&format!("/v1/jobs/{}/cancel", segment(&id)), &Value::Object(body)).await?;
    output::text(&format!("{id} is asked to stop"))?;
    Ok(Status::Done)
}
