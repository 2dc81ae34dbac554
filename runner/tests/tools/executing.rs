//! `execute` and the tools on processes, with real ones.

use crate::place::{Place, SECRET};
use moonlog_core::event::{EventBody, StepOutcome, StreamId};
use serde_json::{Value, json};
use std::time::{Duration, Instant};
use uuid::Uuid;

/// The fields of a result that are the same every time.
fn stable(mut result: Value) -> Value {
    for field in ["wall_duration_ms", "process_id"] {
        assert!(result.as_object_mut().unwrap().remove(field).is_some(), "no {field}: {result}");
    }
    result
}

#[tokio::test]
async fn a_command_gives_its_exit_its_output_and_why_it_failed() {
    let place = Place::start().await;
    place.write("sub/file", "x");
    for (input, outcome, result) in [
        (
            json!({ "command": "echo hi" }),
            StepOutcome::Ok,
            json!({ "success": true, "exit_code": 0, "output": "hi\n" }),
        ),
        (
            json!({ "command": "echo out; echo err >&2; exit 3" }),
            StepOutcome::Error,
            json!({ "success": false, "exit_code": 3, "output": "out\nerr\n", "error": "the command exited with code 3" }),
        ),
        (
            json!({ "command": "kill -9 $$" }),
            StepOutcome::Error,
            json!({ "success": false, "signal": "SIGKILL", "output": "", "error": "the command was ended by SIGKILL" }),
        ),
        // Nobody answers: what reads gets nothing at once.
        (
            json!({ "command": "cat; echo $?" }),
            StepOutcome::Ok,
            json!({ "success": true, "exit_code": 0, "output": "0\n" }),
        ),
        (
            json!({ "command": "cat", "stdin": "given" }),
            StepOutcome::Ok,
            json!({ "success": true, "exit_code": 0, "output": "given" }),
        ),
        (
            json!({ "command": "ls", "workdir": "sub" }),
            StepOutcome::Ok,
            json!({ "success": true, "exit_code": 0, "output": "file\n" }),
        ),
        (
            json!({ "command": "echo $A $IDEMPOTENCY_KEY $GIT_EDITOR $PAGER $TERM", "env": { "A": "b" } }),
            StepOutcome::Ok,
            json!({ "success": true, "exit_code": 0, "output": "b key-7 true cat dumb\n" }),
        ),
        (
            json!({ "command": "cat sub/file" }),
            StepOutcome::Ok,
            json!({ "success": true, "exit_code": 0, "output": "x",
                    "note": "read_file shows files in parts, and search_files finds what is in them: they cost less than dumps" }),
        ),
    ] {
        let output = place.perform("execute", input.clone()).await;
        assert_eq!((output.outcome, stable(output.output.to_value())), (outcome, result), "{input}");
    }
}

#[tokio::test]
async fn at_its_timeout_a_command_goes_on_and_no_work_is_lost() {
    let place = Place::start().await;
    let command = "echo before; while [ ! -e go ]; do sleep 0.02; done; echo after";
    let result = place.ok("execute", json!({ "command": command, "timeout": "300ms" })).await;
    assert_eq!((&result["status"], &result["output"]), (&json!("auto_backgrounded"), &json!("before\n")), "{result}");
    assert_eq!((&result["success"], &result["exit_code"]), (&json!(false), &json!(null)));
    assert!(result["message"].as_str().unwrap().contains("no work was lost"), "{result}");
    let id = result["process_id"].clone();
    let snapshot = place.ok("process_output", json!({ "process_id": id, "wait_timeout": 0 })).await;
    assert_eq!((&snapshot["running"], &snapshot["output"]), (&json!(true), &json!("before\n")));
    let listed = place.ok("process_list", json!({ "running": true })).await;
    assert_eq!((&listed["processes"][0]["process_id"], &listed["processes"][0]["command"]), (&id, &json!(command)));
    place.write("go", "");
    let ended = place.ok("process_output", json!({ "process_id": id, "wait_timeout": "20s" })).await;
    assert_eq!(
        (&ended["running"], &ended["success"], &ended["exit_code"], &ended["output"]),
        (&json!(false), &json!(true), &json!(0), &json!("before\nafter\n"))
    );
    let reason = place.events(&StreamId::Job(place.job)).iter().find_map(|event| match &event.body {
        EventBody::ProcessBackgrounded(backgrounded) => Some(backgrounded.reason.clone()),
        _ => None,
    });
    assert_eq!(reason.as_deref(), Some("foreground_timeout"));
}

#[tokio::test]
async fn a_command_that_has_just_exited_at_its_timeout_gives_its_real_result() {
    let place = Place::start().await;
    // All around the moment at which the wait ends.
    for pause in ["0.08", "0.09", "0.1", "0.11", "0.12"] {
        let result =
            place.ok("execute", json!({ "command": format!("sleep {pause}; echo done"), "timeout": 0.1 })).await;
        let ended = match result["status"].as_str() {
            Some("auto_backgrounded") => {
                assert_eq!(result["exit_code"], json!(null), "{result}");
                place.ok("process_output", json!({ "process_id": result["process_id"] })).await
            }
            _ => result,
        };
        assert_eq!(
            (&ended["success"], &ended["exit_code"], &ended["output"]),
            (&json!(true), &json!(0), &json!("done\n"))
        );
    }
}

