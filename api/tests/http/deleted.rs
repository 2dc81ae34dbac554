//! `DELETE /v1/jobs/{id}`.

use crate::place::{Place, read};
use moonlog_core::id::Hash;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

async fn delete(place: &Place, id: &str) -> (u16, Value) {
    let response = place.request(Method::DELETE, &format!("/v1/jobs/{id}")).send().await.unwrap();
    if response.status() == StatusCode::NO_CONTENT {
        return (204, Value::Null);
    }
    let (status, problem) = read(response).await;
    (status.as_u16(), problem["code"].clone())
}

async fn run(place: &Place, body: Value) -> Value {
    let (status, job) = place.post("/v1/jobs?wait=30s", &body).await;
    assert_eq!(status, 200, "{job}");
    job
}

fn id(job: &Value) -> &str {
    job["id"].as_str().unwrap()
}

#[tokio::test]
async fn a_deleted_job_is_gone_from_everywhere() {
    let place = Place::start().await;
    let script = "emit('big', ('x'):rep(50000)) return exec('echo', { 'said' }).process";
    let kept = run(&place, json!({ "script": "return 1", "labels": { "team": "a" } })).await;
    let job = run(&place, json!({ "script": script, "idempotency_key": "k", "labels": { "team": "a" } })).await;
    let (path, process) = (format!("/v1/jobs/{}", id(&job)), job["result"].as_str().unwrap());
    let (_, page) = place.get(&format!("{path}/events?limit=1000")).await;
    let events = page["events"].as_array().unwrap();
    let blob = Hash::of(script.as_bytes());
    assert_eq!(place.request(Method::GET, &format!("/v1/blobs/{blob}")).send().await.unwrap().status(), 200);

    assert_eq!(delete(&place, id(&job)).await, (204, Value::Null));
    for path in ["", "/events", "/state", "/traces", &format!("/diff/{}", id(&kept))].map(|end| format!("{path}{end}"))
    {
        let (status, problem) = place.get(&path).await;
        assert_eq!((status.as_u16(), &problem["code"]), (404, &json!("job_deleted")), "{path}: {problem}");
    }
    for (command, body) in
        [("cancel", json!({})), ("retry", json!({})), ("fork", json!({ "at": 1 })), ("signals/s", json!({}))]
    {
        let (status, problem) = place.post(&format!("{path}/{command}"), &body).await;
        assert_eq!((status.as_u16(), &problem["code"]), (404, &json!("job_deleted")), "{command}: {problem}");
    }
    assert_eq!(delete(&place, id(&job)).await, (404, json!("job_deleted")));
    assert_eq!(delete(&place, "019ab0c2-7d1e-7cc1-9d53-0a3d6b6f2f11").await, (404, json!("no_such_job")));
    assert_eq!(delete(&place, "x").await, (404, json!("no_such_job")));
    let (_, page) = place.get("/v1/jobs?label=team=a").await;
    assert_eq!(page["items"].as_array().unwrap().len(), 1, "{page}");
    let (status, problem) = place.get(&format!("/v1/processes/{process}/output")).await;
    assert_eq!((status.as_u16(), &problem["code"]), (404, &json!("no_such_process")));
    assert!(!place.get("/v1/processes").await.1.to_string().contains(process));
    assert_eq!(place.request(Method::GET, &format!("/v1/blobs/{blob}")).send().await.unwrap().status(), 404);

    // What is left says who it was and where.
    let (_, page) = place.get(&format!("/v1/events?types=job.deleted&job={}", id(&job))).await;
    let deleted = &page["events"][0];
    assert_eq!((&deleted["stream"], &deleted["job"]), (&json!("system"), &job["id"]));
    assert_eq!((&deleted["data"]["reason"], &deleted["data"]["events"]), (&json!("requested"), &json!(events.len())));
    assert_eq!(deleted["data"]["first_position"], events[0]["position"]);
    assert_eq!(deleted["data"]["last_position"], events.last().unwrap()["position"]);
    let (status, problem) = place.get(&format!("/v1/events?job={}", id(&job))).await;
    assert_eq!((status.as_u16(), &problem["first_position"]), (410, &deleted["position"]));
    let (_, report) = place.get("/v1/verify").await;
    assert_eq!((&report["damage"], &report["removed"]), (&json!([]), &json!(events.len())));

    // The key is free, and the script is stored anew.
    let again = run(&place, json!({ "script": script, "idempotency_key": "k" })).await;
    assert!(again["id"] != job["id"] && again["state"] == "completed", "{again}");
    assert_eq!(place.request(Method::GET, &format!("/v1/blobs/{blob}")).send().await.unwrap().status(), 200);
    assert_eq!(place.get("/v1/verify").await.1["damage"], json!([]));
    assert_eq!(place.get(&format!("/v1/jobs/{}", id(&kept))).await.0, 200);
}

