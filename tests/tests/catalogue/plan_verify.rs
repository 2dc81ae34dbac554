//! `plan-verify`: a plan that is sent back until it holds.

use crate::stage::{Stage, has};
use serde_json::{Value, json};

fn item(id: &str, after: &[&str]) -> Value {
    json!({ "id": id, "title": format!("Do {id}"), "detail": "As said.", "files": ["export.py"], "depends_on": after, "done_when": "its test passes" })
}

fn plan(when: &str, summary: &str, items: &[Value]) -> Value {
    json!({ "when": when, "text": json!({ "summary": summary, "items": items, "risks": ["Large files"] }).to_string() })
}

fn verdict(when: &str, holds: bool, problems: &Value) -> Value {
    json!({ "when": when, "text": json!({ "holds": holds, "problems": problems }).to_string() })
}

/// In a circle first, then refused, then good.
fn turns() -> Value {
    let planner = "Plan this work";
    json!([
        { "when": planner, "tool_calls": [{ "name": "read_file", "input": { "path": "export.py" } }] },
        plan(planner, "draft-one", &[item("route", &["writer"]), item("writer", &["route"])]),
        plan(planner, "draft-two", &[item("route", &["writer"]), item("writer", &[])]),
        plan(planner, "draft-three", &[item("route", &["writer"]), item("docs", &["route"]), item("writer", &[])]),
        verdict("draft-two", false, &json!([{ "item": "route", "problem": "Nobody is told how to use it.", "suggestion": "add docs" }])),
        verdict("draft-three", true, &json!([])),
    ])
}

#[test]
fn a_plan_is_revised_until_it_holds() {
    let stage = Stage::new(&turns());
    stage.write("shop/export.py", "def export(): pass\n");
    let plan = stage.recorded("plan-verify", &json!({ "goal": "Export data as CSV", "path": "shop" }));
    assert_eq!(
        (&plan["verified"], &plan["rounds"], &plan["summary"]),
        (&json!(true), &json!(3), &json!("draft-three"))
    );
    let ids: Vec<_> = plan["work_items"].as_array().unwrap().iter().map(|item| item["id"].as_str().unwrap()).collect();
    assert_eq!(ids, ["writer", "route", "docs"], "in an order in which they can be done");
    has(
        &plan,
        &[
            "# Plan: Export data as CSV",
            "Verified after 3 rounds",
            "### 1. Do writer",
            "**Done when:** its test passes",
            "## Risks",
        ],
    );
    // The planner was told of the circle without anybody having read the plan, and of what the verifier said.
    let asked = stage.events(&stage.job_of("plan-verify"), "chat.message_added");
    let said = |text: &str| {
        asked.iter().filter(|event| event["data"]["role"] == "user" && event.to_string().contains(text)).count()
    };
    assert_eq!((said("in a circle: route, writer"), said("Nobody is told how to use it. (add docs)")), (1, 1));
    assert_eq!(said("Verify this plan"), 2);
}

#[test]
fn out_of_rounds_the_problems_stand_in_the_result() {
    let stage = Stage::new(&turns());
    stage.write("shop/export.py", "def export(): pass\n");
    let plan = stage.workflow("plan-verify", &json!({ "goal": "Export data as CSV", "path": "shop", "rounds": 2 }));
    assert_eq!((&plan["verified"], &plan["open_problems"][0]["item"]), (&json!(false), &json!("route")));
    has(&plan, &["**Not verified**", "## Open problems", "route: Nobody is told"]);
}
