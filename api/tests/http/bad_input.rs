//! Everything that a request can get wrong, and what it is told.

use crate::{
    place::{Place, read},
    raw,
};
use reqwest::Method;
use serde_json::Value;

const ID: &str = "019ab0c2-7d1e-7cc1-9d53-0a3d6b6f2f11";

#[tokio::test]
async fn bodies() {
    let place = Place::start().await;
    // Path, body, status, code, and the paths in errors[].
    let table: &[(&str, &str, u16, &str, &[&str])] = &[
        ("/v1/jobs", "{", 400, "invalid_json", &[]),
        ("/v1/jobs", "{\"workflow\": \"x\",}", 400, "invalid_json", &[]),
        ("/v1/jobs", "nonsense", 400, "invalid_json", &[]),
        ("/v1/jobs", "{} {}", 400, "invalid_json", &[]),
        ("/v1/jobs", "[]", 400, "invalid_request", &[]),
        ("/v1/jobs", "\"text\"", 400, "invalid_request", &[]),
        ("/v1/jobs", "", 400, "invalid_request", &["workflow"]),
        ("/v1/jobs", "{}", 400, "invalid_request", &["workflow"]),
        ("/v1/jobs", r#"{"workflow":null}"#, 400, "invalid_request", &["workflow"]),
        ("/v1/jobs", r#"{"workflow":""}"#, 400, "invalid_request", &["workflow"]),
        ("/v1/jobs", r#"{"workflow":7}"#, 400, "invalid_request", &["workflow"]),
        ("/v1/jobs", r#"{"workflow":"a","script":"b"}"#, 400, "invalid_request", &["script"]),
        ("/v1/jobs", r#"{"script":7}"#, 400, "invalid_request", &["script"]),
        ("/v1/jobs", r#"{"script":{"name":"n"}}"#, 400, "invalid_request", &["script.source"]),
        ("/v1/jobs", r#"{"script":{"source":"x","extra":1}}"#, 400, "invalid_request", &["script.extra"]),
        ("/v1/jobs", r#"{"workflow":"w","worklfow":"w","arg":{}}"#, 400, "invalid_request", &["arg", "worklfow"]),
        ("/v1/jobs", r#"{"workflow":"w","queue":1}"#, 400, "invalid_request", &["queue"]),
        ("/v1/jobs", r#"{"workflow":"w","priority":"high"}"#, 400, "invalid_request", &["priority"]),
        ("/v1/jobs", r#"{"workflow":"w","priority":1.5}"#, 400, "invalid_request", &["priority"]),
        ("/v1/jobs", r#"{"workflow":"w","priority":2147483648}"#, 400, "invalid_request", &["priority"]),
        ("/v1/jobs", r#"{"workflow":"w","run_at":"tomorrow"}"#, 400, "invalid_request", &["run_at"]),
        ("/v1/jobs", r#"{"workflow":"w","timeout_ms":-1}"#, 400, "invalid_request", &["timeout_ms"]),
        ("/v1/jobs", r#"{"workflow":"w","timeout_ms":0}"#, 400, "invalid_request", &["timeout_ms"]),
        ("/v1/jobs", r#"{"workflow":"w","retry":3}"#, 400, "invalid_request", &["retry"]),
        ("/v1/jobs", r#"{"workflow":"w","retry":{}}"#, 400, "invalid_request", &["retry.max"]),
        ("/v1/jobs", r#"{"workflow":"w","retry":{"max":0}}"#, 400, "invalid_request", &["retry.max"]),
        ("/v1/jobs", r#"{"workflow":"w","retry":{"max":1,"times":1}}"#, 400, "invalid_request", &["retry.times"]),
        ("/v1/jobs", r#"{"workflow":"w","retry":{"max":1,"factor":"x"}}"#, 400, "invalid_request", &["retry.factor"]),
        ("/v1/jobs", r#"{"workflow":"w","budget_tokens":1.5}"#, 400, "invalid_request", &["budget_tokens"]),
        ("/v1/jobs", r#"{"workflow":"w","session":"x"}"#, 400, "invalid_request", &["session"]),
        ("/v1/jobs", r#"{"workflow":"w","resume_from":"x"}"#, 400, "invalid_request", &["resume_from"]),
        ("/v1/jobs", r#"{"workflow":"w","labels":["a"]}"#, 400, "invalid_request", &["labels"]),
        ("/v1/jobs", r#"{"workflow":"w","labels":{"a":1,"b":"c"}}"#, 400, "invalid_request", &["labels.a"]),
        ("/v1/jobs", r#"{"workflow":"w","idempotency_key":""}"#, 400, "invalid_request", &["idempotency_key"]),
        (
            "/v1/jobs",
            r#"{"x":1,"priority":"a","labels":1}"#,
            400,
            "invalid_request",
            &["labels", "priority", "workflow", "x"],
        ),
        ("/v1/jobs", r#"{"workflow":"w","queue":"no-such-queue"}"#, 400, "no_such_queue", &["queue"]),
        ("/v1/jobs/{id}/cancel", r#"{"why":"x"}"#, 400, "invalid_request", &["why"]),
        ("/v1/jobs/{id}/cancel", r#"{"reason":1}"#, 400, "invalid_request", &["reason"]),
        ("/v1/jobs/{id}/cancel", "{}", 404, "no_such_job", &[]),
        ("/v1/jobs/{id}/cancel", "", 404, "no_such_job", &[]),
        ("/v1/jobs/x/cancel", "{}", 404, "no_such_job", &[]),
        ("/v1/jobs/{id}/signals/go", r#"{"payload":1,"extra":2}"#, 400, "invalid_request", &["extra"]),
        ("/v1/jobs/{id}/signals/go", r#"{"payload":1}"#, 404, "no_such_job", &[]),
        ("/v1/jobs/{id}/approvals/gate", "{}", 400, "invalid_request", &["approved"]),
        ("/v1/jobs/{id}/approvals/gate", r#"{"approved":"yes"}"#, 400, "invalid_request", &["approved"]),
        ("/v1/jobs/{id}/approvals/gate%2Fx", r#"{"approved":true}"#, 404, "no_such_job", &[]),
        ("/v1/jobs/{id}/retry", r#"{"at":1}"#, 400, "invalid_request", &["at"]),
        ("/v1/jobs/{id}/retry", "", 404, "no_such_job", &[]),
        ("/v1/queues/nothing/pause", r#"{"x":1}"#, 400, "invalid_request", &["x"]),
        ("/v1/queues/nothing/pause", "", 404, "no_such_queue", &[]),
        ("/v1/workflows/check", "{}", 400, "invalid_request", &["script"]),
        ("/v1/workflows/check", r#"{"source":"x"}"#, 400, "invalid_request", &["script", "source"]),
        ("/v1/tickets", r#"{"for":"me"}"#, 400, "invalid_request", &["for"]),
    ];
    for (path, body, status, code, paths) in table {
        let path = path.replace("{id}", ID);
        let (found, problem) = place.post_text(&path, *body).await;
        assert_eq!((found.as_u16(), problem["code"].as_str().unwrap()), (*status, *code), "{path} {body}: {problem}");
        let mut named: Vec<&str> =
            problem["errors"].as_array().into_iter().flatten().map(|e| e["path"].as_str().unwrap()).collect();
        named.sort_unstable();
        assert_eq!(named, *paths, "{path} {body}: {problem}");
    }
}

#[tokio::test]
async fn json_that_is_none_is_told_where() {
    let place = Place::start().await;
    let (_, problem) = place.post_text("/v1/jobs", "{\n  \"workflow\": }").await;
    assert_eq!((problem["line"].as_u64(), problem["column"].as_u64()), (Some(2), Some(15)), "{problem}");
    let (_, problem) = place.post_text("/v1/jobs", &b"{\"workflow\": \"\xff\"}"[..]).await;
    assert_eq!(problem["code"], "invalid_json", "{problem}");
    let (_, problem) = place.post_text("/v1/jobs", "[".repeat(100_000)).await;
    assert_eq!(problem["code"], "invalid_json", "{problem}");
}

#[tokio::test]
async fn queries_and_paths() {
    let place = Place::start().await;
    let table: &[(&str, &str, u16, &str)] = &[
        ("GET", "/v1/nothing", 404, "no_such_path"),
        ("GET", "/v1/jobs/", 404, "no_such_path"),
        ("POST", "/v1/nothing", 404, "no_such_path"),
        ("GET", "/v1", 404, "no_such_path"),
        ("GET", "/v1/jobs/%ff", 404, "no_such_path"),
        ("GET", "/v1/jobs/x", 404, "no_such_job"),
        ("GET", "/v1/jobs/019AB0C2-7D1E-7CC1-9D53-0A3D6B6F2F11", 404, "no_such_job"),
        ("GET", "/v1/jobs/019ab0c2-7d1e-7cc1-9d53-0a3d6b6f2f11", 404, "no_such_job"),
        ("GET", "/v1/jobs/019ab0c2-7d1e-7cc1-9d53-0a3d6b6f2f11?wait=1ms", 404, "no_such_job"),
        ("GET", "/v1/jobs/019ab0c2-7d1e-7cc1-9d53-0a3d6b6f2f11/events", 404, "no_such_job"),
        ("GET", "/v1/jobs/019ab0c2-7d1e-7cc1-9d53-0a3d6b6f2f11/state", 404, "no_such_job"),
        ("GET", "/v1/blobs/x", 404, "no_such_blob"),
        ("GET", "/v1/workflows/nothing-like-this", 404, "no_such_workflow"),
        ("GET", "/v1/jobs?limit=0", 400, "invalid_query"),
        ("GET", "/v1/jobs?limit=x", 400, "invalid_query"),
        ("GET", "/v1/jobs?limit=-1", 400, "invalid_query"),
        ("GET", "/v1/jobs?limit=1&limit=2", 400, "invalid_query"),
        ("GET", "/v1/jobs?cursor=x", 400, "invalid_cursor"),
        ("GET", "/v1/queues?cursor=x", 400, "invalid_cursor"),
        ("GET", "/v1/jobs?state=done", 400, "invalid_query"),
        ("GET", "/v1/jobs?label==x", 400, "invalid_query"),
        ("GET", "/v1/jobs?parent=x", 400, "invalid_query"),
        ("GET", "/v1/jobs?since=yesterday", 400, "invalid_query"),
        ("GET", "/v1/jobs?sate=queued&x=1", 400, "invalid_query"),
        ("GET", "/v1/jobs?workflow=%ff", 400, "invalid_query"),
        ("POST", "/v1/jobs?wait=soon", 400, "invalid_query"),
        ("POST", "/v1/jobs?wiat=1s", 400, "invalid_query"),
        ("GET", "/v1/events?after=x", 400, "invalid_cursor"),
        ("GET", "/v1/events?after=-1", 400, "invalid_cursor"),
        ("GET", "/v1/events?after=1.5", 400, "invalid_cursor"),
        ("GET", "/v1/events?after=99999999", 400, "cursor_beyond_head"),
        ("GET", "/v1/events?after=99999999999999999999999999", 400, "invalid_cursor"),
        ("GET", "/v1/events?types=job.compleeted", 400, "invalid_query"),
        ("GET", "/v1/events?job=x", 400, "invalid_query"),
        ("GET", "/v1/events?follow=maybe", 400, "invalid_query"),
        ("GET", "/v1/events?follow=true", 400, "invalid_query"),
        ("GET", "/v1/events?limit=0", 400, "invalid_query"),
        ("GET", "/healthz?verbose=1", 400, "invalid_query"),
        ("DELETE", "/v1/jobs", 405, "method_not_allowed"),
        ("PUT", "/v1/jobs/019ab0c2-7d1e-7cc1-9d53-0a3d6b6f2f11", 405, "method_not_allowed"),
        ("POST", "/v1/events", 405, "method_not_allowed"),
        ("GET", "/v1/tickets", 405, "method_not_allowed"),
        ("HEAD", "/v1/tickets", 405, "method_not_allowed"),
        ("BREW", "/", 405, "method_not_allowed"),
    ];
    for (method, path, status, code) in table {
        let response = place.request(Method::from_bytes(method.as_bytes()).unwrap(), path).send().await.unwrap();
        if *status == 405 {
            assert!(response.headers().contains_key("allow"), "{method} {path}");
        }
        if *method == "HEAD" {
            assert_eq!((response.status().as_u16(), response.text().await.unwrap()), (*status, String::new()));
            continue;
        }
        let (found, problem) = read(response).await;
        assert_eq!((found.as_u16(), problem["code"].as_str().unwrap()), (*status, *code), "{method} {path}: {problem}");
    }
    let (_, problem) = place.get("/v1/jobs?sate=queued&x=1").await;
    let named: Vec<&Value> = problem["errors"].as_array().unwrap().iter().map(|e| &e["path"]).collect();
    assert_eq!(named, ["sate", "x"], "{problem}");
}

#[tokio::test]
async fn cursors_in_headers_are_checked_like_those_in_queries() {
    let place = Place::start().await;
    for (id, status) in [("x", 400), ("999999", 400), ("0", 200), ("", 200)] {
        let request = place.request(Method::GET, "/v1/events?after=0").header("last-event-id", id);
        assert_eq!(request.send().await.unwrap().status().as_u16(), status, "Last-Event-ID: {id:?}");
    }
}

#[tokio::test]
async fn types_and_forms() {
    let place = Place::start().await;
    for (media, status) in [
        ("text/plain", 415),
        // What `curl -d` calls everything; a page's form tells its origin.
        ("application/x-www-form-urlencoded", 400),
        ("application/jsonp", 415),
        ("application/json; charset=utf-8", 400),
        ("APPLICATION/JSON", 400),
        ("application/vnd.moonlog+json", 400),
    ] {
        let request = place.request(Method::POST, "/v1/jobs").header("content-type", media).body("{}");
        let (found, problem) = read(request.send().await.unwrap()).await;
        assert_eq!(found.as_u16(), status, "{media}: {problem}");
    }
    let form = place.request(Method::POST, "/v1/jobs").header("content-type", "application/x-www-form-urlencoded");
    let form = form.header("sec-fetch-site", "same-origin").body("{}");
    assert_eq!(form.send().await.unwrap().status().as_u16(), 415);
    for (accept, status) in [("text/html", 406), ("image/png", 406), ("application/json", 200), ("*/*", 200)] {
        let request = place.request(Method::GET, "/v1/events").header("accept", accept);
        assert_eq!(request.send().await.unwrap().status().as_u16(), status, "{accept}");
    }
}

#[tokio::test]
async fn methods_that_every_path_has() {
    let place = Place::start().await;
    let answer = raw::exchange(&place, raw::request("OPTIONS", "/v1/jobs", &[], "").as_bytes()).await;
    assert_eq!((raw::status(&answer), raw::header(&answer, "allow")), (204, Some("POST, GET, HEAD, OPTIONS")));
    let answer = raw::exchange(&place, raw::request("OPTIONS", "*", &[], "").as_bytes()).await;
    assert_eq!(raw::status(&answer), 204, "{answer}");
    let got = raw::exchange(&place, raw::request("GET", "/v1/queues", &[], "").as_bytes()).await;
    let head = raw::exchange(&place, raw::request("HEAD", "/v1/queues", &[], "").as_bytes()).await;
    assert_eq!(raw::status(&head), 200);
    assert_eq!(raw::header(&head, "content-length"), raw::header(&got, "content-length"));
    assert_eq!(raw::body(&head), "");
    let accept = [("Accept", "text/event-stream")];
    let head = raw::exchange(&place, raw::request("HEAD", "/v1/events", &accept, "").as_bytes()).await;
    assert_eq!((raw::status(&head), raw::header(&head, "content-type")), (200, Some("text/event-stream")));
    assert_eq!(raw::body(&head), "", "a feed that is only asked about does not begin");
}
