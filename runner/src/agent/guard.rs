//! Notices a model that goes in circles. Pure.
//!
//! What is noticed leads to a nudge; where it goes on in spite of it, to a stop.

use moonlog_core::message::{ToolCall, ToolResult};
use moonlog_core::{event::StepOutcome, id::Hash, json::Json};
use serde_json::Value;
use std::collections::VecDeque;

/// How often the same call may give the same result.
const SAME: usize = 4;

/// How many errors may come in a row.
const ERRORS: usize = 3;

/// How many calls that alternate between two are a circle.
const ALTERNATING: usize = 6;

/// After how many calls a nudge is forgotten.
const FORGIVEN: usize = 8;

/// How far back is looked.
const WINDOW: usize = 16;

/// Calls that are there to be repeated: they wait for something.
const WAITING: [&str; 2] = ["wait_agent", "process_wait"];

/// What of a result differs each time, and says nothing about whether it is the same.
const PASSING: [&str; 3] = ["process_id", "wall_duration_ms", "message"];

/// A result without what differs each time.
fn lasting(output: &Json) -> String {
    match output.to_value() {
        Value::Object(mut fields) => {
            fields.retain(|name, _| !PASSING.contains(&name.as_str()));
            Value::Object(fields).to_string()
        }
        _ => output.as_str().to_owned(),
    }
}

/// What was noticed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Nothing.
    Fine,
    /// The model is to be told this.
    Nudge(String),
    /// It was told before.
    Stop(String),
}

/// The calls of late.
#[derive(Debug, Default)]
pub(super) struct Guard {
    recent: VecDeque<Hash>,
    errors: usize,
    /// How many calls were made since a nudge, where there was one lately.
    since_nudge: Option<usize>,
}

impl Guard {
    /// Takes in the results of one turn.
    pub(super) fn note(&mut self, calls: &[ToolCall], results: &[ToolResult]) {
        for result in results {
            let call = calls.iter().find(|call| call.call_id == result.call_id);
            if WAITING.contains(&result.name.as_str()) {
                continue;
            }
            let input = call.map_or("", |call| call.input.as_str());
            let key = format!("{}\0{input}\0{}", result.name, lasting(&result.output));
            self.recent.push_back(Hash::of(key.as_bytes()));
            if self.recent.len() > WINDOW {
                self.recent.pop_front();
            }
            self.since_nudge = self.since_nudge.map(|calls| calls + 1).filter(|calls| *calls <= FORGIVEN);
            self.errors = if result.outcome == StepOutcome::Ok { 0 } else { self.errors + 1 };
        }
    }

    /// What there is to say about them.
    pub(super) fn verdict(&mut self) -> Verdict {
        let Some(found) = self.found() else { return Verdict::Fine };
        // What was noticed once is to be noticed anew.
        self.recent.clear();
        self.errors = 0;
        if self.since_nudge.replace(0).is_some() {
            return Verdict::Stop(format!("{found}, also after it was told so"));
        }
        Verdict::Nudge(format!(
            "You are going in circles: {found}. Do not repeat it. Look at what the results say, try another way, or \
             answer with what you know and what stands in the way."
        ))
    }

    fn found(&self) -> Option<String> {
        if let Some(last) = self.recent.back()
            && self.recent.iter().filter(|key| *key == last).count() >= SAME
        {
            return Some(format!("the same call gave the same result {SAME} times"));
        }
        if self.errors >= ERRORS {
            return Some(format!("{ERRORS} calls in a row failed"));
        }
        let tail: Vec<_> = self.recent.iter().rev().take(ALTERNATING).collect();
        let alternates = tail.len() == ALTERNATING
            && tail[0] != tail[1]
            && tail.iter().enumerate().all(|(at, key)| *key == tail[at % 2]);
        alternates.then(|| "two calls alternate, each with the same result".into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each letter is a call with a result of its own; upper case fails.
    fn verdicts(calls: &str) -> String {
        let mut guard = Guard::default();
        let verdict = |name: char| {
            let call_id = "id".to_owned();
            let call =
                ToolCall { call_id: call_id.clone(), name: name.into(), input: Json::null(), signatures: Vec::new() };
            let outcome = if name.is_uppercase() { StepOutcome::Error } else { StepOutcome::Ok };
            let result = ToolResult { call_id, name: name.into(), outcome, output: Json::null() };
            guard.note(&[call], &[result]);
            match guard.verdict() {
                Verdict::Fine => '.',
                Verdict::Nudge(_) => 'n',
                Verdict::Stop(_) => 's',
            }
        };
        calls.chars().map(verdict).collect()
    }

    #[test]
    fn circles_lead_to_a_nudge_and_then_to_a_stop() {
        for (calls, expected) in [
            ("abcdefgh", "........"),
            ("aaaabcd", "...n..."),
            ("abacadaa", "......n."),
            ("ABC", "..n"),
            ("ABcDE", "....."),
            ("ababab", ".....n"),
            ("aaaaaaaa", "...n...s"),
            ("ABCdABC", "..n...s"),
            ("aaaabcdefghijjjj", "...n...........n"),
        ] {
            assert_eq!(verdicts(calls), expected, "{calls}");
        }
    }
}
