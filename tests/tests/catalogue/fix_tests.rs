//! `fix-tests`: tests are mended on a branch of their own, and the user's checkout stays as it is.

use crate::stage::{Stage, has};
use moonlog_tests::{Server, Settings, eventually};
use serde_json::{Value, json};

const BROKEN: &str = "add() { echo $(($1 - $2)); }\n";
const TEST: &str = "cd \"$(dirname \"$0\")\"\n. ./add.sh\ntouch ran.log\n[ \"$(add 2 3)\" = 5 ] || { echo \"add 2 3 gave $(add 2 3)\"; exit 1; }\n";

fn edit(old: &str, new: &str) -> Value {
    json!({ "name": "edit_files", "input": { "edits": [{ "path": "lib/add.sh", "old_text": old, "new_text": new }] } })
}

fn turns() -> Value {
    json!([
        { "tool_calls": [{ "name": "read_file", "input": { "path": "lib/add.sh" } }, edit("$1 - $2", "$1 * $2")] },
        { "text": "It subtracted. Now it does not." },
        { "tool_calls": [edit("$1 * $2", "$1 + $2"), { "name": "execute", "input": { "command": "sh lib/test.sh" } }] },
        { "text": "It multiplied. Now it adds." },
    ])
}

fn stage(turns: &Value) -> Stage {
    let stage = Stage::new(turns);
    stage.repository("project", &[("lib/add.sh", BROKEN), ("lib/test.sh", TEST)]);
    stage
}

/// All that a user sees of a checkout: its commit, branch, and every file.
fn checkout(stage: &Stage) -> Vec<String> {
    vec![
        stage.git("project", &["rev-parse", "HEAD"]),
        stage.git("project", &["branch", "--show-current"]),
        stage.git("project", &["status", "--porcelain", "--ignored"]),
        stage.git("project", &["worktree", "list"]).lines().count().to_string(),
        std::fs::read_to_string(stage.path().join("project/lib/add.sh")).unwrap(),
    ]
}

#[test]
fn failing_tests_are_mended_on_a_branch() {
    let stage = stage(&turns());
    stage.write("project/mine.txt", "not committed\n");
    let before = checkout(&stage);
    let fixed = stage.recorded("fix-tests", &json!({ "path": "project", "command": "sh lib/test.sh" }));
    assert_eq!(checkout(&stage), before, "the checkout stays as it is");
    assert_eq!((&fixed["green"], &fixed["status"], &fixed["rounds_used"]), (&json!(true), &json!("green"), &json!(2)));
    let green: Vec<_> =
        fixed["rounds"].as_array().unwrap().iter().map(|round| round["green"].as_bool().unwrap()).collect();
    assert_eq!(green, [false, true]);
    assert_eq!((&fixed["files"], &fixed["tests_changed"]), (&json!(["lib/add.sh"]), &json!([])));
    let (branch, diff) = (fixed["branch"].as_str().unwrap(), fixed["diff"].as_str().unwrap());
    assert!(diff.contains("-add() { echo $(($1 - $2)); }") && diff.contains("+add() { echo $(($1 + $2)); }"), "{diff}");
    assert!(!diff.contains("ran.log"), "what tests leave behind is not committed: {diff}");
    has(&fixed, &["**They pass** after 2 rounds", branch, "git merge moonlog/fix-tests-", "## Diff"]);
    // The branch is there, and what stands on it is green.
    assert_eq!(stage.git("project", &["rev-parse", branch]), fixed["commit"].as_str().unwrap());
    stage.git("project", &["merge", "--quiet", branch]);
    stage.git("project", &["log", "--oneline"]);
    let run = std::process::Command::new("sh").arg(stage.path().join("project/lib/test.sh")).status().unwrap();
    assert!(run.success());
    let left = std::fs::read_dir(stage.path()).unwrap().flatten();
    assert_eq!(left.filter(|entry| entry.file_name().to_string_lossy().starts_with("moonlog-fix")).count(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn it_goes_on_where_a_killed_server_left_it() {
    let stage = stage(&turns());
    let (begun, go) = (stage.path().join("begun"), stage.path().join("go"));
    let command =
        format!("touch {0}; until [ -e {1} ]; do sleep 0.02; done; sh lib/test.sh", begun.display(), go.display());
    let settings = Settings {
        config: std::fs::read_to_string(stage.path().join("moonlog.toml")).unwrap(),
        env: vec![("TMPDIR".into(), stage.path().to_str().unwrap().into())],
        ..Settings::default()
    };
    let before = checkout(&stage);
    let server = Server::start_with(stage.path(), &settings).await;
    let args = json!({ "path": "project", "command": command });
    let job = server.submit(&json!({ "workflow": "fix-tests", "args": args })).await;
    eventually("the tests", || std::future::ready(begun.exists().then_some(()))).await;
    server.kill();
    let server = Server::start_with(stage.path(), &settings).await;
    std::fs::write(&go, "").unwrap();
    let fixed = server.ended(&job).await;
    assert_eq!((&fixed["state"], &fixed["result"]["green"]), (&json!("completed"), &json!(true)), "{fixed}");
    assert_eq!(checkout(&stage), before);
    let interrupted = server.events(&job).await;
    assert!(interrupted.iter().any(|event| event["data"]["outcome"] == "interrupted"), "the first run was cut off");
}

#[test]
fn green_tests_are_left_alone_and_need_no_model() {
    let stage = Stage::bare();
    stage.repository("project", &[("Makefile", "test:\n\ttrue\n")]);
    let fixed = stage.workflow("fix-tests", &json!({ "path": "project" }));
    assert_eq!((&fixed["green"], &fixed["rounds_used"], &fixed["branch"]), (&json!(true), &json!(0), &Value::Null));
    assert_eq!(fixed["command"], "make test");
    assert_eq!(stage.git("project", &["branch", "--format=%(refname:short)"]), "main");
}

#[test]
fn out_of_rounds_it_is_red_and_what_was_tried_is_kept() {
    let stage = stage(&json!([
        { "tool_calls": [edit("$1 - $2", "$1 * $2"), { "name": "write_file", "input": { "path": "lib/test_more.sh", "content": "true\n" } }] },
        { "text": "Tried." },
        { "text": "Nothing else comes to mind." },
    ]));
    let before = checkout(&stage);
    // From within the folder where the tests run.
    let args = json!({ "path": "project/lib", "command": "sh test.sh", "rounds": 2 });
    let fixed = stage.workflow("fix-tests", &args);
    assert_eq!(checkout(&stage), before);
    assert_eq!((&fixed["green"], &fixed["rounds_used"]), (&json!(false), &json!(2)));
    assert_eq!(fixed["tests_changed"], json!(["lib/test_more.sh"]));
    assert!(fixed["output"].as_str().unwrap().contains("add 2 3 gave 6"), "{fixed}");
    has(
        &fixed,
        &["**They still fail** after 2 rounds (exit code 1)", "**Look at these**", "## What the tests wrote last"],
    );
    assert!(fixed["branch"].is_string());
}

#[test]
fn a_project_whose_tests_nobody_knows_is_asked_for_them() {
    let stage = stage(&turns());
    let said = stage.run(&["run", "fix-tests", "--arg", "path=project", "--quiet"]);
    assert!(
        said.err.starts_with("error: how the tests are run is not known") && said.err.contains("--arg command="),
        "{}",
        said.err
    );
    let said = stage.run(&["run", "fix-tests", "--arg", "path=project", "--arg", "base=nowhere", "--quiet"]);
    assert!(said.err.contains("has no commit `nowhere`"), "{}", said.err);
}
