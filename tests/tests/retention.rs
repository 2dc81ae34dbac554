//! What is kept of ended jobs, with the real binary on a real disk: jobs are deleted, exported, and the disk gets its
//! room back; a kill in the middle of it does no harm.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use moonlog_tests::{Random, Server, Settings, command, eventually, printed};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use std::{fs, path::Path};

const SEED: u64 = 0x7265_7461;

/// A script whose job leaves about 200 KB.
const LARGE: &str = "for i = 1, 10 do emit('chunk', { i = i, text = (uuid() .. args.n):rep(500) }) end return args.n";

async fn fill(server: &Server, jobs: std::ops::Range<u32>) -> Vec<String> {
    let mut ids = Vec::new();
    for n in jobs {
        let body = json!({ "script": LARGE, "args": { "n": n } });
        let (status, job) = server.post("/v1/jobs?wait=60s", &body).await;
        assert_eq!((status, &job["state"]), (StatusCode::OK, &json!("completed")), "{job}");
        ids.push(job["id"].as_str().unwrap().to_owned());
    }
    ids
}

fn bytes_in(folder: &Path) -> u64 {
    let entries = fs::read_dir(folder).unwrap().flatten();
    entries
        .map(|entry| if entry.path().is_dir() { bytes_in(&entry.path()) } else { entry.metadata().unwrap().len() })
        .sum()
}

async fn check_sound(server: &Server) -> Value {
    let report = server.get("/v1/verify").await;
    assert_eq!(report["damage"], json!([]), "{report}");
    report
}

fn ok(folder: &Path, arguments: &[&str]) -> String {
    let output = command(folder, arguments);
    assert!(output.status.success(), "{arguments:?}: {}", printed(&output));
    String::from_utf8(output.stdout).unwrap()
}

#[tokio::test]
async fn compaction_gives_the_disk_back_and_what_was_exported_comes_back() {
    let folder = tempfile::tempdir().unwrap();
    let settings = Settings { config: "[retention]\nexport_folder = \"exports\"\n".into(), ..Settings::default() };
    let server = Server::start_with(folder.path(), &settings).await;
    let jobs = fill(&server, 0..60).await;
    let store = folder.path().join("data/log");
    let before = bytes_in(&store);
    assert!(before > 10 << 20, "{before}");

    assert!(ok(folder.path(), &["compact", "--keep", "5", "--dry-run"]).contains("55 ended jobs would be deleted"));
    assert_eq!(server.get("/v1/jobs?limit=200").await["items"].as_array().unwrap().len(), 60);
    let done: Value = serde_json::from_str(&ok(folder.path(), &["compact", "--keep", "5", "--json"])).unwrap();
    assert_eq!((&done["deleted"], &done["exported"], &done["refused"]), (&json!(55), &json!(55), &json!(0)), "{done}");
    let after = bytes_in(&store);
    println!("{before} bytes before, {after} after, {done}");
    assert!(after < before / 3, "{before} bytes before, {after} after: {done}");
    let kept = server.get("/v1/jobs?limit=200").await;
    let kept: Vec<&str> = kept["items"].as_array().unwrap().iter().map(|job| job["id"].as_str().unwrap()).collect();
    assert_eq!(kept, jobs[55..].iter().rev().collect::<Vec<_>>());
    let report = check_sound(&server).await;
    assert_eq!(report["removed"].as_u64().unwrap() % 55, 0, "{report}");
    let events = server.get("/v1/events?types=job.deleted&limit=1000").await;
    let events = events["events"].as_array().unwrap();
    assert_eq!(events.len(), 55);
    assert_eq!((&events[0]["data"]["reason"], &events[0]["job"]), (&json!("count"), &json!(jobs[0])));
    assert_eq!(events[0]["data"]["exported"], format!("{}.ndjson.gz", jobs[0]));

    // A bundle replays, and comes back: into this log under its own id, and into another.
    let bundle = folder.path().join("exports").join(format!("{}.ndjson.gz", jobs[3]));
    let bundle = bundle.to_str().unwrap();
    assert!(fs::metadata(bundle).unwrap().len() < 200_000, "it is compressed");
    ok(folder.path(), &["replay", bundle]);
    ok(folder.path(), &["import", bundle]);
    let job = server.get(&format!("/v1/jobs/{}", jobs[3])).await;
    assert_eq!((&job["state"], &job["result"]), (&json!("completed"), &json!(3)), "{job}");
    assert_eq!(server.events(&jobs[3]).await[0]["version"], 1);
    ok(folder.path(), &["replay", &jobs[3]]);
    check_sound(&server).await;
    assert!(server.terminate().await.success());
    let other = tempfile::tempdir().unwrap();
    ok(other.path(), &["import", bundle]);
    ok(other.path(), &["replay", &jobs[3]]);

    // The same without a server, and after a restart without anything that is derived.
    assert!(ok(folder.path(), &["compact", "--keep", "1"]).contains("5 ended jobs deleted, 5 of them exported"));
    assert!(ok(folder.path(), &["verify"]).contains("sound"));
    let server = Server::start(folder.path()).await;
    assert_eq!(server.get("/v1/jobs?limit=200").await["items"].as_array().unwrap().len(), 1);
    let gone = server.get(&format!("/v1/jobs/{}", jobs[10])).await;
    assert_eq!(gone["code"], "job_deleted", "{gone}");
    check_sound(&server).await;
}

