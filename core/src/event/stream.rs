//! Streams: the sequences within the log that have versions of their own.

use crate::{
    codec::{Decode, Encode},
    id::{JobId, ProcessId, SessionId},
};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use std::{fmt, str::FromStr, sync::Arc};

/// The name of a stream.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
pub enum StreamId {
    /// `system`: the server's own events.
    System,
    /// `job/<id>`
    Job(JobId),
    /// `session/<id>`
    Session(SessionId),
    /// `process/<id>`: a process that belongs to a session or to nobody.
    Process(ProcessId),
    /// `schedule/<name>`
    Schedule(Arc<str>),
}

/// A text that names no stream.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` names no stream: expected job/<id>, session/<id>, process/<id>, schedule/<name> or system")]
pub struct InvalidStream(pub String);

impl fmt::Display for StreamId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::System => f.write_str("system"),
            Self::Job(id) => write!(f, "job/{id}"),
            Self::Session(id) => write!(f, "session/{id}"),
            Self::Process(id) => write!(f, "process/{id}"),
            Self::Schedule(name) => write!(f, "schedule/{name}"),
        }
    }
}

impl FromStr for StreamId {
    type Err = InvalidStream;

    fn from_str(text: &str) -> Result<Self, InvalidStream> {
        let invalid = || InvalidStream(text.chars().take(80).collect());
        match text.split_once('/') {
            None if text == "system" => Ok(Self::System),
            Some(("job", id)) => id.parse().map(Self::Job).map_err(|_| invalid()),
            Some(("session", id)) => id.parse().map(Self::Session).map_err(|_| invalid()),
            Some(("process", id)) => id.parse().map(Self::Process).map_err(|_| invalid()),
            Some(("schedule", name)) if !name.is_empty() => Ok(Self::Schedule(name.into())),
            _ => Err(invalid()),
        }
    }
}

impl Serialize for StreamId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for StreamId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
        text.parse().map_err(de::Error::custom)
    }
}
