//! `replay`, `export`, `import` and `verify`.

use crate::place::Place;
use std::{
    fs::OpenOptions,
    io::{Read, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
};

const SCRIPT: &str = r#"
phase("One")
local r = math.random(1000)
local out = exec("echo", { tostring(r) }).stdout
phase("Two")
sleep("10ms")
return out .. ("x"):rep(100000)
"#;

#[test]
fn a_job_replays_and_changed_code_is_caught() {
    let place = Place::new();
    place.write("it.luau", SCRIPT);
    place.ok(&["run", "./it.luau"]);
    assert!(place.ok(&["replay", "last"]).contains("is deterministic"));
    place.write("same.luau", format!("-- a comment\n{SCRIPT}"));
    assert!(place.ok(&["replay", "last", "--script", "same.luau"]).contains("fits the history"));
    place.write("other.luau", SCRIPT.replace("\"echo\", {", "\"printf\", {"));
    let said = place.run(&["replay", "last", "--script", "other.luau"]);
    assert_eq!(said.status, 1);
    for told in ["recorded:", "echo", "printf", "other:4"] {
        assert!(said.err.contains(told), "`{told}` is not in {}", said.err);
    }
}

#[test]
fn a_history_is_walked_and_seen_as_of_a_version() {
    let place = Place::new();
    place.write("it.luau", SCRIPT);
    place.ok(&["run", "./it.luau"]);
    let walk = place.ok(&["replay", "last", "--step"]);
    assert!(walk.lines().any(|line| line.contains("matched") && line.contains("step.started exec")), "{walk}");
    assert!(walk.lines().any(|line| line.contains("delivered") && line.contains("step.finished exec")), "{walk}");
    let at = place.ok(&["replay", "last", "--at", "3"]);
    assert!(at.contains("as of version 3") && at.contains("running") && !at.contains("Two"), "{at}");
    assert_eq!(place.json(&["replay", "last", "--at", "3", "--json"])["job"]["state"], "running");
    assert_eq!(place.run(&["replay", "last", "--at", "3000"]).status, 2);
}

#[test]
fn what_is_no_file_is_written_to_and_not_replaced() {
    let place = Place::new();
    place.write("it.luau", "return 1");
    place.ok(&["run", "./it.luau"]);
    place.ok(&["export", "last", "-o", "job.moonlog"]);
    let bundle = std::fs::read_to_string(place.path().join("job.moonlog")).unwrap();
    assert_eq!(place.ok(&["export", "last", "-o", "/dev/stdout"]), bundle);
    let link = place.path().join("link.moonlog");
    std::os::unix::fs::symlink("job.moonlog", &link).unwrap();
    place.write("job.moonlog", "");
    place.ok(&["export", "last", "-o", "link.moonlog"]);
    assert!(link.symlink_metadata().unwrap().is_symlink());
    assert_eq!(std::fs::read_to_string(place.path().join("job.moonlog")).unwrap(), bundle);
}

#[test]
fn a_bundle_replays_where_there_is_no_log() {
    let (here, there) = (Place::new(), Place::new());
    here.write("it.luau", SCRIPT);
    here.ok(&["run", "./it.luau"]);
    here.ok(&["export", "last", "-o", "job.moonlog"]);
    let bundle = std::fs::read(here.path().join("job.moonlog")).unwrap();
    there.write("job.moonlog", &bundle);
    assert!(there.ok(&["replay", "job.moonlog"]).contains("is deterministic"));
    assert_eq!(there.json(&["replay", "job.moonlog", "--at", "3", "--json"])["job"]["state"], "running");
    assert!(!there.path().join(".moonlog").exists());
    there.write("cut.moonlog", &bundle[..bundle.len() / 2]);
    let said = there.run(&["replay", "./cut.moonlog"]);
    assert_eq!(said.status, 1);
    assert!(said.err.contains("cut.moonlog"), "{}", said.err);
}

#[test]
fn a_bundle_is_read_into_another_log() {
    let (here, there) = (Place::new(), Place::new());
    here.write("it.luau", SCRIPT);
    here.ok(&["run", "./it.luau"]);
    here.ok(&["export", "last", "-o", "job.moonlog"]);
    there.write("job.moonlog", std::fs::read(here.path().join("job.moonlog")).unwrap());
    let id = there.ok(&["import", "job.moonlog"]);
    let result = |place: &Place| place.json(&["show", id.trim(), "--json"])["result"].take();
    assert_eq!(result(&there), result(&here));
    // What is shown is when it happened, and not when it was read.
    for command in [&["show", id.trim()][..], &["replay", id.trim(), "--at", "5"]] {
        assert_eq!(there.ok(command), here.ok(command));
    }
    assert!(there.ok(&["replay", id.trim()]).contains("is deterministic"));
    assert!(there.ok(&["verify"]).starts_with("the log is sound"));
    let again = there.run(&["import", "job.moonlog"]);
    assert_eq!(again.status, 1);
    assert!(again.err.contains("is there already"), "{}", again.err);
}

#[test]
fn verify_finds_a_flipped_bit_in_a_log_that_may_not_open() {
    let place = Place::new();
    place.write("it.luau", "for i = 1, 50 do log('needle ' .. i) end");
    place.ok(&["run", "./it.luau", "--data", "data"]);
    assert!(place.ok(&["verify", "--data", "data"]).starts_with("the log is sound"));
    flip_near(&place.path().join("data"), b"needle 7");
    let said = place.run(&["verify", "--data", "data"]);
    assert_eq!(said.status, 1, "{}{}", said.out, said.err);
    assert!(!said.err.contains("panicked at"), "{}", said.err);
}

/// Flips a bit of the first place in the folder's files that holds `text`.
fn flip_near(folder: &Path, text: &[u8]) {
    let mut folders = vec![folder.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path: PathBuf = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let mut bytes = Vec::new();
            let mut file = OpenOptions::new().read(true).write(true).open(&path).unwrap();
            file.read_to_end(&mut bytes).unwrap();
            if let Some(at) = bytes.windows(text.len()).position(|window| window == text) {
                file.seek(SeekFrom::Start(at as u64)).unwrap();
                file.write_all(&[bytes[at] ^ 1]).unwrap();
                return;
            }
        }
    }
    panic!("no file holds it");
}

