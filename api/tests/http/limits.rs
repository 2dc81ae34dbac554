//! What is too large, too long, too slow or too many; and the end of a server.

use crate::{
    place::{Place, read},
    raw::{self, read_all},
};
use moonlog_core::event::{EventBody, QueueChanged, StreamId};
use moonlog_runner::Bounds;
use reqwest::Method;
use serde_json::{Value, json};
use std::time::{Duration, Instant};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

#[tokio::test]
async fn giant_bodies_are_refused_however_they_come() {
    let place = Place::with(|settings| settings.serve.limits.body_max_bytes = 10_000).await;
    let giant = format!(r#"{{"script":"{}"}}"#, "x".repeat(3_000_000));
    let (status, problem) = place.post_text("/v1/jobs", giant.clone()).await;
    assert_eq!((status.as_u16(), &problem["code"]), (413, &"body_too_large".into()), "{problem}");
    assert_eq!(problem["limit_bytes"], 10_000);
    let pieces: Vec<Result<String, std::io::Error>> =
        giant.as_bytes().chunks(7_000).map(|piece| Ok(String::from_utf8(piece.to_vec()).unwrap())).collect();
    let chunked = reqwest::Body::wrap_stream(futures_util::stream::iter(pieces));
    let (status, problem) = place.post_text("/v1/jobs", chunked).await;
    assert_eq!((status.as_u16(), &problem["code"]), (413, &"body_too_large".into()), "{problem}");
    // One that asks first is answered before it sends.
    let headers = [("Content-Type", "application/json"), ("Content-Length", "1000000"), ("Expect", "100-continue")];
    let answer = raw::exchange(&place, raw::request("POST", "/v1/jobs", &headers, "").as_bytes()).await;
    assert_eq!(raw::status(&answer), 413, "{answer}");
    let within = format!(r#"{{"unknown":"{}"}}"#, "x".repeat(9_000));
    assert_eq!(place.post_text("/v1/jobs", within).await.0, 400);
}

#[tokio::test]
async fn heads_are_limited_in_size_and_time() {
    let place = Place::with(|settings| {
        settings.serve.limits.header_max_bytes = 9_000;
        settings.serve.limits.header_read_timeout = Duration::from_millis(200);
    })
    .await;
    let long = "x".repeat(20_000);
    let answer = raw::exchange(&place, raw::request("GET", "/healthz", &[("X-Long", &long)], "").as_bytes()).await;
    check_refused(&answer, 431, "head_too_large");
    let answer = raw::exchange(&place, raw::request("GET", &format!("/{long}"), &[], "").as_bytes()).await;
    check_refused(&answer, 414, "uri_too_long");
    let mut slow = TcpStream::connect(place.served.addr()).await.unwrap();
    slow.write_all(b"GET /healthz HTTP/1.1\r\nHost: local").await.unwrap();
    let begun = Instant::now();
    check_refused(&read_all(&mut slow).await, 408, "head_timeout");
    assert!(begun.elapsed() < Duration::from_secs(4), "a head that does not come is not waited for");
    let mut idle = TcpStream::connect(place.served.addr()).await.unwrap();
    idle.write_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n").await.unwrap();
    let begun = Instant::now();
    let answer = read_all(&mut idle).await;
    assert!(raw::status(&answer) == 200 && answer.matches("HTTP/1.1").count() == 1, "{answer}");
    assert!(begun.elapsed() < Duration::from_secs(4), "a connection that asks nothing more is closed");
}

/// A problem like any other, after which the connection is closed.
fn check_refused(answer: &str, status: u16, code: &str) {
    let end = answer.rfind("HTTP/1.1 ").unwrap_or_else(|| panic!("no answer: {answer:?}"));
    let answer = &answer[end..];
    assert_eq!(raw::status(answer), status, "{answer}");
    for (name, value) in [
        ("content-type", "application/problem+json"),
        ("connection", "close"),
        ("x-content-type-options", "nosniff"),
        ("content-length", &raw::body(answer).len().to_string()),
    ] {
        assert_eq!(raw::header(answer, name), Some(value), "{name}: {answer}");
    }
    assert!(raw::header(answer, "date").is_some_and(|date| date.ends_with(" GMT")), "{answer}");
    let problem: serde_json::Value = serde_json::from_str(raw::body(answer)).unwrap();
    assert_eq!((&problem["code"], &problem["status"]), (&code.into(), &status.into()), "{problem}");
    assert!(problem["detail"].as_str().is_some_and(|detail| detail.len() > 10), "{problem}");
}

#[tokio::test]
async fn what_is_no_request_gets_a_problem_too() {
    let place = Place::start().await;
    let whole = "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n";
    for (bytes, status, code) in [
        ("nonsense\r\n\r\n", 400, "malformed_request"),
        ("GET /healthz HTTP/1.1\r\nHost: localhost\r\nno colon\r\n\r\n", 400, "malformed_request"),
        ("GET /healthz HTTP/7.1\r\nHost: localhost\r\n\r\n", 400, "malformed_request"),
        ("G@T /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n", 400, "malformed_request"),
        (
            "POST /v1/jobs HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99999999999999999999999\r\n\r\n",
            400,
            "malformed_request",
        ),
        ("POST /v1/jobs HTTP/1.1\r\nHost: localhost\r\nContent-Length: -1\r\n\r\n", 400, "malformed_request"),
        (
            "POST /v1/jobs HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
            400,
            "malformed_request",
        ),
        ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505, "http_version_not_supported"),
        // Also behind one that is sound.
        (&format!("{whole}nonsense\r\n\r\n"), 400, "malformed_request"),
        (&format!("{whole}GET /{} HTTP/1.1\r\n\r\n", "x".repeat(300_000)), 414, "uri_too_long"),
        // An old client's request without a host is one, but says not whom it is for.
        ("GET /healthz HTTP/1.0\r\nConnection: close\r\n\r\n", 400, "invalid_host"),
    ] {
        let answer = raw::exchange(&place, bytes.as_bytes()).await;
        let sound = if bytes.starts_with(whole) { 1 } else { 0 };
        assert_eq!(answer.matches("200 OK").count(), sound, "{answer}");
        if code == "invalid_host" {
            assert!(answer.contains(code), "{answer}");
        } else {
            check_refused(&answer, status, code);
        }
    }
    // A client that ends in the middle of a head, and still listens.
    let mut half = TcpStream::connect(place.served.addr()).await.unwrap();
    half.write_all(b"GET /healthz HTTP/1.1\r\nHost: loc").await.unwrap();
    half.shutdown().await.unwrap();
    check_refused(&read_all(&mut half).await, 400, "malformed_request");
    assert_eq!(place.get("/healthz").await.0, 200);
}

#[tokio::test]
async fn a_body_that_does_not_come_is_not_waited_for() {
    let place = Place::with(|settings| settings.serve.limits.body_read_timeout = Duration::from_millis(100)).await;
    let headers = [("Content-Type", "application/json"), ("Content-Length", "100")];
    let answer = raw::exchange(&place, raw::request("POST", "/v1/jobs", &headers, "").as_bytes()).await;
    assert_eq!(raw::status(&answer), 408, "{answer}");
    assert!(answer.contains(r#""code":"body_timeout""#), "{answer}");
}

#[tokio::test]
async fn requests_on_one_connection_follow_each_other() {
    let place = Place::start().await;
    let mut stream = TcpStream::connect(place.served.addr()).await.unwrap();
    let one = "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n";
    let bad = "GET /nothing HTTP/1.1\r\nHost: localhost\r\n\r\n";
    stream.write_all(format!("{one}{bad}{one}").as_bytes()).await.unwrap();
    let mut text = String::new();
    let mut piece = [0; 4096];
    while text.matches("HTTP/1.1").count() < 3 {
        let count = stream.read(&mut piece).await.unwrap();
        assert!(count > 0, "closed after {text}");
        text.push_str(std::str::from_utf8(&piece[..count]).unwrap());
    }
    assert!(text.contains("404 Not Found") && text.matches("200 OK").count() == 2, "{text}");
}

#[tokio::test]
async fn connections_beyond_the_limit_wait_for_their_turn() {
    let place = Place::with(|settings| settings.serve.limits.connections = 1).await;
    let first = TcpStream::connect(place.served.addr()).await.unwrap();
    let mut second = TcpStream::connect(place.served.addr()).await.unwrap();
    second.write_all(raw::request("GET", "/healthz", &[], "").as_bytes()).await.unwrap();
    drop(first);
    assert_eq!(raw::status(&read_all(&mut second).await), 200);
}

#[tokio::test]
async fn feeds_beyond_the_limit_are_refused() {
    let place = Place::with(|settings| settings.serve.limits.feeds = 1).await;
    let open = || place.request(Method::GET, "/v1/events").header("accept", "text/event-stream").send();
    let first = open().await.unwrap();
    assert_eq!(first.status(), 200);
    let refused = open().await.unwrap();
    assert_eq!((refused.status().as_u16(), &refused.headers()["retry-after"]), (503, &"1".parse().unwrap()));
    assert_eq!(place.get("/v1/events").await.0, 200, "pages are no feeds");
    drop(first);
    let mut tries = 0;
    while open().await.unwrap().status() != 200 {
        tries += 1;
        assert!(tries < 200, "a feed whose client is gone leaves its place");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn a_server_that_stops_ends_feeds_and_lets_requests_finish() {
    let place = Place::start().await;
    let feed = place.request(Method::GET, "/v1/events").header("accept", "text/event-stream").send().await.unwrap();
    assert_eq!(feed.status(), 200);
    let idle = TcpStream::connect(place.served.addr()).await.unwrap();
    place.append(StreamId::System, vec![EventBody::QueuePaused(QueueChanged { queue: "q".into() })]).await;
    let (addr, shutdown) = (place.served.addr(), place.served.shutdown());
    let begun = Instant::now();
    let reading = tokio::spawn(feed.text());
    shutdown.start();
    let text = reading.await.unwrap().unwrap();
    assert!(text.starts_with("retry: 1000\n\n"), "the feed ends as a feed, not as a broken connection: {text}");
    place.served.join().await;
    assert!(begun.elapsed() < Duration::from_secs(5), "neither feeds nor idle connections hold it");
    assert!(TcpStream::connect(addr).await.is_err());
    drop(idle);
}

#[tokio::test]
async fn the_address_file_is_there_while_the_server_is() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("server.json");
    let place = Place::with(|settings| settings.serve.address_file = Some(path.clone())).await;
    let file: serde_json::Value = serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
    assert_eq!(file["address"], place.served.url());
    assert_eq!(file["pid"], std::process::id());
    place.served.stop().await;
    assert!(!path.exists());
}

/// Everything that clients make and that stays has a limit, which says what it is.
#[tokio::test]
async fn what_grows_has_a_limit_that_names_its_key() {
    let place = Place::with(|settings| {
        settings.runner = |options| {
            options.bounds = Bounds {
                unended_jobs: 2,
                schedules: 1,
                open_sessions: 1,
                queued_messages: 1,
                signals_per_job: 1,
                ..Bounds::default()
            };
            options.processes.limits.processes_max = 1;
        };
    })
    .await;
    let refused = async |path: &str, body: Value, status: u16, code: &str, key: &str| {
        let (found, problem) = place.post(path, &body).await;
        assert_eq!((found.as_u16(), problem["code"].as_str()), (status, Some(code)), "{path}: {problem}");
        assert!(problem["detail"].as_str().unwrap().contains(key), "{problem}");
    };
    assert_eq!(place.post("/v1/queues/default/pause", &json!({})).await.0, 200);
    let (_, session) = place.post("/v1/sessions", &json!({})).await;
    let session = session["id"].as_str().unwrap();
    refused("/v1/sessions", json!({}), 429, "too_many_sessions", "limits.open_sessions").await;
    let path = format!("/v1/sessions/{session}/messages");
    assert_eq!(place.post(&path, &json!({ "text": "one" })).await.0, 202);
    refused(&path, json!({ "text": "two" }), 429, "too_many_messages", "limits.queued_messages").await;
    let (status, job) = place.post("/v1/jobs", &json!({ "script": "wait_for('go')" })).await;
    assert_eq!(status, 201, "{job}");
    refused("/v1/jobs", json!({ "script": "return 1" }), 429, "too_many_jobs", "limits.unended_jobs").await;
    let signal = format!("/v1/jobs/{}/signals/go", job["id"].as_str().unwrap());
    assert_eq!(place.post(&signal, &json!({})).await.0, 202);
    refused(&signal, json!({}), 409, "too_many_signals", "limits.signals_per_job").await;
    let (status, _) = place.post("/v1/processes", &json!({ "command": "sleep", "args": ["100"] })).await;
    assert_eq!(status, 201);
    refused("/v1/processes", json!({ "command": "true" }), 429, "too_many_processes", "limits.processes").await;
    let schedule = async |name: &str| {
        let body = json!({ "cron": "0 0 1 1 *", "workflow": "repo-report" });
        read(place.request(Method::PUT, &format!("/v1/schedules/{name}")).json(&body).send().await.unwrap()).await
    };
    assert_eq!(schedule("one").await.0, 201);
    let (status, problem) = schedule("two").await;
    assert_eq!((status.as_u16(), problem["code"].as_str()), (409, Some("too_many_schedules")), "{problem}");
    assert!(problem["detail"].as_str().unwrap().contains("limits.schedules"), "{problem}");
    assert_eq!(schedule("one").await.0, 200, "what is there can be changed");
    // Who makes room may go on.
    assert_eq!(place.post(&format!("/v1/jobs/{}/cancel", job["id"].as_str().unwrap()), &json!({})).await.0, 202);
    assert_eq!(place.post("/v1/jobs", &json!({ "script": "return 1" })).await.0, 201);
}

#[tokio::test]
async fn texts_are_as_long_as_the_configuration_says() {
    let place = Place::with(|settings| {
        let limits = &mut settings.serve.limits;
        (limits.name_max_bytes, limits.key_max_bytes, limits.label_max_bytes) = (16, 17, 18);
        (limits.title_max_bytes, limits.reason_max_bytes, limits.note_max_bytes) = (19, 20, 21);
        (limits.session_agent_max_bytes, limits.labels) = (1_024, 2);
        settings.runner = |options| options.bounds.name_max_bytes = 16;
    })
    .await;
    let (_, job) = place.post("/v1/jobs", &json!({ "script": "wait_for('go')" })).await;
    let job = format!("/v1/jobs/{}", job["id"].as_str().unwrap());
    let long = |bytes: usize| "x".repeat(bytes);
    let with = |name: &str, value: Value| {
        let mut body = json!({ "script": "return 1" });
        body[name] = value;
        body
    };
    let (cancel, approval) = (format!("{job}/cancel"), format!("{job}/approvals/a"));
    let cases = [
        ("/v1/jobs", with("queue", json!(long(17))), "limits.name_max_bytes"),
        ("/v1/jobs", json!({ "workflow": long(17) }), "limits.name_max_bytes"),
        ("/v1/jobs", json!({ "script": { "source": "return 1", "name": long(17) } }), "limits.name_max_bytes"),
        ("/v1/jobs", with("labels", json!({ long(17): "x" })), "limits.name_max_bytes"),
        ("/v1/jobs", with("labels", json!({ "a": long(19) })), "limits.label_max_bytes"),
        ("/v1/jobs", with("labels", json!({ "a": "", "b": "", "c": "" })), "limits.labels"),
        ("/v1/jobs", with("idempotency_key", json!(long(18))), "limits.key_max_bytes"),
        ("/v1/jobs", with("concurrency_key", json!(long(18))), "limits.key_max_bytes"),
        ("/v1/processes", json!({ "command": "true", "client_token": long(18) }), "limits.key_max_bytes"),
        ("/v1/sessions", json!({ "title": long(20) }), "limits.title_max_bytes"),
        ("/v1/sessions", json!({ "agent": { "system": long(1_024) } }), "limits.session_agent_max_bytes"),
        ("/v1/sessions", json!({ "agent": { "job": "x" } }), "agent.job"),
        (cancel.as_str(), json!({ "reason": long(21) }), "limits.reason_max_bytes"),
        (approval.as_str(), json!({ "approved": true, "by": long(17) }), "limits.name_max_bytes"),
        (approval.as_str(), json!({ "approved": true, "note": long(22) }), "limits.note_max_bytes"),
        (&*format!("{job}/signals/{}", long(17)), json!({}), "limits.name_max_bytes"),
    ];
    for (path, body, key) in cases {
        let (status, problem) = place.post(path, &body).await;
        assert_eq!(status, 400, "{path} {body}: {problem}");
        assert!(problem["detail"].as_str().unwrap().contains(key), "{path} {body}: {problem}");
    }
    let key = place.request(Method::POST, "/v1/jobs").header("Idempotency-Key", long(18));
    let (status, problem) = read(key.json(&json!({ "script": "return 1" })).send().await.unwrap()).await;
    assert_eq!(status, 400, "{problem}");
    let (status, session) = place.post("/v1/sessions", &json!({ "title": long(19) })).await;
    assert_eq!(status, 201, "{session}");
}

/// Nothing that a client sends comes back as a header of its own.
#[tokio::test]
async fn no_text_of_a_client_begins_a_header() {
    let place = Place::start().await;
    let evil = "x%0d%0aX-Injected:%201%0d%0a%0d%0a<script>";
    for (method, path, body) in [
        ("GET", format!("/v1/jobs/{evil}"), ""),
        ("GET", format!("/{evil}"), ""),
        ("GET", format!("/v1/workflows/{evil}"), ""),
        ("PUT", format!("/v1/schedules/{evil}"), r#"{"cron":"* * * * *","workflow":"repo-report"}"#),
        ("GET", format!("/v1/events?types={evil}"), ""),
        ("GET", format!("/v1/jobs?{evil}={evil}"), ""),
        ("GET", format!("/v1/jobs?cursor={evil}"), ""),
        ("GET", format!("/v1/blobs/{evil}"), ""),
        ("POST", "/v1/jobs".into(), r#"{"workflow":"x\r\nX-Injected: 1"}"#),
        ("POST", "/v1/jobs".into(), r#"{"script":"return 1","queue":"x\r\nX-Injected: 1"}"#),
        ("POST", "/v1/sessions".into(), r#"{"title":"x\r\nX-Injected: 1"}"#),
        ("OPTIONS", format!("/v1/jobs/{evil}"), ""),
    ] {
        let headers = [("Content-Type", "application/json"), ("If-None-Match", "\"x\""), ("Last-Event-ID", "x")];
        let answer = raw::exchange(&place, raw::request(method, &path, &headers, body).as_bytes()).await;
        assert_eq!(raw::header(&answer, "x-injected"), None, "{method} {path}: {answer}");
        assert!(raw::header(&answer, "content-type").is_none_or(|kind| !kind.contains("html")), "{answer}");
        assert_eq!(raw::header(&answer, "x-content-type-options"), Some("nosniff"), "{answer}");
    }
}
