//! What is too large, too long, too slow or too many; and the end of a server.

use crate::{
    place::Place,
    raw::{self, read_all},
};
use moonlog_core::event::{EventBody, QueueChanged, StreamId};
use reqwest::Method;
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
