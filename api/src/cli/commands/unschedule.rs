//! `moonlog unschedule`: removes a schedule.

use crate::cli::{
    args::Unschedule,
    client::{Client, segment},
    failure::{Failure, Status},
    output,
};
use reqwest::Method;

/// Runs the command.
pub async fn run(client: &Client, options: &Unschedule) -> Result<Status, Failure> {
    let path = format!("/v1/schedules/{}", segment(&options.name));
    client.send(client.request(Method::DELETE, &path)).await?;
    output::text(&format!("{} is removed", options.name))?;
    Ok(Status::Done)
}
