//! Agents against a model server whose every byte is chosen here: what is sent, and what becomes of answers that are not
//! as they should be.

use moonlog_tests::{RawServer, STALL, Server, Settings, eventually};
use serde_json::{Value, json};
use std::{path::Path, sync::atomic::Ordering};

async fn server(folder: &Path, url: &str, more: &str) -> Server {
    let config = format!("[models.main]\nprovider = \"openai\"\nbase_url = \"{url}\"\nmodel = \"m\"\n{more}\n");
    let settings = Settings { config, env: Vec::new(), before: None };
    Server::start_with(folder, &settings).await
}

/// An answer as a stream of these deltas.
fn stream(deltas: &[Value], reason: &str, usage: Option<Value>) -> Vec<u8> {
    let mut out = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n".to_vec();
    let mut chunk = |value: Value| out.extend(format!("data: {value}\n\n").bytes());
    for delta in deltas {
        chunk(json!({ "choices": [{ "index": 0, "delta": delta, "finish_reason": null }] }));
    }
    chunk(json!({ "choices": [{ "index": 0, "delta": {}, "finish_reason": reason }] }));
    if let Some(usage) = usage {
        chunk(json!({ "choices": [], "usage": usage }));
    }
    out.extend(b"data: [DONE]\n\n");
    out
}

fn says(text: &str) -> Vec<u8> {
    stream(&[json!({ "content": text })], "stop", Some(json!({ "prompt_tokens": 10, "completion_tokens": 2 })))
}