#[tokio::test]
async fn a_server_deletes_what_is_kept_no_longer_by_itself() {
    let folder = tempfile::tempdir().unwrap();
    let config = "[retention]\nmax_ended_jobs = 3\nevery_ms = 1_000\nrewrite_min_bytes = 0\n";
    let settings = Settings { config: config.into(), ..Settings::default() };
    let server = Server::start_with(folder.path(), &settings).await;
    let waiting = server.submit(&json!({ "script": "return wait_for('go')" })).await;
    let jobs = fill(&server, 0..10).await;
    eventually("old jobs to be deleted", || async {
        let left = server.get("/v1/jobs?limit=200").await["items"].as_array().unwrap().len();
        (left == 4).then_some(())
    })
    .await;
    let left = server.get("/v1/jobs?limit=200").await;
    let left: Vec<&str> = left["items"].as_array().unwrap().iter().map(|job| job["id"].as_str().unwrap()).collect();
    assert_eq!(left, [&jobs[9], &jobs[8], &jobs[7], &waiting], "who has not ended stays");
    server.post(&format!("/v1/jobs/{waiting}/signals/go"), &json!({ "payload": 1 })).await;
    assert_eq!(server.ended(&waiting).await["result"], 1);
    check_sound(&server).await;
}

#[tokio::test]
async fn the_store_comes_below_its_size_and_the_oldest_jobs_go_first() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path()).await;
    let jobs = fill(&server, 0..60).await;
    let max_bytes = 6 << 20;
    let (status, done) = server.post("/v1/compact", &json!({ "max_bytes": max_bytes })).await;
    assert_eq!(status, StatusCode::OK, "{done}");
    assert!(done["disk_bytes_after"].as_u64().unwrap() <= max_bytes, "{done}");
    let deleted = usize::try_from(done["deleted"].as_u64().unwrap()).unwrap();
    assert!(deleted > 10, "{done}");
    let left = server.get("/v1/jobs?limit=200").await;
    let left: Vec<&str> = left["items"].as_array().unwrap().iter().map(|job| job["id"].as_str().unwrap()).collect();
    assert_eq!(left, jobs[deleted..].iter().rev().collect::<Vec<_>>());
    check_sound(&server).await;
    let (_, done) = server.post("/v1/compact", &json!({ "max_age_ms": 0 })).await;
    assert_eq!(done["deleted"], 60 - deleted, "{done}");
    let (status, problem) = server.post("/v1/compact", &json!({ "keep": 1 })).await;
    assert_eq!((status, &problem["errors"][0]["path"]), (StatusCode::BAD_REQUEST, &json!("keep")));
}

