//! Idle sessions that are woken when something ends that their agents have left running.

use crate::{
    agents::{Stage, stage_with},
    conversations::{chat, say, state, until_idle},
    place::Place,
};
use moonlog_core::{
    decide::{Busy, CreateSession},
    event::SessionConfigured,
    id::SessionId,
    json::Json,
    message::Role,
};
use moonlog_runner::agent::model::{ModelOptions, Provider};
use serde_json::{Value, json};

fn session(place: &Place, wake: bool) -> SessionId {
    let create = CreateSession {
        agent: Json::from(json!({ "model": "main" })),
        options: SessionConfigured { wake, budget_tokens: None },
        ..CreateSession::default()
    };
    place.block_on(place.runner.create_session(create, None)).unwrap().id
}

/// A command that runs in the background until the file `go` is there.
fn in_background(wake: bool) -> Value {
    let command = "until [ -e go ]; do sleep 0.02; done";
    let mut input = json!({ "command": command, "run_in_background": true });
    if wake {
        input["wake"] = json!(true);
    }
    json!({ "tool_calls": [{ "name": "execute", "input": input }] })
}

/// What was said, without calls, results and system prompts.
fn words(place: &Place, session: &SessionId) -> Vec<String> {
    let chat = chat(place, session);
    let spoken = chat.messages.iter().filter(|message| matches!(message.role, Role::User | Role::Assistant));
    let line = |text: String| {
        text.split(" has ended").next().unwrap_or_default().split(" 0").next().unwrap_or_default().to_owned()
    };
    spoken.map(|message| line(message.text())).filter(|text| !text.is_empty()).collect()
}

fn go(stage: &Stage) {
    std::fs::write(stage.folder.path().join("go"), "").unwrap();
}

#[test]
fn the_end_of_a_process_wakes_a_session_that_wants_it() {
    for (by_session, by_call, wakes) in [(true, false, true), (false, true, true), (false, false, false)] {
        let stage = stage_with(
            json!([in_background(by_call), { "text": "begun" }, { "text": "heard" }, { "text": "next" }]),
            |_| {},
        );
        let place = &stage.place;
        let session = session(place, by_session);
        let first = say(place, &session, "a", Busy::Queue).unwrap();
        place.result(&first);
        until_idle(place, &session);
        go(&stage);
        if wakes {
            place.until("to be woken", || words(place, &session).contains(&"heard".to_owned()).then_some(()));
            until_idle(place, &session);
            assert_eq!(chat(place, &session).woken, 1);
        } else {
            place.until("the process's end", || state(place, &session).processes.is_empty().then_some(()));
        }
        let next = say(place, &session, "b", Busy::Queue).unwrap();
        place.result(&next);
        until_idle(place, &session);
        let said = words(place, &session);
        // Told once, in the turn that was made for it, or in the next.
        let expected: &[&str] = if wakes {
            &["a", "begun", "Background process", "heard", "b", "next"]
        } else {
            &["a", "begun", "b", "Background process", "heard"]
        };
        let shown: Vec<&str> =
            said.iter().map(|text| if text.starts_with("Background") { "Background process" } else { text }).collect();
        assert_eq!(shown, expected);
        assert_eq!(chat(place, &session).woken, 0, "somebody has spoken");
        place.check();
    }
}

#[test]
fn what_ends_while_no_server_runs_wakes_the_session_at_the_next_start() {
    let stage = stage_with(json!([in_background(false), { "text": "begun" }, { "text": "heard" }]), |_| {});
    let session = session(&stage.place, true);
    let first = say(&stage.place, &session, "a", Busy::Queue).unwrap();
    stage.place.result(&first);
    until_idle(&stage.place, &session);
    let Stage { place, folder: _folder } = stage;
    // The process dies with its server, which the next one records.
    let place = place.kill(0);
    place.until("to be woken", || words(&place, &session).contains(&"heard".to_owned()).then_some(()));
    until_idle(&place, &session);
    let place = place.kill(0);
    until_idle(&place, &session);
    let notices = words(&place, &session).iter().filter(|text| text.starts_with("Background")).count();
    assert_eq!(notices, 1, "what was told is not told again");
    place.check();
}

#[test]
fn a_spawned_agent_outlives_the_turn_and_wakes_the_session() {
    let other = tempfile::tempdir().unwrap();
    let file = other.path().join("turns.json");
    let waits =
        json!({ "tool_calls": [{ "name": "execute", "input": { "command": "timeout 1 tail -f /dev/null; true" } }] });
    std::fs::write(&file, json!([waits, { "text": "part done" }]).to_string()).unwrap();
    let spawn = json!({ "tool_calls": [{ "name": "spawn_agent", "input": { "task": "a part", "label": "p", "model": "other", "wake": true } }] });
    let result = json!({ "tool_calls": [{ "name": "list_agents", "input": {} }] });
    let stage = stage_with(json!([spawn, { "text": "begun" }, result, { "text": "heard" }]), move |options| {
        let other = ModelOptions { file: Some(file.clone()), ..ModelOptions::new(Provider::Scripted, "") };
        options.agents.models.models.insert("other".into(), other);
    });
    let place = &stage.place;
    let session = session(place, false);
    let first = say(place, &session, "a", Busy::Queue).unwrap();
    place.result(&first);
    place.until("to be woken", || words(place, &session).contains(&"heard".to_owned()).then_some(()));
    until_idle(place, &session);
    let said = chat(place, &session);
    let notices: Vec<String> =
        said.messages.iter().map(|message| message.text()).filter(|text| text.contains("has ended")).collect();
    assert!(notices.len() == 1 && notices[0].contains("(p) has ended: completed"), "{notices:?}");
    place.check();
}

#[test]
fn a_session_that_wakes_itself_is_stopped_by_the_limit() {
    // Each turn that it is woken for leaves something running, which ends when it is told so.
    let command = "until [ -e go ]; do sleep 0.02; done; rm go";
    let ends =
        json!({ "tool_calls": [{ "name": "execute", "input": { "command": command, "run_in_background": true } }] });
    let turns: Vec<Value> = (0..40).flat_map(|_| [ends.clone(), json!({ "text": "again" })]).collect();
    let stage = stage_with(json!(turns), |options| options.agents.wakes_max = 3);
    let place = &stage.place;
    let session = session(place, true);
    let until_left = |woken: u32| {
        place.until("something left running", || {
            let state = state(place, &session);
            let idle = state.chat.busy.is_none() && state.jobs.is_empty();
            (idle && state.processes.len() == 1 && state.chat.woken == woken).then_some(())
        });
    };
    for round in 1..=2 {
        let first = say(place, &session, "a", Busy::Queue).unwrap();
        place.result(&first);
        for woken in 0..3 {
            until_left(woken);
            go(&stage);
        }
        until_left(3);
        go(&stage);
        place.until("the last end", || state(place, &session).processes.is_empty().then_some(()));
        let again = words(place, &session).iter().filter(|text| *text == "again").count();
        assert_eq!(again, round * 4, "the one that was asked for, and three");
    }
    // What ended last is told when somebody speaks, and not lost.
    let unheard = place.runner.views().session(&session).unwrap().unwrap();
    assert_eq!(unheard.chat.woken, 3);
    place.check();
}
