//! The wire format of chat completions: requests as they are sent, and chunks as they come. Pure.
//!
//! Many servers speak it and some do so sloppily: tool calls without an index, arguments as an object, a finish reason
//! that fits no tool calls, a whole answer where a stream was asked for. What can be understood is.

use super::backend::{ChatRequest, ModelError, Piece, excerpt};
use moonlog_core::message::{Message, Part, Role};
use moonlog_core::{event::ChatUsage, json::Json};
use serde_json::{Value, json};

/// The body of a request.
pub(super) fn request(model: &str, request: &ChatRequest) -> Value {
    let mut messages = Vec::new();
    if !request.system.is_empty() {
        messages.push(json!({ "role": "system", "content": request.system }));
    }
    for message in &request.messages {
        add_message(&mut messages, message);
    }
    let mut body = json!({
        "model": model,
        "messages": messages,
        "stream": true,
        "stream_options": { "include_usage": true },
    });
    if !request.tools.is_empty() {
        let tools = request.tools.iter().map(|tool| {
            let (name, description, parameters) = (&tool.name, &tool.description, &tool.input_schema);
            json!({ "type": "function", "function": { "name": name, "description": description, "parameters": parameters } })
        });
        body["tools"] = tools.collect();
    }
    if let Some(schema) = &request.schema {
        let schema = schema.to_value();
        body["response_format"] =
            json!({ "type": "json_schema", "json_schema": { "name": "answer", "schema": schema } });
    }
    body
}

fn add_message(messages: &mut Vec<Value>, message: &Message) {
    match message.role {
        Role::System => messages.push(json!({ "role": "system", "content": message.text() })),
        Role::User => messages.push(json!({ "role": "user", "content": user_content(message) })),
        Role::Assistant => {
            let (text, calls) = (message.text(), message.tool_calls().map(tool_call).collect::<Vec<_>>());
            let content = if text.is_empty() && !calls.is_empty() { Value::Null } else { text.into() };
            let mut said = json!({ "role": "assistant", "content": content });
            if !calls.is_empty() {
                said["tool_calls"] = calls.into();
            }
            messages.push(said);
        }
        Role::Tool => messages.extend(message.tool_results().map(
            |result| json!({ "role": "tool", "tool_call_id": result.call_id, "content": text_of(&result.output) }),
        )),
    }
}

fn tool_call(call: &moonlog_core::message::ToolCall) -> Value {
    let function = json!({ "name": call.name, "arguments": call.input.as_str() });
    json!({ "id": call.call_id, "type": "function", "function": function })
}

fn user_content(message: &Message) -> Value {
    if message.parts.iter().all(|part| matches!(part, Part::Text { .. })) {
        return message.text().into();
    }
    let parts = message.parts.iter().filter_map(|part| match part {
        Part::Text { text } => Some(json!({ "type": "text", "text": text })),
        Part::Image { url: Some(url), .. } => Some(json!({ "type": "image_url", "image_url": { "url": url } })),
        Part::Image { media_type, data: Some(data), .. } => {
            let url = format!("data:{};base64,{data}", media_type.as_deref().unwrap_or("image/png"));
            Some(json!({ "type": "image_url", "image_url": { "url": url } }))
        }
        _ => None,
    });
    parts.collect()
}

/// A value as a model reads it: a text as it is, anything else as JSON.
pub(super) fn text_of(value: &Json) -> String {
    value.to::<String>().unwrap_or_else(|_| value.to_string())
}

/// Reads an answer chunk by chunk.
#[derive(Default)]
pub(super) struct Chunks {
    /// The ids of the calls so far, by index; empty where a call had none.
    calls: Vec<String>,
    finished: bool,
}

impl Chunks {
    /// Whether the answer is whole.
    pub(super) const fn is_finished(&self) -> bool {
        self.finished
    }

