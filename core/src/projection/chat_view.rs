//! A session's chat as answers show it: what a client that comes back needs to show the conversation as it stands,
//! also in the middle of a turn.

use super::{ChatState, PendingApproval, QueuedMessage, TurnUnderWay};
use crate::{event::JobUsage, id::JobId, json::Json, message::Message};
use serde::Serialize;
use std::sync::Arc;

/// Where a session's chat stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ChatStatus {
    /// It waits for a message.
    Idle,
    /// A turn is under way.
    Running,
    /// A turn waits for a person.
    Waiting,
}

/// A tool call that has no result in the conversation yet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PendingCall {
    /// The call.
    pub call_id: String,
    /// The tool.
    pub name: String,
    /// Its input.
    pub input: Json,
    /// `asked`, `running` or `ended`.
    pub status: &'static str,
}

/// A session's chat, wherever a session is returned whole.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ChatView {
    /// Where it stands.
    pub chat_status: ChatStatus,
    /// How many turns the model has had, the one under way included.
    pub turn: u32,
    /// The job whose turn is under way.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub turn_job: Option<JobId>,
    /// The model that was asked last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// What was said.
    pub messages: Vec<Arc<Message>>,
    /// What has arrived of the answer that is under way.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub under_way: Option<TurnUnderWay>,
    /// Tool calls whose results are still to be told to the model.
    pub pending_calls: Vec<PendingCall>,
    /// Tool calls that wait for a person.
    pub approvals: Vec<PendingApproval>,
    /// Messages that wait for their turn.
    pub queue: Vec<QueuedMessage>,
    /// What its turns have used.
    pub usage: JobUsage,
    /// How often it was woken since somebody said something.
    #[serde(skip_serializing_if = "is_zero")]
    pub woken: u32,
}

/// Whether there is nothing to tell.
#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde wants it so")]
const fn is_zero(count: &u32) -> bool {
    *count == 0
}

impl ChatState {
    /// The chat as answers show it.
    pub fn view(&self) -> ChatView {
        let calls = self.conversation.open_calls().into_iter().map(|call| {
            let begun = self.conversation.begun().get(&call.call_id);
            let status = match begun {
                Some(begun) if begun.result.is_some() => "ended",
                Some(_) => "running",
                None => "asked",
            };
            PendingCall { call_id: call.call_id, name: call.name, input: call.input, status }
        });
        let chat_status = match (&self.busy, self.approvals.is_empty()) {
            (None, _) => ChatStatus::Idle,
            (Some(_), true) => ChatStatus::Running,
            (Some(_), false) => ChatStatus::Waiting,
        };
        ChatView {
            chat_status,
            turn: self.under_way.as_ref().map_or(self.conversation.turns(), |turn| turn.turn),
            turn_job: self.busy.map(|(job, _)| job),
            model: self.model.clone(),
            messages: self.conversation.messages().to_vec(),
            under_way: self.under_way.as_deref().cloned(),
            pending_calls: calls.collect(),
            approvals: self.approvals.values().cloned().collect(),
            queue: self.queue.clone(),
            usage: self.usage.clone(),
            woken: self.woken,
        }
    }
}
