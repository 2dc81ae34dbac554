//! A job as one file that replays elsewhere.
//!
//! The file is NDJSON, each line an object. The first says what it is; then come the script, blobs and events, a blob
//! before the event that names it; the last counts them, so that a file that was cut is noticed:
//!
//! ```text
//! {"moonlog_bundle":1,"job":"019ab0c2-...","workflow":"repo-report","script_hash":"...","moonlog":"0.1.0"}
//! {"script":"return { ... }","hash":"..."}
//! {"blob":"<base64>","hash":"..."}
//! {"event":{ the envelope of spec/events.md }}
//! {"end":{"events":42,"blobs":1}}
//! ```
//!
//! Commands read it compressed by gzip too.

mod compressed;
mod write;

pub use compressed::unpacked;
pub use write::write_job;

use crate::envelope::Envelope;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use moonlog_core::{event::Event, id::Hash};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use std::{collections::HashMap, io::BufRead};

/// The format that is written, and the newest that is read.
pub const FORMAT: u32 = 1;

/// The first line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    /// The format's version.
    pub moonlog_bundle: u32,
    /// The job.
    pub job: String,
    /// What it ran.
    #[serde(default)]
    pub workflow: String,
    /// The hash of its script.
    pub script_hash: Hash,
    /// The version that wrote it.
    #[serde(default)]
    pub moonlog: String,
}

/// The lines behind the first.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub enum Line {
    /// The script's source.
    Script {
        /// The source.
        script: String,
        /// Its hash.
        hash: Hash,
    },
    /// Bytes that are stored apart.
    Blob {
        /// In base64.
        blob: String,
        /// Their hash.
        hash: Hash,
    },
    /// An event's envelope.
    Event {
        /// As feeds show it.
        event: Box<RawValue>,
    },
    /// The last line.
    End {
        /// What came before it.
        end: Counts,
    },
}

/// A line as it is read. (An untagged enum would lose the event's text, which is kept as it was written.)
#[derive(Deserialize)]
struct LineFields {
    script: Option<String>,
    blob: Option<String>,
    hash: Option<Hash>,
    event: Option<Box<RawValue>>,
    end: Option<Counts>,
}

/// How many lines of a kind there are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Events.
    pub events: u64,
    /// Blobs.
    pub blobs: u64,
}

/// A bundle that was read and checked.
#[derive(Debug)]
pub struct Bundle {
    /// The first line.
    pub header: Header,
    /// The script's source.
    pub script: String,
    /// The job's events.
    pub events: Vec<Event>,
}

impl Line {
    /// The line of a blob.
    pub fn blob(bytes: &[u8]) -> Self {
        Self::Blob { blob: STANDARD.encode(bytes), hash: Hash::of(bytes) }
    }

    fn parse(text: &str) -> Result<Self, String> {
        let no_line = |why: &str| format!("this is no line of a bundle: {why}");
        let fields: LineFields = serde_json::from_str(text).map_err(|error| no_line(&error.to_string()))?;
        match fields {
            LineFields { event: Some(event), .. } => Ok(Self::Event { event }),
            LineFields { blob: Some(blob), hash: Some(hash), .. } => Ok(Self::Blob { blob, hash }),
            LineFields { script: Some(script), hash: Some(hash), .. } => Ok(Self::Script { script, hash }),
            LineFields { end: Some(end), .. } => Ok(Self::End { end }),
            _ => Err(no_line("it has none of the known fields")),
        }
    }

    /// The line as text, without its end.
    pub fn to_text(&self) -> Result<String, String> {
        serde_json::to_string(self).map_err(|error| error.to_string())
    }
}

impl Bundle {
    /// Reads a bundle.
    ///
    /// # Errors
    /// What is wrong with it, and on which line.
    pub fn read(input: impl BufRead) -> Result<Self, String> {
        let mut lines = input.lines();
        let first = lines.next().transpose().map_err(|error| error.to_string())?.unwrap_or_default();
        let header = read_header(&first)?;
        let mut script = None;
        let mut blobs: HashMap<Hash, Vec<u8>> = HashMap::new();
        let mut events = Vec::new();
        let mut counts = Counts::default();
        for (number, text) in lines.enumerate() {
            let at = |error: String| format!("line {}: {error}", number + 2);
            let text = text.map_err(|error| at(error.to_string()))?;
            match Line::parse(&text).map_err(at)? {
                Line::Script { script: source, hash } => {
                    check(source.as_bytes(), hash).map_err(at)?;
                    if hash != header.script_hash {
                        return Err(at("this is not the script that the first line names".into()));
                    }
                    script = Some(source);
                }
                Line::Blob { blob, hash } => {
                    let bytes = STANDARD.decode(blob).map_err(|error| at(error.to_string()))?;
                    check(&bytes, hash).map_err(at)?;
                    blobs.insert(hash, bytes);
                    counts.blobs += 1;
                }
                Line::Event { event } => {
                    events.push(read_event(event.get(), &blobs).map_err(at)?);
                    counts.events += 1;
                }
                Line::End { end } if end == counts => {
                    let script = script.ok_or("it holds no script")?;
                    return Ok(Self { header, script, events });
                }
                Line::End { .. } => return Err(at("lines are missing before it".into())),
            }
        }
        Err("it ends in the middle: the file was cut".into())
    }
}

