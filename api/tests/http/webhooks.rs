//! Webhooks over HTTP: what they are owed, and having it delivered once more.

use crate::place::Place;
use moonlog_runner::webhook::WebhookOptions;
use serde_json::{Value, json};
use std::time::Duration;

/// Nothing listens there, and no post gets there: loopback is not allowed.
fn nowhere(options: &mut moonlog_runner::RunnerOptions) {
    let url = "http://127.0.0.1:9/secret-path".parse().unwrap();
    let webhook = WebhookOptions { max_attempts: 1, ..WebhookOptions::new(url) };
    options.webhooks.insert("done".into(), webhook);
}

async fn until(place: &Place, check: impl Fn(&Value) -> bool) -> Value {
    for _ in 0..2_000 {
        let webhook = place.get("/v1/webhooks/done").await.1;
        if check(&webhook) {
            return webhook;
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    panic!("never came about: {}", place.get("/v1/webhooks/done").await.1);
}

#[tokio::test]
async fn deliveries_are_listed_and_asked_for_again() {
    let place = Place::with(|settings| settings.runner = nowhere).await;
    let (_, page) = place.get("/v1/webhooks").await;
    let first = &page["items"][0];
    assert_eq!((&first["name"], &first["pending"], &first["signed"]), (&json!("done"), &json!(0), &json!(false)));
    assert_eq!(first["url"], "http://127.0.0.1:9/…");
    assert_eq!(first["types"].as_array().unwrap().len(), 4);
    let (_, job) = place.post("/v1/jobs?wait=30s", &json!({ "script": "return 1" })).await;
    assert_eq!(job["state"], "completed");
    let failed = until(&place, |webhook| webhook["failed"] == 1).await;
    let failure = &failed["failures"][0];
    assert_eq!((&failure["error"]["code"], &failed["pending"]), (&json!("address_not_allowed"), &json!(0)));
    let metrics = place.request(reqwest::Method::GET, "/metrics").send().await.unwrap().text().await.unwrap();
    assert!(metrics.contains("moonlog_webhook_failed_total{webhook=\"done\"} 1"), "{metrics}");
    let (status, again) = place.post("/v1/webhooks/done/redeliver", &json!({ "failed": true })).await;
    assert_eq!((status.as_u16(), &again["redelivering"]), (202, &json!(1)));
    until(&place, |webhook| webhook["failed"] == 2 && webhook["pending"] == 0).await;
    let (status, _) = place.post("/v1/webhooks/done/redeliver", &json!({ "event": failure["event"] })).await;
    assert_eq!(status, 202);
    for (path, body, status, code) in [
        ("done", json!({}), 400, "invalid_request"),
        ("done", json!({ "event": 1, "failed": true }), 400, "invalid_request"),
        ("done", json!({ "event": 1_000_000 }), 404, "no_such_event"),
        ("other", json!({ "failed": true }), 404, "no_such_webhook"),
    ] {
        let (answered, problem) = place.post(&format!("/v1/webhooks/{path}/redeliver"), &body).await;
        assert_eq!((answered.as_u16(), problem["code"].as_str().unwrap()), (status, code), "{body}");
    }
    assert_eq!(place.get("/v1/webhooks/other").await.0, 404);
}
