//! Replay for the command line: runs a script against a recorded run and says what it found.

use crate::Engine;
use moonlog_core::{error_info::ErrorInfo, event::Event, journal::Mismatch, json::Json};
use std::sync::Arc;

/// What to replay, and against what.
#[derive(Debug, Clone, Default)]
pub struct ReplayOptions {
    /// The run of the job; the last that has events where `None`.
    pub run: Option<u32>,
    /// Replay up to this version of the job's stream.
    pub at: Option<u64>,
    /// The workflow's name, for messages; as submitted where `None`.
    pub name: Option<String>,
}

/// What a replay found.
#[derive(Debug, Clone, PartialEq)]
pub struct Verdict {
    /// How it ended.
    pub outcome: Outcome,
    /// What was matched and delivered, in order.
    pub walk: Vec<Walked>,
}

/// How a replay ended.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    /// The script did again what was recorded, and nothing else.
    Deterministic,
    /// It did not.
    Mismatch(Box<Mismatch>),
    /// The script ended otherwise than recorded.
    OtherEnd {
        /// What was recorded.
        recorded: String,
        /// What came of it now.
        now: String,
    },
    /// It could not be replayed: it does not compile, or reached a limit.
    Error(ErrorInfo),
}

/// One event as a replay met it.
#[derive(Debug, Clone, PartialEq)]
pub struct Walked {
    /// The event's position.
    pub position: u64,
    /// Its version in the job's stream.
    pub version: u64,
    /// Its type.
    pub event: &'static str,
    /// The call path that it is about.
    pub step: Option<Arc<str>>,
    /// What it was to the script.
    pub role: Role,
    /// What was delivered, where something was.
    pub value: Option<Json>,
}

/// What an event is to the script that is replayed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// The script asked for it again.
    Matched,
    /// Its result was given to the script.
    Delivered,
    /// It stands inside a recorded step that was not entered again.
    Skipped,
    /// It is no part of the journal.
    Outside,
}

/// Replays a run of a job from its events.
pub struct Replay;

impl Replay {
    /// Runs `source` (the submitted script, or another) against `events`, the job's stream.
    pub fn run(_engine: &Engine, _source: &str, _events: &[Arc<Event>], _options: &ReplayOptions) -> Verdict {
        todo!()
    }
}
