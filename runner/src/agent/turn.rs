//! The loop of an agent as a state machine: what was said and what calls gave go in, the next act comes out. Pure.

use super::{
    guard::{Guard, Verdict},
    schema::AnswerSchema,
};
use moonlog_core::{
    error_info::ErrorInfo,
    json::Json,
    message::{Message, Role, ToolCall, ToolResult},
    projection::Conversation,
};
use std::sync::Arc;

/// How often an answer that does not match its schema is asked for, in all.
const SCHEMA_TRIES: u32 = 5;

/// How often an empty answer is asked for again.
const EMPTY_TRIES: u32 = 2;

/// How far an agent may go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Steps {
    /// Requests to the model.
    pub(super) max_turns: u32,
    /// Tool calls.
    pub(super) max_tool_calls: u32,
}

/// What comes next.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Act {
    /// Ask the model.
    Chat,
    /// Perform these calls, at once.
    Call(Vec<ToolCall>),
    /// Tell the model this, then go on.
    Say(String),
    /// It is done.
    Finish(Outcome),
    /// It cannot go on.
    Fail(ErrorInfo),
}

/// What an agent answers.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Outcome {
    /// Text.
    Text(String),
    /// A value that matches the schema.
    Value(Json),
}

/// An agent between two acts.
pub(super) struct Turns {
    steps: Steps,
    schema: Option<AnswerSchema>,
    guard: Guard,
    turns: u32,
    calls: u32,
    schema_tries: u32,
    empty: u32,
    /// Why the model stopped last.
    finish_reason: String,
    /// What is to be said or done before anything else.
    pending: Option<Act>,
}

impl Turns {
    pub(super) fn new(steps: Steps, schema: Option<AnswerSchema>) -> Self {
        Self {
            steps,
            schema,
            guard: Guard::default(),
            turns: 0,
            calls: 0,
            schema_tries: 0,
            empty: 0,
            finish_reason: String::new(),
            pending: None,
        }
    }

    /// The schema of the answer.
    pub(super) const fn schema(&self) -> Option<&AnswerSchema> {
        self.schema.as_ref()
    }

    /// How many requests were answered.
    pub(super) const fn turns(&self) -> u32 {
        self.turns
    }

    /// The model has answered.
    pub(super) fn answered(&mut self, message: &Message, finish_reason: &str) {
        self.turns += 1;
        self.finish_reason = finish_reason.to_owned();
        self.pending = None;
        let calls = u32::try_from(message.tool_calls().count()).unwrap_or(u32::MAX);
        if calls > 0 {
            self.empty = 0;
            self.calls = self.calls.saturating_add(calls);
            return;
        }
        self.pending = Some(self.judge(&message.text()));
    }

    /// An answer without calls: is it one?
    fn judge(&mut self, text: &str) -> Act {
        if text.trim().is_empty() {
            if self.finish_reason == "content_filter" {
                return Act::Fail(ErrorInfo::new("content_filter", "the provider withheld the model's answer"));
            }
            self.empty += 1;
            if self.empty > EMPTY_TRIES {
                return Act::Fail(ErrorInfo::new("empty_answer", "the model answered with nothing, several times"));
            }
            return Act::Say("Your answer was empty. Go on, or say what you have found.".into());
        }
        self.empty = 0;
        let Some(schema) = &self.schema else { return Act::Finish(Outcome::Text(text.to_owned())) };
        self.schema_tries += 1;
        match schema.read(text) {
            Ok(value) => Act::Finish(Outcome::Value(value)),
            Err(complaint) if self.schema_tries < SCHEMA_TRIES => Act::Say(complaint),
            Err(complaint) => Act::Fail(ErrorInfo::new(
                "schema_mismatch",
                format!("after {SCHEMA_TRIES} tries the model's answer does not match the schema. {complaint}"),
            )),
        }
    }

    /// The calls of a turn have their results.
    pub(super) fn called(&mut self, calls: &[ToolCall], results: &[ToolResult]) {
        self.guard.note(calls, results);
        self.pending = match self.guard.verdict() {
            Verdict::Fine => None,
            Verdict::Nudge(text) => Some(Act::Say(text)),
            Verdict::Stop(reason) => {
                Some(Act::Fail(ErrorInfo::new("loop_detected", format!("the agent was stopped: {reason}"))))
            }
        };
    }

    /// What comes next. What is said is added to the conversation by who acts on it.
    pub(super) fn next(&mut self, conversation: &Conversation) -> Act {
        let open = conversation.open_calls();
        if !open.is_empty() {
            if self.calls > self.steps.max_tool_calls {
                let max = self.steps.max_tool_calls;
                return Act::Fail(ErrorInfo::new(
                    "max_tool_calls",
                    format!("the agent wanted more than {max} tool calls"),
                ));
            }
            return Act::Call(open);
        }
        if let Some(act) = self.pending.take() {
            return act;
        }
        if self.turns >= self.steps.max_turns {
            let max = self.steps.max_turns;
            return Act::Fail(ErrorInfo::new("max_turns", format!("the agent was not done after {max} turns")));
        }
        Act::Chat
    }

