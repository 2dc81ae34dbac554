//! `nightly`: other workflows as children, whose results come together, also where one of them fails.

use crate::stage::{Stage, has};
use moonlog_tests::{Server, Settings, eventually};
use reqwest::Method;
use serde_json::{Value, json};

fn stage(more: &str) -> Stage {
    let finding = json!({ "severity": "low", "title": "a name misleads", "file": "a.rs", "line": 1, "detail": "So." });
    let stage = Stage::with(
        &json!([{ "text": json!({ "findings": [finding] }).to_string(), "usage": {
            "prompt_tokens": 90, "completion_tokens": 10, "cached_tokens": 0, "reasoning_tokens": 0 } }]),
        more,
    );
    stage.repository("project", &[("a.rs", "fn main() {}\n"), ("README.md", "# P\n")]);
    stage.write(
        ".moonlog/workflows/fails.luau",
        "return { run = function() error({ code = 'too_late', message = 'It is too late.' }, 0) end }",
    );
    stage.write(".moonlog/workflows/number.luau", "return { run = function() return { n = 7 } end }");
    stage.write(".moonlog/workflows/family.luau", "return { run = function() return assert(workflow('number')) end }");
    stage
}

fn oks(nightly: &Value) -> Vec<(&str, bool)> {
    let runs = nightly["runs"].as_array().unwrap().iter();
    runs.map(|run| (run["name"].as_str().unwrap(), run["ok"].as_bool().unwrap())).collect()
}

#[test]
fn children_run_and_one_that_fails_stops_no_other() {
    // One place: children run while their parent waits.
    let stage = stage("[runner]\nconcurrency = 1\n");
    let runs = json!({ "runs": [
        { "workflow": "fails" },
        { "workflow": "repo-report", "args": { "path": "project" } },
        { "workflow": "find-issues", "args": { "path": "project", "agents_per_round": 1 }, "name": "issues" },
        { "workflow": "number" },
        { "workflow": "number" },
        { "workflow": "nowhere" },
        { "workflow": "repo-report", "args": { "top": "many" }, "name": "wrong" },
    ] });
    let nightly = stage.recorded("nightly", &runs);
    let expected = [
        ("fails", false),
        ("repo-report", true),
        ("issues", true),
        ("number", true),
        ("number (2)", true),
        ("nowhere", false),
        ("wrong", false),
    ];
    assert_eq!(oks(&nightly), expected);
    assert_eq!((&nightly["ok"], &nightly["failed"]), (&json!(false), &json!(3)));
    assert_eq!(nightly["runs"][0]["error"], json!({ "code": "too_late", "message": "It is too late." }));
    assert_eq!(nightly["runs"][2]["result"]["complete"], true);
    assert_eq!(nightly["runs"][3]["result"], json!({ "n": 7 }));
    assert_eq!(nightly["runs"][5]["error"]["code"], "no_such_workflow");
    has(
        &nightly,
        &[
            "**3 of 7 workflows failed.**",
            "| fails | **failed** | It is too late. |",
            "### project",
            "1 issue: 1 low",
            "\"n\":7",
        ],
    );
    let jobs: Value = serde_json::from_str(&stage.ok(&["jobs", "--json"])).unwrap();
    let parent = stage.job_of("nightly");
    let children = jobs["items"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|job| job["parent"]["job"] == parent.as_str() || job["parent"] == parent.as_str());
    assert_eq!(children.count(), 5, "{jobs}");
}

#[test]
fn by_default_the_repository_is_described_and_looked_through() {
    let stage = stage("");
    let nightly = stage.workflow("nightly", &json!({ "path": "project" }));
    assert_eq!(oks(&nightly), [("repo-report", true), ("find-issues", true)]);
    has(&nightly, &["All 2 workflows came to their end."]);
}

#[test]
fn where_that_is_asked_for_it_fails_with_its_children() {
    let stage = stage("");
    let args = json!({ "runs": [{ "workflow": "fails" }, { "workflow": "number" }], "strict": true });
    let said = stage.run(&["run", "nightly", "--args", &args.to_string(), "--quiet"]);
    assert!(
        !said.ok && said.err.contains("1 of 2 workflows failed") && said.err.contains("code nightly_failed"),
        "{}",
        said.err
    );
    let reports = stage.events(&stage.job_of("nightly"), "job.emitted");
    assert!(reports[0]["data"]["value"]["markdown"].as_str().unwrap().contains("\"n\":7"), "{reports:?}");
}

#[test]
fn a_child_with_children_needs_another_level() {
    let args = json!({ "runs": [{ "workflow": "family" }, { "workflow": "number" }] });
    let one = stage("").workflow("nightly", &args);
    assert_eq!(oks(&one), [("family", false), ("number", true)]);
    assert_eq!(one["runs"][0]["error"]["code"], "limit_nesting", "{one}");
    assert!(one["runs"][0]["error"]["message"].as_str().unwrap().contains("limits.nesting"), "{one}");
    let two = stage("[limits]\nnesting = 2\n").workflow("nightly", &args);
    assert_eq!(oks(&two), [("family", true), ("number", true)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_schedule_runs_it_with_its_arguments() {
    let stage = stage("");
    let settings =
        Settings { config: std::fs::read_to_string(stage.path().join("moonlog.toml")).unwrap(), ..Settings::default() };
    let server = Server::start_with(stage.path(), &settings).await;
    // Each second, one at a time.
    let schedule = json!({ "cron": "* * * * * *", "workflow": "nightly", "args": { "path": "project" } });
    let set = server.request(Method::PUT, "/v1/schedules/nightly").json(&schedule).send().await.unwrap();
    assert!(set.status().is_success(), "{}", set.text().await.unwrap());
    let nightly = eventually("a night", || async {
        let jobs = server.get("/v1/jobs?workflow=nightly&state=completed").await;
        jobs["items"].as_array()?.first().cloned()
    })
    .await;
    let removed = server.request(Method::DELETE, "/v1/schedules/nightly").send().await.unwrap();
    assert!(removed.status().is_success());
    let nightly = server.get(&format!("/v1/jobs/{}", nightly["id"].as_str().unwrap())).await;
    assert_eq!(oks(&nightly["result"]), [("repo-report", true), ("find-issues", true)]);
    has(&nightly["result"], &["All 2 workflows came to their end.", "1 issue: 1 low"]);
}
