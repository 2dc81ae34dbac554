//! A server that is told to end in the middle of everything: it ends, in order, and the next one goes on.

use super::{check_sound, times};
use moonlog_tests::{Random, Server, Settings, eventually, moonlog};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use std::{
    fs,
    process::{Command, Stdio},
    time::Duration,
};
use tokio::task::JoinHandle;

const SEED: u64 = 0x0073_746f_7069_6e67;

#[tokio::test]
async fn a_server_that_is_told_to_end_while_it_starts_ends() {
    let mut random = Random::from_env(SEED);
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path()).await;
    let waiting = server.submit(&json!({ "script": "return wait_for('go')" })).await;
    for n in 0..30 {
        server.run(&format!("emit('x', string.rep('y', 5000)) return {n}")).await;
    }
    server.kill();
    for _ in 0..times(12, 200) {
        let mut child = Command::new(moonlog())
            .args(["serve", "--listen", "127.0.0.1:0", "--data", "data"])
            .current_dir(folder.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(fs::File::create(folder.path().join("start.log")).unwrap())
            .spawn()
            .unwrap();
        tokio::time::sleep(Duration::from_micros(random.below(120_000))).await;
        let sent = Command::new("kill").args(["-TERM", &child.id().to_string()]).status().unwrap();
        assert!(sent.success());
        let status = eventually("it to end", || std::future::ready(child.try_wait().unwrap())).await;
        use std::os::unix::process::ExitStatusExt;
        let said = fs::read_to_string(folder.path().join("start.log")).unwrap();
        // Before it listens to signals, it ends by this one.
        assert!(status.success() || status.signal() == Some(15), "{status}: {said}");
        assert!(!said.contains("panicked at"), "{said}");
    }
    assert!(!folder.path().join("data/server.json").exists() || Server::start(folder.path()).await.pid() > 0);
    let server = Server::start(folder.path()).await;
    server.post(&format!("/v1/jobs/{waiting}/signals/go"), &json!({ "payload": 1 })).await;
    assert_eq!(server.ended(&waiting).await["result"], 1);
    assert!(server.terminate().await.success());
    check_sound(folder.path());
}

/// Asks until the server is gone, whatever it answers.
fn ask(server: &Server, method: Method, path: &str, body: Option<Value>) -> JoinHandle<()> {
    let request = server.request(method, path).header("accept", "text/event-stream, application/json, */*");
    let request = match body {
        Some(body) => request.json(&body),
        None => request,
    };
    tokio::spawn(async move {
        while let Ok(mut response) = request.try_clone().unwrap().send().await {
            while let Ok(Some(_)) = response.chunk().await {}
        }
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_told_to_end_in_the_middle_of_everything_ends_in_order() {
    let mut random = Random::from_env(SEED);
    let folder = tempfile::tempdir().unwrap();
    let config = "[log]\nsnapshot_every_events = 100\n[limits]\ndrain_ms = 3_000\n";
    let settings = Settings { config: config.into(), ..Settings::default() };
    let mut jobs: Vec<String> = Vec::new();
    for round in 0..times(3, 40) {
        let server = Server::start_with(folder.path(), &settings).await;
        for n in 0..6 {
            let script = [
                "for i = 1, 10 do step('s', function() return i end) sleep('10ms') end return 'done'",
                "return assert(sh('sleep 0.3; echo done', { retry = { max = 100, backoff = '5ms' } })).stdout:sub(1, 4)",
                "local p = process('sh', { '-c', \"trap '' TERM; sleep 1000\" }) sleep('200ms') return 'done'",
            ][n % 3];
            jobs.push(server.submit(&json!({ "script": script })).await);
        }
        let stubborn = json!({ "command": "trap '' TERM INT; while :; do sleep 1; done", "shell": true });
        assert_eq!(server.post("/v1/processes", &stubborn).await.0, StatusCode::CREATED);
        let compact = json!({ "max_ended_jobs": 4, "rewrite": true });
        let asking = [
            ask(&server, Method::GET, "/v1/events", None),
            ask(&server, Method::GET, "/v1/events?follow=true&types=job.*", None),
            ask(&server, Method::GET, "/v1/backup", None),
            ask(&server, Method::POST, "/v1/compact", if round % 2 == 0 { Some(compact) } else { Some(json!({})) }),
            ask(
                &server,
                Method::POST,
                "/v1/jobs?wait=5m",
                Some(json!({ "script": "wait_for('never')", "timeout_ms": 2_000 })),
            ),
            ask(&server, Method::GET, "/v1/verify", None),
        ];
        tokio::time::sleep(Duration::from_millis(random.below(500))).await;
        let said_before = server.said().len();
        let pid = server.pid();
        let status = server.terminate().await;
        assert!(status.success(), "{status}");
        let said = fs::read_to_string(folder.path().join("stderr.log")).unwrap();
        assert!(!said[said_before.min(said.len())..].contains("panicked at"), "{said}");
        for asking in asking {
            asking.await.unwrap();
        }
        assert!(!folder.path().join("data/server.json").exists(), "its address is gone with it");
        assert!(!std::path::Path::new(&format!("/proc/{pid}")).exists());
        check_sound(folder.path());
    }
    let server = Server::start_with(folder.path(), &settings).await;
    for job in &jobs {
        let shown = server.get(&format!("/v1/jobs/{job}")).await;
        if shown["code"] == "job_deleted" {
            continue;
        }
        let job = server.ended(job).await;
        assert_eq!((&job["state"], &job["result"]), (&json!("completed"), &json!("done")), "{job}");
    }
    // Each server says that it came, and that it went.
    let runs = server.ndjson("/v1/events?types=runner.*").await;
    let kinds: Vec<&str> = runs.iter().map(|event| event["type"].as_str().unwrap()).collect();
    for pair in kinds.chunks(2) {
        assert!(pair == ["runner.started", "runner.stopped"] || pair == ["runner.started"], "{kinds:?}");
    }
    let processes = server.get("/v1/processes").await;
    let running = processes["processes"].as_array().unwrap().iter().filter(|process| process["running"] == true);
    assert_eq!(running.count(), 0, "every process has its end: {processes}");
    assert!(server.terminate().await.success());
}
