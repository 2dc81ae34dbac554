//! Anthropic and Gemini, through a package that speaks their formats. It makes one request and no retries; keys come
//! from the configuration alone, never from variables of its own choice.

use super::{
    backend::{Backend, ChatRequest, ModelError, Piece, Pieces},
    openai::{message_of, retry_after, unreachable},
    openai_wire::text_of,
    options::{ModelOptions, Provider},
};
use futures_util::{FutureExt, StreamExt, future::BoxFuture, stream};
use genai::{
    Client, ModelIden, ServiceTarget,
    adapter::AdapterKind,
    chat::{
        ChatMessage, ChatOptions, ChatResponseFormat, ChatStream, ChatStreamEvent, ContentPart, JsonSpec,
        MessageContent, StopReason, StreamEnd, Tool, ToolCall, ToolResponse, Usage,
    },
    resolver::{AuthData, Endpoint},
};
use moonlog_core::message::{Message, Part, Role};
use moonlog_core::{error_info::ErrorInfo, event::ChatUsage, json::Json};
use reqwest::Url;
use serde_json::Value;
use std::{collections::VecDeque, sync::Arc};

pub(super) struct Providers {
    client: Client,
    provider: Provider,
    target: ServiceTarget,
}

impl Providers {
    pub(super) fn new(name: &str, client: reqwest::Client, options: &ModelOptions) -> Result<Self, ErrorInfo> {
        let (kind, default, version) = match options.provider {
            Provider::Gemini => (AdapterKind::Gemini, "https://generativelanguage.googleapis.com", "v1beta/"),
            _ => (AdapterKind::Anthropic, "https://api.anthropic.com", "v1/"),
        };
        let fault = |what: String| ErrorInfo::new("invalid_model", format!("models.{name}: {what}"));
        let base = options.base_url.as_deref().unwrap_or(default);
        let mut url = Url::parse(base).map_err(|error| fault(format!("base_url `{base}` is no address: {error}")))?;
        match url.path() {
            "" | "/" => url.set_path(version),
            path if !path.ends_with('/') => url.set_path(&format!("{path}/")),
            _ => {}
        }
        let key = options.api_key.as_ref().map_or("none", |key| key.reveal());
        let client = Client::builder().with_reqwest(client).build().map_err(|error| fault(error.to_string()))?;
        let target = ServiceTarget {
            endpoint: Endpoint::from_owned(url.as_str()),
            auth: AuthData::from_single(key),
            model: ModelIden::new(kind, options.model.as_str()),
        };
        Ok(Self { client, provider: options.provider, target })
    }
}

impl Backend for Providers {
    fn name(&self) -> &'static str {
        self.provider.name()
    }

    fn chat(&self, chat: Arc<ChatRequest>) -> BoxFuture<'static, Result<Pieces, ModelError>> {
        let (client, target) = (self.client.clone(), self.target.clone());
        async move {
            let mut options = ChatOptions::default().with_capture_usage(true).with_capture_tool_calls(true);
            // Their own enforcement of a schema does not go with tools.
            if let Some(schema) = chat.schema.as_ref().filter(|_| chat.tools.is_empty()) {
                let spec = JsonSpec::new("answer", schema.to_value());
                options = options.with_response_format(ChatResponseFormat::JsonSpec(spec));
            }
            let answer = client.exec_chat_stream(target, request(&chat), Some(&options)).await.map_err(failure)?;
            let reading = Reading { stream: answer.stream, calls: Vec::new(), ready: VecDeque::new(), over: false };
            let pieces =
                stream::unfold(
                    reading,
                    |mut reading| async move { reading.next().await.map(|piece| (piece, reading)) },
                );
            // The request itself is made with the first poll: a refusal is told as such, not as a broken stream.
            let mut pieces = pieces.boxed();
            match pieces.next().await {
                Some(Err(error)) => Err(error),
                Some(Ok(first)) => Ok(stream::iter([Ok(first)]).chain(pieces).boxed()),
                None => Err(ModelError::broken("it ended before the answer began")),
            }
        }
        .boxed()
    }
}

fn request(chat: &ChatRequest) -> genai::chat::ChatRequest {
    let messages = chat.messages.iter().map(message).collect();
    let mut request = genai::chat::ChatRequest::from_messages(messages);
    if !chat.system.is_empty() {
        request = request.with_system(chat.system.as_str());
    }
    let tools = chat.tools.iter().map(|tool| {
        Tool::new(tool.name.as_str()).with_description(tool.description.as_str()).with_schema(tool.input_schema.clone())
    });
    if chat.tools.is_empty() { request } else { request.with_tools(tools.collect::<Vec<_>>()) }
}

fn message(message: &Message) -> ChatMessage {
    let parts = message.parts.iter().filter_map(|part| match part {
        Part::Text { text } => Some(ContentPart::from_text(text.as_str())),
        // Thoughts without the provider's signature are refused.
        Part::Reasoning { .. } => None,
        Part::Image { media_type, data, url } => {
            let media_type = media_type.as_deref().unwrap_or("image/png");
            match (data, url) {
                (Some(data), _) => Some(ContentPart::from_binary_base64(media_type, data.as_str(), None)),
                (None, Some(url)) => Some(ContentPart::from_binary_url(media_type, url.as_str(), None)),
                (None, None) => None,
            }
        }
        Part::ToolCall(call) => Some(ContentPart::ToolCall(ToolCall {
            call_id: call.call_id.clone(),
            fn_name: call.name.clone(),
            fn_arguments: match call.input.to_value() {
                input @ Value::Object(_) => input,
                _ => Value::Object(serde_json::Map::new()),
            },
            thought_signatures: (!call.signatures.is_empty()).then(|| call.signatures.clone()),
        })),
        Part::ToolResult(result) => Some(ContentPart::ToolResponse(
            ToolResponse::new(result.call_id.as_str(), text_of(&result.output)).with_fn_name(result.name.as_str()),
        )),
    });
    let content = MessageContent::from_parts(parts.collect::<Vec<_>>());
    match message.role {
        Role::System => ChatMessage::system(content),
        Role::User => ChatMessage::user(content),
        Role::Assistant => ChatMessage::assistant(content),
        Role::Tool => ChatMessage::tool(content),
    }
}

