//! Agents against model servers that were not written here, and against one that breaks what it answers.

use moonlog_tests::{ModelServer, RawServer, STALL, Server, Settings, eventually};
use serde_json::{Value, json};
use std::{path::Path, sync::atomic::Ordering};

fn model(provider: &str, url: &str, more: &str) -> String {
    format!(
        "[models.main]\nprovider = \"{provider}\"\nbase_url = \"{url}\"\nmodel = \"some-model\"\napi_key_env = \"MODEL_KEY\"\n{more}\n"
    )
}

async fn server(folder: &Path, config: String) -> Server {
    let settings = Settings { config, env: vec![("MODEL_KEY".into(), "test-key-1234".into())], before: None };
    Server::start_with(folder, &settings).await
}

const ASK: &str =
    "local text, info = agent('please list the files', { tools = { 'execute', 'read_file' }, system = 'Be brief.' })
    return { text = text, turns = text and info.turns, error = not text and info or nil }";

/// What each of three providers streams: two calls at once, then an answer.
fn two_calls() -> Value {
    json!({ "fixtures": [
        { "match": { "hasToolResult": true }, "response": { "content": "There are two files, a and b." } },
        { "match": { "userMessage": "list the files" }, "response": { "toolCalls": [
            { "name": "execute", "arguments": { "command": "echo a b" }, "id": "call_first" },
            { "name": "execute", "arguments": { "command": "echo c" }, "id": "call_second" },
        ] } },
    ] })
}

