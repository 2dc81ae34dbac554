//! `moonlog delete`: ended jobs leave the log.

use super::job_ref;
use crate::cli::{
    args::Delete,
    client::{Client, segment},
    failure::{Failure, Status},
    output,
};
use reqwest::Method;

/// Runs the command.
pub async fn run(client: &Client, options: &Delete) -> Result<Status, Failure> {
    for job in &options.jobs {
        let id = job_ref::resolve(client, job).await?;
        client.send(client.request(Method::DELETE, &format!("/v1/jobs/{}", segment(&id)))).await?;
        output::text(&format!("{id} is deleted"))?;
    }
    Ok(Status::Done)
}
