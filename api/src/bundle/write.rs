//! Writing a job of a log as a bundle.

use super::{Counts, FORMAT, Header, Line};
use moonlog_core::{event::StreamId, log::Log, projection::JobState};
use serde_json::value::RawValue;
use std::{
    collections::HashSet,
    io::{self, Write},
};

/// Larger data is written apart from its event, in bytes.
const INLINE_MAX_BYTES: u64 = 1 << 20;
/// How many events one read takes.
const READ_EVENTS: usize = 256;

/// Writes a job of `log`.
///
/// # Errors
/// Where it cannot be read, or not be written.
pub fn write_job(log: &Log, job: &JobState, out: &mut impl Write) -> io::Result<Counts> {
    let hash = job.submitted.script_hash;
    let header = Header {
        moonlog_bundle: FORMAT,
        job: job.id.to_string(),
        workflow: job.submitted.workflow.clone(),
        script_hash: hash,
        moonlog: env!("CARGO_PKG_VERSION").to_owned(),
    };
    writeln!(out, "{}", serde_json::to_string(&header)?)?;
    let blob = |hash| {
        let bytes = log.blob(&hash).map_err(io::Error::other)?;
        bytes.ok_or_else(|| io::Error::other(format!("blob {hash} is not in the log")))
    };
    let script = String::from_utf8(blob(hash)?).map_err(io::Error::other)?;
    put(out, &Line::Script { script, hash })?;
    let (stream, mut after) = (StreamId::Job(job.id), 0);
    let (mut counts, mut written) = (Counts::default(), HashSet::new());
    loop {
        let events = log.read_stream(&stream, after, READ_EVENTS).map_err(io::Error::other)?;
        let Some(last) = events.last() else { break };
        after = last.version;
        for event in events {
            if let Some((hash, bytes)) = event.blob
                && bytes > INLINE_MAX_BYTES
                && written.insert(hash)
            {
                put(out, &Line::blob(&blob(hash)?))?;
                counts.blobs += 1;
            }
            put(out, &Line::Event { event: RawValue::from_string(event.to_json(INLINE_MAX_BYTES))? })?;
            counts.events += 1;
        }
    }
    put(out, &Line::End { end: counts })?;
    Ok(counts)
}

fn put(out: &mut impl Write, line: &Line) -> io::Result<()> {
    writeln!(out, "{}", line.to_text().map_err(io::Error::other)?)
}