#[tokio::test(flavor = "multi_thread")]
async fn three_providers_stream_text_and_parallel_calls() {
    let folder = tempfile::tempdir().unwrap();
    let Some(mock) = ModelServer::aimock(folder.path(), &two_calls(), &["--chunk-size", "7"]).await else { return };
    for (provider, path) in [("openai", "/v1"), ("anthropic", ""), ("gemini", "")] {
        let place = tempfile::tempdir().unwrap();
        let server = server(place.path(), model(provider, &format!("{}{path}", mock.url()), "")).await;
        let job = server.run(ASK).await;
        let expected = json!({ "text": "There are two files, a and b.", "turns": 2 });
        assert_eq!(job["result"], expected, "{provider}: {job}");
        let tools = server.events_of(&job, "tool.finished").await;
        assert_eq!(tools.len(), 2, "{provider}: {tools:?}");
        assert!(tools.iter().all(|tool| tool["data"]["outcome"] == "ok"), "{provider}: {tools:?}");
        let chats = server.events_of(&job, "chat.started,chat.finished").await;
        assert_eq!(chats[0]["data"]["backend"], provider);
        let usage = &chats[3]["data"]["usage"];
        // The mock counts for one of them alone.
        if provider == "openai" {
            assert!(usage["prompt_tokens"].as_u64().unwrap() > 0, "{usage}");
        }
        let deltas = server.events_of(&job, "chat.delta").await;
        let text: String = deltas
            .iter()
            .filter(|delta| delta["data"]["turn"] == 2)
            .filter_map(|delta| delta["data"]["text"].as_str())
            .collect();
        assert_eq!(text, "There are two files, a and b.", "{provider}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_busy_is_asked_again_when_it_says() {
    let folder = tempfile::tempdir().unwrap();
    let fixtures = json!({ "fixtures": [
        { "match": { "userMessage": "busy", "sequenceIndex": 0 },
          "response": { "error": { "message": "slow down", "type": "rate_limit_error" }, "status": 429, "retryAfter": 1 } },
        { "match": { "userMessage": "busy" }, "response": { "content": "now" } },
    ] });
    let Some(mock) = ModelServer::aimock(folder.path(), &fixtures, &[]).await else { return };
    for (provider, path) in [("openai", "/v1"), ("anthropic", "")] {
        let place = tempfile::tempdir().unwrap();
        let server = server(place.path(), model(provider, &format!("{}{path}", mock.url()), "")).await;
        let job = server.run("return (agent('busy?', { tools = {} }))").await;
        assert_eq!(job["result"], "now", "{provider}: {job}");
        let retries = server.events_of(&job, "chat.retry_scheduled").await;
        // The mock counts over all of its clients: only the first of them is refused.
        assert_eq!(retries.len(), usize::from(provider == "openai"), "{provider}: {retries:?}");
        for retry in retries {
            assert_eq!((&retry["data"]["status"], &retry["data"]["attempt"]), (&json!(429), &json!(1)), "{provider}");
            assert_eq!(retry["data"]["wait_ms"], 1_000, "as it says itself: {retry}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn faults_of_a_server_pass() {
    let fixtures = json!({ "fixtures": [{ "match": { "userMessage": "hello" }, "response": { "content": "there" } }] });
    for (fault, path) in [
        ("dropRate", "/v1"),
        ("malformedRate", "/v1"),
        ("disconnectRate", "/v1"),
        ("dropRate", ""),
        ("disconnectRate", ""),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let Some(mock) = ModelServer::aimock(folder.path(), &fixtures, &[]).await else { return };
        let (client, chaos) = (reqwest::Client::new(), format!("{}/__aimock/chaos", mock.url()));
        let set = client.post(&chaos).json(&json!({ fault: 1.0 })).send().await.unwrap();
        assert!(set.status().is_success(), "{}", set.text().await.unwrap());
        let provider = if path.is_empty() { "anthropic" } else { "openai" };
        let place = tempfile::tempdir().unwrap();
        let server = server(place.path(), model(provider, &format!("{}{path}", mock.url()), "max_retries = 8")).await;
        let (_, job) = server.post("/v1/jobs", &json!({ "script": "return (agent('hello', { tools = {} }))" })).await;
        let retried = || async {
            let retries = server.events_of(&job, "chat.retry_scheduled").await;
            (!retries.is_empty()).then_some(())
        };
        eventually(&format!("{provider} with {fault} to be tried again"), retried).await;
        let cleared = client.delete(&chaos).send().await.unwrap();
        assert!(cleared.status().is_success(), "{}", cleared.status());
        let ended = server.get(&format!("/v1/jobs/{}?wait=60s", job["id"].as_str().unwrap())).await;
        assert_eq!(ended["result"], "there", "{provider} with {fault}: {ended}");
        assert_eq!(server.events_of(&job, "chat.finished").await.len(), 1, "{provider} with {fault}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sloppy_server_is_understood() {
    let folder = tempfile::tempdir().unwrap();
    let config = "apiKey: 'test-key-1234'\nport: 1\nresponses:\n  - id: 'flow'\n    messages:\n      - role: 'system'\n        matcher: 'any'\n      - role: 'user'\n        content: 'list'\n        matcher: 'contains'\n      - role: 'assistant'\n        tool_calls:\n          - id: 'call_abc123'\n            type: 'function'\n            function:\n              name: 'execute'\n              arguments: '{\"command\": \"echo a\"}'\n      - role: 'tool'\n        matcher: 'any'\n        tool_call_id: 'call_abc123'\n      - role: 'assistant'\n        content: 'There is a.'\n";
    let Some(mock) = ModelServer::openai_mock(folder.path(), config).await else { return };
    let place = tempfile::tempdir().unwrap();
    let server = server(place.path(), model("openai", &format!("{}/v1", mock.url()), "")).await;
    let job = server.run(ASK).await;
    // Which of the flow's answers it gives is its own affair; that it is understood is ours.
    assert_eq!(job["state"], "completed", "{job}");
    assert!(job["result"]["error"].is_null(), "{job}");
}

fn stream(chunks: &[Value], end: &str) -> Vec<u8> {
    let mut out = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n".to_vec();
    for chunk in chunks {
        out.extend(format!("data: {chunk}\n\n").bytes());
    }
    out.extend(end.bytes());
    out
}

fn text(text: &str) -> Value {
    json!({ "choices": [{ "index": 0, "delta": { "content": text }, "finish_reason": null }] })
}

fn stop() -> Value {
    json!({ "choices": [{ "index": 0, "delta": {}, "finish_reason": "stop" }] })
}

#[tokio::test(flavor = "multi_thread")]
async fn broken_streams_are_tried_again_and_recorded() {
    let whole = stream(&[text("whole"), stop()], "data: [DONE]\n\n");
    let cut = stream(&[text("half of")], "data: {\"choices\":[{\"del");
    let garbage = stream(&[text("x")], "data: <html>no</html>\n\n");
    let mut stalled = stream(&[text("then nothing")], "");
    stalled.extend(STALL);
    let more = "idle_timeout_ms = 400\nmax_retries = 5";
    for (what, broken) in [("cut", cut), ("garbage", garbage), ("stalled", stalled)] {
        let raw = RawServer::start(vec![broken, whole.clone()]);
        let place = tempfile::tempdir().unwrap();
        let server = server(place.path(), model("openai", &raw.url, more)).await;
        let job = server.run("return (agent('x', { tools = {} }))").await;
        assert_eq!(job["result"], "whole", "{what}: {job}");
        assert_eq!(raw.requests.load(Ordering::SeqCst), 2, "{what}");
        assert_eq!(server.events_of(&job, "chat.retry_scheduled").await.len(), 1, "{what}");
        assert_eq!(server.events_of(&job, "chat.finished").await.len(), 1, "{what}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_an_answer_is_refused_once() {
    let mut line = stream(&[], "data: {\"choices\":[{\"delta\":{\"content\":\"");
    line.extend(vec![b'x'; 10 << 20]);
    let unauthorised =
        b"HTTP/1.1 401 Unauthorized\r\ncontent-length: 41\r\n\r\n{\"error\":{\"message\":\"who? test-key-1234\"}}"
            .to_vec();
    for (what, answer, code) in [("line", line, "line_too_long"), ("401", unauthorised, "model_status")] {
        let raw = RawServer::start(vec![answer]);
        let place = tempfile::tempdir().unwrap();
        let server = server(place.path(), model("openai", &raw.url, "")).await;
        let job = server.run("local _, err = agent('x', { tools = {} }) return err").await;
        assert_eq!(job["result"]["code"], code, "{what}: {job}");
        assert_eq!(raw.requests.load(Ordering::SeqCst), 1, "{what}");
        assert!(!job.to_string().contains("test-key"), "{what}: the key is told: {job}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_is_answered_over_http() {
    let folder = tempfile::tempdir().unwrap();
    let fixtures =
        json!({ "fixtures": [{ "match": { "userMessage": "hello" }, "response": { "content": "Hello yourself." } }] });
    let Some(mock) = ModelServer::aimock(folder.path(), &fixtures, &[]).await else { return };
    let place = tempfile::tempdir().unwrap();
    let server = server(place.path(), model("openai", &format!("{}/v1", mock.url()), "")).await;
    let (_, session) = server.post("/v1/sessions", &json!({ "agent": { "model": "main", "tools": [] } })).await;
    let path = format!("/v1/sessions/{}", session["id"].as_str().unwrap());
    let (_, job) = server.post(&format!("{path}/messages"), &json!({ "text": "hello" })).await;
    let ended = server.get(&format!("/v1/jobs/{}?wait=30s", job["id"].as_str().unwrap())).await;
    assert_eq!(ended["result"]["text"], "Hello yourself.", "{ended}");
    let shown = server.get(&path).await;
    let said: Vec<&str> =
        shown["messages"].as_array().unwrap().iter().map(|message| message["role"].as_str().unwrap()).collect();
    assert_eq!(said, ["user", "system", "assistant"], "{shown}");
    let traces = server.get(&format!("/v1/jobs/{}/traces", job["id"].as_str().unwrap())).await;
    let kinds: Vec<&str> =
        traces["spans"].as_array().unwrap().iter().map(|span| span["kind"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["job", "step", "turn"]);
}
