//! What the events of sessions and chats carry.

use crate::{
    codec::{Decode, Encode},
    cost::{self, Cost},
    error_info::ErrorInfo,
    id::{Hash, JobId},
    json::Json,
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

/// `session.configured`: all of a session's options, in the place of those before.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, Encode, Decode)]
pub struct SessionConfigured {
    /// Whether it is woken while it is idle: when something ends that an agent of its has left running.
    pub wake: bool,
    /// How many tokens its turns may use, with what they spawn.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub budget_tokens: Option<u64>,
}

/// `session.status_changed`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Encode, Decode)]
pub struct SessionStatusChanged {
    /// Its status from here on: `open` or `archived`.
    pub to: String,
}

/// `session.wake_requested`: an agent wants its session to be woken when this ends.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Encode, Decode)]
pub struct SessionWakeRequested {
    /// A process, or the job of a spawned agent.
    pub of: String,
}

/// `session.woken`: something has ended, and a turn begins that hears of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Encode, Decode)]
pub struct SessionWoken {
    /// The job of the turn.
    pub job: JobId,
    /// What has ended.
    pub of: Vec<String>,
}

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
#[serde(default)]
pub struct ChatUsage {
    /// Tokens sent.
    pub prompt_tokens: u64,
    /// Tokens received.
    pub completion_tokens: u64,
    /// Of those sent, the ones that the provider had cached.
    pub cached_tokens: u64,
    /// Of those received, the ones spent on reasoning.
    pub reasoning_tokens: u64,
    /// What that cost, where the configuration gave prices then.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cost: Option<Cost>,
    /// Whether the provider did not say, and the tokens are estimated from the sizes.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub estimated: bool,
}

impl ChatUsage {
    /// Adds what another request has used.
    pub fn add(&mut self, other: &Self) {
        self.prompt_tokens += other.prompt_tokens;
        self.completion_tokens += other.completion_tokens;
        self.cached_tokens += other.cached_tokens;
        self.reasoning_tokens += other.reasoning_tokens;
        self.cost = cost::sum(self.cost, other.cost);
        self.estimated |= other.estimated;
    }
}

/// What a usage was stored as at first.
#[derive(Encode, Decode)]
pub(super) struct UsageV1 {
    pub(super) prompt_tokens: u64,
    pub(super) completion_tokens: u64,
    pub(super) cached_tokens: u64,
    pub(super) reasoning_tokens: u64,
}

impl From<UsageV1> for ChatUsage {
    fn from(old: UsageV1) -> Self {
        let UsageV1 { prompt_tokens, completion_tokens, cached_tokens, reasoning_tokens } = old;
        Self { prompt_tokens, completion_tokens, cached_tokens, reasoning_tokens, ..Self::default() }
    }
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

/// `chat.finished` as it was stored at first.
#[derive(Encode, Decode)]
pub(super) struct ChatFinishedV1 {
    turn: u32,
    finish_reason: String,
    usage: UsageV1,
    latency_ms: u64,
    first_token_ms: Option<u64>,
    error: Option<ErrorInfo>,
}

impl From<ChatFinishedV1> for ChatFinished {
    fn from(old: ChatFinishedV1) -> Self {
        let ChatFinishedV1 { turn, finish_reason, usage, latency_ms, first_token_ms, error } = old;
        Self { turn, finish_reason, usage: usage.into(), latency_ms, first_token_ms, error }
    }
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
