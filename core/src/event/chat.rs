//! What the events of sessions and chats carry.

use crate::{
    codec::{Decode, Encode},
    error_info::ErrorInfo,
    id::{Hash, JobId},
    json::Json,
    time::Timestamp,
};
use serde::{Deserialize, Serialize};

/// `session.created`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Encode, Decode)]
pub struct SessionCreated {
    /// Where it works.
    pub workspace: Json,
    /// Who answers: model, system prompt and tools.
    pub agent: Json,
}

/// `session.turn_started`, `session.turn_ended`: in the session's stream, so that two turns can not overlap.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Encode, Decode)]
pub struct SessionTurn {
    /// The job that runs the turn.
    pub job: JobId,
    /// 1-based.
    pub turn: u32,
}

/// `session.closed`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Encode, Decode)]
pub struct SessionClosed {}

/// `chat.message_added`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Encode, Decode)]
pub struct ChatMessageAdded {
    /// The message's id.
    pub message: String,
    /// `system`, `user`, `assistant` or `tool`.
    pub role: String,
    /// Its parts.
    pub parts: Json,
    /// The turn it belongs to.
    pub turn: u32,
}

/// `chat.message_queued`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Encode, Decode)]
pub struct ChatMessageQueued {
    /// The message's id.
    pub message: String,
    /// Its parts.
    pub parts: Json,
}

/// `chat.message_dropped`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Encode, Decode)]
pub struct ChatMessageDropped {
    /// The message's id.
    pub message: String,
}

/// `chat.started`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Encode, Decode)]
pub struct ChatStarted {
    /// 1-based.
    pub turn: u32,
    /// The model's configured name.
    pub model: String,
    /// What serves it.
    pub backend: String,
    /// blake3 of the request.
    pub request_hash: Hash,
}

/// `chat.retry_scheduled`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Encode, Decode)]
pub struct ChatRetryScheduled {
    /// The attempt that failed.
    pub attempt: u32,
    /// How long to the next.
    pub wait_ms: u64,
    /// The HTTP status, 0 where there was none.
    pub status: u16,
}

/// `chat.delta`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Encode, Decode)]
pub struct ChatDelta {
    /// 1-based.
    pub turn: u32,
    /// `text`, `reasoning` or `tool_call`.
    pub channel: String,
    /// 1-based within its channel.
    pub seq: u64,
    /// The piece.
    pub text: String,
}

/// What one request to a model used.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, Encode, Decode)]
pub struct ChatUsage {
    /// Tokens sent.
    pub prompt_tokens: u64,
    /// Tokens received.
    pub completion_tokens: u64,
    /// Of those sent, the ones that the provider had cached.
    pub cached_tokens: u64,
    /// Of those received, the ones spent on reasoning.
    pub reasoning_tokens: u64,
}

/// `chat.finished`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Encode, Decode)]
pub struct ChatFinished {
    /// 1-based.
    pub turn: u32,
    /// Why the model stopped.
    pub finish_reason: String,
    /// What it used.
    pub usage: ChatUsage,
    /// From request to end.
    pub latency_ms: u64,
    /// From request to the first token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_token_ms: Option<u64>,
    /// Why it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<ErrorInfo>,
}

/// `chat.compacted`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Encode, Decode)]
pub struct ChatCompacted {
    /// 1-based.
    pub turn: u32,
    /// What stands for the messages that were left out.
    pub summary: String,
    /// How many there were.
    pub messages_before: u64,
    /// Tokens of the conversation before.
    pub tokens_before: u64,
    /// Tokens after.
    pub tokens_after: u64,
}

/// `chat.waiting`: a request to a model waits until the model's rate allows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Encode, Decode)]
pub struct ChatWaiting {
    /// The turn whose request waits.
    pub turn: u32,
    /// The model, by its configured name.
    pub model: String,
    /// The limit that was reached: `requests_per_minute` or `tokens_per_minute`.
    pub limit: String,
    /// When it is looked at again.
    pub until: Timestamp,
}
