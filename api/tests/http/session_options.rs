//! What a session may be and do, over HTTP: archived and opened again, woken, with a budget.

use crate::place::{Place, read};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

async fn patch(place: &Place, path: &str, body: Value) -> (StatusCode, Value) {
    read(place.request(Method::PATCH, path).json(&body).send().await.unwrap()).await
}

async fn created(place: &Place, body: Value) -> String {
    let (status, session) = place.post("/v1/sessions", &body).await;
    assert_eq!(status, StatusCode::CREATED, "{session}");
    format!("/v1/sessions/{}", session["id"].as_str().unwrap())
}

#[tokio::test]
async fn an_archived_session_takes_nothing_until_it_is_opened_again() {
    let place = Place::start().await;
    let path = created(&place, json!({})).await;
    let (status, session) = patch(&place, &path, json!({ "status": "archived" })).await;
    assert_eq!((status, &session["status"]), (StatusCode::OK, &json!("archived")));
    let (status, problem) = place.post(&format!("{path}/messages"), &json!({ "text": "hello" })).await;
    assert_eq!((status, &problem["code"]), (StatusCode::CONFLICT, &json!("session_archived")));
    let job = json!({ "script": "return 1", "session": session["id"] });
    assert_eq!(place.post("/v1/jobs", &job).await.0, StatusCode::CONFLICT);
    for (status, count) in [("open", 0), ("archived", 1), ("closed", 0)] {
        let (_, page) = place.get(&format!("/v1/sessions?status={status}")).await;
        assert_eq!(page["items"].as_array().unwrap().len(), count, "{status}");
    }
    // What it is already changes nothing.
    let version = patch(&place, &path, json!({ "status": "archived" })).await.1["version"].clone();
    assert_eq!(version, session["version"]);
    let (_, session) = patch(&place, &path, json!({ "status": "open", "title": "again" })).await;
    assert_eq!((&session["status"], &session["title"]), (&json!("open"), &json!("again")));
    assert_eq!(place.post(&format!("{path}/close"), &json!({})).await.0, StatusCode::OK);
    for status in ["open", "archived", "closed"] {
        let (refused, problem) = patch(&place, &path, json!({ "status": status })).await;
        assert_eq!((refused, &problem["code"]), (StatusCode::CONFLICT, &json!("session_closed")), "{status}");
    }
}

#[tokio::test]
async fn a_busy_session_is_not_archived() {
    let place = Place::start().await;
    let path = created(&place, json!({})).await;
    let id = path.rsplit('/').next().unwrap();
    let (_, job) = place.post("/v1/jobs", &json!({ "script": "wait_for('go')", "session": id })).await;
    let (status, problem) = patch(&place, &path, json!({ "status": "archived" })).await;
    assert_eq!((status, &problem["code"]), (StatusCode::CONFLICT, &json!("session_busy")), "{problem}");
    place.post(&format!("/v1/jobs/{}/cancel", job["id"].as_str().unwrap()), &json!({})).await;
    place.get(&format!("/v1/jobs/{}?wait=30s", job["id"].as_str().unwrap())).await;
    let (status, _) = patch(&place, &path, json!({ "status": "closed" })).await;
    assert_eq!(status, StatusCode::OK);
}

#[tokio::test]
async fn options_are_shown_and_changed() {
    let place = Place::start().await;
    let path =
        created(&place, json!({ "wake": true, "budget_tokens": 100, "title": "t", "labels": { "a": "b" } })).await;
    let (_, session) = place.get(&path).await;
    assert_eq!(
        (&session["wake"], &session["budget_tokens"], &session["spent_tokens"]),
        (&json!(true), &json!(100), &json!(0))
    );
    let (_, session) = patch(&place, &path, json!({ "budget_tokens": null, "title": null })).await;
    assert_eq!((&session["wake"], &session["title"]), (&json!(true), &Value::Null));
    assert!(session.get("budget_tokens").is_none() && session.get("spent_tokens").is_none(), "{session}");
    assert_eq!(session["labels"], json!({ "a": "b" }));
    let (_, session) = patch(&place, &path, json!({ "wake": false, "labels": {} })).await;
    assert_eq!((&session["wake"], &session["labels"]), (&json!(false), &json!({})));
    for (body, field) in [
        (json!({ "wake": "yes" }), "wake"),
        (json!({ "budget_tokens": 0 }), "budget_tokens"),
        (json!({ "status": "gone" }), "status"),
        (json!({ "nonsense": 1 }), "nonsense"),
    ] {
        let (status, problem) = patch(&place, &path, body).await;
        assert_eq!((status, &problem["errors"][0]["path"]), (StatusCode::BAD_REQUEST, &json!(field)), "{problem}");
    }
    let (status, _) = patch(&place, "/v1/sessions/019ab0c2-7d1e-7cc1-9d53-0a3d6b6f2f11", json!({})).await;
    assert_eq!(status, StatusCode::NOT_FOUND);
}
