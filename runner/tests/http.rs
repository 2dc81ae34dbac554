//! Requests of scripts, to real servers on this machine.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use base64::Engine as _;
use moonlog_core::{event::StepOutcome, json::Json};
use moonlog_runner::{
    StepResult,
    http::{HttpOptions, HttpPolicy, perform},
    secret::{SecretSource, Secrets},
};
use serde_json::{Value, json};
use std::sync::Arc;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};
use wiremock::{
    Mock, MockServer, ResponseTemplate,
    matchers::{any, method, path},
};

const SECRET: &str = "hunter2-hunter2";

fn policy(change: impl FnOnce(&mut HttpOptions)) -> HttpPolicy {
    let source =
        SecretSource { env: "TOKEN".into(), hosts: vec!["127.0.0.1".into(), "localhost".into()], commands: vec![] };
    let secrets = Secrets::new([("TOKEN".to_owned(), source)].into(), |_| Some(SECRET.into()));
    let mut options = HttpOptions {
        allowed_networks: vec!["127.0.0.0/8".parse().unwrap(), "::1".parse().unwrap()],
        secrets: Arc::new(secrets),
        ..HttpOptions::default()
    };
    change(&mut options);
    HttpPolicy::new(options).unwrap()
}

async fn request(policy: &HttpPolicy, input: Value) -> StepResult {
    perform(&Json::from(input), "key-1", policy).await
}

fn output(result: &StepResult) -> Value {
    result.output.as_ref().unwrap_or_else(|| panic!("{result:?}")).to_value()
}

fn code(result: &StepResult) -> &str {
    result.error.as_ref().map_or("", |error| &error.code)
}

