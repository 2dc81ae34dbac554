//! Scripts that call tools: what stands in the log, what they get, and what a kill in between does.

use crate::place::Place;
use moonlog_core::{
    event::{Decision, EventBody, StepOutcome},
    id::JobId,
    projection::JobStatus,
};
use moonlog_runner::tool::{Policy, Rule, ToolOptions};
use serde_json::{Value, json};
use std::{fs, path::Path};

fn place_in(folder: &Path, policy: Policy) -> Place {
    let options = ToolOptions { roots: vec![folder.to_path_buf()], policy, ..ToolOptions::default() };
    Place::with(move |runner| runner.tools = options.clone())
}

fn rules(texts: &[&str]) -> Vec<Rule> {
    texts.iter().map(|text| Rule::parse(text).unwrap()).collect()
}

fn result(place: &Place, job: &JobId) -> Value {
    serde_json::from_str(&place.result(job)).unwrap()
}

/// The types of a job's events from its first step on.
fn story(place: &Place, job: &JobId) -> Vec<&'static str> {
    place.names(job).into_iter().skip_while(|name| *name != "step.started").collect()
}

/// Every `tool.started` has its end in the same stream, and inside its step.
fn check_pairs(place: &Place, job: &JobId) {
    let mut open = None;
    for event in place.events(job) {
        match &event.body {
            EventBody::ToolStarted(call) => assert_eq!(open.replace(call.call_id.clone()), None, "{}", place.listing()),
            EventBody::ToolFinished(call) => {
                assert_eq!(open.take().as_ref(), Some(&call.call_id), "{}", place.listing())
            }
            EventBody::StepFinished(step) => assert_ne!(open.as_ref(), Some(&step.path), "{}", place.listing()),
            _ => {}
        }
    }
    assert_eq!(open, None);
}

#[test]
fn a_call_stands_inside_its_step_with_what_it_changed() {
    let folder = tempfile::tempdir().unwrap();
    let place = place_in(folder.path(), Policy::default());
    let job = place.submit(
        r#"assert(tool("write_file", {path = "src/a.txt", content = "one\n"}))
           assert(tool("edit_files", {edits = {{path = "src/a.txt", old_text = "one", new_text = "two"}}}))
           return tool("read_file", {path = "src/a.txt"}).content"#,
    );
    assert_eq!(result(&place, &job), "two\n");
    assert_eq!(fs::read_to_string(folder.path().join("src/a.txt")).unwrap(), "two\n");
    let call = ["step.started", "tool.started", "file.changed", "tool.finished", "step.finished"];
    let read = ["step.started", "tool.started", "tool.finished", "step.finished", "job.completed"];
    assert_eq!(story(&place, &job), [call.as_slice(), &call, &read].concat());
    let events = place.events(&job);
    let diffs: Vec<&str> = events
        .iter()
        .filter_map(|event| match &event.body {
            EventBody::ToolFinished(call) => call.diff.as_deref(),
            _ => None,
        })
        .collect();
    assert_eq!(
        diffs,
        [
            "--- /dev/null\n+++ b/src/a.txt\n@@ -0,0 +1 @@\n+one\n",
            "--- a/src/a.txt\n+++ b/src/a.txt\n@@ -1 +1 @@\n-one\n+two\n"
        ]
    );
    for event in &events {
        if let EventBody::FileChanged(change) = &event.body {
            assert_eq!(
                (change.path.as_str(), event.step.as_deref().is_some(), event.cause.is_some()),
                ("src/a.txt", true, true)
            );
        }
    }
    check_pairs(&place, &job);
    place.check();
}

#[test]
fn what_fails_comes_back_as_an_error_and_commands_as_results() {
    let folder = tempfile::tempdir().unwrap();
    let place = place_in(folder.path(), Policy { deny: rules(&["execute:rm *"]), ..Policy::default() });
    let job = place.submit(
        r#"local codes = {}
           for _, call in {
               {"raed_file", {path = "x"}},
               {"read_file", {path = "none"}},
               {"read_file", {paht = "none"}},
               {"read_file", {path = "../x"}},
               {"execute", {command = "rm -rf /nothing"}},
               {"execute", {command = "sleep 5"}},
           } do
               local out, err = tool(call[1], call[2])
               assert(out == nil)
               table.insert(codes, err.code)
           end
           local failed = tool("execute", {command = "echo out; echo err >&2; exit 3"})
           return {codes = codes, code = failed.exit_code, success = failed.success, output = failed.output}"#,
    );
    let codes = json!(["unknown_tool", "not_found", "invalid_input", "outside_workspace", "denied", "sleep_refused"]);
    let result = result(&place, &job);
    assert_eq!(result["codes"], codes);
    assert_eq!((&result["code"], &result["success"]), (&json!(3), &json!(false)));
    assert!(result["output"].as_str().unwrap().contains("out\n"), "{result}");
    check_pairs(&place, &job);
    place.check();
}

#[test]
fn a_replayed_call_does_not_act_again() {
    let folder = tempfile::tempdir().unwrap();
    let place = place_in(folder.path(), Policy::default());
    let job = place.submit(
        r#"assert(tool("execute", {command = "echo x >> log"}))
           wait_for("go")
           return tool("read_file", {path = "log"}).content"#,
    );
    place.until_status(&job, JobStatus::Waiting);
    let place = place.kill(0);
    place.signal(&job, "go", "1");
    assert_eq!(result(&place, &job), "x\n");
    assert_eq!(place.count(&job, "tool.started"), 2);
    check_pairs(&place, &job);
    place.check();
}

