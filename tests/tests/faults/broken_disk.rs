//! Writes, syncs and renames that fail under a real server, at any moment of its life.

use super::{check_sound, times};
use moonlog_tests::{
    Acknowledged, Faults, Random, Server, Settings,
    faults::{ALLOCATE, EIO, ENOSPC, READ, RENAME, SYNC, WRITE},
};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use std::{fs, path::Path};

const SEED: u64 = 0x0062_726f_6b65_6e21;
/// The files of the store.
const STORE: &str = "/data/log";

/// Snapshots, pages of the index and blobs are written all the time.
fn settings() -> Settings {
    Settings { config: "[log]\nsnapshot_every_events = 100\n".into(), ..Settings::default() }
}

#[tokio::test]
async fn a_call_that_fails_at_any_moment_stops_appends_and_loses_nothing() {
    let mut random = Random::from_env(SEED);
    for round in 0..times(6, 60) {
        let folder = tempfile::tempdir().unwrap();
        let Some(faults) = Faults::new(folder.path()) else { return };
        let server = Server::start_with(folder.path(), &faults.settings(settings())).await;
        let (operation, error) =
            [(WRITE, EIO), (SYNC, EIO), (WRITE, ENOSPC), (WRITE | SYNC | ALLOCATE, EIO)][round as usize % 4];
        let spare = random.below(if round % 2 == 0 { 60 } else { 600 }) as i64;
        println!("{operation} fails with {error} after {spare} more");
        faults.fail(operation, error, STORE, spare);
        // Some of what is written is larger than what stands in an event.
        let acknowledged = Acknowledged::fill_by(&server, [20, 400, 9_000][round as usize % 3]).await;
        assert!(faults.failed() > 0);
        acknowledged.check_refused(&server).await;
        if Acknowledged::is_cut(&server) {
            println!("what the failure took from the store's memory is there at the next start");
        }
        // A disk that works again is not trusted: what it lost is not known.
        faults.mend();
        acknowledged.check_refused(&server).await;
        let ready: Value = server.request(Method::GET, "/readyz").send().await.unwrap().json().await.unwrap();
        assert!(ready["detail"].as_str().unwrap().contains("restart"), "{ready}");
        if round % 3 == 0 {
            server.terminate().await;
        } else {
            server.kill();
        }
        let server = Server::start_with(folder.path(), &settings()).await;
        acknowledged.check_kept(&server).await;
        assert!(server.terminate().await.success());
        check_sound(folder.path());
    }
}

/// What a server that does not come up has said.
fn last_words(folder: &Path) -> String {
    let said = fs::read_to_string(folder.join("stderr.log")).unwrap();
    fs::remove_file(folder.join("stderr.log")).unwrap();
    said
}

#[tokio::test]
async fn a_start_at_which_calls_fail_says_so_and_the_next_one_goes_on() {
    let mut random = Random::from_env(SEED);
    let folder = tempfile::tempdir().unwrap();
    let Some(faults) = Faults::new(folder.path()) else { return };
    let server = Server::start_with(folder.path(), &settings()).await;
    let waiting = server.submit(&json!({ "script": "return wait_for('go')" })).await;
    server.in_state(&waiting, "waiting").await;
    for n in 0..20 {
        assert_eq!(server.run(&format!("emit('x', string.rep('y', 2000)) return {n}")).await["result"], n);
    }
    let mut events = server.ndjson("/v1/events").await;
    server.kill();
    let (mut refused, mut read_only, mut whole) = (0, 0, 0);
    for round in 0..times(12, 120) {
        let (operation, error, needle) = [
            (WRITE, EIO, STORE),
            (SYNC, EIO, STORE),
            (WRITE, ENOSPC, "/data/"),
            (ALLOCATE, ENOSPC, "/data/"),
            (WRITE | RENAME, EIO, "snap."),
            (WRITE | RENAME, EIO, "server.json"),
            (SYNC, EIO, "/data"),
        ][round as usize % 7];
        let spare = random.below(6) as i64;
        faults.fail(operation, error, needle, spare);
        match Server::try_start(folder.path(), &faults.settings(settings())).await {
            Err(status) => {
                let said = last_words(folder.path());
                assert!(said.contains("error:") && !said.contains("panicked at"), "{status}: {said}");
                refused += 1;
            }
            Ok(server) => {
                let now = server.ndjson("/v1/events").await;
                assert_eq!(now[..events.len()], events, "{operation} {error} {needle} {spare}");
                let ready = server.request(Method::GET, "/readyz").send().await.unwrap().status();
                match ready {
                    StatusCode::SERVICE_UNAVAILABLE => read_only += 1,
                    _ => whole += 1,
                }
                server.kill();
            }
        }
        faults.mend();
        let server = Server::start_with(folder.path(), &settings()).await;
        let now = server.ndjson("/v1/events").await;
        assert_eq!(now[..events.len()], events, "after {operation} {error} {needle} {spare}");
        events = now;
        server.kill();
    }
    println!("{refused} starts were refused, {read_only} came to be read from, {whole} did not mind");
    assert!(refused + read_only > 0);
    let server = Server::start_with(folder.path(), &settings()).await;
    server.post(&format!("/v1/jobs/{waiting}/signals/go"), &json!({ "payload": 7 })).await;
    assert_eq!(server.ended(&waiting).await["result"], 7);
    assert!(server.terminate().await.success());
    check_sound(folder.path());
}

