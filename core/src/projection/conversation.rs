//! A conversation, folded from its events. Pure.
//!
//! Invariant: what is sent to a model never holds a tool call without a result, whatever was interrupted.

use crate::{
    codec::{Decode, Encode},
    event::{ChatMessageAdded, Event, EventBody, StepOutcome},
    json::Json,
    message::{Message, Part, Role, ToolCall, ToolResult},
};
use serde_json::json;
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// Prefix of the ids of messages that tell of the end of something: behind it stands what has ended.
pub const NOTICE: &str = "notice-";
/// Prefix of the ids of messages that another agent sends.
pub const MAIL: &str = "msg-";

/// How many names of called tools are kept: models make some up.
const CALLED_MAX: usize = 64;

/// A call of the last answer that was begun.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct BegunCall {
    /// The tool.
    pub name: String,
    /// Its input.
    pub input: Json,
    /// What it gave, where it has ended.
    pub result: Option<ToolResult>,
}

/// What was said so far, and the calls whose results are still to be told to the model.
#[derive(Debug, Clone, Default, PartialEq, Encode, Decode)]
pub struct Conversation {
    messages: Vec<Arc<Message>>,
    begun: BTreeMap<String, BegunCall>,
    call_ids: BTreeSet<String>,
    turns: u32,
    /// Notices and mail that it was told, also where a summary stands for them now.
    told: BTreeSet<String>,
    /// The names of the tools that were called.
    called: BTreeSet<String>,
}

impl Conversation {
    /// Folds the next event that names the session.
    pub fn apply(&mut self, event: &Event) {
        match &event.body {
            EventBody::ChatMessageAdded(added) => {
                if let Some(message) = message_of(added) {
                    self.push(message);
                }
            }
            EventBody::ChatMessageDropped(dropped) => {
                self.messages.retain(|message| message.id != dropped.message);
                self.told.remove(&dropped.message);
            }
            EventBody::ChatCompacted(compacted) => {
                self.compact(compacted.messages_before, &compacted.summary, compacted.turn);
            }
            EventBody::ToolStarted(started) if self.call_ids.contains(&started.call_id) => {
                let begun = BegunCall { name: started.name.clone(), input: started.input.clone(), result: None };
                self.begun.insert(started.call_id.clone(), begun);
            }
            EventBody::ToolFinished(finished) => {
                if let Some(begun) = self.begun.get_mut(&finished.call_id) {
                    begun.result = Some(ToolResult {
                        call_id: finished.call_id.clone(),
                        name: begun.name.clone(),
                        outcome: finished.outcome,
                        output: finished.output.clone(),
                    });
                }
            }
            _ => {}
        }
    }

    /// Adds a message.
    pub fn push(&mut self, message: Message) {
        self.call_ids.extend(message.tool_calls().map(|call| call.call_id.clone()));
        for call in message.tool_calls() {
            if self.called.len() < CALLED_MAX && !self.called.contains(&call.name) {
                self.called.insert(call.name.clone());
            }
        }
        if message.id.starts_with(NOTICE) || message.id.starts_with(MAIL) {
            self.told.insert(message.id.clone());
        }
        if message.role == Role::Assistant {
            self.turns = self.turns.max(message.turn);
        }
        for result in message.tool_results() {
            self.begun.remove(&result.call_id);
        }
        self.messages.push(Arc::new(message));
    }

    /// The messages.
    pub fn messages(&self) -> &[Arc<Message>] {
        &self.messages
    }

    /// The calls that were begun and whose results no message holds yet, by id.
    pub const fn begun(&self) -> &BTreeMap<String, BegunCall> {
        &self.begun
    }

    /// Whether a call of this id was made.
    pub fn knows_call(&self, id: &str) -> bool {
        self.call_ids.contains(id)
    }

    /// Whether it was told the notice or the mail of this id.
    pub fn was_told(&self, id: &str) -> bool {
        self.told.contains(id)
    }

    /// Whether a tool of this name was called.
    pub fn has_called(&self, tool: &str) -> bool {
        self.called.contains(tool) || self.called.len() == CALLED_MAX
    }

    /// How many turns the model has had.
    pub const fn turns(&self) -> u32 {
        self.turns
    }

    /// The calls of the last answer that have no result in the conversation.
    pub fn open_calls(&self) -> Vec<ToolCall> {
        let answered: BTreeSet<&str> =
            self.messages.iter().flat_map(|message| message.tool_results()).map(|result| &*result.call_id).collect();
        let last = self.messages.iter().rev().find(|message| message.role == Role::Assistant);
        let calls = last.into_iter().flat_map(|message| message.tool_calls());
        calls.filter(|call| !answered.contains(&*call.call_id)).cloned().collect()
    }

    /// The messages as a model is to get them: each call with its result behind it, and nothing twice.
    pub fn for_request(&self) -> Vec<Message> {
        let mut sent: Vec<Message> = Vec::with_capacity(self.messages.len());
        let mut open: Vec<ToolCall> = Vec::new();
        for message in self.messages.iter().filter(|message| message.role != Role::System) {
            if message.role != Role::Tool {
                close(&mut open, &mut sent);
                open = message.tool_calls().cloned().collect();
                if !message.parts.is_empty() {
                    sent.push(Message::clone(message));
                }
                continue;
            }
            let asked = |result: &&ToolResult| open.iter().any(|call| call.call_id == result.call_id);
            let parts: Vec<Part> = message.tool_results().filter(asked).cloned().map(Part::ToolResult).collect();
            open.retain(|call| !message.tool_results().any(|result| result.call_id == call.call_id));
            if !parts.is_empty() {
                sent.push(Message { parts, ..Message::clone(message) });
            }
        }
        close(&mut open, &mut sent);
        sent
    }

