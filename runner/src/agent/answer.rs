//! An answer put together from its pieces. Pure.

use super::model::Piece;
use moonlog_core::{
    event::ChatUsage,
    json::Json,
    message::{Part, ToolCall},
};
use serde_json::json;

/// A call as far as it has arrived.
#[derive(Debug, Clone, Default, PartialEq)]
struct Arriving {
    id: String,
    name: String,
    arguments: String,
    signatures: Vec<String>,
}

/// What a model has said so far.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Answer {
    pub(super) text: String,
    pub(super) reasoning: String,
    calls: Vec<Arriving>,
    pub(super) usage: Option<ChatUsage>,
    pub(super) finish_reason: Option<String>,
}

impl Answer {
    /// Takes in a piece.
    pub(super) fn push(&mut self, piece: Piece) {
        match piece {
            Piece::Text(text) => self.text.push_str(&text),
            Piece::Reasoning(text) => self.reasoning.push_str(&text),
            Piece::ToolCall { index, id, name, arguments, signatures } => {
                if self.calls.len() <= index {
                    self.calls.resize_with(index + 1, Arriving::default);
                }
                let call = &mut self.calls[index];
                call.id.push_str(&id.unwrap_or_default());
                call.name.push_str(&name.unwrap_or_default());
                call.arguments.push_str(&arguments);
                if !signatures.is_empty() {
                    call.signatures = signatures;
                }
            }
            Piece::Usage(usage) => self.usage = Some(usage),
            Piece::Finish(reason) => self.finish_reason = Some(reason),
            Piece::Heartbeat => {}
        }
    }

    /// Its size in bytes.
    pub(super) fn bytes(&self) -> usize {
        let calls = self.calls.iter().map(|call| call.name.len() + call.arguments.len());
        self.text.len() + self.reasoning.len() + calls.sum::<usize>()
    }

    /// Its calls. An id that the conversation has already, or that no provider would take, is replaced.
    pub(super) fn tool_calls(&self, turn: u32, is_known: impl Fn(&str) -> bool) -> Vec<ToolCall> {
        let mut calls: Vec<ToolCall> = Vec::new();
        for (index, call) in self.calls.iter().enumerate().filter(|(_, call)| !call.name.is_empty()) {
            let fits = !call.id.is_empty()
                && call.id.len() <= ID_MAX_BYTES
                && call.id.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte));
            // In this order: whoever knows ids may take this one with the question.
            let taken = |id: &str| calls.iter().any(|other| other.call_id == id) || is_known(id);
            let call_id = if fits && !taken(&call.id) {
                call.id.clone()
            } else {
                (0..).map(|n| own_id(turn, index, n)).find(|id| !taken(id)).unwrap_or_default()
            };
            let text = if call.arguments.trim().is_empty() { "{}" } else { call.arguments.as_str() };
            let input = Json::parse(text).unwrap_or_else(|_| Json::from(json!(text)));
            calls.push(ToolCall { call_id, name: call.name.clone(), input, signatures: call.signatures.clone() });
        }
        calls
    }

    /// The parts of the message that it is.
    pub(super) fn parts(&self, calls: &[ToolCall]) -> Vec<Part> {
        let mut parts = Vec::new();
        if !self.reasoning.is_empty() {
            parts.push(Part::Reasoning { text: self.reasoning.clone() });
        }
        if !self.text.is_empty() {
            parts.push(Part::text(self.text.as_str()));
        }
        parts.extend(calls.iter().cloned().map(Part::ToolCall));
        parts
    }

    /// What had arrived of an answer that was broken off.
    pub(super) fn arrived(&self) -> Json {
        let calls: Vec<_> =
            self.calls.iter().map(|call| json!({ "name": call.name, "arguments": call.arguments })).collect();
        Json::from(json!({ "text": self.text, "reasoning": self.reasoning, "tool_calls": calls }))
    }
}

const ID_MAX_BYTES: usize = 64;

fn own_id(turn: u32, index: usize, n: u32) -> String {
    let first = format!("call_{turn}_{}", index + 1);
    if n == 0 { first } else { format!("{first}_{n}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(index: usize, id: &str, name: &str, arguments: &str) -> Piece {
        let some = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        Piece::ToolCall { index, id: some(id), name: some(name), arguments: arguments.into(), signatures: Vec::new() }
    }

    #[test]
    fn calls_are_put_together_and_get_ids_of_their_own() {
        let mut answer = Answer::default();
        for piece in [
            call(0, "a", "read", "{\"pa"),
            call(0, "", "", "th\":1}"),
            call(1, "a", "read", ""),
            call(2, "not an id", "write", "{} trailing"),
            call(3, "known", "write", "{}"),
        ] {
            answer.push(piece);
        }
        let calls = answer.tool_calls(7, |id| id == "known");
        let shown: Vec<_> = calls.iter().map(|call| (call.call_id.as_str(), call.input.as_str())).collect();
        let expected = [("a", "{\"path\":1}"), ("call_7_2", "{}"), ("call_7_3", "\"{} trailing\""), ("call_7_4", "{}")];
        assert_eq!(shown, expected);
    }
}
