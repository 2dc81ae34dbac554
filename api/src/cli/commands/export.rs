//! `moonlog export`: a job as a bundle.

use super::{job_ref, jobs::text};
use crate::{
    bundle::{Counts, FORMAT, Header, Line},
    cli::{
        args::Export,
        client::{Client, segment},
        failure::{Failure, Status},
        feed::{Feed, Query},
        output,
    },
    envelope::Envelope,
};
use moonlog_core::id::Hash;
use serde_json::value::RawValue;
use std::{
    collections::HashSet,
    fs::File,
    io::{self, BufWriter, Write},
    path::Path,
};

/// Runs the command.
pub async fn run(client: &Client, options: &Export) -> Result<Status, Failure> {
    let id = job_ref::resolve(client, &options.job).await?;
    match &options.output {
        None => {
            write(client, &id, &mut BufWriter::new(io::stdout())).await?;
        }
        Some(path) => {
            let events = to_file(client, &id, path).await?;
            output::note(&format!("wrote {events} events of job {id} to {}", path.display()));
        }
    }
    Ok(Status::Done)
}

/// Writes beside the file first, so that a bundle is there in whole or not at all. A device or a pipe is written to as it
/// is: a file in its place would be the end of it. A link stays one.
async fn to_file(client: &Client, id: &str, path: &Path) -> Result<u64, Failure> {
    let unwritable = |error: io::Error| Failure::file("write", path, &error);
    let path = &path.canonicalize().unwrap_or_else(|_| path.to_owned());
    if path.metadata().is_ok_and(|there| !there.is_file()) {
        let out = File::options().write(true).open(path).map_err(unwritable)?;
        return write(client, id, &mut BufWriter::new(out)).await;
    }
    let mut beside = path.as_os_str().to_owned();
    beside.push(".partial");
    let beside = Path::new(&beside);
    let mut out = BufWriter::new(File::create(beside).map_err(unwritable)?);
    let written = write(client, id, &mut out).await;
    let finished = match &written {
        Ok(_) => out.flush().and_then(|()| std::fs::rename(beside, path)).map_err(unwritable),
        Err(_) => Ok(()),
    };
    if written.is_err() || finished.is_err() {
        let _ = std::fs::remove_file(beside);
    }
    finished.and(written)
}

async fn write(client: &Client, id: &str, out: &mut impl Write) -> Result<u64, Failure> {
    let job = client.get(&format!("/v1/jobs/{}", segment(id))).await?;
    let script_hash = text(&job["script_hash"]);
    let unreadable = || Failure::failed(format!("the server names the script by `{script_hash}`, which is no hash"));
    let header = Header {
        moonlog_bundle: FORMAT,
        job: id.to_owned(),
        workflow: text(&job["workflow"]),
        script_hash: script_hash.parse::<Hash>().map_err(|_| unreadable())?,
        moonlog: env!("CARGO_PKG_VERSION").to_owned(),
    };
    writeln!(out, "{}", serde_json::to_string(&header).map_err(|error| Failure::failed(error.to_string()))?)?;
    let script = String::from_utf8_lossy(&client.blob(&script_hash).await?).into_owned();
    put(out, &Line::Script { script, hash: header.script_hash })?;
    let mut counts = Counts::default();
    let mut written = HashSet::new();
    let mut feed = Feed::open(client, Query { job: Some(id.to_owned()), ..Query::default() }).await?;
    while let Some(line) = feed.next_line().await? {
        let unreadable = |error| Failure::failed(format!("cannot read the server's feed: {error}"));
        if let Some(blob) = Envelope::parse(&line).map_err(unreadable)?.blob()
            && written.insert(blob.blob)
        {
            put(out, &Line::blob(&client.blob(&blob.blob.to_string()).await?))?;
            counts.blobs += 1;
        }
        let event = RawValue::from_string(line).map_err(|error| unreadable(error.to_string()))?;
        put(out, &Line::Event { event })?;
        counts.events += 1;
    }
    put(out, &Line::End { end: counts })?;
    out.flush()?;
    Ok(counts.events)
}

fn put(out: &mut impl Write, line: &Line) -> Result<(), Failure> {
    let text = line.to_text().map_err(|error| Failure::failed(format!("cannot write the bundle: {error}")))?;
    writeln!(out, "{text}")?;
    Ok(())
}