/// An answer that calls tools, each with an id, a name and the text of its arguments.
fn calls(calls: &[(&str, &str, &str)]) -> Vec<u8> {
    let call = |(index, (id, name, arguments)): (usize, &(&str, &str, &str))| json!({ "index": index, "id": id, "type": "function", "function": { "name": name, "arguments": arguments } });
    let calls: Vec<Value> = calls.iter().enumerate().map(call).collect();
    stream(
        &[json!({ "tool_calls": calls })],
        "tool_calls",
        Some(json!({ "prompt_tokens": 10, "completion_tokens": 2 })),
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn images_are_sent_as_parts() {
    let raw = RawServer::start(vec![says("a cat")]);
    let place = tempfile::tempdir().unwrap();
    std::fs::write(place.path().join("cat.png"), b"\x89PNG").unwrap();
    let server = server(place.path(), &raw.url, "").await;
    let file = place.path().join("cat.png");
    let script = format!(
        "return (agent('What is it?', {{ tools = false, images = {{ '{}', 'https://example.com/cat.jpg', 'data:image/gif;base64,R0lG' }} }}))",
        file.display()
    );
    let job = server.run(&script).await;
    assert_eq!(job["result"], "a cat", "{job}");
    let asked = raw.asked().remove(0);
    let content = asked["messages"].as_array().unwrap().last().unwrap()["content"].clone();
    let urls: Vec<&str> =
        content.as_array().unwrap().iter().filter_map(|part| part["image_url"]["url"].as_str()).collect();
    assert_eq!(urls, ["data:image/png;base64,iVBORw==", "https://example.com/cat.jpg", "data:image/gif;base64,R0lG"]);
    assert_eq!(content[0], json!({ "type": "text", "text": "What is it?" }));
    // The same as parts of a session's message, and what is no image is told.
    let (_, session) = server.post("/v1/sessions", &json!({ "agent": { "model": "main", "tools": [] } })).await;
    let path = format!("/v1/sessions/{}/messages", session["id"].as_str().unwrap());
    let image = json!({ "type": "image", "media_type": "image/png", "data": "iVBORw==" });
    let (_, job) = server.post(&path, &json!({ "parts": [{ "type": "text", "text": "And this?" }, image] })).await;
    server.get(&format!("/v1/jobs/{}?wait=30s", job["id"].as_str().unwrap())).await;
    let asked = raw.asked().pop().unwrap().to_string();
    assert!(asked.contains("data:image/png;base64,iVBORw=="), "{asked}");
    let job = server.run("local _, err = agent('x', { images = { 'notes.txt' } }) return err.code").await;
    assert_eq!(job["result"], "invalid_image");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_context_is_summarised_by_the_model_itself() {
    let text = "x".repeat(700);
    let call = |n: u32| {
        calls(&[(&format!("id{n}"), "execute", &json!({ "command": format!("echo {n} {text}") }).to_string())])
    };
    let mut answers: Vec<Vec<u8>> = (0..4).map(call).collect();
    answers.push(says("SUMMARY: four commands were run"));
    answers.push(says("done"));
    let raw = RawServer::start(answers);
    let place = tempfile::tempdir().unwrap();
    let server = server(place.path(), &raw.url, "context_tokens = 2_000").await;
    let job = server.run("local text, info = agent('the task', { tools = { 'execute' }, system = 'Be brief.' }) return { text, info.turns, info.usage.prompt_tokens }").await;
    assert_eq!(job["result"], json!(["done", 5, 60]), "{job}");
    let compacted = server.events_of(&job, "chat.compacted").await;
    assert_eq!(compacted.len(), 1, "{compacted:?}");
    assert_eq!(compacted[0]["data"]["summary"], "SUMMARY: four commands were run");
    assert!(compacted[0]["data"]["tokens_before"].as_u64() > compacted[0]["data"]["tokens_after"].as_u64());
    let asked = raw.asked();
    let words = |request: &Value| request["messages"].to_string();
    let summary = &asked[4];
    assert!(
        words(summary).contains("Summarise the conversation so far") && summary.get("tools").is_none(),
        "{summary}"
    );
    let last = asked.last().unwrap();
    assert!(words(last).contains("the task") && words(last).contains("SUMMARY: four commands"), "{last}");
    assert!(!words(last).contains("echo 0"), "what the summary stands for is not sent");
    // No call without its result, in any request.
    for request in &asked {
        let messages = request["messages"].as_array().unwrap();
        let made: Vec<&str> = messages
            .iter()
            .flat_map(|message| message["tool_calls"].as_array().into_iter().flatten())
            .filter_map(|call| call["id"].as_str())
            .collect();
        let told: Vec<&str> = messages.iter().filter_map(|message| message["tool_call_id"].as_str()).collect();
        assert_eq!(made, told, "{request}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_provider_does_not_count_is_estimated_and_says_so() {
    let raw = RawServer::start(vec![stream(&[json!({ "content": "word ".repeat(400) })], "stop", None)]);
    let place = tempfile::tempdir().unwrap();
    let server = server(place.path(), &raw.url, "prices = { prompt = 1.0, completion = 2.0 }").await;
    let script = "local out = {} for i = 1, 3 do local ok, text, info = pcall(agent, 'x', { tools = false })
        out[i] = if ok then info.usage else text.code end return out";
    let (_, job) = server.post("/v1/jobs?wait=60s", &json!({ "script": script, "budget_tokens": 600 })).await;
    let first = &job["result"][0];
    assert_eq!((&first["estimated"], &first["completion_tokens"]), (&json!(true), &json!(500)), "{job}");
    assert!(first["cost"].as_f64().unwrap() > 0.001, "{first}");
    // Budgets hold all the same.
    assert_eq!(job["result"][2], "budget_exhausted", "{job}");
    assert_eq!(job["usage"]["estimated"], true);
    let traces = server.get(&format!("/v1/jobs/{}/traces", job["id"].as_str().unwrap())).await;
    assert_eq!(traces["usage"]["estimated"], true, "{traces}");
    // What a provider counts is no estimate.
    let raw = RawServer::start(vec![says("a")]);
    let place = tempfile::tempdir().unwrap();
    let counting = self::server(place.path(), &raw.url, "").await;
    let job = counting.run("local _, info = agent('x') return info.usage").await;
    assert_eq!((&job["result"]["estimated"], &job["result"]["cost"]), (&Value::Null, &Value::Null), "{job}");
}

#[tokio::test(flavor = "multi_thread")]
async fn inputs_are_mended_and_ids_are_made_unique() {
    let raw = RawServer::start(vec![
        // A fence, a number as a text, and the same id twice.
        calls(&[
            ("same", "execute", "```json\n{\"command\": \"echo one\", \"timeout\": \"5\"}\n```"),
            ("same", "execute", "{\"command\":\"echo two\"} and so on"),
        ]),
        calls(&[("same", "exekute", "{\"command\":\"echo three\"}"), ("", "execute", "{\"comand\":\"echo four\"}")]),
        says("done"),
    ]);
    let place = tempfile::tempdir().unwrap();
    let server = server(place.path(), &raw.url, "").await;
    let job = server.run("return (agent('x', { tools = { 'execute', 'read_file' } }))").await;
    assert_eq!(job["result"], "done", "{job}");
    let started = server.events_of(&job, "tool.started").await;
    let ids: std::collections::BTreeSet<&str> =
        started.iter().map(|call| call["data"]["call_id"].as_str().unwrap()).collect();
    assert_eq!((started.len(), ids.len()), (4, 4), "{started:?}");
    let finished = server.events_of(&job, "tool.finished").await;
    let told = |text: &str| finished.iter().filter(|call| call["data"]["output"].to_string().contains(text)).count();
    assert_eq!((told("one\\n"), told("two\\n")), (1, 1), "{finished:?}");
    assert_eq!(told("Did you mean execute?"), 1, "{finished:?}");
    assert_eq!(told("comand"), 1, "the schema's complaint names what was wrong: {finished:?}");
    // Results go back under the ids that were given.
    let last = raw.asked().pop().unwrap();
    let told: Vec<&str> =
        last["messages"].as_array().unwrap().iter().filter_map(|message| message["tool_call_id"].as_str()).collect();
    assert_eq!(told.iter().copied().collect::<std::collections::BTreeSet<_>>(), ids);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_model_that_goes_in_circles_is_told_and_then_stopped() {
    let command = |text: &str| json!({ "command": text }).to_string();
    let same = vec![calls(&[("", "execute", &command("echo a"))])];
    let of_two = ["echo a", "echo b"].map(|text| calls(&[("", "execute", &command(text))]));
    let alternating: Vec<Vec<u8>> = of_two.iter().cycle().take(40).cloned().collect();
    let failing = vec![calls(&[("", "read_file", "{\"path\":\"nowhere.txt\"}")])];
    for (what, answers, found) in
        [("same", same, "4 times"), ("failing", failing, "in a row failed"), ("alternating", alternating, "calls")]
    {
        let raw = RawServer::start(answers);
        let place = tempfile::tempdir().unwrap();
        let server = server(place.path(), &raw.url, "").await;
        // What a command took differs from one time to the next, and so does its process: neither is its result.
        let job = server.run("local _, err = agent('x', { max_turns = 30 }) return { err.code, err.message }").await;
        assert_eq!(job["result"][0], "loop_detected", "{what}: {job}");
        assert!(job["result"][1].as_str().unwrap().contains(found), "{what}: {job}");
        let asked = raw.asked();
        let nudges = asked.last().unwrap()["messages"].to_string().matches("You are going in circles").count();
        assert_eq!(nudges, 1, "{what}");
        assert!(raw.requests.load(Ordering::SeqCst) <= 14, "{what}: {}", raw.requests.load(Ordering::SeqCst));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn several_models_are_compared_each_in_a_span_of_its_own() {
    let (one, two) = (RawServer::start(vec![says("first")]), RawServer::start(vec![says("second")]));
    let place = tempfile::tempdir().unwrap();
    let more = format!("[models.other]\nprovider = \"openai\"\nbase_url = \"{}\"\nmodel = \"n\"", two.url);
    let server = server(place.path(), &one.url, &more).await;
    let script = "local answers, infos = agent('x', { models = { 'main', 'other' }, tools = false })
        return { answers = answers, main = infos.main.model, used = budget.spent() }";
    let job = server.run(script).await;
    let expected = json!({ "answers": { "main": "first", "other": "second" }, "main": "main", "used": 24 });
    assert_eq!(job["result"], expected, "{job}");
    let trace = server.get(&format!("/v1/jobs/{}/traces", job["id"].as_str().unwrap())).await;
    let spans = trace["spans"].as_array().unwrap();
    let turns: std::collections::BTreeSet<(&str, &str)> = spans
        .iter()
        .filter(|span| span["kind"] == "turn")
        .map(|span| (span["model"].as_str().unwrap(), span["parent"].as_str().unwrap()))
        .collect();
    assert_eq!(turns.len(), 2, "{trace}");
    let parents: std::collections::BTreeSet<&str> = turns.iter().map(|(_, parent)| *parent).collect();
    assert_eq!(parents.len(), 2, "each in its own step: {trace}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_killed_in_mid_stream_goes_on_and_repeats_no_call() {
    let mut half = stream(&[json!({ "content": "half of an ans" })], "stop", None);
    let end = half.windows(8).rposition(|window| window == b"data: {\"").unwrap();
    half.truncate(end);
    half.extend(STALL);
    let once = calls(&[("a", "execute", "{\"command\":\"echo ran >> ran.txt\"}")]);
    let raw = RawServer::start(vec![once, half, says("done")]);
    let place = tempfile::tempdir().unwrap();
    let first = server(place.path(), &raw.url, "").await;
    let (_, job) = first.post("/v1/jobs", &json!({ "script": "return (agent('x'))" })).await;
    let arrived = || async {
        let deltas = first.events_of(&job, "chat.delta").await;
        deltas.iter().any(|delta| delta["data"]["text"] == "half of an ans").then_some(())
    };
    eventually("half of an answer", arrived).await;
    first.kill();
    let second = server(place.path(), &raw.url, "").await;
    let ended = second.get(&format!("/v1/jobs/{}?wait=60s", job["id"].as_str().unwrap())).await;
    assert_eq!(ended["result"], "done", "{ended}");
    assert_eq!(std::fs::read_to_string(place.path().join("ran.txt")).unwrap(), "ran\n");
    let ends = second.events_of(&job, "chat.finished").await;
    let reasons: Vec<&str> = ends.iter().filter_map(|end| end["data"]["finish_reason"].as_str()).collect();
    assert_eq!(reasons, ["tool_calls", "interrupted", "stop"]);
    assert_eq!(ends[1]["data"]["error"]["details"]["text"], "half of an ans", "{}", ends[1]);
    assert_eq!(ends[1]["data"]["usage"]["estimated"], true, "{}", ends[1]);
    assert_eq!(raw.requests.load(Ordering::SeqCst), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trace_tells_what_was_cached_turn_by_turn_and_in_sum() {
    let used = |prompt: u64, cached: u64| {
        Some(
            json!({ "prompt_tokens": prompt, "completion_tokens": 10, "prompt_tokens_details": { "cached_tokens": cached } }),
        )
    };
    let call = json!({ "index": 0, "id": "a", "type": "function", "function": { "name": "execute", "arguments": "{\"command\":\"true\"}" } });
    let raw = RawServer::start(vec![
        stream(&[json!({ "tool_calls": [call] })], "tool_calls", used(1_000, 0)),
        stream(&[json!({ "content": "done" })], "stop", used(2_000, 1_500)),
    ]);
    let place = tempfile::tempdir().unwrap();
    let server = server(place.path(), &raw.url, "prices = { prompt = 3.0, cached = 0.3, completion = 15.0 }").await;
    let job = server.run("return (agent('x'))").await;
    let trace = server.get(&format!("/v1/jobs/{}/traces", job["id"].as_str().unwrap())).await;
    let spans = trace["spans"].as_array().unwrap();
    let rates: Vec<&Value> =
        spans.iter().filter(|span| span["kind"] == "turn").map(|span| &span["cache_hit_rate"]).collect();
    assert_eq!(rates, [&json!(0.0), &json!(0.75)], "{trace}");
    assert_eq!((&trace["cache_hit_rate"], &trace["usage"]["cost"]), (&json!(0.5), &json!(0.00525)), "{trace}");
    assert_eq!(job["usage"]["cost"], json!(0.00525), "{job}");
    let kinds: Vec<&str> = spans.iter().filter_map(|span| span["kind"].as_str()).collect();
    assert_eq!(kinds, ["job", "step", "turn", "tool", "turn"], "{trace}");
    let otlp = server.get(&format!("/v1/jobs/{}/traces?format=otlp", job["id"].as_str().unwrap())).await.to_string();
    assert!(otlp.contains("\"moonlog.cost\"") && otlp.contains("0.00525"), "{otlp}");
}