#[tokio::test]
async fn a_job_that_cannot_be_exported_is_not_deleted() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("file"), "").unwrap();
    let settings = Settings { config: "[retention]\nexport_folder = \"file/x\"\n".into(), ..Settings::default() };
    let server = Server::start_with(folder.path(), &settings).await;
    let job = fill(&server, 0..1).await.pop().unwrap();
    let (status, problem) = server.post("/v1/compact", &json!({ "max_ended_jobs": 0 })).await;
    assert_eq!((status, &problem["code"]), (StatusCode::CONFLICT, &json!("export_failed")), "{problem}");
    assert!(problem["detail"].as_str().unwrap().contains("file/x"), "{problem}");
    assert_eq!(server.get(&format!("/v1/jobs/{job}")).await["state"], "completed");
}

#[tokio::test]
async fn jobs_are_deleted_on_the_command_line() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path()).await;
    let jobs = fill(&server, 0..2).await;
    assert_eq!(
        ok(folder.path(), &["delete", &jobs[0], "last"]),
        format!("{} is deleted\n{} is deleted\n", jobs[0], jobs[1])
    );
    let output = command(folder.path(), &["show", &jobs[0]]);
    assert_eq!(output.status.code(), Some(1));
    assert!(printed(&output).contains("was deleted"), "{}", printed(&output));
    let output = command(folder.path(), &["delete", &jobs[0]]);
    assert!(output.status.code() == Some(1) && printed(&output).contains("was deleted"), "{}", printed(&output));
    // A feed over the gap goes on behind it, and says so.
    let output = command(folder.path(), &["events"]);
    assert!(output.status.success(), "{}", printed(&output));
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(out.contains("job.deleted") && out.contains("runner.started") && !out.contains("job.completed"), "{out}");
    assert!(err.contains("events were removed here"), "{err}");
}

#[tokio::test]
async fn a_kill_while_jobs_are_deleted_leaves_each_whole_or_gone() {
    let mut random = Random::from_env(SEED);
    let folder = tempfile::tempdir().unwrap();
    let mut server = Server::start(folder.path()).await;
    let (mut alive, mut gone) = (fill(&server, 0..6).await, Vec::new());
    for round in 0..8 {
        alive.extend(fill(&server, 10 * round..10 * round + 6).await);
        let keep = random.below(5);
        let request = server.request(Method::POST, "/v1/compact").json(&json!({ "max_ended_jobs": keep }));
        let compaction = tokio::spawn(request.send());
        tokio::time::sleep(std::time::Duration::from_millis(random.below(150))).await;
        server.kill();
        let _ = compaction.await;
        server = Server::start(folder.path()).await;
        check_sound(&server).await;
        let mut left = Vec::new();
        for job in alive.drain(..) {
            let shown = server.get(&format!("/v1/jobs/{job}")).await;
            if shown["code"] == "job_deleted" {
                gone.push(job);
                continue;
            }
            assert_eq!(shown["state"], "completed", "{shown}");
            assert_eq!(server.events(&job).await.last().unwrap()["type"], "job.completed");
            left.push(job);
        }
        alive = left;
        for job in &gone {
            let events = server.request(Method::GET, &format!("/v1/jobs/{job}/events")).send().await.unwrap();
            assert_eq!(events.status(), StatusCode::NOT_FOUND, "{job} stays gone");
        }
        println!("round {round}: {} are left, {} are gone", alive.len(), gone.len());
        // None of those that are gone has left an event.
        let deleted = server.get("/v1/events?types=job.deleted&limit=10000").await;
        assert_eq!(deleted["events"].as_array().unwrap().len(), gone.len(), "seed {SEED:#x}");
    }
    assert!(!gone.is_empty());
}
