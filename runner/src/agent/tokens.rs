//! How many tokens something has, roughly: about four bytes each. Only for what no provider has counted yet.

use super::model::ChatRequest;
use moonlog_core::{
    event::ChatUsage,
    message::{Message, Part},
};

/// What an image counts for: about that of a medium-sized one at the providers that say so.
const IMAGE_TOKENS: u64 = 1_000;

/// Tokens of so many bytes of text.
pub fn of_bytes(bytes: usize) -> u64 {
    (bytes as u64).div_ceil(4)
}

/// Tokens of a message.
pub fn of_message(message: &Message) -> u64 {
    let parts = message.parts.iter().map(|part| match part {
        Part::Text { text } | Part::Reasoning { text } => of_bytes(text.len()),
        Part::Image { .. } => IMAGE_TOKENS,
        Part::ToolCall(call) => of_bytes(call.name.len() + call.input.as_str().len()),
        Part::ToolResult(result) => of_bytes(result.output.as_str().len()),
    });
    4 + parts.sum::<u64>()
}

/// What a request and an answer of so many bytes have used, where the provider does not say.
pub fn estimate(request: &ChatRequest, answer_bytes: usize) -> ChatUsage {
    let tools: usize =
        request.tools.iter().map(|tool| tool.description.len() + tool.input_schema.to_string().len()).sum();
    ChatUsage {
        prompt_tokens: request.messages.iter().map(of_message).sum::<u64>() + of_bytes(request.system.len() + tools),
        completion_tokens: of_bytes(answer_bytes),
        estimated: true,
        ..ChatUsage::default()
    }
}
