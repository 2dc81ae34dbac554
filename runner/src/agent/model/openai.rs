//! Any endpoint that serves chat completions.
//!
//! An adaptor of its own rather than the package that speaks to the other providers: the servers behind this format
//! differ in ways that have to be met one by one, and a limit on a line has to be kept while it is read.

use super::{
    backend::{Backend, ChatRequest, ModelError, Piece, Pieces},
    openai_wire::{Chunks, request},
    options::{ApiKey, ModelOptions},
};
use bytes::Bytes;
use eventsource_stream::{EventStreamError, Eventsource};
use futures_util::{FutureExt, StreamExt, future::BoxFuture, stream};
use reqwest::{
    Client, Response,
    header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue, RETRY_AFTER},
};
use std::{collections::VecDeque, sync::Arc, time::Duration};

/// The longest line of a stream. A chunk is a few hundred bytes; a line of megabytes is no answer.
const LINE_MAX_BYTES: usize = 4 << 20;

/// How much of an answer that is no stream is read.
const ANSWER_MAX_BYTES: usize = 16 << 20;

const DEFAULT_URL: &str = "https://api.openai.com/v1";

pub(super) struct OpenAi {
    client: Client,
    url: String,
    model: String,
    key: Option<ApiKey>,
}

impl OpenAi {
    pub(super) fn new(client: Client, options: &ModelOptions) -> Self {
        let base = options.base_url.as_deref().unwrap_or(DEFAULT_URL).trim_end_matches('/');
        Self {
            client,
            url: format!("{base}/chat/completions"),
            model: options.model.clone(),
            key: options.api_key.clone(),
        }
    }
}

impl Backend for OpenAi {
    fn name(&self) -> &'static str {
        "openai"
    }

    fn chat(&self, chat: Arc<ChatRequest>) -> BoxFuture<'static, Result<Pieces, ModelError>> {
        let mut sent = self.client.post(&self.url).json(&request(&self.model, &chat));
        if let Some(key) = &self.key {
            match HeaderValue::from_str(&format!("Bearer {}", key.reveal())) {
                Ok(mut value) => {
                    value.set_sensitive(true);
                    sent = sent.header(AUTHORIZATION, value);
                }
                Err(_) => {
                    let error = ModelError::new("invalid_api_key", "the model's key holds bytes that no header may");
                    return std::future::ready(Err(error)).boxed();
                }
            }
        }
        async move {
            let response = sent.send().await.map_err(|error| unreachable(&error))?;
            let status = response.status();
            if !status.is_success() {
                let retry_after = retry_after(response.headers());
                let body = read(response).await.unwrap_or_default();
                return Err(ModelError::of_status(status.as_u16(), &message_of(&body), retry_after));
            }
            let is_json = response.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
            if is_json.is_some_and(|value| value.starts_with("application/json")) {
                return whole(&read(response).await?);
            }
            Ok(pieces(response))
        }
        .boxed()
    }
}

/// Why no answer came. The address is left out: it may hold a password.
pub(super) fn unreachable(error: &reqwest::Error) -> ModelError {
    let mut cause: &dyn std::error::Error = error;
    while let Some(next) = cause.source() {
        cause = next;
    }
    let what =
        if error.is_connect() { "cannot connect to the model's server" } else { "no answer from the model's server" };
    ModelError::new("model_unreachable", format!("{what}: {cause}")).retryable()
}

/// `Retry-After` in seconds; `retry-after-ms` is more exact where a server sends it. A date is not waited for.
pub(super) fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let number = |name: &str| headers.get(name)?.to_str().ok()?.trim().parse::<f64>().ok().filter(|n| *n >= 0.0);
    let ms = number("retry-after-ms").or_else(|| number(RETRY_AFTER.as_str()).map(|seconds| seconds * 1_000.0))?;
    Some(Duration::from_millis(ms as u64))
}

/// What an error's body says.
pub(super) fn message_of(body: &str) -> String {
    let json: Option<serde_json::Value> = serde_json::from_str(body).ok();
    let said = json.as_ref().and_then(|json| {
        let error = json.get("error").unwrap_or(json);
        error.get("message").or(Some(error))?.as_str()
    });
    said.map_or_else(|| body.to_owned(), Into::into)
}

