//! What an agent says and asks for may repeat a secret's value: the call gets it, and the log never does.

use crate::{
    agents::{Stage, said, stage_with},
    place::Place,
};
use moonlog_core::{event::Decision, id::JobId, projection::JobStatus};
use moonlog_runner::{
    RunnerOptions,
    secret::{SecretSource, Secrets},
    tool::Rule,
};
use serde_json::{Value, json};
use std::sync::Arc;

/// Holds what JSON has to escape.
const SECRET: &str = "hunter2\"/hunter2";

fn knowing(turns: Value, change: impl Fn(&mut RunnerOptions) + 'static) -> Stage {
    stage_with(turns, move |options| {
        let source = SecretSource { env: "S".into(), ..SecretSource::default() };
        let secrets = Secrets::new([("S".to_owned(), source)].into(), |_| Some(SECRET.into()));
        options.processes.secrets = Arc::new(secrets);
        change(options);
    })
}

fn is_nowhere(place: &Place) {
    for event in place.runner.log().read(0, 10_000).unwrap() {
        let data = event.body.data_json();
        // The question's script stands in the log as it was submitted, and holds it nowhere.
        assert!(!data.contains("hunter2"), "{} {data}", event.body.name());
    }
}

#[test]
fn a_secret_that_a_model_repeats_reaches_its_call_and_never_the_log() {
    let pieces: Vec<String> = format!("I found {SECRET}, look.").chars().map(String::from).collect();
    let stage = knowing(
        json!([
            { "reasoning": format!("so {SECRET} it is"), "text": pieces.concat(), "tool_calls": [
                { "name": "write_file", "input": { "path": "out.txt", "content": SECRET } },
                { "name": "execute", "input": { "command": format!("printf %s '{SECRET}' > by-command"), "description": SECRET } },
                { "name": format!("no-{SECRET}"), "input": { SECRET: [SECRET] } },
            ] },
            { "text": format!("it is {SECRET}") },
        ]),
        |_| {},
    );
    let job = stage.place.submit("return (agent('What is it?'))");
    let result: Value = serde_json::from_str(&stage.place.result(&job)).unwrap();
    assert!(result.as_str().unwrap().ends_with(" ***"), "{result}");
    for file in ["out.txt", "by-command"] {
        assert_eq!(
            std::fs::read_to_string(stage.folder.path().join(file)).unwrap(),
            SECRET,
            "{file}\n{}",
            stage.place.listing()
        );
    }
    is_nowhere(&stage.place);
    stage.place.check();
}

#[test]
fn a_secret_that_an_agent_gives_to_another_is_not_in_the_log() {
    let stage = knowing(
        json!([
            { "tool_calls": [
                { "name": "spawn_agent", "input": { "task": format!("use {SECRET}"), "label": SECRET } },
            ] },
            { "text": format!("it is {SECRET}") },
        ]),
        |_| {},
    );
    let job = stage.place.submit("return (agent('What is it?'))");
    assert_eq!(stage.place.result(&job), "\"it is ***\"");
    assert_eq!(stage.place.children(&job).len(), 1);
    // Each of them is told the same, spawns the next, and is ended with the one before.
    stage
        .place
        .until("all to end", || stage.place.runner.views().with(|all| all.live_jobs().count() == 0).then_some(()));
    is_nowhere(&stage.place);
    stage.place.check();
}

#[test]
fn a_secret_in_a_tool_call_of_a_script_is_not_in_the_calls_events() {
    let stage = knowing(json!([]), |_| {});
    // The script makes it up from parts: what it writes down itself stands in its steps.
    let job = stage.place.submit(
        "local value = 'hunter2' .. string.char(34) .. '/' .. 'hunter2'
         return (tool('write_file', { path = 'out.txt', content = value }))",
    );
    stage.place.result(&job);
    assert_eq!(std::fs::read_to_string(stage.folder.path().join("out.txt")).unwrap(), SECRET);
    for event in stage.place.events(&job).iter().filter(|event| event.body.name().starts_with("tool.")) {
        assert!(!event.body.data_json().contains("hunter2"), "{:?}", event.body);
    }
    stage.place.check();
}

fn open_question(place: &Place, job: &JobId) -> String {
    place.until("the question", || {
        let state = place.runner.job(job).unwrap()?;
        let open = state.open_approvals().next().map(|open| open.id);
        open.filter(|_| state.status == JobStatus::Waiting)
    })
}

#[test]
fn a_call_whose_secret_was_not_kept_is_refused_and_not_made_with_what_is_left() {
    for crashes in [false, true] {
        let Stage { mut place, folder } = knowing(
            json!([
                { "tool_calls": [{ "name": "execute", "input": { "command": format!("rm -rf {SECRET}") } }] },
                { "text": "well" },
            ]),
            |options| {
                options.idle_evict_ms = 0;
                options.tools.policy.ask = vec![Rule::parse("execute:rm *").unwrap()];
            },
        );
        // What the stars would match, were they given to a shell.
        std::fs::write(folder.path().join("precious"), "").unwrap();
        let job = place.submit("return (agent('x'))");
        let id = open_question(&place, &job);
        if crashes {
            place = place.kill(usize::MAX);
            assert_eq!(open_question(&place, &job), id);
        }
        place.block_on(place.runner.decide(&job, &id, Decision::Approved, None, None)).unwrap();
        assert_eq!(place.result(&job), "\"well\"");
        let all = said(&place, &job);
        assert!(all.iter().any(|(role, text)| role == "tool" && text.contains("secret_not_kept")), "{all:?}");
        assert_eq!(place.count(&job, "tool.started"), 0, "crashes: {crashes}");
        assert!(folder.path().join("precious").exists());
        is_nowhere(&place);
        place.check();
    }
}