#[test]
fn a_job_is_resumed_forked_and_compared() {
    let place = Place::new();
    place.write(
        "it.luau",
        "local a = exec('echo', {'a'}).stdout\nassert(exec('test', {'-e', 'there'}).ok, 'not yet')\nreturn a",
    );
    assert_eq!(place.run(&["run", "./it.luau"]).status, 1);
    let first = place.json(&["jobs", "--json"])["items"][0]["id"].as_str().unwrap().to_owned();
    place.write("there", "");
    let resumed = place.run(&["run", "./it.luau", "--resume", &first]);
    assert_eq!((resumed.status, resumed.out.as_str()), (0, "a\n"), "{}", resumed.err);
    assert!(resumed.err.contains("1 of 2 steps reused"), "{}", resumed.err);
    let diff = place.run(&["diff", &first, "last"]);
    assert_eq!(diff.status, 1, "{}", diff.err);
    for told in ["they part at step exec:2: outcome", "end result", "job.failed"] {
        assert!(diff.out.contains(told), "`{told}` is not in {}", diff.out);
    }
    assert_eq!(place.run(&["diff", "last", "last"]).status, 0);
    let fork = place.ok(&["fork", &first, "--at", "3"]);
    assert_eq!(place.json(&["show", fork.trim(), "--json"])["forked_from"]["at"], 3);
    place.write("other.luau", "return 'mended'");
    let retried = place.ok(&["retry", &first, "--script", "other.luau"]);
    assert_eq!(place.json(&["show", retried.trim(), "--json"])["resumed_from"], first.as_str());
}

#[test]
fn a_script_is_checked_with_all_that_is_wrong() {
    let place = Place::new();
    place.write("bad.luau", "return {\n  phases = 1,\n  args = { type = 'x' },\n  run = 2,\n}");
    let said = place.run(&["check", "bad.luau"]);
    assert_eq!(said.status, 1);
    for told in ["bad.luau:2: `phases`", "bad.luau:3: `args`", "bad.luau:4: `run`"] {
        assert!(said.err.contains(told), "`{told}` is not in {}", said.err);
    }
    place.write("odd.luau", "return { run = function()\n  return exce('ls')\nend }");
    assert!(place.ok(&["check", "odd.luau"]).contains("odd.luau:2: warning: unknown global `exce`"));
}

#[test]
fn modules_beside_a_script_are_stored_with_it() {
    let place = Place::new();
    place.write("it.luau", "local words = require('words')\nreturn words.greet(exec('echo', { 'you' }).stdout)");
    place.write("modules/words.luau", "return { greet = function(who) return 'hello ' .. who end }");
    assert!(place.ok(&["check", "it.luau"]).starts_with("ok"));
    assert_eq!(place.ok(&["run", "it.luau", "--quiet"]), "hello you\n");
    assert!(place.ok(&["replay", "last", "--script", "it.luau"]).contains("fits the history"));
    // The job has its own.
    place.write("modules/words.luau", "return { greet = function() return 'bye' end }");
    assert!(place.ok(&["replay", "last"]).contains("is deterministic"));
    assert_eq!(place.run(&["replay", "last", "--script", "it.luau"]).status, 1);
    place.ok(&["export", "last", "-o", "job.moonlog"]);
    std::fs::remove_dir_all(place.path().join("modules")).unwrap();
    assert!(place.ok(&["replay", "job.moonlog"]).contains("is deterministic"));
    let said = place.run(&["run", "it.luau", "--quiet"]);
    assert!(said.err.contains("it:1: require: there is no module `words`"), "{}", said.err);
}
