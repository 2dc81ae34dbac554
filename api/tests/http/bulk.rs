//! Many jobs at once over HTTP, and what lists tell of jobs that wait or are out of attempts.

use crate::place::Place;
use moonlog_runner::QueueOptions;
use serde_json::{Value, json};

async fn submit(place: &Place, body: Value) -> String {
    let (status, job) = place.post("/v1/jobs", &body).await;
    assert_eq!(status, 201, "{job}");
    job["id"].as_str().unwrap().to_owned()
}

async fn until_state(place: &Place, id: &str, state: &str) {
    for _ in 0..2_000 {
        if place.get(&format!("/v1/jobs/{id}")).await.1["state"] == state {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(2)).await;
    }
    panic!("{id} never became {state}");
}

#[tokio::test]
async fn jobs_are_cancelled_and_retried_by_what_they_have_in_common() {
    let place = Place::start().await;
    for n in 0..4 {
        let labels = json!({ "team": "a", "n": n.to_string() });
        let id = submit(&place, json!({ "script": "wait_for('go')", "labels": labels })).await;
        until_state(&place, &id, "waiting").await;
    }
    let filter = json!({ "labels": { "team": "a" }, "state": "waiting" });
    let (status, dry) = place.post("/v1/jobs/cancel", &json!({ "filter": filter, "dry_run": true, "limit": 3 })).await;
    assert_eq!(
        (status.as_u16(), &dry["matched"], &dry["done"], &dry["more"]),
        (200, &json!(3), &json!(0), &json!(true))
    );
    let both = json!({ "filter": { "labels": { "team": "a", "n": "2" } } });
    let (_, one) = place.post("/v1/jobs/cancel", &both).await;
    assert_eq!((&one["matched"], &one["done"], &one["failed"]), (&json!(1), &json!(1), &json!([])));
    until_state(&place, one["jobs"][0].as_str().unwrap(), "cancelled").await;
    let (_, rest) = place.post("/v1/jobs/cancel", &json!({ "filter": { "label": "team" }, "reason": "enough" })).await;
    assert_eq!(rest["done"], 3);
    for id in rest["jobs"].as_array().unwrap() {
        let (_, job) = place.get(&format!("/v1/jobs/{}?wait=30s", id.as_str().unwrap())).await;
        assert_eq!((&job["state"], &job["error"]["message"]), (&json!("cancelled"), &json!("enough")));
    }
    let again = json!({ "filter": { "labels": { "team": "a" }, "state": "cancelled" }, "script": "return 7",
                        "idempotency_key": "once" });
    let (_, retried) = place.post("/v1/jobs/retry", &again).await;
    assert_eq!((&retried["matched"], &retried["done"]), (&json!(4), &json!(4)), "{retried}");
    let (_, same) = place.post("/v1/jobs/retry", &again).await;
    assert!(same["created"].as_array().unwrap().iter().all(|id| retried["created"].as_array().unwrap().contains(id)));
    let first = retried["created"][0].as_str().unwrap();
    let (_, job) = place.get(&format!("/v1/jobs/{first}?wait=30s")).await;
    assert_eq!(job["result"], 7);
}

#[tokio::test]
async fn an_empty_filter_and_one_that_cannot_be_are_refused() {
    let place = Place::start().await;
    for (path, body, code) in [
        ("cancel", json!({}), "empty_filter"),
        ("cancel", json!({ "filter": {} }), "empty_filter"),
        ("retry", json!({ "filter": { "labels": {} } }), "empty_filter"),
        ("cancel", json!({ "filter": { "state": "completed" } }), "invalid_request"),
        ("retry", json!({ "filter": { "state": "running" } }), "invalid_request"),
        ("retry", json!({ "filter": { "state": "lost" } }), "invalid_request"),
        ("cancel", json!({ "filter": { "label": "x" }, "limit": 0 }), "invalid_request"),
        ("cancel", json!({ "filter": { "label": "x" }, "limit": 1_000_000 }), "invalid_request"),
        ("cancel", json!({ "filter": { "lable": "x" } }), "invalid_request"),
        ("retry", json!({ "filter": { "label": "x" }, "dry": true }), "invalid_request"),
    ] {
        let (status, problem) = place.post(&format!("/v1/jobs/{path}"), &body).await;
        assert_eq!((status.as_u16(), problem["code"].as_str().unwrap()), (400, code), "{body} {problem}");
    }
}

