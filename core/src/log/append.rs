//! What is asked of the log, and what it answers.

use super::Poisoned;
use crate::{
    codec::CodecError,
    event::{NewEvent, StreamId},
    time::Timestamp,
};
use std::fmt;

/// Events for one stream. They are stored together or not at all.
#[derive(Debug, Clone)]
pub struct Append {
    /// The stream.
    pub stream: StreamId,
    /// What must hold of the stream.
    pub expected: Expected,
    /// The events, in their order; at least one.
    pub events: Vec<NewEvent>,
}

impl Append {
    /// Events for `stream`, where `expected` holds.
    pub fn new(stream: StreamId, expected: Expected, events: Vec<NewEvent>) -> Self {
        Self { stream, expected, events }
    }
}

/// What an append expects of its stream. A closed stream (one that ended with a terminal event) takes nothing more,
/// whatever is expected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expected {
    /// Nothing.
    Any,
    /// That it has no event yet.
    NoStream,
    /// The same of a stream whose id was made just now, by chance: the log does not look for it.
    Fresh,
    /// That it has events, and is not closed.
    Open,
    /// That its last event has this version; 0 for no event.
    Version(u64),
}

impl fmt::Display for Expected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => f.write_str("any version"),
            Self::NoStream | Self::Fresh => f.write_str("no stream"),
            Self::Open => f.write_str("an open stream"),
            Self::Version(version) => write!(f, "version {version}"),
        }
    }
}

/// Where an append's events stand. They are durable when [`super::Log::durable`] says so of `last_position`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Appended {
    /// The first event's position.
    pub first_position: u64,
    /// The last event's position.
    pub last_position: u64,
    /// The last event's version in its stream.
    pub last_version: u64,
    /// The time of all its events.
    pub time: Timestamp,
}

/// Why nothing was appended.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum AppendError {
    /// The stream is not as expected.
    #[error("{stream} is at version {actual}, expected {expected}")]
    Conflict {
        /// The stream.
        stream: StreamId,
        /// What was expected.
        expected: Expected,
        /// The version of its last event, 0 for none, with those that are not durable yet.
        actual: u64,
    },
    /// The stream ended.
    #[error("{stream} has ended: nothing can be appended to it")]
    Closed {
        /// The stream.
        stream: StreamId,
    },
    /// A write failed before: nothing is appended until restart.
    #[error(transparent)]
    Poisoned(#[from] Poisoned),
    /// The log was closed.
    #[error("the log is closed")]
    Stopped,
    /// It does not fit.
    #[error("{what} of {bytes} bytes is larger than the limit of {max_bytes}: append in smaller pieces")]
    TooLarge {
        /// What is too large.
        what: &'static str,
        /// How large it is.
        bytes: u64,
        /// The limit.
        max_bytes: u64,
    },
    /// Storage cannot keep up.
    #[error("{pending_bytes} bytes of events wait to be written (limit {max_bytes}): try again later")]
    Overloaded {
        /// How much waits.
        pending_bytes: u64,
        /// The limit.
        max_bytes: u64,
    },
    /// There is nothing to append.
    #[error("an append to {stream} has no events")]
    Empty {
        /// The stream.
        stream: StreamId,
    },
    /// An event has no stored form.
    #[error(transparent)]
    Codec(#[from] CodecError),
    /// The stream's last version could not be read.
    #[error("{stream} cannot be read: {message}")]
    Unreadable {
        /// The stream.
        stream: StreamId,
        /// Why.
        message: String,
    },
}
