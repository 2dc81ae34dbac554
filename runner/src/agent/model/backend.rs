//! The seam to what serves a model: a request goes in, normalised pieces of the answer come out.

use futures_util::{future::BoxFuture, stream::BoxStream};
use moonlog_core::message::Message;
use moonlog_core::{event::ChatUsage, json::Json};
use serde::Serialize;
use std::{sync::Arc, time::Duration};

/// A tool as a model is told of it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ToolSpec {
    /// Its name.
    pub name: String,
    /// What it is for.
    pub description: String,
    /// JSON Schema of its input.
    pub input_schema: serde_json::Value,
}

/// One request to a model.
#[derive(Debug, Clone)]
pub struct ChatRequest {
    /// How the model is to behave.
    pub system: String,
    /// The conversation so far; every tool call in it has a result.
    pub messages: Vec<Message>,
    /// What it may call.
    pub tools: Vec<ToolSpec>,
    /// JSON Schema of the answer, where one is asked for.
    pub schema: Option<Json>,
    /// Which turn of its conversation this is, 1-based.
    pub turn: u32,
    /// Which attempt at the turn this is, 1-based.
    pub attempt: u32,
}

/// A piece of an answer.
#[derive(Debug, Clone, PartialEq)]
pub enum Piece {
    /// More text.
    Text(String),
    /// More reasoning.
    Reasoning(String),
    /// More of a tool call.
    ToolCall {
        /// Which of the answer's calls.
        index: usize,
        /// The provider's id for it, in the first piece.
        id: Option<String>,
        /// The tool, in the first piece.
        name: Option<String>,
        /// More of its arguments' JSON text.
        arguments: String,
        /// What the provider wants to see again beside the call.
        signatures: Vec<String>,
    },
    /// What the request has used; the last one counts.
    Usage(ChatUsage),
    /// Why the model stopped.
    Finish(String),
    /// The stream is alive.
    Heartbeat,
}

/// Why there is no answer, or only a part of one.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("{message}")]
pub struct ModelError {
    /// Stable, in snake_case.
    pub code: &'static str,
    /// What went wrong.
    pub message: String,
    /// The HTTP status, 0 where there was none.
    pub status: u16,
    /// Whether the same request may succeed later.
    pub retryable: bool,
    /// How long the provider asks to wait.
    pub retry_after: Option<Duration>,
}

impl ModelError {
    /// A failure that is not one of HTTP.
    pub fn new(code: &'static str, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), status: 0, retryable: false, retry_after: None }
    }

    /// The same, where another try may succeed.
    #[must_use]
    pub const fn retryable(mut self) -> Self {
        self.retryable = true;
        self
    }

    /// An answer with a status that is no success. 408, 429 and what starts with 5 (529 is "overloaded") may pass.
    pub fn of_status(status: u16, body: &str, retry_after: Option<Duration>) -> Self {
        Self {
            code: if status == 429 { "rate_limited" } else { "model_status" },
            message: format!("the model's server answered {status}: {}", excerpt(body)),
            status,
            retryable: matches!(status, 408 | 409 | 425 | 429 | 500..=599),
            retry_after,
        }
    }

    /// A stream that ended before the answer did.
    pub fn broken(why: impl std::fmt::Display) -> Self {
        Self::new("stream_broken", format!("the model's stream broke: {why}")).retryable()
    }
}

/// The beginning of a text that somebody else wrote, for an error message.
pub(super) fn excerpt(text: &str) -> String {
    const SHOWN_CHARS: usize = 300;
    let mut shown: String = text.trim().chars().take(SHOWN_CHARS).collect();
    if shown.len() < text.trim().len() {
        shown.push('…');
    }
    shown
}

/// An answer as it arrives. It ends after the last piece of a whole answer, or with an error.
pub type Pieces = BoxStream<'static, Result<Piece, ModelError>>;

/// What serves a model.
pub trait Backend: Send + Sync {
    /// Such as `openai`.
    fn name(&self) -> &'static str;

    /// Sends a request. Comes when the answer begins.
    fn chat(&self, request: Arc<ChatRequest>) -> BoxFuture<'static, Result<Pieces, ModelError>>;
}
