//! `moonlog fork`: a new job that shares a job's history up to a version, and goes on from there.

use super::{job_ref, jobs::text, script_file};
use crate::cli::{
    args::Fork,
    arguments,
    client::{Client, segment},
    failure::{Failure, Status},
    output,
};
use serde_json::{Map, Value};

/// Runs the command.
pub async fn run(client: &Client, options: &Fork) -> Result<Status, Failure> {
    let id = job_ref::resolve(client, &options.job).await?;
    let mut body = Map::new();
    body.insert("at".into(), options.at.into());
    if let Some(file) = &options.script {
        body.insert("script".into(), script_file::as_script(file)?);
    }
    if let Some(args) = arguments::read(options.args.as_deref(), &[], None)? {
        body.insert("args".into(), args);
    }
    let job = client.post(&format!("/v1/jobs/{}/fork", segment(&id)), &Value::Object(body)).await?;
    output::text(&text(&job["id"]))?;
    Ok(Status::Done)
}
