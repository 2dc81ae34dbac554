//! Feeds: whoever reads one gets every event once and in order, in every form, over broken connections and killed
//! servers, with clients that were not written here.
//!
//! `MOONLOG_SEED` chooses the moments at which connections break.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use moonlog_tests::{Kind, Random, Reader, Relay, Server, Settings, eventually};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use std::time::Duration;

const SEED: u64 = 0x0066_6565_6473;
/// The types that the scripts of these tests lead to.
const TYPES: [&str; 11] = [
    "runner.started",
    "runner.stopped",
    "job.submitted",
    "job.started",
    "job.completed",
    "job.emitted",
    "job.logged",
    "job.waiting",
    "job.resumed",
    "step.started",
    "step.finished",
];

/// Pure steps, events of its own, one with the texts that break careless framing, and a wait.
const SCRIPT: &str = r#"
    for i = 1, 20 do
        emit("tick", { n = i, text = "line\nline\r\n\r\rdata: x\n\nid: 7 \u{2028} \0 ünï" })
        step("add", function() return i end)
        if i % 5 == 0 then sleep("30ms") end
    end
    log("done")
"#;

fn settings() -> Settings {
    Settings { config: "[limits]\nfeed_keep_alive_ms = 100".into(), ..Settings::default() }
}

fn position(event: &Value) -> u64 {
    event["position"].as_u64().expect("a position")
}

