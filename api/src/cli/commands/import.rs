//! `moonlog import`: reads a bundle into the log.

use super::jobs::text;
use crate::bundle::{self, Bundle};
use crate::cli::{
    args::Import,
    client::Client,
    failure::{Failure, Status},
    output,
};
use reqwest::{Method, header};
use std::{io::Read, path::Path};

/// Runs the command.
pub async fn run(client: &Client, options: &Import) -> Result<Status, Failure> {
    let file = &options.file;
    let unreadable = |error: std::io::Error| Failure::file("read", file, &error);
    let bytes = if file == Path::new("-") {
        let mut bytes = Vec::new();
        std::io::stdin().read_to_end(&mut bytes).map(|_| bytes).map_err(unreadable)?
    } else {
        std::fs::read(file).map_err(unreadable)?
    };
    let mut unpacked = Vec::new();
    let read = bundle::unpacked(bytes.as_slice()).and_then(|mut input| input.read_to_end(&mut unpacked));
    read.map_err(unreadable)?;
    let bytes = unpacked;
    // Said here, where the file's name is known; the server checks again.
    Bundle::read(bytes.as_slice()).map_err(|error| Failure::failed(format!("{}: {error}", file.display())))?;
    let request = client.request(Method::POST, "/v1/import").header(header::CONTENT_TYPE, "application/x-ndjson");
    let response = client.send(request.body(bytes)).await?;
    let answer: serde_json::Value = response.json().await.map_err(|error| client.unreachable(&error))?;
    if options.format.json {
        output::json(&answer)?;
    } else {
        let id = [&answer["job"], &answer["id"]].into_iter().map(text).find(|id| !id.is_empty()).unwrap_or_default();
        output::text(&id)?;
    }
    Ok(Status::Done)
}