    /// The pieces of one chunk.
    pub(super) fn read(&mut self, data: &str) -> Result<Vec<Piece>, ModelError> {
        let chunk: Value = serde_json::from_str(data)
            .map_err(|error| ModelError::broken(format!("a chunk is no JSON ({error}): {}", excerpt(data))))?;
        if let Some(error) = chunk.get("error").filter(|error| !error.is_null()) {
            return Err(error_of(error));
        }
        let mut pieces = Vec::new();
        let choice = chunk.pointer("/choices/0");
        if let Some(delta) = choice.and_then(|choice| choice.get("delta").or_else(|| choice.get("message"))) {
            for key in ["reasoning_content", "reasoning"] {
                if let Some(text) = text_at(delta, key) {
                    pieces.push(Piece::Reasoning(text));
                    break;
                }
            }
            pieces.extend(text_at(delta, "content").map(Piece::Text));
            pieces.extend(text_at(delta, "refusal").map(Piece::Text));
            let calls = delta.get("tool_calls").and_then(Value::as_array).into_iter().flatten();
            pieces.extend(calls.map(|call| self.call(call)));
        }
        if let Some(usage) = chunk.get("usage").filter(|usage| usage.is_object()) {
            pieces.push(Piece::Usage(usage_of(usage)));
        }
        if let Some(reason) = choice.and_then(|choice| choice.get("finish_reason")).and_then(Value::as_str) {
            self.finished = true;
            pieces.push(Piece::Finish(reason.into()));
        }
        if pieces.is_empty() {
            pieces.push(Piece::Heartbeat);
        }
        Ok(pieces)
    }

    /// A piece of a call. Without an index, a new id or a name begins the next call.
    fn call(&mut self, call: &Value) -> Piece {
        let id = call.get("id").and_then(Value::as_str).filter(|id| !id.is_empty());
        let function = call.get("function").unwrap_or(call);
        let name = function.get("name").and_then(Value::as_str).filter(|name| !name.is_empty());
        let index = match call.get("index").and_then(Value::as_u64) {
            Some(index) => usize::try_from(index).unwrap_or(usize::MAX).min(self.calls.len().max(MAX_CALLS)),
            None => match id {
                Some(id) => self.calls.iter().position(|known| known == id).unwrap_or(self.calls.len()),
                None if name.is_some() => self.calls.len(),
                None => self.calls.len().saturating_sub(1),
            },
        };
        while self.calls.len() <= index {
            self.calls.push(String::new());
        }
        let is_new = self.calls[index].is_empty();
        if let Some(id) = id {
            self.calls[index] = id.into();
        } else if is_new && name.is_some() {
            self.calls[index] = format!("#{index}");
        }
        let arguments = match function.get("arguments") {
            Some(Value::String(text)) => text.clone(),
            None | Some(Value::Null) => String::new(),
            Some(other) => other.to_string(),
        };
        let (id, name) = (id.filter(|_| is_new), name.filter(|_| is_new));
        Piece::ToolCall { index, id: id.map(Into::into), name: name.map(Into::into), arguments, signatures: Vec::new() }
    }
}

/// More calls than this in one answer are a fault of the server's.
const MAX_CALLS: usize = 1_024;

fn text_at(delta: &Value, key: &str) -> Option<String> {
    match delta.get(key)? {
        Value::String(text) if !text.is_empty() => Some(text.clone()),
        // Some give text as parts.
        Value::Array(parts) => {
            let text: String = parts.iter().filter_map(|part| part.get("text")?.as_str()).collect();
            (!text.is_empty()).then_some(text)
        }
        _ => None,
    }
}

fn usage_of(usage: &Value) -> ChatUsage {
    let at = |pointer: &str| usage.pointer(pointer).and_then(Value::as_u64);
    ChatUsage {
        prompt_tokens: at("/prompt_tokens").unwrap_or(0),
        completion_tokens: at("/completion_tokens").unwrap_or(0),
        cached_tokens: at("/prompt_tokens_details/cached_tokens")
            .or_else(|| at("/prompt_cache_hit_tokens"))
            .unwrap_or(0),
        reasoning_tokens: at("/completion_tokens_details/reasoning_tokens").unwrap_or(0),
        ..ChatUsage::default()
    }
}

