//! The end of the store's file is cut, at places behind the last event that somebody was told of: what was acknowledged is
//! there after the start, and the start says what it cut.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use moonlog_tests::{Server, Settings, command, copy_folder, eventually, printed};
use serde_json::{Value, json};
use std::{fs, path::Path};

/// Where the last byte stands that is no zero: behind it the file has room alone.
fn used(file: &Path) -> u64 {
    fs::read(file).unwrap().iter().rposition(|byte| *byte != 0).unwrap() as u64 + 1
}

#[tokio::test]
async fn a_tail_that_nobody_was_told_of_is_cut_and_reported() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("data/log/db");
    let server = Server::start(folder.path()).await;
    let mut jobs = Vec::new();
    for n in 0..10 {
        let script = format!("for i = 1, 3 do emit('x', ('{n}'):rep(700)) end return {n}");
        jobs.push(server.run(&script).await);
    }
    let acknowledged = server.ndjson("/v1/events").await;
    let last = acknowledged.last().unwrap()["position"].as_u64().unwrap();
    let from = used(&file);
    // What comes now is heard of by nobody.
    for _ in 0..4 {
        let script = "for i = 1, 300 do emit('y', uuid():rep(40)) exec('true') end";
        server.submit(&json!({ "script": script })).await;
    }
    eventually("more to be written", || std::future::ready((used(&file) > from + 400_000).then_some(()))).await;
    server.kill();
    let to = used(&file);
    let (mut reported, mut lost) = (0, 0);
    for nth in 0..8 {
        // The submissions themselves were answered: they stand at the beginning.
        let cut = from + 60_000 + (to - from - 60_000) * nth / 8 + nth;
        let copied = tempfile::tempdir().unwrap();
        copy_folder(&folder.path().join("data"), &copied.path().join("data"));
        fs::OpenOptions::new().write(true).open(copied.path().join("data/log/db")).unwrap().set_len(cut).unwrap();
        let server = Server::try_start(copied.path(), &Settings::default()).await;
        let server = server.unwrap_or_else(|status| panic!("cut at {cut} of {to}: it does not start: {status}"));
        let events = server.ndjson(&format!("/v1/events?limit={last}")).await;
        assert!(events == acknowledged, "cut at {cut}: what was acknowledged has changed");
        for job in &jobs {
            let now = server.get(&format!("/v1/jobs/{}", job["id"].as_str().unwrap())).await;
            assert_eq!((&now["state"], &now["result"]), (&job["state"], &job["result"]));
        }
        let said = server.said().contains("mended");
        let started = server.get("/v1/events?types=runner.started").await;
        let repaired = &started["events"].as_array().unwrap().last().unwrap()["data"]["repaired"];
        assert_eq!(said, repaired.is_object(), "cut at {cut}: {repaired}");
        println!("cut at {cut} of {from} to {to}: {repaired}");
        reported += u32::from(said);
        lost += u32::from(repaired["lost_tail"].is_string() || repaired["torn_tail"].is_string());
        let report: Value = server.get("/v1/verify").await;
        assert_eq!(report["damage"], json!([]));
        assert!(server.terminate().await.success());
        let output = command(copied.path(), &["verify"]);
        assert!(output.status.success(), "{}", printed(&output));
    }
    assert!(reported > 0 && lost == reported, "{reported} starts said that something was cut");
}
