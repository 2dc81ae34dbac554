//! `create_workspace`, and tools in the workspace of a session.

use crate::place::Place;
use moonlog_core::{
    event::{EventBody, SessionCreated, StreamId},
    id::SessionId,
    json::Json,
    log::{Append, Expected},
};
use serde_json::json;
use std::process::Command;
use uuid::Uuid;

/// A call in a session has no folder of its own: the session's workspace is looked up.
async fn in_session(place: &mut Place) -> SessionId {
    let session = SessionId::from(Uuid::now_v7());
    let created = SessionCreated { workspace: Json::null(), agent: Json::null() };
    let append =
        Append::new(StreamId::Session(session), Expected::Any, vec![EventBody::SessionCreated(created).into()]);
    let appended = place.runner.log().append(append).unwrap();
    place.runner.log().durable(appended.last_position).await.unwrap();
    while place.runner.views().applied() < appended.last_position {
        tokio::task::yield_now().await;
    }
    place.session = Some(session);
    place.rootless = true;
    session
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tools_work_in_the_worktree_that_was_made() {
    let repository = tempfile::tempdir().unwrap();
    let git = |args: &[&str]| {
        let mut git = Command::new("git");
        git.arg("-C").arg(repository.path()).args(["-c", "user.name=t", "-c", "user.email=t@t"]).args(args);
        assert!(git.status().unwrap().success(), "git {args:?}");
    };
    git(&["init", "-q"]);
    std::fs::write(repository.path().join("a.txt"), "one\n").unwrap();
    git(&["add", "."]);
    git(&["commit", "-qm", "first"]);
    let roots = vec![repository.path().to_path_buf()];
    let mut place = Place::with(move |options| options.roots = roots.clone()).await;
    in_session(&mut place).await;
    let input = json!({ "repository": repository.path() });
    let calls = (0..4).map(|_| place.ok("create_workspace", input.clone()));
    let made = futures_util::future::join_all(calls).await;
    let created = made.iter().filter(|made| made["created"] == true).count();
    assert_eq!(created, 1, "{made:?}");
    assert!(made.iter().all(|one| one["kind"] == "worktree" && one["path"] == made[0]["path"]), "{made:?}");
    place.ok("edit_files", json!({ "edits": [{ "path": "a.txt", "old_text": "one", "new_text": "two" }] })).await;
    let pwd = place.ok("execute", json!({ "command": "pwd; cat a.txt; git branch --show-current" })).await;
    let shown: Vec<&str> = pwd["output"].as_str().unwrap().lines().collect();
    assert_eq!(
        (shown[0], shown[1], shown[2]),
        (made[0]["path"].as_str().unwrap(), "two", made[0]["branch"].as_str().unwrap())
    );
    // The repository itself is as it was, and out of reach.
    assert_eq!(std::fs::read_to_string(repository.path().join("a.txt")).unwrap(), "one\n");
    let outside = place.error("read_file", json!({ "path": repository.path().join("a.txt") })).await;
    assert!(outside.starts_with("outside_workspace"), "{outside}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_workspace_is_made_of_any_folder() {
    let mut place = Place::with(|_| {}).await;
    let elsewhere = tempfile::tempdir().unwrap();
    let without = place.error("create_workspace", json!({})).await;
    assert!(without.starts_with("no_session"), "{without}");
    in_session(&mut place).await;
    for (input, code) in [
        (json!({ "path": elsewhere.path() }), "outside_workspace"),
        (json!({ "repository": "/" }), "outside_workspace"),
        (json!({ "kind": "worktree" }), "invalid_input"),
        (json!({ "kind": "directory", "repository": "." }), "invalid_input"),
        (json!({ "repository": ".", "path": "." }), "invalid_input"),
    ] {
        let error = place.error("create_workspace", input.clone()).await;
        assert!(error.starts_with(code), "{input}: {error}");
    }
    let made = place.ok("create_workspace", json!({})).await;
    assert_eq!((&made["kind"], &made["status"]), (&json!("directory"), &json!("created")));
    assert_eq!(place.ok("create_workspace", json!({})).await["status"], "already_exists");
    place.ok("write_file", json!({ "path": "x", "content": "1" })).await;
    assert!(std::path::Path::new(made["path"].as_str().unwrap()).join("x").exists());
}
