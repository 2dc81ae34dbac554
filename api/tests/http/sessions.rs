//! Sessions over HTTP: created with a workspace, worked in, reverted, merged and closed.

use crate::place::Place;
use reqwest::StatusCode;
use serde_json::{Value, json};
use std::{fs, path::Path, process::Command};

fn git(folder: &Path, arguments: &[&str]) -> String {
    let mut command = Command::new("git");
    command.args(["-c", "user.name=test", "-c", "user.email=test@localhost"]).args(arguments).current_dir(folder);
    let output = command.output().unwrap();
    assert!(output.status.success(), "git {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim_end().to_owned()
}

fn repository() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    git(folder.path(), &["init", "--quiet", "--initial-branch=main"]);
    fs::write(folder.path().join("a.txt"), "one\ntwo\n").unwrap();
    git(folder.path(), &["add", "."]);
    git(folder.path(), &["commit", "--quiet", "-m", "first"]);
    folder
}

async fn create(place: &Place, body: Value) -> Value {
    let (status, session) = place.post("/v1/sessions", &body).await;
    assert_eq!(status, StatusCode::CREATED, "{session}");
    session
}

fn path_of(session: &Value) -> String {
    format!("/v1/sessions/{}", session["id"].as_str().unwrap())
}

fn worktree(repository: &tempfile::TempDir) -> Value {
    json!({ "workspace": { "kind": "worktree", "repository": repository.path() } })
}

#[tokio::test]
async fn a_session_from_its_creation_to_its_end() {
    let (place, repository) = (Place::start().await, repository());
    let mut body = worktree(&repository);
    body["title"] = json!("Mend it");
    body["labels"] = json!({ "team": "a" });
    body["agent"] = json!({ "model": "main" });
    let session = create(&place, body).await;
    let path = path_of(&session);
    assert_eq!((&session["status"], &session["title"]), (&json!("open"), &json!("Mend it")));
    assert_eq!((&session["labels"]["team"], &session["agent"]["model"]), (&json!("a"), &json!("main")));
    let workspace = &session["workspace"];
    assert_eq!((&workspace["kind"], &workspace["status"]), (&json!("worktree"), &json!("ready")));
    assert!(
        workspace["path"].as_str().unwrap().starts_with(place.folder.path().canonicalize().unwrap().to_str().unwrap())
    );
    assert_eq!(place.get(&path).await.1["id"], session["id"]);

    // A job of it works there, and its events name it.
    let script = "return sh('echo three >> a.txt; echo new > b.txt; pwd').stdout";
    let job = json!({ "script": script, "session": session["id"] });
    let (_, job) = place.post("/v1/jobs?wait=30s", &job).await;
    assert_eq!(job["result"].as_str().unwrap().trim_end(), workspace["path"].as_str().unwrap());
    let feed = format!("/v1/events?session={}&types=session.*,job.*&limit=100", session["id"].as_str().unwrap());
    let events = place.get(&feed).await.1["events"].as_array().unwrap().clone();
    let types: Vec<&str> = events.iter().map(|event| event["type"].as_str().unwrap()).collect();
    assert_eq!(types, ["session.created", "session.described", "job.submitted", "job.started", "job.completed"]);
    let state = place.get(&format!("/v1/jobs/{}/state", job["id"].as_str().unwrap())).await.1;
    assert_eq!(state["sessions"][0]["id"], session["id"]);

    let (status, changes) = place.get(&format!("{path}/changes?limit=1")).await;
    assert_eq!((status, changes["items"].as_array().unwrap().len()), (StatusCode::OK, 1));
    assert_eq!((&changes["items"][0]["path"], &changes["items"][0]["op"]), (&json!("a.txt"), &json!("edited")));
    assert!(changes["items"][0]["diff"].as_str().unwrap().contains("+three"));
    let next = changes["next"].as_str().unwrap();
    let rest = place.get(&format!("{path}/changes?cursor={next}")).await.1;
    assert_eq!((&rest["items"][0]["path"], &rest["next"]), (&json!("b.txt"), &Value::Null));

    let revert = format!("{path}/changes/revert");
    let (status, reverted) = place.post(&revert, &json!({ "paths": ["b.txt"] })).await;
    assert_eq!((status, &reverted["reverted"]), (StatusCode::OK, &json!(["b.txt"])));
    let (status, problem) = place.post(&revert, &json!({ "paths": ["b.txt"] })).await;
    assert_eq!((status, &problem["code"]), (StatusCode::CONFLICT, &json!("not_changed")));
    assert_eq!(problem["details"]["paths"], json!(["b.txt"]));
    let (status, merged) = place.post(&format!("{path}/changes/merge"), &json!({})).await;
    assert_eq!((status, &merged["how"], &merged["files"]), (StatusCode::OK, &json!("fast_forward"), &json!(["a.txt"])));
    assert_eq!(fs::read_to_string(repository.path().join("a.txt")).unwrap(), "one\ntwo\nthree\n");

    let (status, closed) = place.post(&format!("{path}/close"), &json!({})).await;
    assert_eq!((status, &closed["status"]), (StatusCode::OK, &json!("closed")));
    assert_eq!(closed["workspace"]["closed"]["removed"], json!(true));
    let (status, problem) = place.post(&format!("{path}/close"), &json!({})).await;
    assert_eq!((status, &problem["code"]), (StatusCode::CONFLICT, &json!("session_closed")));
    let (status, problem) = place.post("/v1/jobs", &json!({ "script": "return 1", "session": session["id"] })).await;
    assert_eq!((status, &problem["code"]), (StatusCode::CONFLICT, &json!("session_closed")));
}

