//! `moonlog retry`: submits an ended job again, as a new job that takes over what it has done.

use super::{bulk, job_ref, jobs::text, script_file};
use crate::cli::{
    args::Retry,
    client::{Client, segment},
    failure::{Failure, Status},
    output,
};
use serde_json::{Map, Value};

/// Runs the command.
pub async fn run(client: &Client, options: &Retry) -> Result<Status, Failure> {
    let mut body = Map::new();
    if let Some(file) = &options.script {
        body.insert("script".into(), script_file::as_script(file)?);
    }
    let Some(job) = &options.job else {
        let mut filter = bulk::filter(&options.which)?;
        if options.exhausted {
            filter.insert("exhausted".into(), true.into());
        }
        return bulk::run(client, "/v1/jobs/retry", filter, body, options.many, "run again").await;
    };
    let id = job_ref::resolve(client, job).await?;
    let job = client.post(&format!("/v1/jobs/{}/retry", segment(&id)), &Value::Object(body)).await?;
    output::text(&text(&job["id"]))?;
    Ok(Status::Done)
}