/// An error that came inside a stream. Its `code` may be a status.
fn error_of(error: &Value) -> ModelError {
    let message = error.get("message").and_then(Value::as_str).map_or_else(|| error.to_string(), Into::into);
    let code = error.get("code").or_else(|| error.get("status"));
    let status = code.and_then(|code| code.as_u64().or_else(|| code.as_str()?.parse().ok())).unwrap_or(0);
    let kind = error.get("type").and_then(Value::as_str).unwrap_or("");
    match u16::try_from(status) {
        Ok(status @ 400..=599) => ModelError::of_status(status, &message, None),
        _ => {
            let error = ModelError::new("model_error", format!("the model's server gave up: {}", excerpt(&message)));
            let passes = ["server_error", "overloaded", "rate_limit", "timeout", "unavailable"];
            if passes.iter().any(|word| kind.contains(word)) { error.retryable() } else { error }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(chunks: &[Value]) -> Vec<Piece> {
        let mut reader = Chunks::default();
        let pieces = chunks.iter().flat_map(|chunk| reader.read(&chunk.to_string()).unwrap());
        pieces.filter(|piece| *piece != Piece::Heartbeat).collect()
    }

    fn delta(delta: Value) -> Value {
        json!({ "choices": [{ "index": 0, "delta": delta, "finish_reason": null }] })
    }

    fn call(index: usize, id: Option<&str>, name: Option<&str>, arguments: &str) -> Piece {
        Piece::ToolCall {
            index,
            id: id.map(Into::into),
            name: name.map(Into::into),
            arguments: arguments.into(),
            signatures: Vec::new(),
        }
    }

    #[test]
    fn text_reasoning_usage_and_the_end() {
        let usage = json!({ "prompt_tokens": 10, "completion_tokens": 4,
            "prompt_tokens_details": { "cached_tokens": 6 }, "completion_tokens_details": { "reasoning_tokens": 2 } });
        let pieces = read(&[
            delta(json!({ "role": "assistant", "content": "" })),
            delta(json!({ "reasoning_content": "hm" })),
            delta(json!({ "content": "Hello" })),
            json!({ "choices": [{ "delta": {}, "finish_reason": "stop" }] }),
            json!({ "choices": [], "usage": usage }),
        ]);
        let used = ChatUsage {
            prompt_tokens: 10,
            completion_tokens: 4,
            cached_tokens: 6,
            reasoning_tokens: 2,
            ..ChatUsage::default()
        };
        let expected = [
            Piece::Reasoning("hm".into()),
            Piece::Text("Hello".into()),
            Piece::Finish("stop".into()),
            Piece::Usage(used),
        ];
        assert_eq!(pieces, expected);
    }

    #[test]
    fn parallel_calls_with_and_without_index() {
        let first = |index: Option<u64>, id: &str, name: &str| {
            let mut call = json!({ "id": id, "type": "function", "function": { "name": name, "arguments": "" } });
            if let Some(index) = index {
                call["index"] = index.into();
            }
            delta(json!({ "tool_calls": [call] }))
        };
        let more = |index: Option<u64>, text: &str| {
            let mut call = json!({ "function": { "arguments": text } });
            if let Some(index) = index {
                call["index"] = index.into();
            }
            delta(json!({ "tool_calls": [call] }))
        };
        let expected = [
            call(0, Some("a"), Some("read"), ""),
            call(0, None, None, "{}"),
            call(1, Some("b"), Some("write"), ""),
            call(1, None, None, "{\"x\":1}"),
        ];
        for indexed in [true, false] {
            let at = |index: u64| indexed.then_some(index);
            let chunks =
                [first(at(0), "a", "read"), more(at(0), "{}"), first(at(1), "b", "write"), more(at(1), "{\"x\":1}")];
            assert_eq!(read(&chunks), expected, "indexed: {indexed}");
        }
        let whole = delta(json!({ "tool_calls": [
            { "function": { "name": "read", "arguments": { "path": "a" } } },
            { "function": { "name": "read", "arguments": { "path": "b" } } },
        ] }));
        let expected =
            [call(0, None, Some("read"), "{\"path\":\"a\"}"), call(1, None, Some("read"), "{\"path\":\"b\"}")];
        assert_eq!(read(&[whole]), expected);
    }

    #[test]
    fn an_error_in_the_stream_says_whether_it_passes() {
        for (error, status, retryable) in [
            (json!({ "message": "slow down", "code": 429 }), 429, true),
            (json!({ "message": "bad", "code": "400" }), 400, false),
            (json!({ "message": "busy", "type": "overloaded_error" }), 0, true),
            (json!({ "message": "no", "type": "invalid_request_error" }), 0, false),
        ] {
            let found = Chunks::default().read(&json!({ "error": error }).to_string()).unwrap_err();
            assert_eq!((found.status, found.retryable), (status, retryable), "{error}");
        }
        assert!(Chunks::default().read("<html>").unwrap_err().retryable);
    }
}