#[tokio::test]
async fn a_merge_with_conflicts_is_refused_with_the_files() {
    let (place, repository) = (Place::start().await, repository());
    let session = create(&place, worktree(&repository)).await;
    let root = Path::new(session["workspace"]["path"].as_str().unwrap());
    fs::write(root.join("a.txt"), "theirs\ntwo\n").unwrap();
    fs::write(repository.path().join("a.txt"), "ours\ntwo\n").unwrap();
    git(repository.path(), &["commit", "--quiet", "-am", "ours"]);
    let (status, problem) = place.post(&format!("{}/changes/merge", path_of(&session)), &json!({})).await;
    assert_eq!((status, &problem["code"]), (StatusCode::CONFLICT, &json!("merge_conflict")));
    assert_eq!(problem["details"]["files"], json!(["a.txt"]));
    // Closed with its work not committed, it says what it keeps.
    let closed = place.post(&format!("{}/close", path_of(&session)), &json!({})).await.1;
    assert_eq!(closed["workspace"]["closed"]["uncommitted"], json!(["a.txt"]));
    assert!(root.join("a.txt").exists());
}

#[tokio::test]
async fn sessions_are_listed_by_status_in_pages() {
    let place = Place::start().await;
    let mut sessions = Vec::new();
    for _ in 0..3 {
        sessions.push(create(&place, json!({})).await);
    }
    place.post(&format!("{}/close", path_of(&sessions[1])), &json!({})).await;
    let ids = |page: &Value| page["items"].as_array().unwrap().iter().map(|s| s["id"].clone()).collect::<Vec<_>>();
    let id = |n: usize| sessions[n]["id"].clone();
    assert_eq!(ids(&place.get("/v1/sessions").await.1), [id(2), id(1), id(0)]);
    assert_eq!(ids(&place.get("/v1/sessions?status=open").await.1), [id(2), id(0)]);
    assert_eq!(ids(&place.get("/v1/sessions?status=closed").await.1), [id(1)]);
    let first = place.get("/v1/sessions?limit=2").await.1;
    assert_eq!(ids(&first), [id(2), id(1)]);
    let rest = place.get(&format!("/v1/sessions?limit=2&cursor={}", first["next"].as_str().unwrap())).await.1;
    assert_eq!((ids(&rest), &rest["next"]), (vec![id(0)], &Value::Null));
}

#[tokio::test]
async fn what_cannot_be_is_refused_with_the_reason() {
    let (place, repository) = (Place::start().await, repository());
    let unknown = "/v1/sessions/019ab0c2-7d1e-7cc1-9d53-0a3d6b6f2f11";
    let session = path_of(&create(&place, json!({})).await);
    let plain = tempfile::tempdir().unwrap();
    let in_plain = json!({ "workspace": { "kind": "worktree", "repository": plain.path() } });
    let no_ref = json!({ "workspace": { "kind": "worktree", "repository": repository.path(), "base": "no" } });
    let table = [
        ("/v1/sessions", json!({ "workspace": { "kind": "tree" } }), 400, "invalid_request"),
        ("/v1/sessions", json!({ "workspace": "here" }), 400, "invalid_request"),
        ("/v1/sessions", json!({ "title": "" }), 400, "invalid_request"),
        ("/v1/sessions", in_plain, 400, "not_a_repository"),
        ("/v1/sessions", no_ref, 400, "no_such_ref"),
        (&format!("{session}/changes/revert"), json!({}), 400, "invalid_request"),
        (&format!("{session}/changes/revert"), json!({ "paths": [1] }), 400, "invalid_request"),
        (&format!("{session}/changes/revert"), json!({ "all": true }), 409, "no_workspace"),
        (&format!("{session}/changes/merge"), json!({}), 409, "no_workspace"),
        (&format!("{unknown}/close"), json!({}), 404, "no_such_session"),
        (&format!("{unknown}/changes/merge"), json!({}), 404, "no_such_session"),
    ];
    for (path, body, status, code) in table {
        let (found, problem) = place.post(path, &body).await;
        assert_eq!((found.as_u16(), problem["code"].as_str().unwrap()), (status, code), "{path} {body}: {problem}");
    }
    assert_eq!(place.get(unknown).await.0, StatusCode::NOT_FOUND);
    assert_eq!(place.get("/v1/sessions?status=gone").await.0, StatusCode::BAD_REQUEST);
    let job = json!({ "script": "return 1", "session": "019ab0c2-7d1e-7cc1-9d53-0a3d6b6f2f11" });
    assert_eq!(place.post("/v1/jobs", &job).await.0, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn a_message_that_says_nothing_is_refused() {
    let place = Place::start().await;
    let path = format!("{}/messages", path_of(&create(&place, json!({})).await));
    for (body, field) in [
        (json!({ "text": "" }), "text"),
        (json!({ "text": " \n" }), "text"),
        (json!({ "parts": [{ "type": "text", "text": "" }] }), "parts"),
    ] {
        let (status, problem) = place.post(&path, &body).await;
        assert_eq!((status.as_u16(), &problem["errors"][0]["path"]), (400, &json!(field)), "{body}: {problem}");
    }
    assert_eq!(place.get(&path.replace("/messages", "")).await.1["queue"], json!([]));
}
