//! What an agent has begun and not ended, folded from its events; and how it is ended from outside: by a crash, a
//! cancelled branch, the end of its job. Pure.

use super::{approval::INTERRUPTED, tokens};
use moonlog_core::{
    error_info::ErrorInfo,
    event::{ChatFinished, ChatUsage, Decision, EventBody, NewEvent, StepOutcome, ToolApprovalDecided, ToolFinished},
    id::SessionId,
    json::Json,
    projection::interrupted_output,
    time::Timestamp,
};
use serde_json::json;
use std::collections::BTreeSet;

/// A turn whose answer is arriving.
#[derive(Debug, Default)]
struct OpenChat {
    turn: u32,
    text: String,
    reasoning: String,
    tool_call: String,
}

/// What is open.
#[derive(Debug, Default)]
pub(crate) struct OpenWork {
    chat: Option<OpenChat>,
    tools: BTreeSet<String>,
    approvals: BTreeSet<String>,
    /// Calls that a person was asked about, decided or not, and that have not acted since.
    asked: BTreeSet<String>,
    over: bool,
    began_at: Option<Timestamp>,
    session: Option<SessionId>,
    /// The last that the agent has appended.
    position: u64,
    /// The turn of a session that was begun.
    taken: Option<(SessionId, u32)>,
}

/// What is known to have been used of an answer that was broken off.
fn arrived_usage(chat: &OpenChat) -> ChatUsage {
    let completion_tokens = tokens::of_bytes(chat.text.len() + chat.reasoning.len() + chat.tool_call.len());
    ChatUsage { completion_tokens, estimated: completion_tokens > 0, ..ChatUsage::default() }
}

/// The end of a call that was begun, and of which nobody knows what became.
fn broken_off(call_id: String, outcome: StepOutcome) -> EventBody {
    EventBody::ToolFinished(ToolFinished {
        call_id,
        outcome,
        output: interrupted_output(),
        truncated: None,
        diff: None,
        latency_ms: 0,
    })
}

/// The end of a question that nobody need answer any more.
fn denied(call_id: String, why: &str) -> EventBody {
    let (decision, note) = (Decision::Denied, Some(why.to_owned()));
    EventBody::ToolApprovalDecided(ToolApprovalDecided { call_id, decision, by: None, note })
}

impl OpenWork {
    /// Folds the agent's next event.
    pub(crate) fn note(&mut self, session: Option<SessionId>, body: &EventBody) {
        self.session = session.or(self.session);
        match body {
            EventBody::ChatStarted(started) => self.chat = Some(OpenChat { turn: started.turn, ..OpenChat::default() }),
            EventBody::ChatDelta(delta) => {
                if let Some(chat) = &mut self.chat {
                    let text = match delta.channel.as_str() {
                        "text" => &mut chat.text,
                        "reasoning" => &mut chat.reasoning,
                        _ => &mut chat.tool_call,
                    };
                    text.push_str(&delta.text);
                }
            }
            EventBody::ChatRetryScheduled(_) => {
                if let Some(chat) = &mut self.chat {
                    *chat = OpenChat { turn: chat.turn, ..OpenChat::default() };
                }
            }
            EventBody::ChatFinished(_) => self.chat = None,
            EventBody::ToolStarted(started) => {
                // What was approved acts now; a question begins before it is put.
                self.asked.remove(&started.call_id);
                self.tools.insert(started.call_id.clone());
            }
            EventBody::ToolApprovalRequested(asked) => {
                self.approvals.insert(asked.call_id.clone());
                self.asked.insert(asked.call_id.clone());
            }
            EventBody::ToolApprovalDecided(decided) => drop(self.approvals.remove(&decided.call_id)),
            EventBody::ToolFinished(finished) => {
                self.tools.remove(&finished.call_id);
                self.asked.remove(&finished.call_id);
            }
            _ => {}
        }
    }

    /// The calls that a person was asked about, where nothing else is open: nothing is lost where nobody was at it.
    pub(crate) fn only_asks(&self) -> Option<Vec<String>> {
        let only = self.chat.is_none() && !self.asked.is_empty() && self.tools.is_subset(&self.asked);
        only.then(|| self.asked.iter().cloned().collect())
    }

    /// What ends a call whose agent is interrupted: nobody is asked about it any more, and what it has begun has its end.
    pub(super) fn cut_short(&self, call_id: &str) -> Vec<EventBody> {
        let asked = self.approvals.contains(call_id).then(|| denied(call_id.to_owned(), INTERRUPTED));
        let begun = self.tools.contains(call_id).then(|| broken_off(call_id.to_owned(), StepOutcome::Interrupted));
        asked.into_iter().chain(begun).collect()
    }

    /// The calls that are begun, or that a person is asked about.
    pub(super) fn open_calls(&self) -> Vec<String> {
        self.tools.union(&self.approvals).cloned().collect()
    }

    /// When the agent first got to run: the first that is told.
    pub(super) fn began_at(&mut self, time: Timestamp) -> Timestamp {
        *self.began_at.get_or_insert(time)
    }

    /// Whether nothing was recorded yet.
    pub(super) const fn is_fresh(&self) -> bool {
        self.session.is_none()
    }

    /// Whether it was ended from outside.
    pub(super) const fn is_over(&self) -> bool {
        self.over
    }

    /// Its events are appended up to here.
    pub(super) fn reach(&mut self, position: u64) {
        self.position = self.position.max(position);
    }

    /// The last that it has appended.
    pub(crate) const fn position(&self) -> u64 {
        self.position
    }

    /// The turn of a session that the agent has begun, or none any more.
    pub(crate) fn take(&mut self, taken: Option<(SessionId, u32)>) -> Option<(SessionId, u32)> {
        std::mem::replace(&mut self.taken, taken)
    }

    /// Ends all that is open, for the reason that `error` gives; nothing may be begun any more.
    pub(crate) fn close(&mut self, outcome: StepOutcome, error: &ErrorInfo) -> Vec<NewEvent> {
        self.over = true;
        self.asked.clear();
        let asked = std::mem::take(&mut self.approvals).into_iter();
        let denials: Vec<EventBody> = asked.map(|call_id| denied(call_id, &error.message)).collect();
        let mut ends = self.break_off(outcome, error);
        ends.extend(denials.into_iter().map(|body| self.event(body)));
        ends
    }

    /// Ends what nobody is at any more, for the reason that `error` gives. What a person was asked, and the answer, survive a
    /// restart: they are still open for who goes on.
    pub(crate) fn break_off(&mut self, outcome: StepOutcome, error: &ErrorInfo) -> Vec<NewEvent> {
        let (waiting, ended) = std::mem::take(&mut self.tools).into_iter().partition(|call| self.asked.contains(call));
        self.tools = waiting;
        let ended: BTreeSet<String> = ended;
        let mut events: Vec<EventBody> = ended.into_iter().map(|call_id| broken_off(call_id, outcome)).collect();
        if let Some(chat) = self.chat.take() {
            let arrived = json!({ "text": chat.text, "reasoning": chat.reasoning, "tool_call": chat.tool_call });
            events.push(EventBody::ChatFinished(ChatFinished {
                turn: chat.turn,
                finish_reason: "interrupted".into(),
                usage: arrived_usage(&chat),
                latency_ms: 0,
                first_token_ms: None,
                error: Some(ErrorInfo { details: Some(Json::from(arrived)), ..error.clone() }),
            }));
        }
        events.into_iter().map(|body| self.event(body)).collect()
    }

    fn event(&self, body: EventBody) -> NewEvent {
        NewEvent { session: self.session, ..NewEvent::new(body) }
    }
}
