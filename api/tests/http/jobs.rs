//! Jobs over HTTP, from submission to result.

use crate::place::{Place, read};
use moonlog_runner::QueueOptions;
use reqwest::Method;
use serde_json::{Value, json};

const ADD: &str = "return { name = 'add', args = { type = 'object', required = {'a'}, properties = { a = { type = 'integer' }, \
                   b = { type = 'integer', default = 1 } } }, run = function(args) return { sum = args.a + args.b } end }";

#[tokio::test]
async fn a_job_is_submitted_waited_for_and_shown() {
    let place = Place::start().await;
    let body = json!({ "script": ADD, "args": { "a": 2 }, "labels": { "team": "x" }, "priority": 3 });
    let response = place.request(Method::POST, "/v1/jobs").json(&body).send().await.unwrap();
    let location = response.headers()["location"].to_str().unwrap().to_owned();
    let (status, job) = read(response).await;
    assert_eq!((status.as_u16(), &job["workflow"]), (201, &json!("add")));
    assert_eq!(location, format!("/v1/jobs/{}", job["id"].as_str().unwrap()));
    let (status, ended) = place.get(&format!("{location}?wait=30s")).await;
    assert_eq!((status.as_u16(), &ended["state"], &ended["result"]), (200, &json!("completed"), &json!({ "sum": 3 })));
    assert_eq!((&ended["args"], &ended["labels"]), (&json!({ "a": 2, "b": 1 }), &json!({ "team": "x" })));
    let (status, ended) = place.post("/v1/jobs?wait=30s", &body).await;
    assert_eq!((status.as_u16(), &ended["result"]), (200, &json!({ "sum": 3 })));
    let failing = json!({ "script": "error('no')" });
    let (status, ended) = place.post("/v1/jobs?wait=30s", &failing).await;
    assert_eq!((status.as_u16(), &ended["state"]), (200, &json!("failed")), "200 whatever state it ended in");
}

#[tokio::test]
async fn a_wait_that_is_over_says_that_the_job_is_not() {
    let place = Place::start().await;
    let body = json!({ "script": "return wait_for('go')" });
    let (status, job) = place.post("/v1/jobs?wait=50ms", &body).await;
    assert_eq!(status, 202, "{job}");
    let id = job["id"].as_str().unwrap();
    let signal = json!({ "payload": { "n": 5 }, "idempotency_key": "k" });
    let (status, _) = place.post(&format!("/v1/jobs/{id}/signals/go"), &signal).await;
    assert_eq!(status, 202);
    let (status, job) = place.get(&format!("/v1/jobs/{id}?wait=30s")).await;
    assert_eq!((status.as_u16(), &job["result"]), (200, &json!({ "n": 5 })));
    let (status, problem) = place.post(&format!("/v1/jobs/{id}/signals/go"), &json!({ "payload": 1 })).await;
    assert_eq!(status, 409, "{problem}");
    let (status, problem) = place.post(&format!("/v1/jobs/{id}/cancel"), &json!({})).await;
    assert_eq!(status, 409, "{problem}");
}

