//! The check command: run after a turn in which files were changed; what it complains of goes into the next.

use crate::{
    agents::{said, stage_with},
    place::Place,
};
use moonlog_core::{event::EventBody, id::JobId};
use moonlog_runner::agent::CheckOptions;
use serde_json::{Value, json};
use std::time::Duration;

fn writes(content: &str) -> Value {
    json!({ "tool_calls": [{ "name": "write_file", "input": { "path": "a.txt", "content": content } }] })
}

fn complaints(place: &Place, job: &JobId) -> Vec<String> {
    let said = said(place, job).into_iter();
    said.filter(|(role, text)| role == "user" && text.contains("the check")).map(|(_, text)| text).collect()
}

fn checks(place: &Place, job: &JobId) -> usize {
    let is_check = |event: &&std::sync::Arc<moonlog_core::event::Event>| matches!(&event.body, EventBody::ProcessStarted(started) if started.description.as_deref() == Some("check"));
    place.events(job).iter().filter(is_check).count()
}

#[test]
fn a_check_that_fails_is_told_before_the_next_turn() {
    let reads = json!({ "tool_calls": [{ "name": "read_file", "input": { "path": "a.txt" } }] });
    let turns = json!([writes("bad"), reads, writes("good"), { "text": "done" }]);
    let stage = stage_with(turns, |options| {
        options.agents.check =
            CheckOptions { command: "cat a.txt; grep -q good a.txt".into(), ..CheckOptions::default() };
    });
    let job = stage.place.submit("return (agent('x'))");
    assert_eq!(stage.place.result(&job), "\"done\"");
    let told = complaints(&stage.place, &job);
    assert!(told.len() == 1 && told[0].contains("failed with exit code 1") && told[0].contains("bad"), "{told:?}");
    assert_eq!(checks(&stage.place, &job), 2, "after each turn that wrote, and no other");
    stage.place.check();
    // An agent may say otherwise.
    for (option, expected) in [("check = false", 0), ("check = 'echo mine; exit 3'", 2)] {
        let job = stage.place.submit(&format!("return (agent('x', {{ {option} }}))"));
        assert_eq!(stage.place.result(&job), "\"done\"");
        assert_eq!(complaints(&stage.place, &job).len(), expected, "{option}");
    }
}

#[test]
fn a_check_is_bounded_in_time_and_output() {
    let stage = stage_with(json!([writes("a"), writes("b"), { "text": "done" }]), |options| {
        options.agents.check = CheckOptions {
            command: "seq 1 100000; [ $(cat a.txt) = a ] || tail -f /dev/null; exit 2".into(),
            timeout: Duration::from_millis(600),
            output_max_bytes: 200,
        };
    });
    let job = stage.place.submit("return (agent('x'))");
    assert_eq!(stage.place.result(&job), "\"done\"");
    let told = complaints(&stage.place, &job);
    assert!(told.len() == 2 && told.iter().all(|text| text.len() < 600 && text.contains("omitted")), "{told:?}");
    assert!(told[0].contains("exit code 2") && told[1].contains("was ended by"), "{told:?}");
    stage.place.check();
}
