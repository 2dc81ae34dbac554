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