#[tokio::test]
async fn what_is_out_of_attempts_is_listed_by_the_codes_that_it_was_to_be_retried_on() {
    let place = Place::start().await;
    let failing = |retry: Value| json!({ "script": "error({ code = 'busy', message = 'm' })", "retry": retry });
    for (retry, exhausted) in [
        (json!({ "max": 2, "backoff_ms": 1, "on": ["busy"] }), true),
        (json!({ "max": 2, "backoff_ms": 1, "not_on": ["bus*"] }), false),
        (json!({ "max": 1 }), true),
    ] {
        let (_, job) = place.post("/v1/jobs?wait=30s", &failing(retry.clone())).await;
        assert_eq!((&job["state"], job["exhausted"] == true), (&json!("failed"), exhausted), "{retry}");
    }
    let (_, page) = place.get("/v1/jobs?state=failed&exhausted=true").await;
    assert_eq!(page["items"].as_array().unwrap().len(), 2);
    let (_, page) = place.get("/v1/jobs?exhausted=false&queue=default").await;
    assert_eq!(page["items"].as_array().unwrap().len(), 1);
    for retry in
        [json!({ "max": 2, "on": "busy" }), json!({ "max": 2, "not_on": [""] }), json!({ "max": 2, "on": ["a b"] })]
    {
        let (status, problem) = place.post("/v1/jobs", &failing(retry)).await;
        assert_eq!(status, 400, "{problem}");
        assert!(problem["errors"][0]["path"].as_str().unwrap().starts_with("retry."), "{problem}");
    }
}

#[tokio::test]
async fn a_queued_job_says_what_keeps_it() {
    let place = Place::with(|settings| {
        let slow = QueueOptions { rate_per_minute: 1, concurrency: 1, ..QueueOptions::default() };
        settings.queues.push(("slow", slow));
        settings.queues.push(("one", QueueOptions { concurrency: 1, ..QueueOptions::default() }));
    })
    .await;
    let waiting = |body: Value| {
        let place = &place;
        async move {
            let id = submit(place, body).await;
            let (_, job) = place.get(&format!("/v1/jobs/{id}")).await;
            assert_eq!(job["state"], "queued", "{job}");
            let (_, page) = place.get("/v1/jobs?state=queued&limit=1").await;
            assert_eq!(page["items"][0]["waiting"]["name"], job["waiting"]["name"]);
            job["waiting"].clone()
        }
    };
    let (_, first) = place.post("/v1/jobs?wait=30s", &json!({ "script": "return 1", "queue": "slow" })).await;
    assert_eq!(first["state"], "completed");
    let held = waiting(json!({ "script": "return 1", "queue": "slow" })).await;
    assert_eq!((&held["for"], &held["name"]), (&json!("capacity"), &json!("rate_per_minute")));
    assert!(held["until"].is_string() && held["title"].as_str().unwrap().contains("1 jobs a minute"), "{held}");
    let (_, queues) = place.get("/v1/queues").await;
    let slow = queues["items"].as_array().unwrap().iter().find(|queue| queue["name"] == "slow").unwrap();
    assert_eq!((&slow["rate_per_minute"], &slow["started_in_minute"]), (&json!(1), &json!(1)));
    let at = "2100-01-01T00:00:00Z";
    let held = waiting(json!({ "script": "return 1", "run_at": at })).await;
    assert_eq!(
        (&held["for"], &held["name"], &held["until"]),
        (&json!("sleep"), &json!("run_at"), &json!("2100-01-01T00:00:00.000000Z"))
    );
    let key = json!({ "script": "wait_for('go')", "concurrency_key": "k" });
    let first = submit(&place, key.clone()).await;
    until_state(&place, &first, "waiting").await;
    assert_eq!(waiting(key).await["name"], "concurrency_key");
    place.post("/v1/queues/one/pause", &json!({})).await;
    assert_eq!(waiting(json!({ "script": "return 1", "queue": "one" })).await["name"], "queue_paused");
}
