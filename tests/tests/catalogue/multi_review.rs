//! `multi-review`: what is reviewed, what of it is the same, and what is left where a reviewer fails.

use crate::stage::{Stage, has};
use serde_json::{Value, json};

fn finding(severity: &str, title: &str, line: u32) -> Value {
    json!({ "severity": severity, "title": title, "file": "./sum.sh", "line": line, "detail": format!("{title}.") })
}

fn answers(aspect: &str, findings: &[Value]) -> Value {
    json!({ "when": format!("for one thing: {aspect}"), "text": json!({ "findings": findings }).to_string() })
}

fn turns() -> Value {
    json!([
        { "when": "for one thing: correctness", "tool_calls": [
            { "name": "read_file", "input": { "path": "sum.sh" } },
            { "name": "search_files", "input": { "pattern": "sum" } },
        ] },
        answers("correctness", &[
            finding("medium", "The sum of no numbers is an error", 2),
            finding("low", "A comment is wrong", 1),
        ]),
        answers("security", &[
            finding("critical", "Arguments are run as code by eval", 2),
            finding("high", "The sum of no numbers ends in an error", 3),
        ]),
        answers("performance", &[]),
        { "when": "for one thing: standards", "error": { "status": 400, "message": "no" } },
    ])
}

const FILES: [(&str, &str); 1] = [("sum.sh", "#!/bin/sh\neval \"echo $((${1}+${2}))\"\n")];

#[test]
fn a_change_is_reviewed_from_four_sides_and_what_is_the_same_is_told_once() {
    let stage = Stage::new(&turns());
    stage.repository("project", &FILES);
    stage.write("project/sum.sh", "#!/bin/sh\n# Adds.\neval \"echo $(($1+$2))\"\n");
    stage.write("project/new.sh", "true\n");
    let review = stage.recorded("multi-review", &json!({ "path": "project" }));
    let found: Vec<_> = review["findings"]
        .as_array()
        .unwrap()
        .iter()
        .map(|f| (f["severity"].as_str().unwrap(), f["by"].clone()))
        .collect();
    let expected = [
        ("critical", json!(["security"])),
        ("high", json!(["correctness", "security"])),
        ("low", json!(["correctness"])),
    ];
    assert_eq!(found, expected);
    assert_eq!(review["findings"][0]["file"], "sum.sh");
    assert_eq!(review["counts"], json!({ "critical": 1, "high": 1, "medium": 0, "low": 1 }));
    assert_eq!((&review["merged"], &review["subject"]["kind"]), (&json!(1), &json!("change")));
    assert_eq!(review["failed"].as_array().unwrap().len(), 1, "{review}");
    has(
        &review,
        &[
            "# Review",
            "3 findings: 1 critical, 1 high, 1 low",
            "`sum.sh:2`",
            "found by correctness, security",
            "## Not reviewed",
        ],
    );
    // What the reviewers were shown, and what they looked at.
    let job = stage.job_of("multi-review");
    let asked = stage.events(&job, "chat.message_added");
    assert!(asked.iter().any(|event| event.to_string().contains("+# Adds.") && event.to_string().contains("new.sh")));
    let read = stage.events(&job, "tool.finished");
    assert!(read.iter().any(|event| event["data"]["output"].to_string().contains("# Adds.")), "{read:?}");
    assert_eq!(stage.git("project", &["status", "--porcelain"]), " M sum.sh\n?? new.sh");
}

#[test]
fn a_reviewer_who_failed_is_asked_again_and_no_other() {
    let mut turns = turns();
    let stage = Stage::new(&turns);
    stage.repository("project", &FILES);
    let args = json!({ "path": "project" });
    stage.workflow("multi-review", &args);
    let first = stage.job_of("multi-review");
    let last = turns.as_array_mut().unwrap().last_mut().unwrap();
    *last = answers("standards", &[finding("low", "There is no test", 1)]);
    stage.write("turns.json", &turns.to_string());
    let out = stage.ok(&["run", "multi-review", "--args", &args.to_string(), "--resume", &first, "--json", "--quiet"]);
    let review: Value = serde_json::from_str(&out).unwrap();
    assert_eq!((&review["failed"], &review["counts"]["low"]), (&json!([]), &json!(2)), "{review}");
    let asked = stage.events(&stage.job_of("multi-review"), "chat.started");
    assert!(asked.iter().all(|event| event["step"] == "standards/review") && asked.len() == 1, "{asked:?}");
}

#[test]
fn files_branches_and_patches_are_reviewed_too() {
    let stage = Stage::new(&turns());
    stage.repository("project", &FILES);
    let kind = |args: Value| {
        let review = stage.workflow("multi-review", &args);
        (
            review["subject"]["kind"].clone(),
            review["subject"]["title"].clone(),
            review["findings"].as_array().unwrap().len(),
        )
    };
    let aspects = json!(["security"]);
    assert_eq!(
        kind(json!({ "path": "project", "aspects": aspects })),
        (json!("files"), json!("the files of project"), 2)
    );
    stage.git("project", &["checkout", "--quiet", "-b", "work"]);
    stage.write("project/sum.sh", "#!/bin/sh\necho\n");
    stage.git("project", &["commit", "--quiet", "-a", "-m", "Second"]);
    assert_eq!(
        kind(json!({ "path": "project", "base": "main", "aspects": aspects, "min_severity": "critical" })),
        (json!("change"), json!("what changed since main"), 1)
    );
    let patch = stage.git("project", &["diff", "main", "work"]);
    stage.write("change.patch", &patch);
    assert_eq!(
        kind(json!({ "path": "project/sum.sh", "diff": "change.patch", "aspects": aspects })),
        (json!("diff"), json!("the patch change.patch"), 2)
    );
    let nothing = stage.workflow("multi-review", &json!({ "path": "project", "base": "work" }));
    assert_eq!(nothing["empty"], true);
    has(&nothing, &["Nothing to review"]);
}
