//! Disks that others fill to the last byte, whatever the server is doing then.

use super::check_sound;
use moonlog_tests::{Acknowledged, Server, Settings, SmallDisk, command, printed};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use std::{fs, path::Path};

fn settings(config: &str) -> Settings {
    Settings { config: format!("[log]\nsnapshot_every_events = 100\n{config}"), ..Settings::default() }
}

/// What a command says that cannot do its work.
fn refused(folder: &Path, arguments: &[&str]) -> String {
    let output = command(folder, arguments);
    let text = printed(&output);
    assert_eq!(output.status.code(), Some(1), "{arguments:?}: {text}");
    assert!(text.contains("error:") && !text.contains("panicked"), "{text}");
    text
}

#[tokio::test]
async fn a_disk_that_is_full_from_the_start_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let Some(disk) = SmallDisk::mount(&folder.path().join("data"), 1) else { return };
    for _ in 0..2 {
        // To be read from, though nothing is there yet.
        let Ok(server) = Server::try_start(folder.path(), &settings("")).await else { break };
        let (status, problem) = server.post("/v1/jobs", &json!({ "script": "return 1" })).await;
        assert_eq!((status.as_u16(), &problem["code"]), (503, &json!("log_unavailable")), "{problem}");
        let ready: Value = server.request(Method::GET, "/readyz").send().await.unwrap().json().await.unwrap();
        assert!(ready["detail"].as_str().unwrap().contains("no space left on the disk"), "{ready}");
        server.kill();
    }
    {
        let _others = disk.fill();
        let ended = Server::try_start(folder.path(), &settings("")).await;
        let said = fs::read_to_string(folder.path().join("stderr.log")).unwrap();
        assert!(!said.contains("panicked at"), "{said}");
        assert!(ended.is_ok() || said.to_lowercase().contains("no space left"), "{said}");
    }
    disk.resize(100);
    let server = Server::start_with(folder.path(), &settings("")).await;
    assert_eq!(server.run("return 1").await["result"], 1);
    assert!(server.terminate().await.success());
    check_sound(folder.path());
}

#[tokio::test]
async fn a_disk_that_fills_while_jobs_run_costs_nothing_that_was_acknowledged() {
    let folder = tempfile::tempdir().unwrap();
    let Some(disk) = SmallDisk::mount(&folder.path().join("data"), 64) else { return };
    let settings = settings("");
    let server = Server::start_with(folder.path(), &settings).await;
    let waiting = server.submit(&json!({ "script": "return wait_for('go')" })).await;
    server.in_state(&waiting, "waiting").await;
    // Of everything something is under way: a process that writes, a session, large values.
    let busy = server.submit(&json!({ "script": "while true do emit('x', string.rep('y', 100000)) end" })).await;
    let writes = json!({ "command": "yes 0123456789", "shell": true });
    let (status, process) = server.post("/v1/processes", &writes).await;
    assert_eq!(status, StatusCode::CREATED, "{process}");
    server.in_state(&busy, "running").await;
    let others = disk.fill();
    let acknowledged = Acknowledged::fill_by(&server, 20).await;
    acknowledged.check_refused(&server).await;
    assert!(!Acknowledged::is_cut(&server), "{}", server.said());
    // Nothing that would write is done half: each says why not.
    let (status, problem) = server.post(&format!("/v1/jobs/{waiting}/signals/go"), &json!({ "payload": 1 })).await;
    assert_eq!((status.as_u16(), &problem["code"]), (503, &json!("log_unavailable")), "{problem}");
    let (status, problem) = server.post("/v1/processes", &json!({ "command": "true" })).await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE, "{problem}");
    let (status, problem) = server.post("/v1/sessions", &json!({})).await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE, "{problem}");
    let (status, problem) = server.post("/v1/compact", &json!({ "rewrite": true })).await;
    assert!(status.is_server_error() && problem["code"].is_string(), "{status} {problem}");
    // What only reads goes on: a backup elsewhere, an export, a verification.
    let job = acknowledged_or(&acknowledged, &waiting);
    for arguments in [vec!["backup", "whole.backup"], vec!["export", &job, "-o", "job.bundle"], vec!["verify"]] {
        let output = command(folder.path(), &arguments);
        assert!(output.status.success(), "{arguments:?}: {}", printed(&output));
    }
    // Where they are to be written to the full disk, they say so and leave nothing half.
    let on_disk = folder.path().join("data");
    for (name, arguments) in [
        ("whole.backup", vec!["backup", "data/whole.backup"]),
        ("job.bundle", vec!["export", &job, "-o", "data/job.bundle"]),
    ] {
        let text = refused(folder.path(), &arguments);
        assert!(text.to_lowercase().contains("no space left"), "{text}");
        assert!(!on_disk.join(name).exists(), "{name}");
        let left: Vec<_> = fs::read_dir(&on_disk).unwrap().flatten().map(|entry| entry.file_name()).collect();
        assert!(left.iter().all(|file| !file.to_string_lossy().contains("partial")), "{left:?}");
    }
    server.terminate().await;
    drop(others);
    disk.resize(400);
    let server = Server::start_with(folder.path(), &settings).await;
    acknowledged.check_kept(&server).await;
    server.post(&format!("/v1/jobs/{waiting}/signals/go"), &json!({ "payload": 7 })).await;
    assert_eq!(server.ended(&waiting).await["result"], 7);
    server.post(&format!("/v1/jobs/{busy}/cancel"), &json!({})).await;
    assert_eq!(server.ended(&busy).await["state"], "cancelled");
    assert!(server.terminate().await.success());
    check_sound(folder.path());
}