#[tokio::test]
async fn a_compaction_that_cannot_write_leaves_the_log_as_it_was() {
    let mut random = Random::from_env(SEED);
    let folder = tempfile::tempdir().unwrap();
    let Some(faults) = Faults::new(folder.path()) else { return };
    let mut server = Server::start_with(folder.path(), &faults.settings(settings())).await;
    for n in 0..30 {
        server.run(&format!("for i = 1, 5 do emit('x', string.rep('y', 9000)) end return {n}")).await;
    }
    let keep = server.run("return 'kept'").await["id"].as_str().unwrap().to_owned();
    for round in 0..times(4, 40) {
        let (operation, error) = [(WRITE, ENOSPC), (SYNC, EIO), (RENAME, EIO), (WRITE, EIO)][round as usize % 4];
        let needle = if operation == RENAME { STORE } else { "/data/log.new" };
        faults.fail(operation, error, needle, random.below(if operation == RENAME { 2 } else { 8 }) as i64);
        let events = server.ndjson("/v1/events").await;
        let (status, answer) = server.post("/v1/compact", &json!({ "rewrite": true })).await;
        let failed = faults.mend();
        assert_eq!(status.is_success(), failed == 0, "{status}: {answer}");
        if failed > 0 {
            assert!(
                status == StatusCode::SERVICE_UNAVAILABLE || status == StatusCode::INSUFFICIENT_STORAGE,
                "{status}: {answer}: {}",
                server.said()
            );
            assert!(answer["code"].is_string() && answer["detail"].is_string(), "{answer}");
        }
        assert_eq!(server.ndjson("/v1/events").await[..events.len()], events, "nothing is lost");
        // What is beside the store harms nobody; the store itself goes on.
        assert_eq!(server.run("return 1").await["result"], 1, "{failed}");
        if round % 2 == 1 {
            server.kill();
            server = Server::start_with(folder.path(), &faults.settings(settings())).await;
            assert_eq!(server.ndjson("/v1/events").await[..events.len()], events, "nor after a kill");
            assert!(!folder.path().join("data/log.new").exists() && !folder.path().join("data/log.old").exists());
        }
    }
    let (status, answer) = server.post("/v1/compact", &json!({ "rewrite": true })).await;
    assert_eq!((status, &answer["rewritten"]), (StatusCode::OK, &json!(true)), "{answer}");
    assert_eq!(server.get(&format!("/v1/jobs/{keep}")).await["result"], "kept");
    assert!(server.terminate().await.success());
    check_sound(folder.path());
}

#[tokio::test]
async fn reads_that_fail_are_told_as_such_and_harm_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let Some(faults) = Faults::new(folder.path()) else { return };
    let server = Server::start_with(folder.path(), &settings()).await;
    let mut jobs = Vec::new();
    for n in 0..times(60, 300) {
        let script = format!("for i = 1, 5 do emit('x', string.rep('y', 9000)) end return {n}");
        jobs.push(server.run(&script).await["id"].as_str().unwrap().to_owned());
    }
    let events = server.ndjson("/v1/events").await;
    assert!(server.terminate().await.success());
    // One that has read nothing of it yet.
    let server = Server::start_with(folder.path(), &faults.settings(settings())).await;
    faults.fail(READ, EIO, STORE, 0);
    let mut failed = 0;
    for job in &jobs {
        for part in ["", "/state", "/events"] {
            let response = server
                .request(Method::GET, &format!("/v1/jobs/{job}{part}"))
                .header("accept", "application/json")
                .send()
                .await
                .unwrap();
            let status = response.status();
            let body: Value = response.json().await.unwrap_or_default();
            match status {
                StatusCode::SERVICE_UNAVAILABLE => assert_eq!(body["code"], "disk_failed", "{part}: {body}"),
                _ => assert_eq!(status, StatusCode::OK, "{part}: {body}"),
            }
            failed += usize::from(status == StatusCode::SERVICE_UNAVAILABLE);
        }
    }
    println!("{failed} requests failed with {} reads", faults.mend());
    assert!(failed > 0);
    let now = server.ndjson("/v1/events").await;
    assert_eq!(now[..events.len()], events);
    assert_eq!(server.run("return 7").await["result"], 7);
    assert!(server.terminate().await.success());
    check_sound(folder.path());
}