struct Reading {
    stream: ChatStream,
    /// The calls so far: id, and how much of the arguments was given on.
    calls: Vec<(String, usize)>,
    ready: VecDeque<Piece>,
    over: bool,
}

impl Reading {
    async fn next(&mut self) -> Option<Result<Piece, ModelError>> {
        loop {
            if let Some(piece) = self.ready.pop_front() {
                return Some(Ok(piece));
            }
            if self.over {
                return None;
            }
            match self.stream.next().await {
                Some(Ok(event)) => self.take(event),
                Some(Err(error)) => {
                    self.over = true;
                    return Some(Err(failure(error)));
                }
                None => {
                    self.over = true;
                    return Some(Err(ModelError::broken("it ended before the answer did")));
                }
            }
        }
    }

    fn take(&mut self, event: ChatStreamEvent) {
        match event {
            ChatStreamEvent::Chunk(chunk) => self.ready.push_back(Piece::Text(chunk.content)),
            ChatStreamEvent::ReasoningChunk(chunk) => self.ready.push_back(Piece::Reasoning(chunk.content)),
            ChatStreamEvent::ToolCallChunk(chunk) => {
                let piece = self.call(chunk.tool_call);
                self.ready.push_back(piece);
            }
            ChatStreamEvent::Heartbeat => self.ready.push_back(Piece::Heartbeat),
            ChatStreamEvent::End(end) => self.end(end),
            ChatStreamEvent::Start | ChatStreamEvent::ThoughtSignatureChunk(_) => {}
        }
    }

    /// The package gives a call's arguments as they stand so far, or whole as a value.
    fn call(&mut self, call: ToolCall) -> Piece {
        let text = match call.fn_arguments {
            Value::String(text) => text,
            Value::Null => String::new(),
            value => Json::from(value).to_string(),
        };
        let known = self.calls.iter().position(|(id, _)| *id == call.call_id && !id.is_empty());
        let index = known.unwrap_or_else(|| {
            self.calls.push((call.call_id.clone(), 0));
            self.calls.len() - 1
        });
        let seen = std::mem::replace(&mut self.calls[index].1, text.len());
        let arguments = text.get(seen..).unwrap_or_default().to_owned();
        let is_new = known.is_none();
        Piece::ToolCall {
            index,
            id: Some(call.call_id).filter(|id| is_new && !id.is_empty()),
            name: Some(call.fn_name).filter(|_| is_new),
            arguments,
            signatures: call.thought_signatures.unwrap_or_default(),
        }
    }

    fn end(&mut self, mut end: StreamEnd) {
        self.over = true;
        if let Some(usage) = end.captured_usage.take() {
            self.ready.push_back(Piece::Usage(usage_of(&usage)));
        }
        for (index, call) in end.captured_tool_calls().unwrap_or_default().into_iter().enumerate() {
            if let Some(signatures) = call.thought_signatures.clone().filter(|_| index < self.calls.len()) {
                let piece = Piece::ToolCall { index, id: None, name: None, arguments: String::new(), signatures };
                self.ready.push_back(piece);
            }
        }
        let reason = match end.captured_stop_reason {
            None | Some(StopReason::Completed(_) | StopReason::StopSequence(_)) => "stop".into(),
            Some(StopReason::MaxTokens(_)) => "length".into(),
            Some(StopReason::ToolCall(_)) => "tool_calls".into(),
            Some(StopReason::ContentFilter(_)) => "content_filter".into(),
            Some(StopReason::Other(reason)) => reason,
        };
        self.ready.push_back(Piece::Finish(reason));
    }
}

fn usage_of(usage: &Usage) -> ChatUsage {
    let count = |tokens: Option<i32>| u64::try_from(tokens.unwrap_or(0)).unwrap_or(0);
    ChatUsage {
        prompt_tokens: count(usage.prompt_tokens),
        completion_tokens: count(usage.completion_tokens),
        cached_tokens: count(usage.prompt_tokens_details.as_ref().and_then(|details| details.cached_tokens)),
        reasoning_tokens: count(usage.completion_tokens_details.as_ref().and_then(|details| details.reasoning_tokens)),
        ..ChatUsage::default()
    }
}

fn failure(error: genai::Error) -> ModelError {
    if let genai::Error::WebStream { error, cause, .. } = error {
        return match error.downcast::<genai::Error>() {
            Ok(inner) => failure(*inner),
            Err(other) => match other.downcast::<reqwest::Error>() {
                Ok(http) if http.is_connect() => unreachable(&http),
                _ => ModelError::broken(cause),
            },
        };
    }
    if let genai::Error::HttpError { status, body, headers, .. } = &error {
        return ModelError::of_status(status.as_u16(), &message_of(body), retry_after(headers));
    }
    if let genai::Error::ChatResponse { body, .. } = &error {
        let said =
            ModelError::new("model_error", format!("the model's server gave up: {}", message_of(&body.to_string())));
        let passes = ["overloaded", "rate_limit", "api_error", "internal", "timeout", "UNAVAILABLE"];
        return if passes.iter().any(|word| body.to_string().contains(word)) { said.retryable() } else { said };
    }
    if let genai::Error::StreamParse { .. } | genai::Error::JsonValueExt(_) = &error {
        return ModelError::broken(&error);
    }
    ModelError::new("model_error", error.to_string())
}
