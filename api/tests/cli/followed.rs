//! `moonlog run`: what is shown, what is printed, and how Ctrl-C ends it.

use crate::place::{Place, Said, read_until, send};
use serde_json::json;
use std::{io::BufReader, process::Stdio};

const HELLO: &str = r##"
phase("Greet")
local said = assert(exec("echo", { "hello" })).stdout
log("said " .. said)
local results = parallel {
  one = function() return sh("printf 1").stdout end,
  two = function() sleep("20ms") return args.name or "nobody" end,
}
return { markdown = "# Hello\n\n- **one**\n", results = results }
"##;

#[test]
fn a_script_is_run_and_its_report_printed() {
    let place = Place::new();
    place.write("hello.luau", HELLO);
    let said = place.run(&["run", "./hello.luau"]);
    assert_eq!((said.status, said.out.as_str()), (0, "# Hello\n\n- **one**\n"));
    for told in
        ["phase     Greet", "exec: echo hello, pid ", "one/sh: printf 1", "log       info: said hello", "completed"]
    {
        assert!(said.err.contains(told), "`{told}` is not in\n{}", said.err);
    }
    assert!(!said.err.contains('\u{1b}') && !said.out.contains('\u{1b}'), "no colours in a pipe");
}

#[test]
fn json_is_the_result() {
    let place = Place::new();
    place.write("hello.luau", HELLO);
    let result = place.json(&["run", "./hello.luau", "--json", "--quiet", "--arg", "name=Ann"]);
    assert_eq!(result, json!({"markdown": "# Hello\n\n- **one**\n", "results": {"one": "1", "two": "Ann"}}));
}

#[test]
fn results_of_every_kind_are_printed() {
    let place = Place::new();
    for (script, out) in [("return 'text'", "text\n"), ("return { a = 1 }", "{\n  \"a\": 1\n}\n"), ("return nil", "")] {
        place.write("it.luau", script);
        assert_eq!(place.ok(&["run", "./it.luau"]), out, "{script}");
    }
}

#[test]
fn a_script_can_come_from_standard_input() {
    let place = Place::new();
    let script = place.write("it.luau", "return 'from a pipe'");
    let output = place.command(&["run", "-"]).stdin(std::fs::File::open(script).unwrap()).output().unwrap();
    assert_eq!(Said::of(output).out, "from a pipe\n");
}

#[test]
fn ctrl_c_cancels_the_job_and_its_processes() {
    let place = Place::new();
    place.write("long.luau", "exec('sh', { '-c', 'echo $$ > pid; exec sleep 600' }, { timeout = '10m' })");
    let mut child = place.command(&["run", "./long.luau"]).stderr(Stdio::piped()).spawn().unwrap();
    let mut err = BufReader::new(child.stderr.take().unwrap());
    read_until(&mut err, "pid ");
    send(&child, "-INT");
    read_until(&mut err, "error: the job was cancelled");
    assert_eq!(child.wait().unwrap().code(), Some(1));
    assert_eq!(place.json(&["jobs", "--json"])["items"][0]["state"], "cancelled");
    if let Ok(pid) = std::fs::read_to_string(place.path().join("pid")) {
        assert!(!std::path::Path::new("/proc").join(pid.trim()).exists(), "the process is still there");
    }
}

#[test]
fn a_detached_job_runs_when_a_server_does() {
    let place = Place::new();
    place.write("hello.luau", HELLO);
    let id = place.ok(&["run", "./hello.luau", "--detach"]);
    let id = id.trim();
    assert_eq!(place.json(&["show", id, "--json"])["state"], "queued", "a server that only answers runs nothing");
    let server = place.serve();
    // The feed of a job ends with the job.
    let lines = place.ok(&["events", id, "--follow", "--types", "job.*"]);
    assert!(lines.trim_end().lines().last().unwrap().contains("job.completed"), "{lines}");
    assert_eq!(place.json(&["show", id, "--json"])["state"], "completed");
    assert!(server.stop("-TERM").success());
}

#[test]
fn the_same_key_is_the_same_job() {
    let place = Place::new();
    place.write("it.luau", "return uuid()");
    let first = place.ok(&["run", "./it.luau", "--idempotency-key", "k"]);
    assert_eq!(place.ok(&["run", "./it.luau", "--idempotency-key", "k"]), first);
    assert_ne!(place.ok(&["run", "./it.luau"]), first);
}