    /// Takes up a conversation that was recorded before: counts what this agent did, and looks at where it stopped. What
    /// made an earlier attempt fail does not make this one fail before it has begun.
    pub(super) fn resume(&mut self, messages: &[Arc<Message>]) {
        let mut calls: Vec<ToolCall> = Vec::new();
        for message in messages {
            match message.role {
                Role::Assistant => {
                    self.answered(message, "stop");
                    calls = message.tool_calls().cloned().collect();
                }
                Role::Tool => {
                    let results: Vec<ToolResult> = message.tool_results().cloned().collect();
                    self.called(&calls, &results);
                }
                // It was told what there was to be told.
                Role::User | Role::System => self.pending = None,
            }
        }
        if matches!(self.pending, Some(Act::Fail(_))) {
            self.pending = None;
        }
        self.schema_tries = 0;
        self.empty = 0;
        if self.turns >= self.steps.max_turns || self.calls >= self.steps.max_tool_calls {
            (self.turns, self.calls) = (0, 0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use moonlog_core::event::StepOutcome;
    use moonlog_core::message::Part;
    use serde_json::json;

    const STEPS: Steps = Steps { max_turns: 8, max_tool_calls: 5 };

    struct Case {
        turns: Turns,
        conversation: Conversation,
        said: u32,
    }

    fn given(schema: Option<serde_json::Value>) -> Case {
        let schema = schema.map(|schema| AnswerSchema::new(&Json::from(schema)).unwrap());
        Case { turns: Turns::new(STEPS, schema), conversation: Conversation::default(), said: 0 }
    }

    impl Case {
        fn add(&mut self, role: Role, parts: Vec<Part>) -> Message {
            self.said += 1;
            let message = Message { id: self.said.to_string(), role, parts, turn: self.said };
            self.conversation.push(message.clone());
            message
        }

        fn answer(&mut self, text: &str) -> Act {
            let message = self.add(Role::Assistant, vec![Part::text(text)]);
            self.turns.answered(&message, "stop");
            self.turns.next(&self.conversation)
        }

        /// The model calls tools that succeed, or fail where their name is in upper case.
        fn calls(&mut self, names: &[&str]) -> Act {
            let said = self.said;
            let call = |(at, name): (usize, &&str)| ToolCall {
                call_id: format!("{said}-{at}"),
                name: (*name).to_owned(),
                input: Json::null(),
                signatures: Vec::new(),
            };
            let calls: Vec<ToolCall> = names.iter().enumerate().map(call).collect();
            let message = self.add(Role::Assistant, calls.iter().cloned().map(Part::ToolCall).collect());
            self.turns.answered(&message, "stop");
            match self.turns.next(&self.conversation) {
                Act::Call(open) => assert_eq!(open, calls),
                other => return other,
            }
            let result = |call: &ToolCall| ToolResult {
                call_id: call.call_id.clone(),
                name: call.name.clone(),
                outcome: if call.name == "BAD" { StepOutcome::Error } else { StepOutcome::Ok },
                output: Json::from(json!(call.call_id)),
            };
            let results: Vec<ToolResult> = calls.iter().map(result).collect();
            self.add(Role::Tool, results.iter().cloned().map(Part::ToolResult).collect());
            self.turns.called(&calls, &results);
            self.turns.next(&self.conversation)
        }
    }

    fn failed(act: &Act) -> &str {
        match act {
            Act::Fail(error) => &error.code,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn calls_then_an_answer() {
        let mut case = given(None);
        assert_eq!(case.turns.next(&case.conversation), Act::Chat);
        assert_eq!(case.calls(&["read", "list"]), Act::Chat);
        assert_eq!(case.answer("done"), Act::Finish(Outcome::Text("done".into())));
    }

    #[test]
    fn limits_end_it_with_a_reason() {
        let mut case = given(None);
        assert_eq!(failed(&case.calls(&["a", "b", "c", "d", "e", "f"])), "max_tool_calls");
        let mut case = given(None);
        case.turns.steps.max_turns = 1;
        assert_eq!(failed(&case.calls(&["a"])), "max_turns");
    }

    #[test]
    fn errors_in_a_row_are_told_and_then_stopped() {
        let mut case = given(None);
        case.turns.steps.max_tool_calls = 100;
        assert_eq!(case.calls(&["BAD", "BAD"]), Act::Chat);
        assert!(matches!(case.calls(&["BAD"]), Act::Say(_)));
        assert_eq!(case.calls(&["BAD", "BAD"]), Act::Chat);
        assert_eq!(failed(&case.calls(&["BAD"])), "loop_detected");
    }

    #[test]
    fn an_answer_that_does_not_match_is_sent_back_five_times_in_all() {
        let mut case = given(Some(json!({ "type": "integer" })));
        for _ in 1..SCHEMA_TRIES {
            assert!(matches!(case.answer("one"), Act::Say(_)));
        }
        assert_eq!(failed(&case.answer("one")), "schema_mismatch");
        let mut case = given(Some(json!({ "type": "integer" })));
        assert!(matches!(case.answer("one"), Act::Say(_)));
        assert_eq!(case.answer("1"), Act::Finish(Outcome::Value(Json::from(json!(1)))));
    }

    #[test]
    fn an_empty_answer_is_asked_for_again() {
        let mut case = given(None);
        assert!(matches!(case.answer(""), Act::Say(_)));
        assert!(matches!(case.answer(" "), Act::Say(_)));
        assert_eq!(failed(&case.answer("")), "empty_answer");
    }

    #[test]
    fn a_recorded_conversation_is_taken_up_where_it_stopped() {
        let mut case = given(None);
        case.calls(&["read"]);
        let call =
            ToolCall { call_id: "open".into(), name: "read".into(), input: Json::null(), signatures: Vec::new() };
        case.add(Role::Assistant, vec![Part::ToolCall(call.clone())]);
        let mut again = Turns::new(STEPS, None);
        again.resume(case.conversation.messages());
        assert_eq!(again.next(&case.conversation), Act::Call(vec![call]));
        assert_eq!((again.turns(), again.calls), (2, 2));
    }
}