#[tokio::test]
async fn a_request_goes_out_as_asked_and_its_answer_comes_back() {
    let server = MockServer::start().await;
    let answer =
        ResponseTemplate::new(201).set_body_string("made").insert_header("X-Made", "1").append_header("X-Made", "2");
    Mock::given(any()).respond_with(answer).mount(&server).await;
    let result = request(
        &policy(|_| {}),
        json!({ "method": "post", "url": server.uri() + "/things", "headers": { "X-A": "b" }, "body": { "n": 1 } }),
    )
    .await;
    assert_eq!(result.outcome, StepOutcome::Ok);
    let output = output(&result);
    assert_eq!((&output["status"], &output["body"]), (&json!(201), &json!("made")));
    assert_eq!(output["headers"]["x-made"], "1, 2");
    let sent = &server.received_requests().await.unwrap()[0];
    assert_eq!((sent.method.as_str(), sent.url.path()), ("POST", "/things"));
    assert_eq!(sent.body, br#"{"n":1}"#);
    for (name, value) in [("idempotency-key", "key-1"), ("x-a", "b"), ("content-type", "application/json")] {
        assert_eq!(sent.headers.get(name).map(|found| found.to_str().unwrap()), Some(value), "{name}");
    }
}

#[tokio::test]
async fn addresses_that_are_not_public_are_refused_in_every_form() {
    let server = MockServer::start().await;
    Mock::given(any()).respond_with(ResponseTemplate::new(200)).mount(&server).await;
    let port = server.address().port();
    let policy = policy(|options| options.allowed_networks.clear());
    for host in [
        "127.0.0.1",
        "localhost",
        "0x7f.1",
        "2130706433",
        "0177.0.0.1",
        "127.1",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "[::ffff:7f00:1]",
        "[64:ff9b::7f00:1]",
        "[::127.0.0.1]",
        "0.0.0.0",
        "[::]",
        "169.254.169.254",
        "10.0.0.1",
        "[fd00::1]",
        "[fe80::1]",
        "１２７.0.0.1",
        "127.0.0.1.",
        "LOCALHOST",
        "0x7f000001",
        "0x7f.0x0.0x0.0x1",
        "017700000001",
        "0",
        "0.0.0.0.",
        "127.0.0.1%2e",
        "%31%32%37.0.0.1",
        "127。0。0。1",
        "①②⑦.0.0.1",
        "public.example@127.0.0.1",
        "public.example:80@127.0.0.1",
        "public.example%40x@127.0.0.1",
        "192.168.0.1",
        "172.31.255.255",
        "100.100.100.200",
        "[0:0:0:0:0:ffff:7f00:1]",
        "[::ffff:0:7f00:1]",
        "[2002:7f00:1::]",
        "[2001:0:7f00:1::]",
        "[fec0::1]",
        "[ff02::1]",
        "[64:ff9b::a9fe:a9fe]",
        "[fd00:ec2::254]",
    ] {
        let result = request(&policy, json!({ "url": format!("http://{host}:{port}/") })).await;
        assert_eq!(code(&result), "address_not_allowed", "{host}: {result:?}");
        assert!(!result.error.unwrap().retryable, "{host}");
    }
    assert!(server.received_requests().await.unwrap().is_empty());
}

#[tokio::test]
async fn a_redirect_is_checked_like_a_request() {
    let server = MockServer::start().await;
    let redirects = [
        ("/private", "http://10.0.0.1/"),
        ("/chain", "/chain2"),
        ("/chain2", "//169.254.169.254/latest/meta-data/"),
        ("/short", "http://0xa.1/"),
        ("/mapped", "http://[::ffff:10.0.0.1]/"),
        ("/user", "http://public.example@10.0.0.1/"),
        ("/slashes", "http:\\\\10.0.0.1\\"),
        ("/file", "file:///etc/passwd"),
        ("/gopher", "gopher://127.0.0.1:70/_x"),
        ("/data", "data:text/plain,x"),
        ("/loop", "/loop"),
    ];
    for (at, to) in redirects {
        let answer = ResponseTemplate::new(302).insert_header("Location", to);
        Mock::given(path(at)).respond_with(answer).mount(&server).await;
    }
    for (at, _) in redirects {
        let expected = match at {
            "/file" | "/gopher" | "/data" => "invalid_redirect",
            "/loop" => "too_many_redirects",
            _ => "address_not_allowed",
        };
        let result = request(&policy(|_| {}), json!({ "url": server.uri() + at })).await;
        assert_eq!(code(&result), expected, "{at}");
    }
}

#[tokio::test]
async fn secrets_go_to_their_host_alone() {
    let (first, second) = (MockServer::start().await, MockServer::start().await);
    let there = second.uri() + "/there";
    let redirect = ResponseTemplate::new(307).insert_header("Location", there.as_str());
    Mock::given(path("/away")).respond_with(redirect).mount(&first).await;
    let home = ResponseTemplate::new(307).insert_header("Location", "/home");
    Mock::given(path("/same")).respond_with(home).mount(&first).await;
    Mock::given(any())
        .respond_with(ResponseTemplate::new(200).set_body_string(format!("you said {SECRET}")))
        .mount(&first)
        .await;
    Mock::given(any()).respond_with(ResponseTemplate::new(200)).mount(&second).await;
    let policy = policy(|_| {});
    let headers = json!({ "X-Token": "⟦secret:TOKEN⟧", "Authorization": "Basic abc", "X-Other": "1" });
    for (at, arrives) in [("/same", true), ("/away", false)] {
        let result =
            request(&policy, json!({ "method": "POST", "body": "b", "url": first.uri() + at, "headers": headers }))
                .await;
        assert!(!format!("{result:?}").contains(SECRET), "{result:?}");
        let server = if arrives { &first } else { &second };
        let requests = server.received_requests().await.unwrap();
        let sent = requests.last().unwrap();
        assert_eq!((sent.method.as_str(), sent.body.as_slice()), ("POST", b"b".as_slice()));
        assert_eq!(sent.headers.get("x-token").is_some_and(|value| value == SECRET), arrives, "{at}");
        assert_eq!(sent.headers.contains_key("authorization"), arrives, "{at}");
        assert!(sent.headers.contains_key("x-other"));
    }
    let elsewhere = request(&policy, json!({ "url": "http://127.0.0.2/", "headers": headers })).await;
    assert_eq!(code(&elsewhere), "secret_not_allowed");
    let url = format!("{}/⟦secret:TOKEN⟧", first.uri());
    let in_body = json!({ "url": first.uri(), "body": { "token": "⟦secret:TOKEN⟧" } });
    for input in [json!({ "url": url }), in_body] {
        let refused = request(&policy, input).await;
        assert_eq!(code(&refused), "secret_not_allowed_here", "{refused:?}");
    }
}

#[tokio::test]
async fn answers_are_text_or_base64_and_have_a_limit() {
    let server = MockServer::start().await;
    Mock::given(path("/binary"))
        .respond_with(ResponseTemplate::new(200).set_body_bytes([0, 0xff]))
        .mount(&server)
        .await;
    Mock::given(path("/large"))
        .respond_with(ResponseTemplate::new(200).set_body_bytes(vec![b'x'; 1001]))
        .mount(&server)
        .await;
    Mock::given(path("/fits"))
        .respond_with(ResponseTemplate::new(200).set_body_bytes(vec![b'x'; 1000]))
        .mount(&server)
        .await;
    let policy = policy(|options| options.response_max_bytes = 1000);
    let binary = output(&request(&policy, json!({ "url": server.uri() + "/binary" })).await);
    assert_eq!(binary["body_base64"], base64::engine::general_purpose::STANDARD.encode([0, 0xff]));
    assert!(binary.get("body").is_none());
    assert_eq!(code(&request(&policy, json!({ "url": server.uri() + "/large" })).await), "response_too_large");
    let fits = output(&request(&policy, json!({ "url": server.uri() + "/fits" })).await);
    assert_eq!(fits["body"].as_str().unwrap().len(), 1000);
}

#[tokio::test]
async fn a_failing_status_is_an_answer_unless_it_is_to_be_tried_again() {
    let server = MockServer::start().await;
    Mock::given(method("GET")).respond_with(ResponseTemplate::new(503).set_body_string("later")).mount(&server).await;
    let plain = request(&policy(|_| {}), json!({ "url": server.uri() })).await;
    assert_eq!((plain.outcome, plain.error), (StepOutcome::Ok, None));
    let retried = request(&policy(|_| {}), json!({ "url": server.uri(), "retry": { "max": 3 } })).await;
    assert_eq!(retried.outcome, StepOutcome::Error);
    assert!(retried.error.as_ref().unwrap().retryable);
    assert_eq!(output(&retried)["body"], "later");
}

#[tokio::test]
async fn whatever_goes_wrong_has_a_code() {
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let silent_url = format!("http://{}/", silent.local_addr().unwrap());
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let closed_url = format!("http://{}/", closed.local_addr().unwrap());
    drop(closed);
    let garbage = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let garbage_url = format!("http://{}/", garbage.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = garbage.accept().await {
            let _ = socket.read(&mut [0; 1024]).await;
            let _ = socket.write_all(b"what?\r\n\r\n").await;
        }
    });
    let cut = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let cut_url = format!("http://{}/", cut.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = cut.accept().await {
            let _ = socket.read(&mut [0; 1024]).await;
            let _ = socket.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nshort").await;
        }
    });
    let policy = policy(|options| options.request_max_bytes = 10);
    for (input, expected, retryable) in [
        (json!({ "url": silent_url, "timeout_ms": 50 }), "timeout", true),
        (json!({ "url": closed_url }), "connect_failed", true),
        (json!({ "url": garbage_url }), "request_failed", true),
        (json!({ "url": cut_url }), "request_failed", true),
        (json!({ "url": "http://no-such-host.invalid/" }), "dns_failed", true),
        (json!({ "url": "ftp://127.0.0.1/" }), "invalid_url", false),
        (json!({ "url": "nonsense" }), "invalid_url", false),
        (json!({ "url": closed_url, "method": "A B" }), "invalid_method", false),
        (json!({ "url": closed_url, "headers": { "a b": "c" } }), "invalid_header", false),
        (json!({ "url": closed_url, "headers": { "a": "b\r\nc: d" } }), "invalid_header", false),
        (json!({ "url": closed_url, "headers": { "a": "b\nc" } }), "invalid_header", false),
        (json!({ "url": closed_url, "headers": { "a\r\nb": "c" } }), "invalid_header", false),
        (json!({ "url": closed_url, "headers": { "a": "b\0c" } }), "invalid_header", false),
        (json!({ "url": closed_url, "headers": { "hOsT": "neighbour.example" } }), "invalid_header", false),
        (json!({ "url": closed_url, "method": "GET / HTTP/1.1\r\nx:" }), "invalid_method", false),
        (json!({ "url": closed_url, "method": "CONNECT" }), "invalid_method", false),
        (json!({ "url": closed_url, "body": "12345678901" }), "request_too_large", false),
        (json!({ "address": closed_url }), "invalid_input", false),
    ] {
        let result = request(&policy, input.clone()).await;
        assert_eq!(code(&result), expected, "{input}: {result:?}");
        assert_eq!(result.error.unwrap().retryable, retryable, "{input}");
        assert_eq!(result.output, None);
    }
}
