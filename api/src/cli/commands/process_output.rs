//! `moonlog output`: what a process has written.

use super::{process_ref, ps};
use crate::cli::{
    args::Output,
    client::{Client, segment},
    failure::{Failure, Status},
    output,
};

/// Runs the command.
pub async fn run(client: &Client, options: &Output) -> Result<Status, Failure> {
    let id = process_ref::resolve(client, &options.process).await?;
    let path = format!("/v1/processes/{}/output", segment(&id));
    let wait = if options.wait { "true" } else { "" };
    let shown = loop {
        let shown = client.get_with(&path, &[("wait", wait)]).await?;
        // The server waits for five minutes at most.
        if !options.wait || shown["running"] == false {
            break shown;
        }
    };
    if options.format.json {
        output::json(&shown)?;
        return Ok(Status::Done);
    }
    let text = shown["output"].as_str().unwrap_or_default();
    if !text.is_empty() {
        output::text(text)?;
    }
    output::note(&format!("{id}: {}", ps::state(&shown)));
    Ok(Status::Done)
}
