//! A conversation, folded from its events. Pure.
//!
//! Invariant: what is sent to a model never holds a tool call without a result, whatever was interrupted.

use super::message::{Message, Part, Role, ToolCall, ToolResult};
use moonlog_core::{
    event::{ChatMessageAdded, Event, EventBody, StepOutcome},
    json::Json,
};
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};

/// What was said so far, and the results of calls whose message is still to come.
#[derive(Debug, Clone, Default)]
pub(super) struct Conversation {
    messages: Vec<Message>,
    /// Results of calls that are recorded and not yet told to the model.
    finished: BTreeMap<String, ToolResult>,
    /// Names of calls that were begun.
    begun: BTreeMap<String, String>,
    call_ids: BTreeSet<String>,
    turns: u32,
}

impl Conversation {
    /// Folds the next event of the session.
    pub(super) fn apply(&mut self, event: &Event) {
        match &event.body {
            EventBody::ChatMessageAdded(added) => {
                if let Some(message) = message_of(added) {
                    self.push(message);
                }
            }
            EventBody::ChatMessageDropped(dropped) => self.messages.retain(|message| message.id != dropped.message),
            EventBody::ChatCompacted(compacted) => self.compact(compacted.messages_before, &compacted.summary, compacted.turn),
            EventBody::ToolStarted(started) => {
                self.begun.insert(started.call_id.clone(), started.name.clone());
            }
            EventBody::ToolFinished(finished) => {
                let name = self.begun.remove(&finished.call_id).unwrap_or_default();
                let (call_id, outcome, output) = (finished.call_id.clone(), finished.outcome, finished.output.clone());
                self.finished.insert(call_id.clone(), ToolResult { call_id, name, outcome, output });
            }
            _ => {}
        }
    }

    /// Adds a message.
    pub(super) fn push(&mut self, message: Message) {
        self.call_ids.extend(message.tool_calls().map(|call| call.call_id.clone()));
        if message.role == Role::Assistant {
            self.turns = self.turns.max(message.turn);
        }
        for result in message.tool_results() {
            self.finished.remove(&result.call_id);
        }
        self.messages.push(message);
    }

    /// The messages.
    pub(super) fn messages(&self) -> &[Message] {
        &self.messages
    }

    /// Whether a call of this id was made.
    pub(super) fn knows_call(&self, id: &str) -> bool {
        self.call_ids.contains(id)
    }

    /// How many turns the model has had.
    pub(super) const fn turns(&self) -> u32 {
        self.turns
    }

    /// A result that was recorded before the server died.
    pub(super) fn finished(&self, call_id: &str) -> Option<&ToolResult> {
        self.finished.get(call_id)
    }

    /// The calls of the last answer that have no result in the conversation.
    pub(super) fn open_calls(&self) -> Vec<ToolCall> {
        let answered: BTreeSet<&str> =
            self.messages.iter().flat_map(Message::tool_results).map(|result| result.call_id.as_str()).collect();
        let last = self.messages.iter().rev().find(|message| message.role == Role::Assistant);
        let calls = last.into_iter().flat_map(Message::tool_calls);
        calls.filter(|call| !answered.contains(call.call_id.as_str())).cloned().collect()
    }

    /// The messages as a model is to get them: each call with its result behind it, and nothing twice.
    pub(super) fn for_request(&self) -> Vec<Message> {
        let mut sent: Vec<Message> = Vec::with_capacity(self.messages.len());
        let mut open: Vec<ToolCall> = Vec::new();
        for message in self.messages.iter().filter(|message| message.role != Role::System) {
            match message.role {
                Role::Tool => {
                    let known = message.tool_results().filter(|result| open.iter().any(|call| call.call_id == result.call_id));
                    let parts: Vec<Part> = known.cloned().map(Part::ToolResult).collect();
                    open.retain(|call| !message.tool_results().any(|result| result.call_id == call.call_id));
                    if !parts.is_empty() {
                        sent.push(Message { parts, ..message.clone() });
                    }
                }
                _ => {
                    close(&mut open, &mut sent);
                    open = message.tool_calls().cloned().collect();
                    if !message.parts.is_empty() {
                        sent.push(message.clone());
                    }
                }
            }
        }
        close(&mut open, &mut sent);
        sent
    }

    /// How many messages stand at the beginning, before the first answer: they are never left out.
    pub(super) fn head(&self) -> usize {
        self.messages.iter().take_while(|message| message.role != Role::Assistant).count()
    }

    /// Puts a summary in the place of `count` messages behind the first ones.
    fn compact(&mut self, count: u64, summary: &str, turn: u32) {
        let head = self.head();
        let end = head.saturating_add(usize::try_from(count).unwrap_or(usize::MAX)).min(self.messages.len());
        let message = Message {
            id: format!("summary-{turn}"),
            role: Role::User,
            parts: vec![Part::text(format!("Summary of the conversation up to here:\n\n{summary}"))],
            turn: self.messages[..end].iter().map(|message| message.turn).max().unwrap_or(turn),
        };
        self.messages.splice(head..end, [message]);
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
pub(super) fn interrupted(call: &ToolCall) -> ToolResult {
    ToolResult {
        call_id: call.call_id.clone(),
        name: call.name.clone(),
        outcome: StepOutcome::Interrupted,
        output: interrupted_output(),
    }
}

/// The output of a call that was broken off.
pub(super) fn interrupted_output() -> Json {
    let message = "the call was interrupted: what became of it was not seen; look before you repeat it";
    Json::from(json!({ "error": { "code": "interrupted", "message": message, "retryable": true } }))
}

/// The message that an event added, where it is one that this version knows.
pub(super) fn message_of(added: &ChatMessageAdded) -> Option<Message> {
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

    fn shown(messages: &[Message]) -> Vec<String> {
        let part = |part: &Part| match part {
            Part::Text { text } => text.clone(),
            Part::ToolCall(call) => format!("?{}", call.call_id),
            Part::ToolResult(result) => format!("={} {:?}", result.call_id, result.outcome),
            other => format!("{other:?}"),
        };
        messages.iter().map(|message| message.parts.iter().map(part).collect::<Vec<_>>().join(" ")).collect()
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
        assert_eq!(shown(&conversation.for_request()), expected);
        assert_eq!(conversation.open_calls().len(), 1);
    }

    #[test]
    fn a_summary_takes_the_place_of_what_it_tells() {
        let mut conversation = Conversation::default();
        let text = |role, text: &str| message(role, vec![Part::text(text)]);
        for said in [text(Role::User, "task"), text(Role::Assistant, "1"), text(Role::User, "2"), text(Role::Assistant, "3")] {
            conversation.push(said);
        }
        conversation.compact(2, "so far", 9);
        let shown = shown(conversation.messages());
        assert_eq!(shown, ["task", "Summary of the conversation up to here:\n\nso far", "3"]);
    }
}