fn acknowledged_or(acknowledged: &Acknowledged, other: &str) -> String {
    if acknowledged.has_jobs() { acknowledged.job().to_owned() } else { other.to_owned() }
}

#[tokio::test]
async fn a_full_disk_where_jobs_are_exported_to_or_restored_to_keeps_what_there_is() {
    let folder = tempfile::tempdir().unwrap();
    let Some(disk) = SmallDisk::mount(&folder.path().join("small"), 2) else { return };
    let config = "[retention]\nexport_folder = \"small/exports\"\n";
    let server = Server::start_with(folder.path(), &settings(config)).await;
    let mut jobs = Vec::new();
    for n in 0..8 {
        let job = server.run(&format!("emit('x', string.rep('y', 90000)) return {n}")).await;
        jobs.push(job["id"].as_str().unwrap().to_owned());
    }
    let others = disk.fill();
    let (status, problem) = server.post("/v1/compact", &json!({ "max_ended_jobs": 2 })).await;
    assert!(!status.is_success() && problem["detail"].as_str().unwrap().contains("stays"), "{status} {problem}");
    for job in &jobs {
        assert_eq!(
            server.get(&format!("/v1/jobs/{job}")).await["state"],
            "completed",
            "what is not exported is not deleted"
        );
    }
    let output = command(folder.path(), &["backup", "whole.backup"]);
    assert!(output.status.success(), "{}", printed(&output));
    // A folder that is on the full disk takes no backup, and is left empty.
    let text = refused(&folder.path().join("small"), &["restore", "../whole.backup"]);
    assert!(text.to_lowercase().contains("no space left"), "{text}");
    assert!(!folder.path().join("small/data/format").exists());
    drop(others);
    let (status, done) = server.post("/v1/compact", &json!({ "max_ended_jobs": 2 })).await;
    assert_eq!((status, &done["deleted"], &done["exported"]), (StatusCode::OK, &json!(6), &json!(6)), "{done}");
    let gone: Value =
        server.request(Method::GET, &format!("/v1/jobs/{}", jobs[0])).send().await.unwrap().json().await.unwrap();
    assert_eq!(gone["code"], "job_deleted");
    assert!(server.terminate().await.success());
    check_sound(folder.path());
}
