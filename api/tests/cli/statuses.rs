//! Exit statuses and messages: 0 done, 1 failed, 2 usage, 3 no server.

use crate::place::Place;
use moonlog_core::storage::{SledOptions, open_sled};

#[test]
fn what_was_typed_wrongly_is_usage() {
    let place = Place::new();
    place.write("broken.luau", "local x = = 1");
    place.write("unknown.toml", "[runner]\nconcurency = 3\n");
    let cases: [(&[&str], &str); 9] = [
        (&["frobnicate"], "unrecognized subcommand"),
        (&["run", "no-such-workflow"], "no workflow is named `no-such-workflow`"),
        (&["run", "./missing.luau"], "cannot read ./missing.luau"),
        (&["run", "./broken.luau"], "line 1"),
        (&["run", "repo-report", "--arg", "nonsense=1"], "nonsense"),
        (&["run", "repo-report", "--arg", "top=many"], "`many` is no integer"),
        (&["run", "repo-report", "--timeout", "soon"], "`soon` is no duration"),
        (&["show", "what"], "`what` names no job"),
        (&["--config", "unknown.toml", "config"], "did you mean `runner.concurrency`"),
    ];
    for (args, message) in cases {
        let said = place.run(args);
        assert_eq!((said.status, said.out.as_str()), (2, ""), "{args:?}: {}", said.err);
        assert!(said.err.contains(message), "{args:?}: {}", said.err);
        assert!(!said.err.contains("panicked") && !said.err.contains("Some("), "{args:?}: {}", said.err);
    }
}

#[test]
fn a_job_that_fails_is_1_and_says_why() {
    let place = Place::new();
    place.write("fails.luau", "exec('true')\nerror('no luck today')");
    let said = place.run(&["run", "./fails.luau"]);
    assert_eq!((said.status, said.out.as_str()), (1, ""));
    assert!(said.err.contains("error: fails:2: no luck today"), "{}", said.err);
    let said = place.run(&["run", "./fails.luau", "--json"]);
    let answer: serde_json::Value = serde_json::from_str(&said.out).unwrap();
    assert_eq!((said.status, &answer["state"]), (1, &"failed".into()));
    assert_eq!(answer["error"]["message"], "fails:2: no luck today");
}

#[test]
fn a_server_that_is_not_there_is_3() {
    let place = Place::new();
    let said = place.run(&["jobs", "--server", "http://127.0.0.1:9"]);
    assert_eq!(said.status, 3);
    assert!(said.err.starts_with("error: the server at http://127.0.0.1:9 cannot be reached"), "{}", said.err);
}

#[test]
fn a_locked_folder_without_a_server_is_3() {
    let place = Place::new();
    let data = place.path().join("data");
    let held = open_sled(&data, SledOptions::default()).unwrap();
    for command in ["jobs", "verify"] {
        let said = place.run(&["--data", "data", command]);
        assert_eq!(said.status, 3, "{}", said.err);
        assert!(said.err.contains("is locked by another moonlog"), "{}", said.err);
    }
    let said = place.run(&["--data", "data", "serve", "--listen", "127.0.0.1:0"]);
    assert_eq!(said.status, 3, "{}", said.err);
    drop(held);
    assert_eq!(place.run(&["--data", "data", "jobs"]).status, 0);
}

#[test]
fn a_reader_that_goes_away_is_no_failure() {
    let place = Place::new();
    let mut child = place.command(&["completions", "bash"]).stdout(std::process::Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

#[test]
fn what_needs_no_server_makes_no_data_folder() {
    let place = Place::new();
    place.write("good.luau", "return 1");
    for args in [&["check", "good.luau"][..], &["config"], &["completions", "zsh"], &["config", "--json"]] {
        place.ok(args);
    }
    assert!(!place.path().join(".moonlog").exists());
}

#[test]
fn check_names_file_and_line() {
    let place = Place::new();
    place.write("broken.luau", "phase('x')\nlocal x = = 1");
    let said = place.run(&["check", "broken.luau"]);
    assert_eq!(said.status, 1);
    assert!(said.err.contains("broken.luau:2: "), "{}", said.err);
    let answer: serde_json::Value = serde_json::from_str(&place.run(&["check", "broken.luau", "--json"]).out).unwrap();
    assert_eq!((&answer["ok"], &answer["problems"][0]["line"]), (&false.into(), &2.into()));
}

#[test]
fn config_says_where_values_come_from() {
    let place = Place::new();
    place.write("moonlog.toml", "[runner]\nconcurrency = 3\n");
    let output = place
        .command(&["config", "--json", "--data", "elsewhere"])
        .env("MOONLOG_API__LISTEN", "127.0.0.1:9999")
        .output()
        .unwrap();
    let config: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let of = |key: &str| (config[key]["value"].to_string(), config[key]["source"].as_str().unwrap().to_owned());
    assert_eq!(of("runner.concurrency"), ("3".into(), "moonlog.toml:2".into()));
    assert_eq!(of("api.listen"), ("\"127.0.0.1:9999\"".into(), "MOONLOG_API__LISTEN".into()));
    assert_eq!(of("log.folder"), ("\"elsewhere\"".into(), "--data".into()));
}