#[test]
fn a_call_that_a_kill_cut_off_is_interrupted_and_only_retried_on_request() {
    let folder = tempfile::tempdir().unwrap();
    let place = place_in(folder.path(), Policy::default());
    let call = "echo x >> log; while [ ! -e go ]; do sleep 0.02; done; echo done";
    let once = place.submit(&format!(
        r#"local out, err = tool("execute", {{command = "{call}", timeout = "60s"}}) return err and err.code"#
    ));
    let again = place.submit(&format!(
        r#"local out, err = tool("execute", {{command = "{call}", timeout = "60s"}}, {{retry = {{max = 2, backoff = 0}}}})
           return out and out.output"#
    ));
    let log = folder.path().join("log");
    place.until("both run", || (fs::read_to_string(&log).unwrap_or_default() == "x\nx\n").then_some(()));
    let place = place.kill(0);
    fs::write(folder.path().join("go"), "").unwrap();
    assert_eq!(result(&place, &once), "interrupted");
    assert_eq!(result(&place, &again), "done\n");
    let outcomes = |job: &JobId| -> Vec<StepOutcome> {
        let events = place.events(job);
        events
            .iter()
            .filter_map(|event| match &event.body {
                EventBody::ToolFinished(call) => Some(call.outcome),
                _ => None,
            })
            .collect()
    };
    assert_eq!(outcomes(&once), [StepOutcome::Interrupted]);
    assert_eq!(outcomes(&again), [StepOutcome::Interrupted, StepOutcome::Ok]);
    for job in [&once, &again] {
        check_pairs(&place, job);
    }
    place.check();
}

#[test]
fn a_cancelled_call_ends_with_its_branch_and_its_job() {
    let folder = tempfile::tempdir().unwrap();
    let place = place_in(folder.path(), Policy::default());
    let job = place.submit(
        r#"return parallel({
               function() assert(tool("execute", {command = "cat /dev/zero | head -c 1 > a; sh -c 'sleep 100'", timeout = "60s"})) end,
               function() sleep(0.2) return "won" end,
           }, {join = "one_success"})"#,
    );
    assert_eq!(result(&place, &job), "won");
    check_pairs(&place, &job);
    let late = place.submit(r#"return tool("execute", {command = "touch late; sh -c 'sleep 100'", timeout = "60s"})"#);
    place.until("it runs", || folder.path().join("late").exists().then_some(()));
    place.cancel(&late);
    assert_eq!(place.ended(&late).state, JobStatus::Cancelled);
    check_pairs(&place, &late);
    // Begun and cancelled without a wait between.
    let same = place.submit(
        r#"return parallel({
               function() return tool("list_files") end,
               function() return "won" end,
           }, {join = "one_success"})"#,
    );
    assert_eq!(result(&place, &same), "won");
    check_pairs(&place, &same);
    place.check();
}

#[test]
fn a_call_that_needs_approval_waits_for_it_also_over_a_kill() {
    let folder = tempfile::tempdir().unwrap();
    let ask = Policy { ask: rules(&["write_file"]), ..Policy::default() };
    let place = place_in(folder.path(), ask);
    let script = r#"local out, err = tool("write_file", {path = args.path, content = "x"})
                    return {created = out and out.created, code = err and err.code, message = err and err.message}"#;
    let submit = |path: &str| {
        let args = moonlog_core::json::Json::from(json!({ "path": path }));
        place.submit_with(script, |submit| submit.args = Some(args))
    };
    let (yes, no, later) = (submit("yes"), submit("no"), submit("later"));
    for job in [&yes, &no, &later] {
        place.until_status(job, JobStatus::Waiting);
        assert_eq!(place.count(job, "tool.started"), 0);
        let open: Vec<_> = place.runner.job(job).unwrap().unwrap().open_approvals().collect();
        assert_eq!((open.len(), open[0].name.as_str(), open[0].id.as_str()), (1, "write_file", "tool"));
    }
    let decide = |place: &Place, job: &JobId, decision| {
        place.block_on(place.runner.decide(job, "tool", decision, Some("ann".into()), Some("why".into()))).unwrap();
    };
    decide(&place, &yes, Decision::Approved);
    decide(&place, &no, Decision::Denied);
    assert_eq!(result(&place, &yes)["created"], true);
    let denied = result(&place, &no);
    assert_eq!(
        (&denied["code"], &denied["message"]),
        (&json!("denied"), &json!("the call of `write_file` was denied by ann: why"))
    );
    assert!(folder.path().join("yes").exists() && !folder.path().join("no").exists());
    let place = place.kill(0);
    place.until_status(&later, JobStatus::Waiting);
    decide(&place, &later, Decision::Approved);
    assert_eq!(result(&place, &later)["created"], true);
    assert_eq!(story(&place, &later)[..2], ["step.started", "tool.approval_requested"]);
    for job in [&yes, &no, &later] {
        check_pairs(&place, job);
    }
    place.check();
}
