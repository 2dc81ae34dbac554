//! What comes from elsewhere: bundles, streams of servers and of models, requests of one process to another.

use super::LONG;
use futures_util::StreamExt;
use moonlog_api::{bundle, cli::sse::Parser};
use moonlog_core::{
    json::Json,
    message::{Message, Part, Role},
};
use moonlog_runner::{
    agent::model::{ChatRequest, ModelOptions, Models, ModelsOptions, Piece, Provider},
    process,
};
use std::{
    collections::BTreeMap,
    io::{Read, Write},
    net::TcpListener,
    sync::{Arc, Mutex, OnceLock},
    time::{Duration, Instant},
};
use tokio::runtime::Runtime;

/// A bundle that is imported.
pub fn bundle(data: &[u8]) {
    let _ = bundle::Bundle::read(data);
}

/// A bundle that may be compressed: whatever it unpacks to, no more of it is read than is let through.
pub fn bundle_packed(data: &[u8]) {
    let begun = Instant::now();
    if let Ok(unpacked) = bundle::unpacked(data) {
        let mut bytes = Vec::new();
        let _ = unpacked.take(1 << 20).read_to_end(&mut bytes);
        let _ = bundle::Bundle::read(&bytes[..]);
    }
    if let Ok(unpacked) = bundle::unpacked(data) {
        let _ = bundle::Bundle::read(unpacked.take(1 << 20));
    }
    assert!(begun.elapsed() < LONG, "a bundle took {:?}", begun.elapsed());
}

/// A feed as the command line reads it: `length of pieces u8 · bytes`. However it is cut, the same comes out.
pub fn client_stream(data: &[u8]) {
    let [length, bytes @ ..] = data else { return };
    let mut whole = Parser::default();
    let all = whole.feed(bytes);
    let mut parser = Parser::default();
    let cut: Vec<_> = bytes.chunks(usize::from(*length).max(1)).flat_map(|piece| parser.feed(piece)).collect();
    assert_eq!(all, cut);
    assert_eq!(whole.last_id(), parser.last_id());
}

/// What the process host is asked.
pub fn host_request(data: &[u8]) {
    process::decoders::spawn_request(data);
}

/// A model's answer: `provider u8 · status and form u8 · body`. Over a real socket, as the packages that read it are not
/// ours. It is read to its end, or refused with an error that has a code.
pub fn model_stream(data: &[u8]) {
    let [provider, form, body @ ..] = data else { return };
    let providers = providers();
    let name = ["openai", "anthropic", "gemini"][usize::from(*provider) % 3];
    let status = if form & 7 == 7 { "500 Internal Server Error" } else { "200 OK" };
    let media = if form & 8 == 8 { "application/json" } else { "text/event-stream" };
    let head = format!("HTTP/1.1 {status}\r\ncontent-type: {media}\r\nconnection: close\r\n\r\n");
    *providers.answer.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = [head.as_bytes(), body].concat();
    let begun = Instant::now();
    let model = providers.models.get(Some(name)).expect("it is configured");
    let message = Message { id: "u".into(), role: Role::User, parts: vec![Part::text("hello")], turn: 1 };
    let request = ChatRequest {
        system: String::new(),
        messages: vec![message],
        tools: Vec::new(),
        schema: (form & 16 == 16).then(|| Json::from_written("{\"type\":\"object\"}".into())),
        turn: 1,
        attempt: 1,
    };
    providers.runtime.block_on(async {
        let read = async {
            let mut pieces = match model.backend.chat(Arc::new(request)).await {
                Ok(pieces) => pieces,
                Err(error) => return assert!(!error.code.is_empty() && !error.message.is_empty()),
            };
            let mut ended = false;
            while let Some(piece) = pieces.next().await {
                assert!(!ended, "an error is the last that is said");
                match piece {
                    Ok(Piece::ToolCall { index, .. }) => assert!(index <= body.len() + 1_024, "{index}"),
                    Ok(_) => {}
                    Err(error) => {
                        assert!(!error.code.is_empty());
                        ended = true;
                    }
                }
            }
        };
        tokio::time::timeout(LONG, read).await.expect("an answer that ends is read to its end");
    });
    assert!(begun.elapsed() < LONG, "an answer took {:?}", begun.elapsed());
}

struct Providers {
    runtime: Runtime,
    models: Models,
    /// What the server answers with.
    answer: Arc<Mutex<Vec<u8>>>,
}

fn providers() -> &'static Providers {
    static PROVIDERS: OnceLock<Providers> = OnceLock::new();
    PROVIDERS.get_or_init(|| {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("it has one");
        let answer = Arc::new(Mutex::new(Vec::new()));
        let said = answer.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let Ok(mut stream) = stream else { continue };
                let _ = stream.set_read_timeout(Some(Duration::from_secs(5)));
                read_request(&mut stream);
                let answer = said.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone();
                let _ = stream.write_all(&answer);
            }
        });
        let model = |provider| {
            let options = ModelOptions::new(provider, "some-model");
            ModelOptions { base_url: Some(format!("http://{address}/v1")), ..options }
        };
        let all = [Provider::OpenAi, Provider::Anthropic, Provider::Gemini];
        let models: BTreeMap<_, _> =
            all.into_iter().map(|provider| (provider.name().to_owned(), model(provider))).collect();
        let models = Models::new(ModelsOptions { models, ..ModelsOptions::default() });
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        Providers { runtime, models, answer }
    })
}

/// Reads the request, so that closing the socket resets nothing.
fn read_request(stream: &mut std::net::TcpStream) {
    let (mut seen, mut piece) = (Vec::new(), [0; 4_096]);
    loop {
        if let Some(at) = seen.windows(4).position(|four| four == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&seen[..at]).to_ascii_lowercase();
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")?.trim().parse().ok());
            if seen.len() >= at + 4 + length.unwrap_or(0_usize) {
                return;
            }
        }
        match stream.read(&mut piece) {
            Ok(0) | Err(_) => return,
            Ok(count) => seen.extend_from_slice(&piece[..count]),
        }
    }
}
