//! `list_files` and `search_files`, in a real git repository.

use crate::place::Place;
use serde_json::{Value, json};
use std::{os::unix::fs::symlink, process::Command};

async fn repository() -> Place {
    let place = Place::start().await;
    assert!(Command::new("git").args(["init", "-q"]).arg(place.folder.path()).status().unwrap().success());
    for (path, content) in [
        (".gitignore", "/target\n*.log\n"),
        ("Cargo.toml", "[package]\nname = \"x\"\n"),
        ("src/main.rs", "fn main() {\n    run();\n}\n"),
        ("src/run/mod.rs", "//! Runs.\npub fn run() {\n    // RUN\n}\n"),
        ("src/run/.hidden", "fn hidden() {}\n"),
        ("src/debug.log", "fn logged() {}\n"),
        ("src/run/.gitignore", "generated.rs\n"),
        ("src/run/generated.rs", "fn generated() {}\n"),
        ("target/out.rs", "fn built() {}\n"),
        ("data.bin", "fn \0binary() {}\n"),
    ] {
        place.write(path, content);
    }
    symlink("/etc", place.path("etc")).unwrap();
    place
}

fn paths(listed: &Value) -> Vec<&str> {
    listed["files"].as_array().unwrap().iter().map(|path| path.as_str().unwrap()).collect()
}

#[tokio::test]
async fn files_are_listed_without_what_git_ignores() {
    let place = repository().await;
    for (input, files) in [
        (json!({}), vec!["Cargo.toml", "data.bin", "etc", "src/", "src/main.rs", "src/run/", "src/run/mod.rs"]),
        (json!({ "depth": 1 }), vec!["Cargo.toml", "data.bin", "etc", "src/"]),
        (json!({ "path": "src" }), vec!["src/main.rs", "src/run/", "src/run/mod.rs"]),
        (json!({ "glob": "*.rs" }), vec!["src/main.rs", "src/run/mod.rs"]),
        (json!({ "glob": "src/*.rs" }), vec!["src/main.rs"]),
        (json!({ "path": "src/run", "hidden": true }), vec!["src/run/.gitignore", "src/run/.hidden", "src/run/mod.rs"]),
        (
            json!({ "path": "src", "ignored": true, "glob": "**/*.{rs,log}" }),
            vec!["src/debug.log", "src/main.rs", "src/run/generated.rs", "src/run/mod.rs"],
        ),
        (json!({ "path": "src/run", "glob": "*.log" }), vec![]),
    ] {
        assert_eq!(paths(&place.ok("list_files", input.clone()).await), files, "{input}");
    }
    let cut = place.ok("list_files", json!({ "limit": 2 })).await;
    assert_eq!((paths(&cut).len(), &cut["truncated"]["left_out"]), (2, &json!(5)));
}

#[tokio::test]
async fn lines_are_found_with_their_place() {
    let place = repository().await;
    let found = place.ok("search_files", json!({ "pattern": r"fn \w+\(" })).await;
    assert_eq!(
        found["matches"],
        json!([
            { "path": "src/main.rs", "line": 1, "text": "fn main() {" },
            { "path": "src/run/mod.rs", "line": 2, "text": "pub fn run() {" },
        ])
    );
    let found = place.ok("search_files", json!({ "pattern": "run()", "literal": true, "context": 1 })).await;
    assert_eq!(
        found["matches"],
        json!([
            { "path": "src/main.rs", "line": 2, "text": "    run();", "before": ["fn main() {"], "after": ["}"] },
            { "path": "src/run/mod.rs", "line": 2, "text": "pub fn run() {", "before": ["//! Runs."], "after": ["    // RUN"] },
        ])
    );
    for (input, count) in [
        (json!({ "pattern": "run", "path": "src/run" }), 1),
        (json!({ "pattern": "run", "path": "src/run", "ignore_case": true }), 3),
        (json!({ "pattern": "run", "path": "src/main.rs" }), 1),
        (json!({ "pattern": "fn", "glob": "main.*" }), 1),
        (json!({ "pattern": "fn", "glob": "src/run/*" }), 1),
        (json!({ "pattern": "fn", "hidden": true, "ignored": true }), 6),
        (json!({ "pattern": "root:", "ignored": true }), 0),
        (json!({ "pattern": "fn", "limit": 1 }), 1),
    ] {
        let found = place.ok("search_files", input.clone()).await;
        assert_eq!(found["matches"].as_array().unwrap().len(), count, "{input}: {found}");
        assert_eq!(found["truncated"].is_object(), input["limit"] == 1, "{input}");
    }
}

#[tokio::test]
async fn a_workspace_is_its_own_whatever_ignores_it() {
    // A plain folder inside a repository that ignores it.
    let place = Place::start().await;
    place.write(".gitignore", "work/\n");
    place.write("work/a.txt", "x\n");
    assert!(Command::new("git").args(["init", "-q"]).arg(place.folder.path()).status().unwrap().success());
    let mut context = place.context();
    context.root = Some(place.path("work"));
    let listed = place.tools().perform(&context, "list_files", &json!({}).into()).await;
    assert_eq!(paths(&listed.output.to_value()), ["a.txt"]);
}
