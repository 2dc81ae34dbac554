//! `moonlog backup`: the whole log in one file, checked before it is called done.

use crate::cli::{
    args::Backup,
    client::Client,
    failure::{Failure, Status},
    output,
};
use flate2::bufread::GzDecoder;
use moonlog_core::log::{BackupContent, check_backup};
use reqwest::{Method, Response};
use std::{
    fs::{self, File, OpenOptions},
    io::{self, BufReader, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

/// Runs the command.
pub async fn run(client: &Client, options: &Backup) -> Result<Status, Failure> {
    let response = client.send(client.request(Method::GET, "/v1/backup")).await?;
    if options.output == Path::new("-") {
        copy(client, response, &mut io::stdout().lock()).await?;
        return Ok(Status::Done);
    }
    let path = file_of(&options.output, &response);
    let partial = beside(&path);
    let content = to_file(client, response, &partial).await;
    let done = content.and_then(|content| {
        fs::rename(&partial, &path).map_err(|error| Failure::file("write", &path, &error))?;
        Ok(content)
    });
    if done.is_err() {
        let _ = fs::remove_file(&partial);
    }
    let content = done?;
    if options.format.json {
        output::json(&serde_json::json!({ "file": path, "backup": content }))?;
    } else {
        output::text(&format!("wrote the log up to position {} to {}", content.position, path.display()))?;
    }
    Ok(Status::Done)
}

fn file_of(output: &Path, response: &Response) -> PathBuf {
    if !output.is_dir() {
        return output.to_owned();
    }
    let position = response.headers().get("moonlog-position").and_then(|value| value.to_str().ok()).unwrap_or("0");
    let position: String = position.chars().filter(char::is_ascii_digit).collect();
    output.join(format!("moonlog-{position:0>12}.backup"))
}

fn beside(path: &Path) -> PathBuf {
    let mut beside = path.as_os_str().to_owned();
    beside.push(".partial");
    beside.into()
}

async fn to_file(client: &Client, response: Response, path: &Path) -> Result<BackupContent, Failure> {
    let unwritable = |error: io::Error| Failure::file("write", path, &error);
    // All that jobs were given is in it.
    let opened = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path);
    let mut file = opened.map_err(unwritable)?;
    copy(client, response, &mut file).await?;
    file.sync_all().map_err(unwritable)?;
    let written = File::open(path).map_err(unwritable)?;
    check_backup(GzDecoder::new(BufReader::new(written)))
        .map_err(|error| Failure::failed(format!("what the server gave is no whole backup: {error}")))
}

async fn copy(client: &Client, mut response: Response, out: &mut impl Write) -> Result<(), Failure> {
    while let Some(piece) = response.chunk().await.map_err(|error| client.unreachable(&error))? {
        out.write_all(&piece)?;
    }
    out.flush()?;
    Ok(())
}