#[tokio::test]
async fn the_same_key_gives_the_same_job() {
    let place = Place::start().await;
    let (status, first) = place.post_text("/v1/jobs", r#"{"script":"return 1","idempotency_key":"k"}"#).await;
    assert_eq!(status, 201);
    let (status, again) = place.post_text("/v1/jobs", r#"{ "idempotency_key": "k", "script": "return 1" }"#).await;
    assert_eq!((status.as_u16(), &again["id"]), (200, &first["id"]));
    let (status, problem) = place.post_text("/v1/jobs", r#"{"script":"return 2","idempotency_key":"k"}"#).await;
    assert_eq!((status.as_u16(), &problem["code"]), (409, &json!("idempotency_key_reused")));
    assert_eq!(problem["job"], first["id"]);
}

#[tokio::test]
async fn scripts_and_arguments_are_checked_before_a_job_is() {
    let place = Place::start().await;
    let (status, problem) = place.post("/v1/jobs", &json!({ "script": "local x = 1\nif x then\nreturn (" })).await;
    assert_eq!((status.as_u16(), &problem["code"]), (400, &json!("script_does_not_compile")), "{problem}");
    assert!(problem["errors"][0]["line"].is_u64(), "{problem}");
    let (status, problem) = place.post("/v1/jobs", &json!({ "script": ADD, "args": { "a": "x" } })).await;
    assert_eq!((status.as_u16(), &problem["code"]), (422, &json!("invalid_args")), "{problem}");
    assert_eq!(problem["errors"][0]["path"], "args.a", "{problem}");
    let (status, problem) = place.post("/v1/jobs", &json!({ "workflow": "no-such-thing" })).await;
    assert_eq!((status.as_u16(), &problem["code"]), (404, &json!("no_such_workflow")), "{problem}");
    let (_, page) = place.get("/v1/jobs").await;
    assert_eq!(page["items"], json!([]), "nothing was recorded");
}

#[tokio::test]
async fn lists_are_filtered_and_paged() {
    let place = Place::start().await;
    for n in 0..5 {
        let body = json!({ "script": "return 1", "labels": { "n": n.to_string() } });
        assert_eq!(place.post("/v1/jobs?wait=30s", &body).await.0, 200);
    }
    let (mut found, mut path) = (Vec::new(), "/v1/jobs?limit=2".to_owned());
    loop {
        let (_, page) = place.get(&path).await;
        found.extend(
            page["items"].as_array().unwrap().iter().map(|job| job["labels"]["n"].as_str().unwrap().to_owned()),
        );
        match page["next"].as_str() {
            Some(next) => path = format!("/v1/jobs?limit=2&cursor={next}"),
            None => break,
        }
    }
    assert_eq!(found, ["4", "3", "2", "1", "0"], "newest first, each once");
    for (query, count) in
        [("state=completed", 5), ("state=queued", 0), ("label=n=3", 1), ("label=n", 5), ("label=m", 0)]
    {
        let (_, page) = place.get(&format!("/v1/jobs?{query}")).await;
        assert_eq!(page["items"].as_array().unwrap().len(), count, "{query}");
    }
}

#[tokio::test]
async fn a_state_is_as_of_a_version() {
    let place = Place::start().await;
    let (_, job) =
        place.post("/v1/jobs?wait=30s", &json!({ "script": "step('a', function() return 1 end) return 2" })).await;
    let path = format!("/v1/jobs/{}/state", job["id"].as_str().unwrap());
    let (_, now) = place.get(&path).await;
    assert_eq!((&now["at"], &now["job"], &now["sessions"]), (&job["version"], &job, &json!([])), "{now}");
    let (_, first) = place.get(&format!("{path}?at=1")).await;
    assert_eq!((&first["at"], &first["job"]["state"]), (&json!(1), &json!("queued")));
    let beyond = job["version"].as_u64().unwrap() + 1;
    assert_eq!(place.get(&format!("{path}?at={beyond}")).await.0, 400);
    assert_eq!(place.get(&format!("{path}?at=0")).await.0, 400);
}

#[tokio::test]
async fn queues_pause_fill_and_resume() {
    let place =
        Place::with(|settings| settings.queues.push(("small", QueueOptions { concurrency: 1, capacity: 1 }))).await;
    let (status, queue) = place.post("/v1/queues/small/pause", &json!({})).await;
    assert_eq!((status.as_u16(), &queue["paused"]), (200, &json!(true)));
    let body = json!({ "script": "return 1", "queue": "small" });
    let (_, job) = place.post("/v1/jobs?wait=20ms", &body).await;
    assert_eq!(job["state"], "queued");
    let refused = place.request(Method::POST, "/v1/jobs").json(&body).send().await.unwrap();
    assert!(refused.headers()["retry-after"].to_str().unwrap().parse::<u64>().unwrap() >= 1);
    assert_eq!(read(refused).await.0, 429);
    let (_, page) = place.get("/v1/queues").await;
    let small = page["items"].as_array().unwrap().iter().find(|queue| queue["name"] == "small").unwrap();
    assert_eq!((&small["depth"], &small["capacity"]), (&json!(1), &json!(1)));
    assert_eq!(place.post("/v1/queues/small/resume", &json!({})).await.0, 200);
    let (status, _) = place.get(&format!("/v1/jobs/{}?wait=30s", job["id"].as_str().unwrap())).await;
    assert_eq!(status, 200);
}

#[tokio::test]
async fn approvals_are_listed_and_decided_once() {
    let place = Place::start().await;
    let script = "return parallel { gate = function() return approve { title = 'Go?' } end }";
    let (_, job) = place.post("/v1/jobs", &json!({ "script": script })).await;
    let id = job["id"].as_str().unwrap();
    let approval = loop {
        let (_, page) = place.get("/v1/approvals").await;
        match page["items"].get(0) {
            Some(approval) => break approval.clone(),
            None => tokio::task::yield_now().await,
        }
    };
    assert_eq!((&approval["job"], &approval["title"]), (&json!(id), &json!("Go?")));
    let path = approval["id"].as_str().unwrap().replace('/', "%2F").replace(':', "%3A");
    let path = format!("/v1/jobs/{id}/approvals/{path}");
    let (status, _) = place.post(&path, &json!({ "approved": true, "by": "me" })).await;
    assert_eq!(status, 200);
    let (status, problem) = place.post(&path, &json!({ "approved": false })).await;
    assert_eq!(status, 409, "{problem}");
    let (_, ended) = place.get(&format!("/v1/jobs/{id}?wait=30s")).await;
    assert_eq!(ended["result"]["gate"]["approved"], true, "{ended}");
}

#[tokio::test]
async fn cancel_and_retry() {
    let place = Place::start().await;
    let (_, job) = place.post("/v1/jobs?wait=20ms", &json!({ "script": "sleep(3600)" })).await;
    let id = job["id"].as_str().unwrap();
    assert_eq!(place.post(&format!("/v1/jobs/{id}/retry"), &json!({})).await.0, 409);
    let (status, _) = place.post(&format!("/v1/jobs/{id}/cancel"), &json!({ "reason": "enough" })).await;
    assert_eq!(status, 202);
    let (_, ended) = place.get(&format!("/v1/jobs/{id}?wait=30s")).await;
    assert_eq!((&ended["state"], &ended["error"]["message"]), (&json!("cancelled"), &json!("enough")));
    let (status, again) = place.post(&format!("/v1/jobs/{id}/retry"), &json!({})).await;
    assert_eq!((status.as_u16(), &again["resumed_from"]), (201, &json!(id)));
}

#[tokio::test]
async fn jobs_that_ran_the_same_commands_are_the_same() {
    let place = Place::start().await;
    let script =
        "exec('echo', {'a'}) local p = process('true') p:wait() p:output() tool('execute', {command = 'true'})";
    let mut ids = Vec::new();
    for _ in 0..2 {
        let (_, job) = place.post("/v1/jobs?wait=30s", &json!({ "script": script })).await;
        ids.push(job["id"].as_str().unwrap().to_owned());
    }
    let (_, diff) = place.get(&format!("/v1/jobs/{}/diff/{}", ids[0], ids[1])).await;
    assert_eq!((&diff["same"], &diff["steps"]), (&json!(true), &json!([])), "{diff}");
}

#[tokio::test]
async fn fork_and_diff() {
    let place = Place::start().await;
    let script = "local a = step('a', function() return 1 end)
        local b = step('b', {input = args.n}, function() return args.n * 2 end)
        return a + b";
    let mut ids = Vec::new();
    for n in [1, 2] {
        let (_, job) = place.post("/v1/jobs?wait=30s", &json!({ "script": script, "args": { "n": n } })).await;
        ids.push(job["id"].as_str().unwrap().to_owned());
    }
    let (_, diff) = place.get(&format!("/v1/jobs/{}/diff/{}", ids[0], ids[1])).await;
    assert_eq!((&diff["same"], &diff["first"]["what"]), (&json!(false), &json!("args")), "{diff}");
    assert_eq!(diff["steps"].as_array().map(Vec::len), Some(1), "{diff}");
    let step = &diff["steps"][0];
    assert_eq!((&step["path"], &step["what"]), (&json!("b"), &json!(["input", "output"])), "{diff}");
    assert_eq!((&step["left"]["output"], &step["right"]["output"]), (&json!(2), &json!(4)));
    assert_eq!((&diff["end"]["left"]["result"], &diff["end"]["right"]["result"]), (&json!(3), &json!(5)));

    let (status, fork) = place.post(&format!("/v1/jobs/{}/fork", ids[0]), &json!({ "at": 4 })).await;
    assert_eq!((status.as_u16(), &fork["forked_from"]), (201, &json!({ "job": ids[0], "at": 4 })), "{fork}");
    let id = fork["id"].as_str().unwrap();
    let (_, ended) = place.get(&format!("/v1/jobs/{id}?wait=30s")).await;
    assert_eq!(ended["result"], 3, "{ended}");
    let (_, diff) = place.get(&format!("/v1/jobs/{}/diff/{id}", ids[0])).await;
    assert_eq!((&diff["same"], &diff["steps"]), (&json!(true), &json!([])), "{diff}");

    let (status, problem) = place.post(&format!("/v1/jobs/{}/fork", ids[0]), &json!({ "at": 400 })).await;
    assert_eq!((status.as_u16(), &problem["errors"][0]["path"]), (400, &json!("at")), "{problem}");
    assert_eq!(place.post(&format!("/v1/jobs/{}/fork", ids[0]), &json!({})).await.0, 400);
    let nobody = "019ab0c2-7d1e-7cc1-9d53-0a3d6b6f2f11";
    assert_eq!(place.post(&format!("/v1/jobs/{nobody}/fork"), &json!({ "at": 1 })).await.0, 404);
    assert_eq!(place.get(&format!("/v1/jobs/{}/diff/{nobody}", ids[0])).await.0, 404);
}

#[tokio::test]
async fn time_runs_out_for_a_script_that_computes_too() {
    let place = Place::start().await;
    let body = json!({ "script": "while true do end", "timeout_ms": 100 });
    let (_, job) = place.post("/v1/jobs?wait=4s", &body).await;
    assert_eq!((&job["state"], &job["error"]["code"]), (&json!("timed_out"), &json!("timed_out")), "{job}");
}

#[tokio::test]
async fn workflows_are_listed_shown_and_checked() {
    let place = Place::start().await;
    let (_, page) = place.get("/v1/workflows").await;
    for workflow in page["items"].as_array().unwrap() {
        let (status, shown) = place.get(&format!("/v1/workflows/{}", workflow["name"].as_str().unwrap())).await;
        assert_eq!((status.as_u16(), &shown["hash"]), (200, &workflow["hash"]));
        assert!(shown["source"].as_str().is_some_and(|source| !source.is_empty()));
    }
    let (status, report) = place.post("/v1/workflows/check", &json!({ "script": ADD })).await;
    assert_eq!((status.as_u16(), &report["ok"], &report["workflow"]["name"]), (200, &json!(true), &json!("add")));
    let (status, report) = place.post("/v1/workflows/check", &json!({ "script": "return (" })).await;
    assert_eq!((status.as_u16(), &report["ok"]), (200, &json!(false)));
    assert!(report["errors"][0]["message"].is_string());
}

#[tokio::test]
async fn health_metrics_and_verification() {
    let place = Place::start().await;
    assert_eq!(place.get("/healthz").await, (reqwest::StatusCode::OK, json!({ "status": "ok" })));
    assert_eq!(place.get("/readyz").await.0, 200);
    let (status, report) = place.get("/v1/verify").await;
    assert_eq!((status.as_u16(), &report["ok"], &report["head"]), (200, &json!(true), &json!(place.log().head())));
    let metrics = place.request(Method::GET, "/metrics").send().await.unwrap();
    assert!(metrics.headers()["content-type"].to_str().unwrap().starts_with("text/plain"));
    let text = metrics.text().await.unwrap();
    for name in ["moonlog_log_head", "moonlog_http_requests_total", "moonlog_queue_depth{queue=\"default\"}"] {
        assert!(text.contains(name), "{name} in {text}");
    }
    let _: Value = place.get("/openapi.json").await.1;
}