async fn read(mut response: Response) -> Result<String, ModelError> {
    let mut body = Vec::new();
    while let Some(piece) = response.chunk().await.map_err(ModelError::broken)? {
        if body.len() + piece.len() > ANSWER_MAX_BYTES {
            return Err(ModelError::new(
                "answer_too_large",
                format!("the answer has more than {ANSWER_MAX_BYTES} bytes"),
            ));
        }
        body.extend_from_slice(&piece);
    }
    Ok(String::from_utf8_lossy(&body).into_owned())
}

/// The pieces of an answer that came at once though a stream was asked for.
fn whole(body: &str) -> Result<Pieces, ModelError> {
    let mut chunks = Chunks::default();
    let pieces = chunks.read(body)?;
    Ok(stream::iter(pieces.into_iter().map(Ok)).boxed())
}

fn pieces(response: Response) -> Pieces {
    let mut line = 0;
    let bytes = response.bytes_stream().map(move |piece| {
        let piece = piece.map_err(ModelError::broken)?;
        line = longest_line(line, &piece)?;
        Ok::<Bytes, ModelError>(piece)
    });
    let state =
        Reading { events: bytes.eventsource().boxed(), chunks: Chunks::default(), ready: VecDeque::new(), over: false };
    stream::unfold(state, |mut state| async move { state.next().await.map(|piece| (piece, state)) }).boxed()
}

/// How long the line is that a piece leaves open, where none is too long.
fn longest_line(open: usize, piece: &[u8]) -> Result<usize, ModelError> {
    let mut length = open;
    for (at, line) in piece.split(|byte| *byte == b'\n').enumerate() {
        length = if at == 0 { length + line.len() } else { line.len() };
        if length > LINE_MAX_BYTES {
            let why = format!("a line of the model's stream has more than {LINE_MAX_BYTES} bytes, which is the limit");
            return Err(ModelError::new("line_too_long", why));
        }
    }
    Ok(length)
}

type Events = stream::BoxStream<'static, Result<eventsource_stream::Event, EventStreamError<ModelError>>>;

struct Reading {
    events: Events,
    chunks: Chunks,
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
            match self.events.next().await {
                Some(Ok(event)) if event.data.trim() == "[DONE]" => self.over = true,
                Some(Ok(event)) if event.data.trim().is_empty() => {}
                Some(Ok(event)) => match self.chunks.read(&event.data) {
                    Ok(pieces) => self.ready.extend(pieces),
                    Err(error) => return self.fail(error),
                },
                Some(Err(EventStreamError::Transport(error))) => {
                    // Usage comes behind the finish reason; an answer that is whole is not spoiled by what follows.
                    if self.chunks.is_finished() {
                        return None;
                    }
                    return self.fail(error);
                }
                Some(Err(error)) => return self.fail(ModelError::broken(error)),
                None if self.chunks.is_finished() => return None,
                None => return self.fail(ModelError::broken("it ended before the answer did")),
            }
        }
    }

    fn fail(&mut self, error: ModelError) -> Option<Result<Piece, ModelError>> {
        self.over = true;
        Some(Err(error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_measured_over_pieces() {
        let mebibyte = vec![b'x'; 1 << 20];
        let mut open = 0;
        for _ in 0..4 {
            open = longest_line(open, &mebibyte).unwrap();
        }
        assert_eq!(longest_line(open, &mebibyte).unwrap_err().code, "line_too_long");
        assert_eq!(longest_line(open, b"\nabc").unwrap(), 3);
    }

    #[test]
    fn retry_after_is_read_in_seconds_and_milliseconds() {
        let headers = |name: &'static str, value: &'static str| {
            HeaderMap::from_iter([(reqwest::header::HeaderName::from_static(name), HeaderValue::from_static(value))])
        };
        assert_eq!(retry_after(&headers("retry-after", "2")), Some(Duration::from_secs(2)));
        assert_eq!(retry_after(&headers("retry-after-ms", "150")), Some(Duration::from_millis(150)));
        assert_eq!(retry_after(&headers("retry-after", "Wed, 21 Oct 2015 07:28:00 GMT")), None);
    }
}
