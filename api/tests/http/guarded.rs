//! Who may ask.

use crate::{
    place::{Place, token},
    raw,
};
use moonlog_api::server::ServeError;
use reqwest::Method;
use serde_json::json;

#[tokio::test]
async fn hosts_and_origins_are_those_of_the_server() {
    let place = Place::with(|settings| {
        settings.serve.hosts = vec!["Build.Example".into()];
        settings.serve.origins = vec!["https://ci.example".into()];
    })
    .await;
    let port = place.served.addr().port();
    let own = |name: &str| format!("{name}:{port}");
    let hosts = [
        (own("localhost"), 200),
        (own("127.0.0.1"), 200),
        (own("[::1]"), 200),
        (own("LOCALHOST"), 200),
        ("localhost".into(), 200),
        (own("build.example"), 200),
        (own("evil.example"), 403),
        (own("127.0.0.1.evil.example"), 403),
        (own("localhost.evil.example"), 403),
        (own("10.0.0.1"), 403),
        ("localhost:x".into(), 403),
        (own("localhost."), 200),
        ("localhost:1".into(), 200),
        ("localhost:99999".into(), 403),
        ("localhost:".into(), 403),
        ("user@localhost".into(), 403),
        ("localhost/evil.example".into(), 403),
        ("localhost evil.example".into(), 403),
        ("localhost,evil.example".into(), 403),
        ("[::ffff:127.0.0.1]".into(), 200),
        ("[::1".into(), 403),
        ("::1".into(), 403),
        ("0x7f.1".into(), 403),
        ("2130706433".into(), 403),
        ("127.1".into(), 403),
        ("0.0.0.0".into(), 403),
        ("[::]".into(), 403),
        ("localhost\u{e9}".into(), 403),
        (String::new(), 403),
    ];
    for (host, status) in hosts {
        let answer = raw::exchange(&place, raw::request("GET", "/v1/queues", &[("Host", &host)], "").as_bytes()).await;
        assert_eq!(raw::status(&answer), status, "Host: {host}");
    }
    let twice = raw::request("GET", "/", &[("Host", "localhost"), ("Host", "localhost")], "");
    assert_eq!(raw::status(&raw::exchange(&place, twice.as_bytes()).await), 400);
    let none = b"GET /healthz HTTP/1.0\r\n\r\n";
    assert_eq!(raw::status(&raw::exchange(&place, none).await), 400);
    let origins = [
        (format!("http://localhost:{port}"), 200),
        (format!("http://127.0.0.1:{port}"), 200),
        ("https://ci.example".into(), 200),
        ("http://localhost:1".into(), 403),
        ("https://evil.example".into(), 403),
        ("http://ci.example".into(), 403),
        ("null".into(), 403),
        ("file://".into(), 403),
    ];
    for (origin, status) in origins {
        let headers = [("Host", own("localhost")), ("Origin", origin.clone())];
        let headers = headers.each_ref().map(|(name, value)| (*name, value.as_str()));
        let answer = raw::exchange(&place, raw::request("GET", "/v1/queues", &headers, "").as_bytes()).await;
        assert_eq!(raw::status(&answer), status, "Origin: {origin}");
        let named = raw::header(&answer, "access-control-allow-origin");
        assert_eq!(named.is_some(), origin == "https://ci.example", "{answer}");
        if status == 403 {
            assert!(raw::body(&answer).contains(r#""code":"forbidden_origin""#), "{answer}");
        }
    }
}

#[tokio::test]
async fn a_token_is_wanted_for_everything_but_healthz() {
    let place = Place::with(|settings| settings.serve.token = token("right-token")).await;
    let ask = |path: &'static str, bearer: Option<&'static str>| {
        let headers: Vec<(&str, &str)> = bearer.map(|bearer| ("Authorization", bearer)).into_iter().collect();
        let request = raw::request("GET", path, &headers, "");
        let place = &place;
        async move { raw::exchange(place, request.as_bytes()).await }
    };
    assert_eq!(raw::status(&ask("/healthz", None).await), 200);
    for path in ["/", "/readyz", "/metrics", "/openapi.json", "/v1/jobs", "/v1/events", "/no/such/path"] {
        let answer = ask(path, None).await;
        assert_eq!(raw::status(&answer), 401, "{path}");
        assert!(raw::header(&answer, "www-authenticate").unwrap().starts_with("Bearer"), "{answer}");
        assert_eq!(raw::header(&answer, "content-type"), Some("application/problem+json"));
    }
    let table = [
        ("Bearer right-token", 200),
        ("bearer right-token", 200),
        ("Bearer right-tokem", 401),
        ("Bearer right-token-and-more", 401),
        ("Bearer ", 401),
        ("Basic right-token", 401),
        ("right-token", 401),
        ("", 401),
    ];
    for (bearer, status) in table {
        assert_eq!(raw::status(&ask("/v1/queues", Some(bearer)).await), status, "{bearer}");
    }
    // A browser that has no token yet gets the page that asks for it.
    let html = raw::request("GET", "/", &[("Accept", "text/html")], "");
    let answer = raw::exchange(&place, html.as_bytes()).await;
    assert_eq!((raw::status(&answer), raw::header(&answer, "content-type")), (401, Some("text/html; charset=utf-8")));
}

#[tokio::test]
async fn a_ticket_opens_feeds_and_nothing_else() {
    let place = Place::with(|settings| settings.serve.token = token("right-token")).await;
    let (status, ticket) = place.post("/v1/tickets", &json!({})).await;
    assert_eq!(status, 201);
    let ticket = ticket["ticket"].as_str().unwrap();
    let ask = |path: String| {
        let request = raw::request("GET", &path, &[], "");
        let place = &place;
        async move { raw::status(&raw::exchange(place, request.as_bytes()).await) }
    };
    assert_eq!(ask(format!("/v1/events?ticket={ticket}")).await, 200);
    assert_eq!(ask(format!("/v1/events?ticket={ticket}x")).await, 401);
    assert_eq!(ask("/v1/events?ticket=".into()).await, 401);
    assert_eq!(ask(format!("/v1/jobs?ticket={ticket}")).await, 401);
    let no_token = raw::request("POST", "/v1/tickets", &[("Content-Type", "application/json")], "{}");
    assert_eq!(raw::status(&raw::exchange(&place, no_token.as_bytes()).await), 401);
}

#[tokio::test]
async fn others_are_not_let_in_without_a_token() {
    for listen in ["0.0.0.0:0", "[::]:0"] {
        let started = Place::try_with(|settings| settings.serve.listen = listen.parse().unwrap()).await;
        assert!(matches!(started, Err(ServeError::TokenNeeded { .. })), "{listen}");
    }
    let place = Place::with(|settings| {
        settings.serve.listen = "0.0.0.0:0".parse().unwrap();
        settings.serve.token = token("t");
    })
    .await;
    assert_eq!(place.get("/v1/queues").await.0, 200);
}

#[tokio::test]
async fn a_page_of_a_configured_origin_may_ask_first() {
    let place = Place::with(|settings| {
        settings.serve.origins = vec!["https://ci.example/".into()];
        settings.serve.token = token("t");
    })
    .await;
    let preflight = |origin: &'static str| {
        let headers = [("Origin", origin), ("Access-Control-Request-Method", "POST")];
        let request = raw::request("OPTIONS", "/v1/jobs", &headers, "");
        let place = &place;
        async move { raw::exchange(place, request.as_bytes()).await }
    };
    let answer = preflight("https://ci.example").await;
    assert_eq!(raw::status(&answer), 204);
    assert_eq!(raw::header(&answer, "access-control-allow-origin"), Some("https://ci.example"));
    assert!(raw::header(&answer, "access-control-allow-headers").unwrap().contains("Authorization"));
    assert_eq!(raw::status(&preflight("https://evil.example").await), 403);
}

#[tokio::test]
async fn the_console_runs_its_own_script_alone() {
    let place = Place::start().await;
    let response = place.request(Method::GET, "/").send().await.unwrap();
    assert_eq!(response.status(), 200);
    let policy = response.headers()["content-security-policy"].to_str().unwrap().to_owned();
    let html = response.text().await.unwrap();
    let nonce = policy.split("script-src 'nonce-").nth(1).unwrap().split('\'').next().unwrap();
    assert!(policy.starts_with("default-src 'none'"));
    assert_eq!(html.matches("<script").count(), html.matches(&format!("<script nonce=\"{nonce}\"")).count());
    assert!(!html.contains("{{") && html.contains("job.completed"));
}

#[tokio::test]
async fn the_host_is_what_the_header_says_and_nothing_else() {
    let place = Place::start().await;
    let port = place.served.addr().port();
    let statuses = [
        // A target in full names the server itself, or another one.
        (format!("GET http://localhost:{port}/v1/queues HTTP/1.1\r\nHost: localhost:{port}"), 200),
        (format!("GET http://evil.example/v1/queues HTTP/1.1\r\nHost: evil.example:{port}"), 403),
        (format!("GET /v1/queues HTTP/1.1\r\nHost: evil.example\r\nX-Forwarded-Host: localhost:{port}"), 403),
        (format!("GET /v1/queues HTTP/1.1\r\nHost: evil.example\r\nForwarded: host=localhost:{port}"), 403),
        (format!("GET /v1/queues HTTP/1.1\r\nHost: localhost:{port}\r\nHost: evil.example"), 400),
        ("GET /v1/queues HTTP/1.1\r\nX: y".to_owned(), 400),
        ("GET /healthz HTTP/1.1\r\nHost: evil.example".to_owned(), 403),
        ("CONNECT evil.example:80 HTTP/1.1\r\nHost: evil.example:80".to_owned(), 403),
        ("CONNECT evil.example:80 HTTP/1.1\r\nHost: localhost".to_owned(), 405),
        ("OPTIONS * HTTP/1.1\r\nHost: localhost".to_owned(), 204),
    ];
    for (head, status) in statuses {
        let answer = raw::exchange(&place, format!("{head}\r\nConnection: close\r\n\r\n").as_bytes()).await;
        assert_eq!(raw::status(&answer), status, "{head}: {answer}");
    }
    // HTTP/2, with a name of its own for the host, is not spoken.
    let answer = raw::exchange(&place, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await;
    assert!(answer.is_empty() || [400, 505].contains(&raw::status(&answer)), "{answer:?}");
}

#[tokio::test]
async fn pages_that_name_no_origin_are_told_by_where_they_are() {
    let place = Place::with(|settings| settings.serve.origins = vec!["https://ci.example".into()]).await;
    let port = place.served.addr().port();
    let (own, host) = (format!("http://localhost:{port}"), format!("localhost:{port}"));
    for (method, headers, status) in [
        ("GET", vec![("Sec-Fetch-Site", "cross-site"), ("Sec-Fetch-Mode", "no-cors")], 403),
        ("GET", vec![("Sec-Fetch-Site", "same-site"), ("Sec-Fetch-Mode", "no-cors")], 403),
        ("GET", vec![("Sec-Fetch-Site", "cross-site")], 403),
        ("GET", vec![("Sec-Fetch-Site", "cross-site"), ("Sec-Fetch-Mode", "websocket")], 403),
        ("POST", vec![("Sec-Fetch-Site", "cross-site"), ("Sec-Fetch-Mode", "navigate")], 403),
        ("POST", vec![("Sec-Fetch-Site", "cross-site"), ("Sec-Fetch-Mode", "navigate"), ("Origin", "null")], 403),
        ("GET", vec![("Sec-Fetch-Site", "cross-site"), ("Sec-Fetch-Mode", "navigate")], 200),
        ("GET", vec![("Sec-Fetch-Site", "none"), ("Sec-Fetch-Mode", "navigate")], 200),
        ("GET", vec![("Sec-Fetch-Site", "same-origin"), ("Sec-Fetch-Mode", "cors")], 200),
        ("GET", vec![("Sec-Fetch-Site", "cross-site"), ("Origin", "https://ci.example")], 200),
        ("GET", vec![("Sec-Fetch-Site", "same-origin"), ("Origin", own.as_str())], 200),
    ] {
        let headers = [&headers[..], &[("Host", host.as_str())]].concat();
        let answer = raw::exchange(&place, raw::request(method, "/v1/queues", &headers, "").as_bytes()).await;
        assert_eq!(raw::status(&answer), status, "{method} {headers:?}: {answer}");
    }
    // What a form can send without asking first is no request of ours, be it in the right place.
    for kind in ["text/plain", "multipart/form-data; boundary=x", "application/x-www-form-urlencoded", "text/json", ""]
    {
        let headers = [("Content-Type", kind), ("Sec-Fetch-Site", "same-origin")];
        let answer = raw::exchange(&place, raw::request("POST", "/v1/jobs", &headers, "{}").as_bytes()).await;
        assert_eq!(raw::status(&answer), 415, "{kind}: {answer}");
    }
    // An upgrade is not made.
    let upgrade =
        [("Upgrade", "websocket"), ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="), ("Sec-WebSocket-Version", "13")];
    let answer = raw::exchange(&place, raw::request("GET", "/v1/events", &upgrade, "").as_bytes()).await;
    assert_eq!(raw::status(&answer), 200, "{answer}");
}

#[tokio::test]
async fn a_ticket_cannot_be_changed_and_lives_as_long_as_it_says() {
    let start = |ticket_ms: u64| {
        Place::with(move |settings| {
            settings.serve.token = token("right-token");
            settings.serve.limits.ticket = std::time::Duration::from_millis(ticket_ms);
        })
    };
    let ask = async |place: &Place, ticket: &str| {
        let request = raw::request("GET", &format!("/v1/events?follow=false&ticket={ticket}"), &[], "");
        raw::status(&raw::exchange(place, request.as_bytes()).await)
    };
    let place = start(60_000).await;
    let given = place.post("/v1/tickets", &json!({})).await.1;
    let ticket = given["ticket"].as_str().unwrap().to_owned();
    assert_eq!((ask(&place, &ticket).await, ask(&place, &ticket).await), (200, 200));
    let (expires, seal) = ticket.split_once('.').unwrap();
    for other in [
        format!("{expires}.{}", seal.to_uppercase()),
        format!("{expires}.{}", &seal[..seal.len() - 1]),
        format!("{expires}.{seal}0"),
        format!("{expires}."),
        format!("f{expires}.{seal}"),
        format!("-{expires}.{seal}"),
        format!("{expires}.{}", "0".repeat(seal.len())),
        format!("7fffffffffffffff.{seal}"),
        format!("{expires}{seal}"),
        "%00".into(),
        ".".into(),
    ] {
        assert_eq!(ask(&place, &other).await, 401, "{other}");
    }
    // Beside it, no token is looked for in the query, and twice is not once.
    for query in [format!("ticket={ticket}&ticket={ticket}"), "token=right-token".into(), format!("Ticket={ticket}")] {
        let answer =
            raw::exchange(&place, raw::request("GET", &format!("/v1/events?{query}"), &[], "").as_bytes()).await;
        assert!([400, 401].contains(&raw::status(&answer)), "{query}: {answer}");
    }
    // The next server of the same token takes it, one of another token does not.
    assert_eq!(ask(&start(60_000).await, &ticket).await, 200);
    let other = Place::with(|settings| settings.serve.token = token("other-token")).await;
    assert_eq!(ask(&other, &ticket).await, 401);
    let brief = start(1).await;
    let given = brief.post("/v1/tickets", &json!({})).await.1;
    let brief_ticket = given["ticket"].as_str().unwrap().to_owned();
    while ask(&brief, &brief_ticket).await == 200 {}
    assert_eq!(ask(&brief, &brief_ticket).await, 401);
}