fn read_header(text: &str) -> Result<Header, String> {
    #[derive(Deserialize)]
    struct Version {
        moonlog_bundle: u32,
    }
    let no_bundle = |_| "it is no bundle that `moonlog export` wrote".to_owned();
    let version: Version = serde_json::from_str(text).map_err(no_bundle)?;
    if version.moonlog_bundle > FORMAT {
        let newest = format!("version {FORMAT} is the newest that this moonlog reads");
        return Err(format!("it has format version {}; {newest}", version.moonlog_bundle));
    }
    serde_json::from_str(text).map_err(|error| format!("line 1: {error}"))
}

fn check(bytes: &[u8], hash: Hash) -> Result<(), String> {
    if Hash::of(bytes) == hash { Ok(()) } else { Err(format!("the content is not what its hash {hash} says")) }
}

fn read_event(text: &str, blobs: &HashMap<Hash, Vec<u8>>) -> Result<Event, String> {
    let envelope = Envelope::parse(text)?;
    let data = match envelope.blob() {
        None => None,
        Some(blob) => {
            let bytes = blobs.get(&blob.blob).ok_or_else(|| format!("blob {} is not in the bundle", blob.blob))?;
            Some(std::str::from_utf8(bytes).map_err(|error| error.to_string())?)
        }
    };
    envelope.into_event(data)
}

#[cfg(test)]
mod tests {
    use super::*;

    const JOB: &str = "019ab0c2-7d1e-7cc1-9d53-0a3d6b6f2f11";
    const SCRIPT: &str = "return 1";

    fn lines() -> Vec<String> {
        let big = br#"{"level":"info","message":"big"}"#;
        let envelope = |position: u64, data: &str| {
            let text = format!(
                r#"{{"position":{position},"stream":"job/{JOB}","version":{position},"time":"2026-11-21T07:32:31Z","type":"job.logged","job":"{JOB}","data":{data}}}"#
            );
            Line::Event { event: RawValue::from_string(text).unwrap() }
        };
        let header = Header {
            moonlog_bundle: 1,
            job: JOB.into(),
            workflow: "w".into(),
            script_hash: Hash::of(SCRIPT.as_bytes()),
            moonlog: "0".into(),
        };
        let body = [
            Line::Script { script: SCRIPT.into(), hash: Hash::of(SCRIPT.as_bytes()) },
            envelope(1, r#"{"level":"info","message":"small"}"#),
            Line::blob(big),
            envelope(2, &format!(r#"{{"blob":"{}","bytes":32}}"#, Hash::of(big))),
            Line::End { end: Counts { events: 2, blobs: 1 } },
        ];
        std::iter::once(serde_json::to_string(&header).unwrap())
            .chain(body.iter().map(|line| line.to_text().unwrap()))
            .collect()
    }

    fn read(lines: &[String]) -> Result<Bundle, String> {
        Bundle::read(lines.join("\n").as_bytes())
    }

    #[test]
    fn what_is_written_is_read() {
        let bundle = read(&lines()).unwrap();
        assert_eq!((bundle.script.as_str(), bundle.events.len(), bundle.header.job.as_str()), (SCRIPT, 2, JOB));
        assert!(bundle.events[1].to_json(1 << 20).contains("\"big\""));
    }

    #[test]
    fn damage_is_named_by_line() {
        type Damage = fn(&mut Vec<String>);
        let damage: [(&str, Damage); 7] = [
            ("the file was cut", |lines| lines.truncate(3)),
            ("lines are missing", |lines| drop(lines.remove(2))),
            ("is not in the bundle", |lines| drop(lines.remove(3))),
            ("line 2: the content is not what its hash", |lines| lines[1] = lines[1].replace("return 1", "return 2")),
            ("line 3: this is no line of a bundle", |lines| lines[2] = "{\"x\":1}".into()),
            ("no bundle that `moonlog export` wrote", |lines| lines[0] = "hello".into()),
            ("format version 9", |lines| lines[0] = r#"{"moonlog_bundle":9}"#.into()),
        ];
        for (message, damage) in damage {
            let mut lines = lines();
            damage(&mut lines);
            let error = read(&lines).unwrap_err();
            assert!(error.contains(message), "wanted `{message}`, got `{error}`");
        }
    }
}
