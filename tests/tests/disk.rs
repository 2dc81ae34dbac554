//! Disks that are full, and a folder that two servers want: what was acknowledged is served as it was.

use moonlog_tests::{Acknowledged, Server, Settings, SmallDisk, command, printed};
use reqwest::Method;
use serde_json::Value;

#[tokio::test]
async fn a_file_that_may_not_grow_stops_appends_and_loses_nothing() {
    let folder = tempfile::tempdir().unwrap();
    // In units of 512 bytes: 32 MiB for any file. The signal is ignored, so that writes fail as on a full disk.
    let limited = Settings { before: Some("trap '' XFSZ; ulimit -f 65536".into()), ..Settings::default() };
    let server = Server::start_with(folder.path(), &limited).await;
    let acknowledged = Acknowledged::fill(&server).await;
    acknowledged.check_refused(&server).await;
    assert!(!Acknowledged::is_cut(&server), "{}", server.said());
    server.kill();
    let server = Server::start(folder.path()).await;
    acknowledged.check_kept(&server).await;
    assert!(server.terminate().await.success());
    let output = command(folder.path(), &["verify"]);
    assert!(output.status.success(), "{}", printed(&output));
}

#[tokio::test]
async fn a_full_disk_stops_appends_and_loses_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let Some(disk) = SmallDisk::mount(&folder.path().join("data"), 40) else { return };
    let server = Server::start(folder.path()).await;
    let acknowledged = Acknowledged::fill(&server).await;
    acknowledged.check_refused(&server).await;
    assert!(!Acknowledged::is_cut(&server), "{}", server.said());
    server.kill();
    // It starts on the full disk too, to be read from; also where others have filled it to the last byte.
    for filled in [false, true] {
        let _others = filled.then(|| disk.fill());
        let server = Server::start(folder.path()).await;
        acknowledged.check_refused(&server).await;
        let ready = server.request(Method::GET, "/readyz").send().await.unwrap();
        let problem: Value = ready.json().await.unwrap();
        let detail = problem["detail"].as_str().unwrap();
        assert!(detail.contains("no space left on the disk") && detail.contains("free disk space"), "{problem}");
        assert!(server.said().contains("the server is read-only"), "{}", server.said());
        let job = acknowledged.job();
        let output = command(folder.path(), &["replay", job]);
        assert!(output.status.success(), "{}", printed(&output));
        let output = command(folder.path(), &["export", job, "-o", "/dev/null"]);
        assert!(output.status.success(), "{}", printed(&output));
        server.kill();
    }
    disk.resize(400);
    let server = Server::start(folder.path()).await;
    acknowledged.check_kept(&server).await;
    assert!(server.terminate().await.success());
    let output = command(folder.path(), &["verify"]);
    assert!(output.status.success(), "{}", printed(&output));
    drop(disk);
}

#[tokio::test]
async fn two_servers_do_not_share_a_folder() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path()).await;
    let address = server.url().to_owned();
    let run = |arguments: &[&str]| {
        let output = command(folder.path(), arguments);
        (output.status.code(), printed(&output))
    };
    let (status, text) = run(&["serve", "--listen", "127.0.0.1:0"]);
    assert_eq!(status, Some(3), "{text}");
    assert!(text.contains("data") && text.contains(&address), "it says where the other one is: {text}");
    assert_eq!(run(&["verify"]).0, Some(0), "what reads goes through the running server");
    let id = server.run("return 7").await["id"].as_str().unwrap().to_owned();
    server.kill();
    let server = Server::start(folder.path()).await;
    assert_eq!(server.get(&format!("/v1/jobs/{id}")).await["result"], 7, "a kill leaves no lock behind");
}
