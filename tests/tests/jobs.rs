//! Jobs over HTTP: what a script does is what its job's events say.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use moonlog_tests::{Server, eventually};
use reqwest::StatusCode;
use serde_json::{Value, json};

fn types(events: &[Value]) -> Vec<&str> {
    events.iter().map(|event| event["type"].as_str().expect("a type")).collect()
}

#[tokio::test]
async fn a_script_runs_and_its_events_tell_all_of_it() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path()).await;
    let job = server
        .run(
            r#"
            phase("One")
            local two = step("add", function() return 1 + 1 end)
            local said = exec("echo", { "hello" })
            log("done")
            return { two = two, said = said.stdout, ok = said.ok, code = said.exit_code }
        "#,
        )
        .await;
    assert_eq!(job["state"], "completed", "{job}");
    assert_eq!(job["result"], json!({ "two": 2, "said": "hello\n", "ok": true, "code": 0 }));
    assert_eq!(job["phase"], "One");
    let events = server.events(job["id"].as_str().unwrap()).await;
    assert_eq!(
        types(&events),
        [
            "job.submitted",
            "job.started",
            "job.phase_entered",
            "step.started",
            "step.finished",
            "step.started",
            "process.started",
            "process.output",
            "process.exited",
            "step.finished",
            "job.logged",
            "job.completed"
        ]
    );
    for (index, event) in events.iter().enumerate() {
        assert_eq!(event["version"], index + 1, "versions have no gap");
    }
}

#[tokio::test]
async fn a_failure_says_where() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path()).await;
    let job = server.run("local x = 1\nerror('boom')").await;
    assert_eq!(job["state"], "failed");
    let message = job["error"]["message"].as_str().unwrap();
    assert!(message.contains("boom") && message.contains(":2"), "{message}");
}

#[tokio::test]
async fn a_job_waits_for_a_signal_and_is_found_again() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path()).await;
    let id = server.submit(&json!({ "script": "local got = wait_for('go') return got.n + 1" })).await;
    let waiting = server.in_state(&id, "waiting").await;
    assert_eq!(waiting["waiting"]["for"], "signal");
    server.kill();
    let server = Server::start(folder.path()).await;
    assert_eq!(server.get(&format!("/v1/jobs/{id}")).await["state"], "waiting");
    let (status, answer) = server.post(&format!("/v1/jobs/{id}/signals/go"), &json!({ "payload": { "n": 41 } })).await;
    assert_eq!(status, StatusCode::ACCEPTED, "{answer}");
    assert_eq!(server.ended(&id).await["result"], 42);
}

#[tokio::test]
async fn signals_that_come_while_a_job_is_queued_are_kept() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path()).await;
    assert_eq!(server.post("/v1/queues/default/pause", &json!({})).await.0, StatusCode::OK);
    let id = server.submit(&json!({ "script": "return { wait_for('a'), wait_for('b'), wait_for('a') }" })).await;
    for (name, n) in [("a", 1), ("a", 2), ("b", 3)] {
        let (status, answer) = server.post(&format!("/v1/jobs/{id}/signals/{name}"), &json!({ "payload": n })).await;
        assert_eq!(status, StatusCode::ACCEPTED, "{answer}");
    }
    assert_eq!(server.get(&format!("/v1/jobs/{id}")).await["state"], "queued");
    assert_eq!(server.post("/v1/queues/default/resume", &json!({})).await.0, StatusCode::OK);
    assert_eq!(server.ended(&id).await["result"], json!([1, 3, 2]));
}

#[tokio::test]
async fn cancelling_ends_the_whole_tree() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path()).await;
    let marker = format!("31{}", server.pid());
    let script = format!("sh('trap \"\" TERM; setsid sleep {marker} & sleep {marker}', {{ timeout = '5m' }})");
    let id = server.submit(&json!({ "script": script })).await;
    eventually("both sleeps to run", || async { (sleeping(&marker) == 2).then_some(()) }).await;
    let (status, _) = server.post(&format!("/v1/jobs/{id}/cancel"), &json!({ "reason": "enough" })).await;
    assert_eq!(status, StatusCode::ACCEPTED);
    let job = server.ended(&id).await;
    assert_eq!(job["state"], "cancelled");
    assert_eq!(sleeping(&marker), 0);
    let events = server.events(&id).await;
    let types = types(&events);
    assert_eq!(types.last(), Some(&"job.cancelled"));
    assert!(types.contains(&"process.exited") && types.contains(&"step.finished"), "{types:?}");
    let (status, _) = server.post(&format!("/v1/jobs/{id}/cancel"), &json!({})).await;
    assert_eq!(status, StatusCode::CONFLICT);
}

/// How many processes sleep for `seconds`: a number that no other test uses.
fn sleeping(seconds: &str) -> usize {
    let wanted = format!("sleep\0{seconds}\0").into_bytes();
    let processes = std::fs::read_dir("/proc").unwrap().flatten();
    processes.filter(|entry| std::fs::read(entry.path().join("cmdline")).is_ok_and(|line| line == wanted)).count()
}

#[tokio::test]
async fn a_killed_server_takes_its_processes_along_and_the_job_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path()).await;
    let marker = format!("32{}", server.pid());
    let script = format!(
        "local out, err = sh('setsid sleep {marker} & sleep {marker}', {{ timeout = '5m' }})
         return {{ got_output = out ~= nil, code = err and err.code, after = step('after', function() return 'yes' end) }}"
    );
    let id = server.submit(&json!({ "script": script })).await;
    eventually("both sleeps to run", || async { (sleeping(&marker) == 2).then_some(()) }).await;
    // A process may run a moment before the log says so.
    eventually("that to be recorded", || async {
        types(&server.events(&id).await).contains(&"process.started").then_some(())
    })
    .await;
    server.kill();
    eventually("both sleeps to end", || async { (sleeping(&marker) == 0).then_some(()) }).await;
    let server = Server::start(folder.path()).await;
    let job = server.ended(&id).await;
    assert_eq!(job["result"], json!({ "got_output": false, "code": "interrupted", "after": "yes" }), "{job}");
    let events = server.events(&id).await;
    let lost = events.iter().find(|event| event["type"] == "process.exited").unwrap();
    assert_eq!(lost["data"]["outcome"], "lost");
}

#[tokio::test]
async fn a_child_job_gives_its_result() {
    let folder = tempfile::tempdir().unwrap();
    let workflows = folder.path().join(".moonlog/workflows");
    std::fs::create_dir_all(&workflows).unwrap();
    std::fs::write(workflows.join("double.luau"), "return { run = function(args) return args.n * 2 end }").unwrap();
    let server = Server::start(folder.path()).await;
    let job = server.run("return workflow('double', { n = 21 })").await;
    assert_eq!(job["result"], 42, "{job}");
    let children = server.get(&format!("/v1/jobs?parent={}", job["id"].as_str().unwrap())).await;
    assert_eq!(children["items"][0]["parent"]["job"], job["id"]);
}

#[tokio::test]
async fn a_job_that_may_be_retried_starts_anew() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path()).await;
    let flag = folder.path().join("flag");
    let script = format!(
        "local seen = sh('test -e {0}').ok
         sh('touch {0}')
         if not seen then error('first time') end
         return 'second time'",
        flag.display()
    );
    let body = json!({ "script": script, "retry": { "max": 2, "backoff_ms": 10 } });
    let (_, job) = server.post("/v1/jobs?wait=60s", &body).await;
    assert_eq!(job["result"], "second time", "{job}");
    assert_eq!((&job["state"], &job["attempt"]), (&json!("completed"), &json!(2)));
}