    /// How many messages stand at the beginning, before the first answer: they are never left out.
    pub fn head(&self) -> usize {
        self.messages.iter().take_while(|message| message.role != Role::Assistant).count()
    }

    /// Puts a summary in the place of `count` messages behind the first ones.
    pub fn compact(&mut self, count: u64, summary: &str, turn: u32) {
        let head = self.head();
        let end = head.saturating_add(usize::try_from(count).unwrap_or(usize::MAX)).min(self.messages.len());
        let message = Message {
            id: format!("summary-{turn}"),
            role: Role::User,
            parts: vec![Part::text(format!("Summary of the conversation up to here:\n\n{summary}"))],
            turn: self.messages[..end].iter().map(|message| message.turn).max().unwrap_or(turn),
        };
        self.messages.splice(head..end, [Arc::new(message)]);
    }
}

/// Gives the calls that have no result one that says so.
fn close(open: &mut Vec<ToolCall>, sent: &mut Vec<Message>) {
    if open.is_empty() {
        return;
    }
    let turn = sent.last().map_or(0, |message| message.turn);
    let parts = open.drain(..).map(|call| Part::ToolResult(interrupted(&call))).collect();
    let message = Message { id: format!("closed-{turn}"), role: Role::Tool, parts, turn };
    // Results of one answer stand together.
    match sent.last_mut() {
        Some(last) if last.role == Role::Tool => last.parts.extend(message.parts),
        _ => sent.push(message),
    }
}

/// What a model is told of a call whose end nobody saw.
fn interrupted(call: &ToolCall) -> ToolResult {
    ToolResult {
        call_id: call.call_id.clone(),
        name: call.name.clone(),
        outcome: StepOutcome::Interrupted,
        output: interrupted_output(),
    }
}

/// The output of a call that was broken off.
pub fn interrupted_output() -> Json {
    let message = "the call was interrupted: what became of it was not seen; look before you repeat it";
    Json::from(json!({ "error": { "code": "interrupted", "message": message, "retryable": true } }))
}

/// The message that an event added, where it is one that this version knows.
pub fn message_of(added: &ChatMessageAdded) -> Option<Message> {
    let parts = added.parts.to::<Vec<Part>>().ok()?;
    Some(Message { id: added.message.clone(), role: Role::of(&added.role)?, parts, turn: added.turn })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(role: Role, parts: Vec<Part>) -> Message {
        Message { id: String::new(), role, parts, turn: 1 }
    }

    fn call(id: &str) -> Part {
        Part::ToolCall(ToolCall { call_id: id.into(), name: "t".into(), input: Json::null(), signatures: Vec::new() })
    }

    fn result(id: &str) -> Part {
        let (call_id, name) = (id.to_owned(), "t".to_owned());
        Part::ToolResult(ToolResult { call_id, name, outcome: StepOutcome::Ok, output: Json::null() })
    }

    fn shown<M: AsRef<Message>>(messages: &[M]) -> Vec<String> {
        let part = |part: &Part| match part {
            Part::Text { text } => text.clone(),
            Part::ToolCall(call) => format!("?{}", call.call_id),
            Part::ToolResult(result) => format!("={} {:?}", result.call_id, result.outcome),
            other => format!("{other:?}"),
        };
        messages.iter().map(|message| message.as_ref().parts.iter().map(part).collect::<Vec<_>>().join(" ")).collect()
    }

    #[test]
    fn a_request_never_holds_a_call_without_a_result() {
        let mut conversation = Conversation::default();
        for said in [
            message(Role::User, vec![Part::text("go")]),
            message(Role::Assistant, vec![call("a"), call("b")]),
            message(Role::Tool, vec![result("a"), result("stray")]),
            message(Role::User, vec![Part::text("more")]),
            message(Role::Assistant, vec![call("c")]),
        ] {
            conversation.push(said);
        }
        let expected = ["go", "?a ?b", "=a Ok =b Interrupted", "more", "?c", "=c Interrupted"];
        assert_eq!(shown(&conversation.for_request().into_iter().map(Arc::new).collect::<Vec<_>>()), expected);
        assert_eq!(conversation.open_calls().len(), 1);
    }

    #[test]
    fn a_summary_takes_the_place_of_what_it_tells() {
        let mut conversation = Conversation::default();
        let text = |role, text: &str| message(role, vec![Part::text(text)]);
        for said in
            [text(Role::User, "task"), text(Role::Assistant, "1"), text(Role::User, "2"), text(Role::Assistant, "3")]
        {
            conversation.push(said);
        }
        conversation.compact(2, "so far", 9);
        let shown = shown(conversation.messages());
        assert_eq!(shown, ["task", "Summary of the conversation up to here:\n\nso far", "3"]);
    }
}