/// What a reader was told, as events; the end, where it was told, is left out.
fn events(told: &[Value]) -> Vec<Value> {
    let events = told.iter().filter(|line| line.get("closed").is_none());
    events
        .map(|line| {
            let event: Value = serde_json::from_str(line["data"].as_str().expect("data")).expect("JSON");
            assert_eq!(line["id"], event["position"].to_string(), "the id is the position");
            assert_eq!(line["type"], event["type"], "the event's name is its type");
            event
        })
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn readers_of_others_get_every_event_once_over_cuts_and_kills() {
    let mut random = Random::from_env(SEED);
    let folder = tempfile::tempdir().unwrap();
    let relay = Relay::start().await;
    let mut server = Server::start_with(folder.path(), &settings()).await;
    relay.lead_to(Some(server.url()));
    let feed = format!("{}/v1/events", relay.url());
    let readers: Vec<Reader> = Kind::ALL.iter().filter_map(|kind| Reader::start(*kind, &feed, &TYPES)).collect();
    assert!(!readers.is_empty(), "there is no reader here at all: install curl");

    let mut jobs = Vec::new();
    jobs.push(server.submit(&json!({ "script": SCRIPT })).await);
    // All of them have begun before the first cut. One that is hung up on before it could ask is at an end with npm's `eventsource`: the
    // `fetch` of Node 20 settles neither way then, whoever the server is, and Node exits since it waits for nothing. Cuts that come
    // later do it no harm: see the next test.
    for reader in &readers {
        eventually(&format!("{:?} to begin", reader.kind), || async { (reader.count() > 0).then_some(()) }).await;
    }
    for _ in 0..3 {
        for _ in 0..4 {
            jobs.push(server.submit(&json!({ "script": SCRIPT })).await);
            tokio::time::sleep(Duration::from_millis(random.below(120))).await;
            relay.cut();
        }
        relay.lead_to(None);
        server.kill();
        relay.cut();
        server = Server::start_with(folder.path(), &settings()).await;
        relay.lead_to(Some(server.url()));
    }
    for job in &jobs {
        assert_eq!(server.ended(job).await["state"], "completed");
    }
    let all = server.ndjson("/v1/events").await;
    assert!(all.len() > 800, "{} events", all.len());
    for reader in &readers {
        let what = format!("{:?} to get all {} events", reader.kind, all.len());
        eventually(&what, || async { (reader.count() >= all.len()).then_some(()) }).await;
        let told = events(&reader.told());
        for (index, (told, is)) in told.iter().zip(&all).enumerate() {
            assert_eq!(position(told), index as u64 + 1, "{:?} skipped or repeated an event", reader.kind);
            assert_eq!(told, is, "{:?} was told something else", reader.kind);
        }
        assert_eq!(told.len(), all.len(), "{:?} was told of more than there is", reader.kind);
        println!("{:?}: {} events, each once", reader.kind, told.len());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_whose_first_request_is_cut_at_any_place_comes_back() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start_with(folder.path(), &settings()).await;
    server.run(SCRIPT).await;
    let all = server.ndjson("/v1/events").await;
    let mut readers = Vec::new();
    for kind in Kind::ALL {
        // Before the answer, in its head, before its body, in the first event, and in a later one.
        let cuts: &[usize] = if kind == Kind::EventSource { &[0, 30, 260, 420, 5_000] } else { &[0, 420] };
        for bytes in cuts {
            let relay = Relay::start().await;
            relay.lead_to(Some(server.url()));
            relay.cut_next_after(*bytes);
            let reader = Reader::start(kind, &format!("{}/v1/events", relay.url()), &TYPES);
            readers.extend(reader.map(|reader| (reader, relay, *bytes)));
        }
    }
    for (reader, _relay, bytes) in &readers {
        let what = format!("{:?}, cut after {bytes} bytes, to get all {} events", reader.kind, all.len());
        eventually(&what, || async { (reader.count() >= all.len()).then_some(()) }).await;
        assert_eq!(events(&reader.told()), all, "{what}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_feed_of_a_job_ends_with_it_and_readers_do_not_come_again() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start_with(folder.path(), &settings()).await;
    let job = server.submit(&json!({ "script": "emit('a', 1) wait_for('go') return 1" })).await;
    let feed = format!("{}/v1/jobs/{job}/events", server.url());
    let readers: Vec<Reader> = Kind::ALL.iter().filter_map(|kind| Reader::start(*kind, &feed, &TYPES)).collect();
    server.in_state(&job, "waiting").await;
    for reader in &readers {
        eventually(&format!("{:?} to begin", reader.kind), || async { (reader.count() >= 4).then_some(()) }).await;
    }
    server.post(&format!("/v1/jobs/{job}/signals/go"), &json!({})).await;
    server.ended(&job).await;
    let all = server.events(&job).await;
    for reader in &readers {
        let what = format!("{:?} to be told that this is all", reader.kind);
        let closed = || async { reader.told().iter().find_map(|line| line.get("closed").cloned()) };
        assert_eq!(eventually(&what, closed).await, 204, "{:?}", reader.kind);
        // `eventsource` hears only the types that it was told to listen to.
        let signalled = |event: &&Value| reader.kind != Kind::EventSource || event["type"] != "job.signalled";
        assert_eq!(events(&reader.told()), all.iter().filter(signalled).cloned().collect::<Vec<_>>());
    }
    // Behind the last event that matches there is nothing; before it there is.
    let last = position(all.last().unwrap());
    for (path, expected) in [
        (format!("after={last}"), StatusCode::NO_CONTENT),
        (format!("after={}", last - 1), StatusCode::OK),
        ("types=process.*".into(), StatusCode::NO_CONTENT),
        (format!("types=job.emitted&after={}", last - 1), StatusCode::NO_CONTENT),
        ("after=head".into(), StatusCode::NO_CONTENT),
    ] {
        let request = server.request(Method::GET, &format!("/v1/jobs/{job}/events?{path}"));
        let response = request.header("accept", "text/event-stream").send().await.unwrap();
        assert_eq!(response.status(), expected, "{path}");
    }
}

/// Server-sent events as they stand on the wire: pairs of `id` and the rest.
async fn server_sent(server: &Server, path: &str) -> Vec<Value> {
    let request = server.request(Method::GET, path).header("accept", "text/event-stream");
    let response = request.send().await.unwrap();
    assert_eq!(response.status(), StatusCode::OK, "{path}");
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    let text = response.text().await.unwrap();
    let text = text.strip_prefix("retry: 1000\n\n").expect("the time to wait stands first");
    let blocks = text.split_terminator("\n\n").filter(|block| block.contains("data: "));
    blocks
        .map(|block| {
            let mut lines = block.lines();
            let id = lines.next().unwrap().strip_prefix("id: ").unwrap();
            let name = lines.next().unwrap().strip_prefix("event: ").unwrap();
            let event: Value = serde_json::from_str(lines.next().unwrap().strip_prefix("data: ").unwrap()).unwrap();
            assert_eq!((id, name), (&*event["position"].to_string(), event["type"].as_str().unwrap()));
            assert_eq!(lines.next(), None, "an event is on three lines: {block}");
            event
        })
        .collect()
}

/// All pages of `limit` events.
async fn pages(server: &Server, path: &str, limit: usize) -> Vec<Value> {
    let mut all = Vec::new();
    let mut after = 0;
    loop {
        let page = server.get(&format!("{path}&limit={limit}&after={after}")).await;
        let events = page["events"].as_array().unwrap();
        assert!(events.len() <= limit);
        if events.is_empty() {
            return all;
        }
        all.extend(events.iter().cloned());
        after = page["next"].as_u64().unwrap();
    }
}

#[tokio::test]
async fn all_forms_of_a_feed_say_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path()).await;
    let job = server.run(SCRIPT).await["id"].as_str().unwrap().to_owned();
    let other = server.run("exec('echo', { 'x' })").await["id"].as_str().unwrap().to_owned();
    for path in [
        "/v1/events?follow=false".to_owned(),
        format!("/v1/events?follow=false&job={other}"),
        format!("/v1/jobs/{job}/events?follow=false"),
        "/v1/events?follow=false&types=step.*".into(),
        "/v1/events?follow=false&types=job.emitted,process.*".into(),
        format!("/v1/jobs/{job}/events?follow=false&types=job.*"),
    ] {
        let lines = server.ndjson(&path).await;
        assert!(!lines.is_empty(), "{path}");
        assert_eq!(server_sent(&server, &path).await, lines, "{path}");
        for limit in [1, 7, 1000] {
            assert_eq!(pages(&server, &path, limit).await, lines, "{path} by {limit}");
        }
        let limited = server.ndjson(&format!("{path}&limit=3")).await;
        assert_eq!(limited, lines[..3.min(lines.len())], "{path}");
        let types = path.split("types=").nth(1);
        let fits = |kind: &str| {
            types.is_none_or(|types| {
                types.split(',').any(|wanted| match wanted.strip_suffix('*') {
                    Some(prefix) => kind.starts_with(prefix),
                    None => kind == wanted,
                })
            })
        };
        let all = server.ndjson(path.split("&types").next().unwrap()).await;
        let expected: Vec<Value> = all.into_iter().filter(|event| fits(event["type"].as_str().unwrap())).collect();
        assert_eq!(lines, expected, "{path}");
    }
    // A cursor from one feed works in another.
    let emitted = server.ndjson(&format!("/v1/jobs/{job}/events?types=job.emitted")).await;
    let cursor = position(&emitted[9]);
    let rest = server.ndjson(&format!("/v1/events?types=job.emitted&after={cursor}")).await;
    assert_eq!(rest, emitted[10..]);
    // What the text holds comes through as it is.
    let text = emitted[0]["data"]["value"]["text"].as_str().unwrap();
    assert_eq!(text, "line\nline\r\n\r\rdata: x\n\nid: 7 \u{2028} \0 ünï");
}

/// Reads a live feed until `enough` of its text.
async fn read_until(server: &Server, path: &str, last_id: Option<u64>, enough: impl Fn(&str) -> bool) -> String {
    let mut request = server.request(Method::GET, path).header("accept", "text/event-stream");
    if let Some(id) = last_id {
        request = request.header("last-event-id", id.to_string());
    }
    let mut response = request.send().await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    let mut text = String::new();
    let read = async {
        while !enough(&text) {
            let piece = response.chunk().await.unwrap().expect("the feed goes on");
            text.push_str(std::str::from_utf8(&piece).unwrap());
        }
    };
    tokio::time::timeout(Duration::from_secs(60), read).await.expect("enough of the feed");
    text
}

#[tokio::test]
async fn keep_alives_move_the_cursor_over_what_does_not_match() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start_with(folder.path(), &settings()).await;
    server.run(SCRIPT).await;
    let head = server.ndjson("/v1/events").await.len();
    let alive = format!("\nid: {head}\n\n");
    let text = read_until(&server, "/v1/events?types=session.*", None, |text| text.matches(&alive).count() >= 2).await;
    assert!(!text.contains("data:") && !text.contains("event:"), "it dispatches nothing: {text}");
    let comments = text.lines().filter(|line| line.starts_with(':')).count();
    assert!(comments >= 2, "each is a comment too: {text}");
}

#[tokio::test]
async fn a_feed_starts_where_it_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start_with(folder.path(), &settings()).await;
    server.run("emit('old', 1)").await;
    let head = server.ndjson("/v1/events").await.len() as u64;

    // Live: nothing old, and what comes is there.
    let follow = read_until(&server, "/v1/events?after=head&types=job.emitted", None, |text| text.contains("data: "));
    let run = async {
        // Submitted again until the feed has begun, which nothing outside tells.
        loop {
            server.run("emit('new', 1)").await;
        }
    };
    let text = tokio::select! { text = follow => text, () = run => unreachable!() };
    assert!(text.contains("\"new\"") && !text.contains("\"old\""), "{text}");

    // The header, which a client that comes back sends, wins over the address that it began with.
    let text = read_until(&server, "/v1/events?after=0", Some(2), |text| text.contains("data: ")).await;
    let first = text.lines().find_map(|line| line.strip_prefix("id: ")).unwrap();
    assert_eq!(first, "3");

    for (query, header, code) in [
        (format!("after={}", head + 1_000_000), None, "cursor_beyond_head"),
        ("after=-1".into(), None, "invalid_cursor"),
        ("after=x".into(), None, "invalid_cursor"),
        ("after=99999999999999999999999".into(), None, "invalid_cursor"),
        ("after=0".into(), Some("9000000"), "cursor_beyond_head"),
        ("after=0".into(), Some("nonsense"), "invalid_cursor"),
        ("types=nonsense.*".into(), None, "invalid_query"),
        ("follow=perhaps".into(), None, "invalid_query"),
        ("limit=0".into(), None, "invalid_query"),
        ("afterwards=1".into(), None, "invalid_query"),
    ] {
        for accept in ["text/event-stream", "application/x-ndjson", "application/json"] {
            let mut request = server.request(Method::GET, &format!("/v1/events?{query}")).header("accept", accept);
            if let Some(id) = header {
                request = request.header("last-event-id", id);
            }
            let response = request.send().await.unwrap();
            assert_eq!(response.status(), StatusCode::BAD_REQUEST, "{query} as {accept}");
            assert_eq!(response.headers()["content-type"], "application/problem+json");
            let problem: Value = response.json().await.unwrap();
            assert_eq!(problem["code"], code, "{query}: {problem}");
        }
    }
}

#[tokio::test]
async fn a_feed_of_a_server_that_stops_ends_and_goes_on_at_the_next() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path()).await;
    server.run("emit('a', 1)").await;
    let mut response =
        server.request(Method::GET, "/v1/events").header("accept", "text/event-stream").send().await.unwrap();
    let mut text = String::from_utf8(response.chunk().await.unwrap().unwrap().to_vec()).unwrap();
    let rest = tokio::spawn(async move {
        while let Some(piece) = response.chunk().await.expect("the feed ends in order") {
            text.push_str(std::str::from_utf8(&piece).unwrap());
        }
        text
    });
    let status = server.terminate().await;
    assert!(status.success(), "{status}");
    let text = rest.await.unwrap();
    let last: u64 = text.lines().filter_map(|line| line.strip_prefix("id: ")).next_back().unwrap().parse().unwrap();
    let server = Server::start(folder.path()).await;
    let all = server.ndjson("/v1/events").await;
    let next = server.ndjson(&format!("/v1/events?after={last}")).await;
    assert_eq!(next, all[last as usize..]);
}
