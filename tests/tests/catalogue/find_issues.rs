//! `find-issues`: rounds until two of them find nothing new.

use crate::stage::{Stage, has};
use serde_json::{Value, json};

fn round(angle: &str, titles: &[(&str, u32)]) -> Value {
    let findings: Vec<Value> = titles
        .iter()
        .map(|(title, line)| json!({ "severity": "low", "title": title, "file": "a.c", "line": line, "detail": "So." }))
        .collect();
    json!({ "when": angle, "text": json!({ "findings": findings }).to_string() })
}

fn turns() -> Value {
    json!([
        { "when": "Begin where data comes in", "tool_calls": [{ "name": "list_files", "input": {} }] },
        round("Begin where data comes in", &[("free is called twice", 10)]),
        round("Begin with what is least tested", &[("free is called twice here", 11), ("the result of read is ignored", 40)]),
        round("Begin with the largest", &[("free is called twice", 10)]),
        round("Begin with what happens at once", &[]),
        round("Begin with what documents", &[("nobody gets here", 1)]),
    ])
}

#[test]
fn it_ends_when_two_rounds_find_nothing_new() {
    let stage = Stage::new(&turns());
    stage.write("project/a.c", "int main(void) { return 0; }\n");
    let found = stage.recorded("find-issues", &json!({ "path": "project" }));
    let titles: Vec<_> =
        found["issues"].as_array().unwrap().iter().map(|issue| issue["title"].as_str().unwrap()).collect();
    assert_eq!(titles, ["free is called twice", "the result of read is ignored"]);
    let new: Vec<_> = found["rounds"].as_array().unwrap().iter().map(|round| round["new"].as_u64().unwrap()).collect();
    assert_eq!((new, &found["complete"]), (vec![1, 1, 0, 0], &json!(true)));
    has(&found, &["2 issues: 2 low", "New ones by round: 1, 1, 0, 0.", "The last 2 rounds found nothing new"]);
    // Later rounds are told what is known.
    let asked = stage.events(&stage.job_of("find-issues"), "chat.message_added");
    let told = asked.iter().filter(|event| event.to_string().contains("- a.c:10: free is called twice")).count();
    assert_eq!(told, 6, "two agents in each round but the first");
}

#[test]
fn out_of_rounds_it_says_that_there_may_be_more() {
    let stage = Stage::new(&turns());
    stage.write("project/a.c", "int main(void) { return 0; }\n");
    let args = json!({ "path": "project", "max_rounds": 1, "agents_per_round": 1 });
    let found = stage.workflow("find-issues", &args);
    assert_eq!((&found["complete"], found["issues"].as_array().unwrap().len()), (&json!(false), 1));
    has(&found, &["there may be more"]);
}

#[test]
fn what_is_found_is_told_also_where_a_later_round_fails() {
    let stage = Stage::new(&json!([
        round("Begin where data comes in", &[("free is called twice", 10)]),
        { "when": "Begin with what is least tested", "error": { "status": 400, "message": "no more" } },
    ]));
    stage.write("project/a.c", "int main(void) { return 0; }\n");
    let found = stage.workflow("find-issues", &json!({ "path": "project" }));
    assert_eq!((&found["complete"], found["issues"].as_array().unwrap().len()), (&json!(false), 1));
    has(&found, &["The next round failed (the model's server answered 400: no more)"]);
}
