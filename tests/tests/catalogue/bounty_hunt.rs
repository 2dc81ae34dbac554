//! `bounty-hunt`: finds of several hunters, each judged by somebody else.

use crate::stage::{Stage, has};
use serde_json::{Value, json};

fn find(title: &str, line: u32) -> Value {
    json!({ "severity": "high", "title": title, "file": "queue.py", "line": line, "detail": format!("{title}, when it happens.") })
}

fn says(when: &str, answer: &Value) -> Value {
    json!({ "when": when, "text": answer.to_string() })
}

#[test]
fn finds_are_verified_by_others_before_they_count() {
    let stage = Stage::new(&json!([
        { "when": "with one focus: limits", "tool_calls": [{ "name": "read_file", "input": { "path": "queue.py" } }] },
        says("with one focus: limits", &json!({ "findings": [find("pop on an empty queue raises", 4), find("queue grows without limit", 2)] })),
        says("with one focus: races", &json!({ "findings": [find("pop on an empty queue raises IndexError", 5), find("two writers lose an item", 2)] })),
        { "when": "with one focus: secrets", "error": { "status": 400, "message": "no" } },
        { "when": "pop on an empty queue", "tool_calls": [{ "name": "execute", "input": { "command": "true" } }] },
        { "when": "pop on an empty queue", "tool_calls": [{ "name": "search_files", "input": { "pattern": "pop" } }] },
        says("pop on an empty queue", &json!({ "confirmed": true, "reason": "Nothing checks the length before pop.", "severity": "medium" })),
        says("queue grows without limit", &json!({ "confirmed": false, "reason": "maxlen bounds it." })),
        { "when": "two writers", "error": { "status": 400, "message": "no verdict" } },
    ]));
    stage.write(
        "project/queue.py",
        "from collections import deque\nitems = deque(maxlen=10)\ndef take():\n    return items.pop()\n",
    );
    let args = json!({ "path": "project", "focus": ["limits: empty, full", "races", "secrets"] });
    let hunt = stage.recorded("bounty-hunt", &args);
    let titles = |list: &str| -> Vec<&str> {
        hunt[list].as_array().unwrap().iter().map(|find| find["title"].as_str().unwrap()).collect()
    };
    assert_eq!(titles("confirmed"), ["pop on an empty queue raises"]);
    assert_eq!(titles("refuted"), ["queue grows without limit"]);
    assert_eq!(titles("not_verified"), ["two writers lose an item"]);
    assert_eq!((&hunt["merged"], &hunt["counts"]["medium"]), (&json!(1), &json!(1)));
    assert_eq!(hunt["confirmed"][0]["by"], json!(["limits", "races"]));
    assert_eq!(hunt["failed"][0]["part"], "secrets");
    has(
        &hunt,
        &[
            "1 confirmed bug: 1 medium",
            "**Verified:** Nothing checks",
            "## Refuted",
            "## Not verified",
            "## Not hunted",
        ],
    );
    // Who verifies is nobody who hunted, and nobody can change anything.
    let job = stage.job_of("bounty-hunt");
    let refused = stage.events(&job, "tool.finished");
    assert!(
        refused.iter().any(|event| event["data"]["name"] == "execute" || event.to_string().contains("execute")),
        "{refused:?}"
    );
    assert!(
        stage.events(&job, "process.started").iter().all(|event| event["data"]["command"] != "sh"),
        "execute is not theirs"
    );
}
