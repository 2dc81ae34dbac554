//! What a conversation is made of: messages of parts, as `chat.message_added` records them.

use crate::{
    codec::{Decode, Encode},
    event::StepOutcome,
    json::Json,
};
use serde::{Deserialize, Serialize};

/// Who says a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Encode, Decode)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Who set the agent up.
    System,
    /// Who asks.
    User,
    /// The model.
    Assistant,
    /// The tools that the model called.
    Tool,
}

impl Role {
    /// As it stands in events.
    pub const fn name(self) -> &'static str {
        match self {
            Self::System => "system",
            Self::User => "user",
            Self::Assistant => "assistant",
            Self::Tool => "tool",
        }
    }

    /// The role of this name.
    pub fn of(name: &str) -> Option<Self> {
        [Self::System, Self::User, Self::Assistant, Self::Tool].into_iter().find(|role| role.name() == name)
    }
}

/// A call that a model asks for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Encode, Decode)]
pub struct ToolCall {
    /// Unique within its conversation.
    pub call_id: String,
    /// The tool.
    pub name: String,
    /// Its input; where the model wrote something that is no JSON, that text.
    pub input: Json,
    /// What the provider wants to see again beside the call.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub signatures: Vec<String>,
}

/// What a call gave.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Encode, Decode)]
pub struct ToolResult {
    /// The call.
    pub call_id: String,
    /// The tool.
    pub name: String,
    /// How it ended.
    pub outcome: StepOutcome,
    /// What the model is told.
    pub output: Json,
}

/// A part of a message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Encode, Decode)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Part {
    /// Text.
    Text {
        /// The text.
        text: String,
    },
    /// What a model thought before it answered.
    Reasoning {
        /// The text.
        text: String,
    },
    /// A picture, as bytes or as an address.
    Image {
        /// Such as `image/png`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        media_type: Option<String>,
        /// The bytes in base64.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        data: Option<String>,
        /// Where it is.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        url: Option<String>,
    },
    /// A call that the model asks for.
    ToolCall(ToolCall),
    /// What a call gave.
    ToolResult(ToolResult),
}

impl Part {
    /// A text.
    pub fn text(text: impl Into<String>) -> Self {
        Self::Text { text: text.into() }
    }
}

/// A message of a conversation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Encode, Decode)]
pub struct Message {
    /// Unique within its conversation.
    pub id: String,
    /// Who says it.
    pub role: Role,
    /// What it says.
    pub parts: Vec<Part>,
    /// The turn it belongs to.
    pub turn: u32,
}

impl Message {
    /// All its text, without reasoning.
    pub fn text(&self) -> String {
        let texts = self.parts.iter().filter_map(|part| match part {
            Part::Text { text } => Some(text.as_str()),
            _ => None,
        });
        texts.collect()
    }

    /// The calls that it asks for.
    pub fn tool_calls(&self) -> impl Iterator<Item = &ToolCall> {
        self.parts.iter().filter_map(|part| match part {
            Part::ToolCall(call) => Some(call),
            _ => None,
        })
    }

    /// The results that it gives.
    pub fn tool_results(&self) -> impl Iterator<Item = &ToolResult> {
        self.parts.iter().filter_map(|part| match part {
            Part::ToolResult(result) => Some(result),
            _ => None,
        })
    }
}