#[tokio::test]
async fn the_background_is_asked_for_in_two_ways_and_sleep_is_refused() {
    let place = Place::start().await;
    for input in [
        json!({ "command": "sh -c 'sleep 100'", "run_in_background": true }),
        json!({ "command": "sh -c 'sleep 100' &" }),
        json!({ "command": "sleep 100 &" }),
    ] {
        let begun = Instant::now();
        let result = place.ok("execute", input.clone()).await;
        assert!(begun.elapsed() < Duration::from_secs(5));
        assert_eq!((&result["success"], &result["status"]), (&json!(true), &json!("running")), "{input}");
        let id = &result["process_id"];
        place.ok("process_signal", json!({ "process_id": id, "signal": "kill" })).await;
        let ended = place.ok("process_output", json!({ "process_id": id })).await;
        assert_eq!((&ended["outcome"], &ended["signal"]), (&json!("killed"), &json!("SIGKILL")));
        let error = place.error("process_signal", json!({ "process_id": id, "signal": "terminate" })).await;
        assert!(error.starts_with("process_exited"), "{error}");
    }
    let both = place.ok("execute", json!({ "command": "true && echo both" })).await;
    assert_eq!(both["output"], "both\n");
    for command in ["sleep 2", "sleep 30 && echo x", "sleep 1m"] {
        let error = place.error("execute", json!({ "command": command })).await;
        assert!(error.starts_with("sleep_refused") && error.contains("run_in_background"), "{error}");
    }
    let short = place.ok("execute", json!({ "command": "sleep 0.1; echo awake" })).await;
    assert_eq!(short["output"], "awake\n");
}

#[tokio::test]
async fn outputs_are_cut_in_the_middle_and_hold_no_secret() {
    let place = Place::start().await;
    let command = "i=0; while [ $i -lt 9000 ]; do echo \"☃ line $i\"; i=$((i+1)); done";
    let output = place.perform("execute", json!({ "command": command, "timeout": 60 })).await;
    let result = output.output.to_value();
    let text = result["output"].as_str().unwrap();
    assert!(
        text.len() <= 32 << 10 && text.starts_with("☃ line 0\n") && text.ends_with("☃ line 8999\n"),
        "{}",
        text.len()
    );
    assert_eq!(result["truncated"]["strategy"], "head_tail");
    assert_eq!(result["truncated"]["retained_bytes"], text.len());
    assert_eq!(output.truncated.unwrap().to_value(), result["truncated"]);
    let result = place.ok("execute", json!({ "command": "printf 'hunter2-'; sleep 0.05; echo hunter2; env" })).await;
    let text = result["output"].as_str().unwrap();
    assert!(!text.contains(SECRET) && text.starts_with("***\n"), "{text}");
}

#[tokio::test]
async fn a_sessions_process_has_a_stream_of_its_own_and_is_seen_by_it_alone() {
    let mut place = Place::start().await;
    let session = Uuid::now_v7().into();
    place.session = Some(session);
    let result =
        place.ok("execute", json!({ "command": "while [ ! -e go ]; do sleep 0.02; done", "timeout": 0.1 })).await;
    let id = result["process_id"].as_str().unwrap().to_owned();
    let own = place.events(&StreamId::Process(id.parse().unwrap()));
    assert_eq!(own.iter().map(|event| event.body.name()).next(), Some("process.started"));
    assert!(own.iter().all(|event| event.session == Some(session) && event.job == Some(place.job)));
    assert_eq!(place.ok("process_list", json!({})).await["processes"][0]["process_id"], id.as_str());
    place.session = Some(Uuid::now_v7().into());
    assert_eq!(place.ok("process_list", json!({})).await["processes"], json!([]));
    for (tool, input) in [
        ("process_output", json!({ "process_id": id })),
        ("process_signal", json!({ "process_id": id, "signal": "kill" })),
    ] {
        assert!(place.error(tool, input).await.starts_with("no_such_process"));
    }
    place.session = Some(session);
    place.write("go", "");
    assert_eq!(place.ok("process_output", json!({ "process_id": id })).await["exit_code"], 0);
}

#[tokio::test]
async fn a_dropped_call_cancels_its_command() {
    let place = Place::start().await;
    let command = "echo $$ > pid; sh -c 'sleep 100'";
    let call = place.perform("execute", json!({ "command": command, "timeout": 60 }));
    assert!(tokio::time::timeout(Duration::from_millis(500), call).await.is_err());
    let running = place.runner.processes().running();
    for process in running {
        tokio::time::timeout(Duration::from_secs(10), process.exited()).await.unwrap();
    }
}
