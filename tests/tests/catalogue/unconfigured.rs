//! What somebody sees who has set nothing up: every workflow is listed, and those that need a model say what to set.

use crate::stage::Stage;
use serde_json::json;

#[test]
fn all_are_listed_with_what_they_are_for() {
    let listed = Stage::bare().ok(&["workflows"]);
    let names = [
        "bounty-hunt",
        "deep-research",
        "find-issues",
        "fix-tests",
        "multi-review",
        "nightly",
        "plan-verify",
        "repo-report",
    ];
    for name in names {
        let line = listed.lines().find(|line| line.starts_with(name)).unwrap_or_else(|| panic!("{name}\n{listed}"));
        assert!(line.trim_end().ends_with('.') && line.contains("builtin"), "{line}");
    }
}

#[test]
fn without_a_model_one_sentence_says_what_to_set() {
    let stage = Stage::bare();
    stage.repository("project", &[("test.sh", "exit 1\n")]);
    for (name, args) in [
        ("multi-review", json!({ "path": "project" })),
        ("bounty-hunt", json!({ "path": "project" })),
        ("find-issues", json!({ "path": "project" })),
        ("plan-verify", json!({ "goal": "anything" })),
        ("deep-research", json!({ "question": "anything?" })),
        ("fix-tests", json!({ "path": "project", "command": "sh test.sh" })),
    ] {
        let said = stage.run(&["run", name, "--args", &args.to_string(), "--quiet"]);
        assert!(!said.ok, "{name}");
        let first = said.err.lines().next().unwrap_or_default();
        assert!(first.starts_with("error: no model is configured: set [models.main]"), "{name}: {}", said.err);
        assert!(first.contains("moonlog.toml"), "{name}: {first}");
    }
    assert_eq!(stage.git("project", &["branch", "--format=%(refname:short)"]), "main", "nothing is left behind");
    assert_eq!(stage.git("project", &["worktree", "list"]).lines().count(), 1);
}

#[test]
fn arguments_that_are_wrong_are_refused_before_anything_runs() {
    let stage = Stage::bare();
    for (name, args, told) in [
        ("plan-verify", json!({}), "goal"),
        ("multi-review", json!({ "aspects": ["beauty"] }), "beauty"),
        ("bounty-hunt", json!({ "focus": [] }), "focus"),
        ("find-issues", json!({ "rounds": 3 }), "rounds"),
        ("deep-research", json!({ "question": "x", "search_url": "ftp://x/{query}" }), "search_url"),
        ("nightly", json!({ "runs": [{ "name": "no workflow" }] }), "workflow"),
    ] {
        let said = stage.run(&["run", name, "--args", &args.to_string(), "--quiet"]);
        assert!(!said.ok && said.err.contains(told), "{name}: {}", said.err);
    }
    for (name, args, code) in [
        ("multi-review", json!({ "path": "nowhere" }), "no_such_path"),
        ("multi-review", json!({ "base": "main" }), "not_a_repository"),
        ("bounty-hunt", json!({ "path": "nowhere" }), "no_such_folder"),
        ("find-issues", json!({ "path": "nowhere" }), "no_such_folder"),
        ("plan-verify", json!({ "goal": "x", "path": "nowhere" }), "no_such_folder"),
        ("fix-tests", json!({}), "not_a_repository"),
        ("deep-research", json!({ "question": "x", "search_url": "https://example.com/" }), "invalid_argument"),
    ] {
        let said = stage.run(&["run", name, "--args", &args.to_string(), "--quiet"]);
        assert!(!said.ok && said.err.contains(&format!("code {code}")), "{name}: {}", said.err);
    }
}
