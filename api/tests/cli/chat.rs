//! `moonlog chat`: lines in, answers out, against a server and without one.

use crate::place::{Place, Said, read_until, send};
use serde_json::{Value, json};
use std::{
    io::{BufReader, Write},
    process::{Child, Stdio},
};

fn place(turns: &Value, more: &str) -> Place {
    let place = Place::new();
    place.write("turns.json", turns.to_string());
    place.write("moonlog.toml", format!("[models.main]\nprovider = \"scripted\"\nfile = \"turns.json\"\n{more}"));
    place
}

fn chat(place: &Place, args: &[&str]) -> Child {
    let mut command = place.command(&[&["chat"], args].concat());
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

/// All lines at once.
fn say(place: &Place, args: &[&str], lines: &str) -> Said {
    let mut child = chat(place, args);
    child.stdin.take().unwrap().write_all(lines.as_bytes()).unwrap();
    Said::of(child.wait_with_output().unwrap())
}

fn session_of(said: &Said) -> String {
    said.err.split("session ").nth(1).unwrap().split(';').next().unwrap().to_owned()
}

#[test]
fn piped_lines_are_answered_one_after_the_other() {
    let turns = json!([
        { "text": "Hello \u{1b}[31myourself.", "delay_ms": 20 },
        { "tool_calls": [{ "name": "execute", "input": { "command": "echo out" } }] },
        { "text": "It says out." },
        { "text": "Still here." },
    ]);
    for served in [false, true] {
        let place = place(&turns, "");
        let server = served.then(|| place.serve());
        let said = say(&place, &[], "hello\n\nrun \\\nit\n");
        assert_eq!((said.status, said.out.as_str()), (0, "Hello yourself.\nIt says out.\n"), "{}", said.err);
        let calls: Vec<&str> = said.err.lines().filter(|line| line.starts_with('·')).collect();
        assert!(calls.len() == 1 && calls[0].contains("echo out") && calls[0].contains(": ok, "), "{calls:?}");
        // Gone on with, by the end of its id.
        let session = session_of(&said);
        let said =
            say(&place, &[&session[session.len() - 8..]], "and now?\n/session\n/nonsense\n/help\n/exit\nnever said\n");
        assert_eq!((said.status, said.out.as_str()), (0, "Still here.\n"), "{}", said.err);
        for shown in ["> hello", "It says out.", &session, "there is no /nonsense", "/exit"] {
            assert!(said.err.contains(shown), "{shown}: {}", said.err);
        }
        drop(server);
    }
}

#[test]
fn questions_and_approvals_are_answered_inline() {
    let turns = json!([
        { "tool_calls": [{ "name": "ask_user", "input": { "question": "Which one?", "options": ["a", "b"] } }] },
        { "tool_calls": [{ "name": "execute", "input": { "command": "rm -f x" } }] },
        { "tool_calls": [{ "name": "execute", "input": { "command": "rm -f y" } }] },
        { "text": "done" },
    ]);
    let place = place(&turns, "[tools]\nask = [\"execute:rm *\"]\n");
    std::fs::write(place.path().join("x"), "").unwrap();
    std::fs::write(place.path().join("y"), "").unwrap();
    let said = say(&place, &[], "go\n2\ny\nleave it\n");
    assert_eq!((said.status, said.out.as_str()), (0, "done\n"), "{}", said.err);
    assert!(said.err.contains("Which one?") && said.err.contains("2. b"), "{}", said.err);
    assert!(said.err.contains("May it call execute"), "{}", said.err);
    assert_eq!((place.path().join("x").exists(), place.path().join("y").exists()), (false, true));
    // Nobody is left to answer.
    let turns = json!([{ "tool_calls": [{ "name": "ask_user", "input": { "question": "Which one?" } }] }]);
    place.write("turns.json", turns.to_string());
    let said = say(&place, &[], "go\n");
    assert!(said.status == 1 && said.err.contains("nobody is left"), "{} {}", said.status, said.err);
}

#[test]
fn a_failure_is_told_and_a_new_session_begun() {
    let place = place(&json!([{ "text": "first" }, { "error": { "status": 400, "message": "never" } }]), "");
    let said = say(&place, &[], "a\n/new\nb\nc\n");
    assert_eq!((said.status, said.out.as_str()), (1, "first\nfirst\n"), "{}", said.err);
    assert_eq!(said.err.matches("session ").count(), 2, "{}", said.err);
    assert!(said.err.contains("answered 400: never"), "{}", said.err);
}

#[test]
fn ctrl_c_interrupts_the_answer_and_a_second_one_leaves() {
    let place = place(&json!([{ "text": "word ".repeat(4_000), "delay_ms": 5 }, { "text": "next" }]), "");
    let _server = place.serve();
    let mut child = chat(&place, &[]);
    let mut typed = child.stdin.take().unwrap();
    let mut told = BufReader::new(child.stderr.take().unwrap());
    let mut answers = std::io::BufReader::new(child.stdout.take().unwrap());
    typed.write_all(b"a\n").unwrap();
    let mut some = [0; 10];
    std::io::Read::read_exact(&mut answers, &mut some).unwrap();
    send(&child, "-INT");
    read_until(&mut told, "interrupting");
    typed.write_all(b"b\n").unwrap();
    read_until(&mut answers, "next");
    // A line is taken when the turn is over: then there is nothing to interrupt any more.
    typed.write_all(b"/session\n").unwrap();
    read_until(&mut told, "-7");
    send(&child, "-INT");
    read_until(&mut told, "again leaves");
    send(&child, "-INT");
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

#[test]
fn what_it_costs_is_told() {
    let place = Place::new();
    let turns =
        json!([{ "text": "a", "usage": { "prompt_tokens": 1000, "completion_tokens": 100, "cached_tokens": 500 } }]);
    place.write("turns.json", turns.to_string());
    let prices = "prices = { prompt = 2.0, cached = 0.5, completion = 10.0 }";
    place.write("moonlog.toml", format!("[models.main]\nprovider = \"scripted\"\nfile = \"turns.json\"\n{prices}\n"));
    place.write("ask.luau", "return (agent('x', { tools = false }))");
    place.ok(&["run", "ask.luau"]);
    let shown = place.ok(&["show", "last"]);
    assert!(shown.contains("1000 prompt tokens (500 cached), 100 completion tokens, cost 0.00225"), "{shown}");
    let trace = place.ok(&["trace", "last"]);
    assert!(trace.contains("1000+100 tokens, 50% cached, cost 0.00225"), "{trace}");
    assert_eq!(place.json(&["show", "last", "--json"])["usage"]["cost"], json!(0.00225));
}
