//! What is said when a script does not ask for what its journal holds.

use crate::event::EventBody;
use std::fmt;

/// A script that is replayed asked for something else than what was recorded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mismatch {
    /// The position of the recorded event; `None` where the record had ended.
    pub position: Option<u64>,
    /// The call path of the recorded operation, or of the one that is asked for now.
    pub path: String,
    /// What was recorded, such as ``step `fetch` (exec)``.
    pub recorded: String,
    /// What the script asks for now.
    pub asked: String,
    /// The script's name.
    pub script: String,
    /// The line of the script that asks.
    pub line: Option<u32>,
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { position, path, recorded, asked, script, line } = self;
        f.write_str("the script does not do what its journal recorded")?;
        // Outside all branches a log, a phase and the end have no path.
        if !path.is_empty() {
            write!(f, ", at step `{path}`")?;
        }
        write!(f, "\n  recorded: {recorded}")?;
        if let Some(position) = position {
            write!(f, " (event {position})")?;
        }
        write!(f, "\n  now:      {asked}")?;
        if let Some(line) = line {
            write!(f, " ({script}:{line})")?;
        }
        f.write_str(
            "\n  A script must do the same operations in the same order whenever it is given the same results: take \
             time from now(), randomness from math.random, everything else from operations; put what may differ into \
             a step. A journal replays with the script that wrote it.",
        )
    }
}

impl std::error::Error for Mismatch {}

/// What a script did, in words.
pub fn describe(body: &EventBody) -> String {
    const SHOWN_CHARS: usize = 200;
    let text = match body {
        EventBody::StepStarted(step) => format!("step `{}` ({}) with input {}", step.path, step.kind, step.input),
        EventBody::StepFinished(step) => format!("the end of step `{}`, attempt {}", step.path, step.attempt),
        EventBody::JobPhaseEntered(phase) => format!("phase({:?})", phase.title),
        EventBody::JobLogged(log) => format!("log({:?}, {:?})", log.message, log.level),
        EventBody::JobEmitted(emitted) => format!("emit({:?}, {})", emitted.name, emitted.value),
        other => other.name().to_owned(),
    };
    match text.char_indices().nth(SHOWN_CHARS) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}
