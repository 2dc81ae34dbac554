//! Backups of a server that goes on, and what is made of them.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use moonlog_tests::{Server, Settings, command, eventually, printed};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use std::{
    fs,
    path::Path,
    process::{Command, Output},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

fn ok(output: &Output) -> String {
    assert!(output.status.success(), "{}", printed(output));
    String::from_utf8(output.stdout.clone()).unwrap()
}

/// `moonlog restore`, into `data` of another folder.
fn restore(backup: &Path, into: &Path) -> Output {
    command(into, &["restore", backup.to_str().unwrap()])
}

fn mode(path: &Path) -> u32 {
    use std::os::unix::fs::PermissionsExt;
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[tokio::test]
async fn a_backup_under_load_is_restored_and_its_jobs_go_on() {
    let (folder, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let server = Arc::new(Server::start(folder.path()).await);
    let waiting = server.submit(&json!({ "script": "step('a', function() return 1 end) return wait_for('go')" })).await;
    let sleeping = server.submit(&json!({ "script": "sleep('1s') return exec('echo', { 'done' }).stdout" })).await;
    server.in_state(&waiting, "waiting").await;
    let large = server.run("emit('big', ('x'):rep(200000)) return 1").await;
    let gone = server.run("return 'gone'").await["id"].as_str().unwrap().to_owned();
    assert_eq!(server.request(Method::DELETE, &format!("/v1/jobs/{gone}")).send().await.unwrap().status(), 204);
    let stop = Arc::new(AtomicBool::new(false));
    let load: Vec<_> = (0..4)
        .map(|_| {
            let (server, stop) = (server.clone(), stop.clone());
            tokio::spawn(async move {
                let mut jobs = 0;
                while !stop.load(Ordering::Relaxed) {
                    let script = "for i = 1, 20 do emit('n', { i = i, text = ('y'):rep(3000) }) end return 1";
                    assert_eq!(server.run(script).await["state"], "completed");
                    jobs += 1;
                }
                jobs
            })
        })
        .collect();
    eventually("some load", || async {
        let page = server.get("/v1/jobs?limit=200").await;
        (page["items"].as_array().unwrap().len() > 20).then_some(())
    })
    .await;
    let backups = folder.path().join("backups");
    fs::create_dir(&backups).unwrap();
    let said: Value = {
        let (folder, backups) = (folder.path().to_owned(), backups.clone());
        let run = move || ok(&command(&folder, &["backup", backups.to_str().unwrap(), "--json"]));
        serde_json::from_str(&tokio::task::spawn_blocking(run).await.unwrap()).unwrap()
    };
    stop.store(true, Ordering::Relaxed);
    let mut jobs = 0;
    for load in load {
        jobs += load.await.unwrap();
    }
    let position = said["backup"]["position"].as_u64().unwrap();
    let backup = backups.join(said["file"].as_str().unwrap());
    assert!(backup.ends_with(format!("moonlog-{position:012}.backup")), "{said}");
    assert_eq!(mode(&backup), 0o600);
    let head = server.get("/v1/verify").await["head"].as_u64().unwrap();
    println!("{jobs} jobs ran meanwhile; the backup ends at {position}, the log at {head}");
    assert!(head > position, "the server went on: {position} {head}");

    let text = ok(&restore(&backup, other.path()));
    assert!(text.contains(&format!("up to position {position}")), "{text}");
    assert!(ok(&command(other.path(), &["verify"])).contains("the log is sound"));
    let restored = Server::start(other.path()).await;
    // Behind the gap of the deleted job.
    let first_gap = server.get(&format!("/v1/events?types=job.deleted&job={gone}")).await;
    let behind = first_gap["events"][0]["position"].as_u64().unwrap();
    let was = server.ndjson(&format!("/v1/events?after={behind}")).await;
    let is = restored.ndjson(&format!("/v1/events?after={behind}")).await;
    let upto = |events: Vec<Value>| -> Vec<Value> {
        events.into_iter().take_while(|event| event["position"].as_u64().unwrap() <= position).collect()
    };
    let (was, is) = (upto(was), upto(is));
    assert_eq!(was.last().unwrap()["position"], position);
    assert!(was == is, "the events up to the position are the same");
    let large = large["id"].as_str().unwrap();
    assert!(server.events(large).await == restored.events(large).await, "what is stored apart is there");
    assert_eq!(restored.get(&format!("/v1/jobs/{gone}")).await["code"], "job_deleted");

    // What had not ended goes on, here as there.
    for server in [&*server, &restored] {
        server.post(&format!("/v1/jobs/{waiting}/signals/go"), &json!({ "payload": 7 })).await;
        assert_eq!(server.ended(&waiting).await["result"], 7);
        assert_eq!(server.ended(&sleeping).await["result"], "done\n");
    }
    assert_eq!(restored.get("/v1/verify").await["damage"], json!([]));
}

#[tokio::test]
async fn a_closed_folder_is_backed_up_and_nothing_is_written_over() {
    let (folder, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let server = Server::start(folder.path()).await;
    let job = server.run("return 5").await["id"].as_str().unwrap().to_owned();
    assert!(server.terminate().await.success());
    ok(&command(folder.path(), &["backup", "one.backup"]));
    let backup = folder.path().join("one.backup");
    fs::create_dir(other.path().join("data")).unwrap();
    fs::write(other.path().join("data/file"), "mine").unwrap();
    let refused = restore(&backup, other.path());
    assert!(
        refused.status.code() == Some(2) && printed(&refused).contains("has something in it"),
        "{}",
        printed(&refused)
    );
    assert_eq!(fs::read_dir(other.path().join("data")).unwrap().count(), 1);
    fs::remove_file(other.path().join("data/file")).unwrap();

    // What is no whole backup leaves nothing behind.
    let whole = fs::read(&backup).unwrap();
    let mut flipped = whole.clone();
    flipped[whole.len() / 2] ^= 4;
    for (name, bytes) in
        [("cut", &whole[..whole.len() - 9]), ("half", &whole[..whole.len() / 2]), ("flipped", &flipped), ("empty", &[])]
    {
        let path = other.path().join(name);
        fs::write(&path, bytes).unwrap();
        let refused = restore(&path, other.path());
        assert_eq!(refused.status.code(), Some(1), "{name}: {}", printed(&refused));
        assert!(
            printed(&refused).contains("error:") && !printed(&refused).contains("panicked"),
            "{}",
            printed(&refused)
        );
        assert_eq!(fs::read_dir(other.path().join("data")).unwrap().count(), 0, "{name}");
        assert!(!other.path().join("data.restoring").exists(), "{name}");
    }
    ok(&restore(&backup, other.path()));
    let output = command(other.path(), &["show", &job, "--json"]);
    assert_eq!(serde_json::from_str::<Value>(&ok(&output)).unwrap()["result"], 5);
    assert_eq!(restore(&backup, other.path()).status.code(), Some(2), "and not twice");
}

#[tokio::test]
async fn a_backup_ends_with_the_connection_of_its_client() {
    let folder = tempfile::tempdir().unwrap();
    // Nothing but the end of the connection may end it within the test's time.
    let settings = Settings { config: "[limits]\nbackup_stall_ms = 3_600_000\n".into(), ..Settings::default() };
    let server = Server::start_with(folder.path(), &settings).await;
    // One that packs badly, so that the client is waited for, and one that packs well, so that hardly anything is given.
    let script = "return sh('head -c 11000000 /dev/urandom | base64 -w 0', { timeout = '60s' }).exit_code";
    let job = server.run(script).await["id"].as_str().unwrap().to_owned();
    server.run("for i = 1, 60 do emit('zeros', string.rep('0', 1000000)) end").await;
    for _ in 0..3 {
        let mut response = server.request(Method::GET, "/v1/backup").send().await.unwrap();
        assert_eq!(response.status(), StatusCode::OK);
        assert!(response.chunk().await.unwrap().is_some());
        let refused = server.request(Method::GET, "/v1/backup").send().await.unwrap();
        assert_eq!(refused.status(), StatusCode::CONFLICT);
        drop(response);
        eventually("the place of the one that went away", || async {
            let head = server.request(Method::HEAD, "/v1/backup").send().await.unwrap();
            (head.status() == StatusCode::OK).then_some(())
        })
        .await;
    }
    assert_eq!(server.request(Method::DELETE, &format!("/v1/jobs/{job}")).send().await.unwrap().status(), 204);
}

#[tokio::test]
async fn a_client_that_takes_nothing_keeps_jobs_from_being_deleted_no_longer_than_it_may() {
    let folder = tempfile::tempdir().unwrap();
    let settings = Settings { config: "[limits]\nbackup_stall_ms = 1_500\n".into(), ..Settings::default() };
    let server = Server::start_with(folder.path(), &settings).await;
    // More than the buffers on the way hold, and nothing that can be packed.
    let script = "return sh('head -c 11000000 /dev/urandom | base64 -w 0', { timeout = '60s' }).exit_code";
    let job = server.run(script).await["id"].as_str().unwrap().to_owned();
    let url = format!("{}/v1/backup", server.url());
    let head = folder.path().join("head");
    let mut stalled = Command::new("curl")
        .args(["-s", "-N", "--limit-rate", "1", "-o", "/dev/null", "-D"])
        .arg(&head)
        .arg(&url)
        .spawn()
        .unwrap();
    eventually("the backup to begin", || async {
        fs::read_to_string(&head).is_ok_and(|head| head.contains("\r\n\r\n")).then_some(())
    })
    .await;
    let delete = || server.request(Method::DELETE, &format!("/v1/jobs/{job}")).send();
    let refused = delete().await.unwrap();
    assert_eq!(refused.status(), StatusCode::CONFLICT);
    assert_eq!(refused.json::<Value>().await.unwrap()["code"], "backup_under_way");
    eventually("the job to be deleted", || async {
        (delete().await.unwrap().status() == StatusCode::NO_CONTENT).then_some(())
    })
    .await;
    stalled.kill().unwrap();
    stalled.wait().unwrap();
    assert_eq!(server.get("/v1/verify").await["damage"], json!([]));
}
