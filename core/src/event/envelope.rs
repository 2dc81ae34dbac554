//! The envelope that every event has.

use super::{EventBody, StreamId};
use crate::{
    id::{Hash, JobId, ProcessId, SessionId},
    time::Timestamp,
};
use serde::{
    Deserialize, Serialize,
    ser::{SerializeStruct, Serializer},
};
use std::sync::Arc;

/// An event that is still to be appended: what happened, and what it refers to. Stream, position, version and time
/// come with the append.
#[derive(Debug, Clone, PartialEq)]
pub struct NewEvent {
    /// What happened.
    pub body: EventBody,
    /// The job it belongs to. Filled in from a job's stream.
    pub job: Option<JobId>,
    /// The session it belongs to.
    pub session: Option<SessionId>,
    /// The process it belongs to.
    pub process: Option<ProcessId>,
    /// The call path of the step it belongs to.
    pub step: Option<Arc<str>>,
    /// The event that led to it.
    pub cause: Option<Cause>,
    /// Where it stood and when it happened, if it was imported.
    pub origin: Option<Origin>,
}

/// What led to an event that has no place in the log yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// The event at this position.
    At(u64),
    /// The event that stands so many before it in the same append.
    Before(u32),
}

impl Cause {
    /// Its position, for an event that stands at `position`.
    pub const fn position(self, position: u64) -> u64 {
        match self {
            Self::At(cause) => cause,
            Self::Before(events) => position.saturating_sub(events as u64),
        }
    }
}

/// Where an imported event stood in the log that it was exported from, and when it happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Origin {
    /// Its position there.
    pub position: u64,
    /// Its time there.
    pub time: Timestamp,
}

impl NewEvent {
    /// An event with no references.
    pub const fn new(body: EventBody) -> Self {
        Self { body, job: None, session: None, process: None, step: None, cause: None, origin: None }
    }

    /// The same, about a process.
    #[must_use]
    pub const fn process(mut self, process: ProcessId) -> Self {
        self.process = Some(process);
        self
    }

    /// The same, about a job, where it stands in another stream than the job's.
    #[must_use]
    pub const fn job(mut self, job: JobId) -> Self {
        self.job = Some(job);
        self
    }

    /// The same, in a session, where it is in one.
    #[must_use]
    pub const fn session(mut self, session: Option<SessionId>) -> Self {
        self.session = session;
        self
    }

    /// The same, about a step.
    #[must_use]
    pub fn step(mut self, step: Option<Arc<str>>) -> Self {
        self.step = step;
        self
    }

    /// The same, with what led to it.
    #[must_use]
    pub const fn cause(mut self, position: u64) -> Self {
        self.cause = Some(Cause::At(position));
        self
    }

    /// The same, with what led to it so many events before it in the same append.
    #[must_use]
    pub const fn cause_before(mut self, events: u32) -> Self {
        self.cause = Some(Cause::Before(events));
        self
    }
}

impl From<EventBody> for NewEvent {
    fn from(body: EventBody) -> Self {
        Self::new(body)
    }
}

/// An event of the log.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    /// 1-based, gapless over the whole log.
    pub position: u64,
    /// The stream it stands in.
    pub stream: StreamId,
    /// 1-based, gapless in its stream.
    pub version: u64,
    /// When it was appended; never goes backwards along positions.
    pub time: Timestamp,
    /// The job it belongs to.
    pub job: Option<JobId>,
    /// The session it belongs to.
    pub session: Option<SessionId>,
    /// The process it belongs to.
    pub process: Option<ProcessId>,
    /// The call path of the step it belongs to.
    pub step: Option<Arc<str>>,
    /// The position of the event that led to it.
    pub cause: Option<u64>,
    /// Where it stood and when it happened, if it was imported.
    pub origin: Option<Origin>,
    /// What happened.
    pub body: EventBody,
    /// Where `body` is stored apart because of its size: the blob's hash and size in bytes.
    pub blob: Option<(Hash, u64)>,
}

impl Event {
    /// When it happened: the time of its append, unless it was imported.
    pub fn happened_at(&self) -> Timestamp {
        self.origin.map_or(self.time, |origin| origin.time)
    }

    /// The event as feeds show it: data that is stored apart and larger than `inline_max_bytes` as a reference.
    pub fn to_json(&self, inline_max_bytes: u64) -> String {
        let shown = Shown { event: self, inline_max_bytes };
        serde_json::to_string(&shown).unwrap_or_default()
    }
}

struct Shown<'a> {
    event: &'a Event,
    inline_max_bytes: u64,
}

impl Serialize for Shown<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let event = self.event;
        let mut out = serializer.serialize_struct("Event", 12)?;
        out.serialize_field("position", &event.position)?;
        out.serialize_field("stream", &event.stream)?;
        out.serialize_field("version", &event.version)?;
        out.serialize_field("time", &event.time)?;
        out.serialize_field("type", event.body.name())?;
        out.serialize_field("job", &event.job)?;
        out.serialize_field("session", &event.session)?;
        out.serialize_field("process", &event.process)?;
        out.serialize_field("step", &event.step)?;
        out.serialize_field("cause", &event.cause)?;
        match event.origin {
            Some(origin) => out.serialize_field("origin", &origin)?,
            None => out.skip_field("origin")?,
        }
        match event.blob {
            Some((hash, bytes)) if bytes > self.inline_max_bytes => {
                out.serialize_field("data", &BlobRef { blob: hash, bytes })?;
            }
            _ => event.body.serialize_data(&mut out)?,
        }
        out.end()
    }
}

#[derive(Serialize)]
struct BlobRef {
    blob: Hash,
    bytes: u64,
}