#[tokio::test]
async fn a_job_that_is_needed_is_not_deleted() {
    let place = Place::start().await;
    let (_, waiting) = place.post("/v1/jobs", &json!({ "script": "return wait_for('go')" })).await;
    assert_eq!(delete(&place, id(&waiting)).await, (409, json!("job_not_ended")));
    // One that a living job resumes, or has forked.
    let first = run(&place, json!({ "script": "return step('a', function() return 1 end)" })).await;
    let script = "wait_for('go') return step('a', function() return 1 end)";
    let (_, resuming) = place.post("/v1/jobs", &json!({ "script": script, "resume_from": first["id"] })).await;
    assert_eq!(delete(&place, id(&first)).await, (409, json!("job_needed")));
    for job in [&waiting, &resuming] {
        assert_eq!(place.post(&format!("/v1/jobs/{}/signals/go", id(job)), &json!({})).await.0, 202);
        assert_eq!(place.get(&format!("/v1/jobs/{}?wait=30s", id(job))).await.0, 200);
    }
    let forked = place.post(&format!("/v1/jobs/{}/fork", id(&waiting)), &json!({ "at": 1 })).await.1;
    assert_eq!(delete(&place, id(&waiting)).await, (409, json!("job_needed")));
    place.post(&format!("/v1/jobs/{}/cancel", id(&forked)), &json!({})).await;
    assert_eq!(place.get(&format!("/v1/jobs/{}?wait=30s", id(&forked))).await.0, 200);
    for job in [&first, &waiting, &resuming, &forked] {
        assert_eq!(delete(&place, id(job)).await, (204, Value::Null));
    }
    // To take over what is gone is refused; a job that did before does it again.
    let (status, problem) = place.post("/v1/jobs", &json!({ "script": script, "resume_from": first["id"] })).await;
    assert_eq!((status.as_u16(), &problem["code"]), (400, &json!("no_such_job")), "{problem}");
    assert_eq!(place.get("/v1/verify").await.1["damage"], json!([]));
}

#[tokio::test]
async fn what_was_said_in_a_session_stays_as_long_as_it_is_open() {
    let place = Place::start().await;
    let (_, session) = place.post("/v1/sessions", &json!({ "title": "t" })).await;
    let path = format!("/v1/sessions/{}", id(&session));
    let job = run(&place, json!({ "script": "return 1", "session": session["id"] })).await;
    assert_eq!(delete(&place, id(&job)).await, (409, json!("session_open")));
    assert_eq!(place.post(&format!("{path}/close"), &json!({})).await.0, 200);
    assert_eq!(delete(&place, id(&job)).await, (204, Value::Null));
    let (status, shown) = place.get(&path).await;
    assert_eq!((status.as_u16(), &shown["status"], &shown["title"]), (200, &json!("closed"), &json!("t")));
}

#[tokio::test]
async fn jobs_are_deleted_while_others_run() {
    let place = Place::start().await;
    let mut gone = Vec::new();
    for n in 0..20 {
        let (_, running) = place.post("/v1/jobs", &json!({ "script": "emit('x', 1) return exec('true').ok" })).await;
        let job = run(&place, json!({ "script": "return args.n", "args": { "n": n % 3 } })).await;
        assert_eq!(delete(&place, id(&job)).await, (204, Value::Null));
        gone.push(running);
    }
    for job in &gone {
        let (_, ended) = place.get(&format!("/v1/jobs/{}?wait=30s", id(job))).await;
        assert_eq!(ended["result"], true, "{ended}");
    }
    let (_, page) = place.get("/v1/jobs?limit=200").await;
    assert_eq!(page["items"].as_array().unwrap().len(), 20);
    assert_eq!(place.get("/v1/verify").await.1["damage"], json!([]));
}
