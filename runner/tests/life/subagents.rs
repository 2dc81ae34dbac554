//! Agents that spawn agents: the tools for it, their limits, and who ends whom.

use crate::{
    agents::{Stage, said, stage_with},
    place::Place,
};
use moonlog_core::{
    event::EventBody,
    id::JobId,
    projection::{Conversation, JobStatus},
};
use moonlog_runner::{
    RunnerOptions,
    agent::model::{ModelOptions, Provider},
};
use serde_json::{Value, json};

/// A stage whose model `other` plays these turns.
fn with_other(turns: Value, other: Value, change: impl Fn(&mut RunnerOptions) + 'static) -> Stage {
    let folder = tempfile::tempdir().unwrap().keep();
    let file = folder.join("turns.json");
    std::fs::write(&file, other.to_string()).unwrap();
    stage_with(turns, move |options| {
        let other = ModelOptions { file: Some(file.clone()), ..ModelOptions::new(Provider::Scripted, "") };
        options.agents.models.models.insert("other".into(), other);
        change(options);
    })
}

fn spawns(label: &str) -> Value {
    json!({ "name": "spawn_agent", "input": { "task": "a part", "label": label, "model": "other" } })
}

fn call(name: &str, input: Value) -> Value {
    json!({ "tool_calls": [{ "name": name, "input": input }] })
}

/// Waits with a command: until something else has happened.
fn a_while() -> Value {
    call("execute", json!({ "command": "timeout 1 tail -f /dev/null; true" }))
}

/// What the calls of a job's agent gave, in order.
fn outputs(place: &Place, job: &JobId) -> Vec<Value> {
    let output = |event: &std::sync::Arc<moonlog_core::event::Event>| match &event.body {
        EventBody::ToolFinished(finished) => Some(finished.output.to_value()),
        _ => None,
    };
    place.events(job).iter().filter_map(output).collect()
}

/// What the last call of this tool gave.
fn output_of(place: &Place, job: &JobId, name: &str) -> Value {
    let events = place.events(job);
    let id = events.iter().rev().find_map(|event| match &event.body {
        EventBody::ToolStarted(started) if started.name == name => Some(started.call_id.clone()),
        _ => None,
    });
    let output = events.iter().find_map(|event| match &event.body {
        EventBody::ToolFinished(finished) if Some(&finished.call_id) == id.as_ref() => Some(finished.output.to_value()),
        _ => None,
    });
    output.unwrap_or_else(|| panic!("no call of {name}\n{}", place.listing()))
}

#[test]
fn an_agent_spawns_another_and_is_told_of_its_end() {
    let turns = json!([{ "tool_calls": [spawns("helper")] }, a_while(), call("list_agents", json!({})), { "text": "all done" }]);
    let stage = with_other(turns, json!([{ "text": "part done" }]), |_| {});
    let job = stage.place.submit("return (agent('x'))");
    assert_eq!(stage.place.result(&job), "\"all done\"");
    let children = stage.place.children(&job);
    assert_eq!(children.len(), 1);
    assert!(stage.place.result(&children[0]).contains("part done"));
    let said = said(&stage.place, &job);
    let told = said.iter().filter(|(role, text)| role == "user" && text.contains("(helper) has ended: completed"));
    assert_eq!(told.count(), 1, "{said:?}");
    assert!(said.iter().any(|(role, text)| role == "tool" && text.contains("\"status\":\"completed\"")), "{said:?}");
    stage.place.check();
}

#[test]
fn the_end_of_the_parent_ends_the_agents_that_it_spawned() {
    let words = json!([{ "text": "word ".repeat(4_000), "delay_ms": 5 }]);
    for cancelled in [false, true] {
        let after = if cancelled { a_while() } else { json!({ "text": "done" }) };
        let stage = with_other(json!([{ "tool_calls": [spawns("p")] }, after]), words.clone(), |_| {});
        let place = &stage.place;
        let job = place.submit("return (agent('x'))");
        if cancelled {
            place.until("a child that answers", || {
                place.children(&job).iter().any(|child| place.count(child, "chat.delta") > 0).then_some(())
            });
            place.cancel(&job);
            assert_eq!(place.ended(&job).state, JobStatus::Cancelled);
        } else {
            assert_eq!(place.result(&job), "\"done\"");
        }
        let children = place.children(&job);
        assert_eq!(children.len(), 1);
        assert_eq!(place.ended(&children[0]).state, JobStatus::Cancelled);
        place.check();
    }
}

/// Runs an agent whose second turn makes this call about the one that its first turn has spawned; the ids in its turns
/// are known only then, so the file is written anew.
fn about_its_child(other: Value, name: &str, input: Value, ready: &str) -> (Stage, JobId, JobId) {
    let stage = with_other(json!([{ "tool_calls": [spawns("p")] }, a_while(), { "text": "done" }]), other, |_| {});
    let job = stage.place.submit("return (agent('x'))");
    let child = stage.place.until("a child", || stage.place.children(&job).first().copied());
    stage.place.until_event(&child, ready);
    let mut input = input;
    input["id"] = json!(child);
    // One that is told something gets the time to hear it.
    let rest = match name {
        "message_agent" => vec![a_while(), a_while()],
        "interrupt_agent" => vec![a_while()],
        _ => Vec::new(),
    };
    let mut turns = vec![json!({ "tool_calls": [spawns("p")] }), a_while(), call(name, input)];
    turns.extend(rest);
    turns.push(json!({ "text": "done" }));
    let turns = json!(turns);
    std::fs::write(stage.folder.path().join("turns.json"), turns.to_string()).unwrap();
    assert_eq!(stage.place.result(&job), "\"done\"");
    stage.place.ended(&child);
    stage.place.check();
    (stage, job, child)
}

#[test]
fn that_an_agent_runs_on_is_no_error() {
    let words = json!([{ "text": "word ".repeat(4_000), "delay_ms": 5 }]);
    for (name, input, expected) in [
        ("wait_agent", json!({ "timeout": 0.05 }), "running"),
        ("agent_status", json!({}), "running"),
        ("interrupt_agent", json!({}), ""),
        ("agent_result", json!({}), "agent_running"),
    ] {
        let (stage, job, child) = about_its_child(words.clone(), name, input, "chat.delta");
        let output = output_of(&stage.place, &job, name);
        match name {
            "interrupt_agent" => {
                assert_eq!(output, json!({ "id": child, "interrupted": true }));
                assert_eq!(stage.place.result(&child), "{\"interrupted\":true}");
            }
            "agent_result" => assert_eq!(output["error"]["code"], expected),
            _ => assert_eq!((&output["status"], &output["label"]), (&json!(expected), &json!("p")), "{name}: {output}"),
        }
    }
}

#[test]
fn an_agent_s_result_and_state_are_told_when_it_has_ended() {
    for name in ["wait_agent", "agent_status", "agent_result"] {
        let (stage, job, child) = about_its_child(json!([{ "text": "part done" }]), name, json!({}), "job.completed");
        let output = output_of(&stage.place, &job, name);
        assert_eq!((&output["id"], &output["status"]), (&json!(child), &json!("completed")), "{name}");
        let result = if name == "agent_status" { Value::Null } else { json!("part done") };
        assert_eq!(output["result"], result, "{name}: {output}");
    }
    let (stage, job, _) =
        about_its_child(json!([{ "text": "part" }]), "message_agent", json!({ "text": "hello" }), "job.completed");
    assert_eq!(output_of(&stage.place, &job, "message_agent")["error"]["code"], "agent_ended");
}

#[test]
fn a_message_to_an_agent_is_heard_before_its_next_turn() {
    let other = json!([a_while(), a_while(), a_while(), { "text": "heard" }]);
    let (stage, job, child) =
        about_its_child(other, "message_agent", json!({ "text": "look at this too" }), "tool.started");
    let output = output_of(&stage.place, &job, "message_agent");
    assert_eq!(output["sent"], true, "{output}");
    let heard = said(&stage.place, &child);
    let told: Vec<_> =
        heard.iter().filter(|(role, text)| role == "user" && text.contains("look at this too")).collect();
    assert_eq!(told.len(), 1, "{heard:?}");
}

#[test]
fn agents_are_limited_in_number_and_depth() {
    let turns = json!([{ "tool_calls": [spawns("a"), spawns("b"), spawns("c")] }, { "text": "done" }]);
    let words = json!([{ "text": "word ".repeat(4_000), "delay_ms": 5 }]);
    let stage = with_other(turns, words, |options| options.agents.subagents_max = 2);
    let job = stage.place.submit("return (agent('x'))");
    assert_eq!(stage.place.result(&job), "\"done\"");
    let mut codes: Vec<Value> =
        outputs(&stage.place, &job).iter().map(|output| output["error"]["code"].clone()).collect();
    codes.sort_by_key(|code| code.to_string());
    assert_eq!(codes, [json!("limit_subagents"), Value::Null, Value::Null]);
    for child in stage.place.children(&job) {
        stage.place.ended(&child);
    }
    stage.place.check();

    // One that is spawned spawns in turn, and the third is told that it may not.
    let other = json!([{ "tool_calls": [spawns("deeper")] }, a_while(), { "text": "deep" }]);
    let stage = with_other(
        json!([{ "tool_calls": [spawns("deep")] }, a_while(), a_while(), a_while(), { "text": "done" }]),
        other,
        |options| {
            options.agents.subagent_depth = 2;
        },
    );
    let job = stage.place.submit("return (agent('x'))");
    assert_eq!(stage.place.result(&job), "\"done\"");
    let child = stage.place.children(&job)[0];
    let grandchild = stage.place.children(&child)[0];
    assert_eq!(stage.place.children(&grandchild), []);
    let code = &outputs(&stage.place, &grandchild)[0]["error"]["code"];
    assert_eq!(*code, json!("limit_subagent_depth"), "{}", stage.place.listing());
    for job in [child, grandchild] {
        stage.place.ended(&job);
    }
    stage.place.check();
}

#[test]
fn a_spawned_agent_goes_on_after_a_crash_of_the_server() {
    let other = json!([a_while(), { "text": "part done" }]);
    let turns = json!([{ "tool_calls": [spawns("p")] }, a_while(), a_while(), a_while(), { "text": "done" }]);
    let stage = with_other(turns, other, |_| {});
    let job = stage.place.submit("return (agent('x'))");
    let child = stage.place.until("a child", || stage.place.children(&job).first().copied());
    stage.place.until_event(&child, "tool.started");
    let Stage { place, folder: _folder } = stage;
    let place = place.kill(0);
    assert_eq!(place.result(&job), "\"done\"");
    assert_eq!(place.ended(&child).state, JobStatus::Completed, "{}", place.listing());
    place.check();
}

#[test]
fn a_notice_is_told_once_also_where_a_summary_stands_for_it() {
    let mut conversation = Conversation::default();
    let message = |id: &str, role, text: &str| moonlog_core::message::Message {
        id: id.into(),
        role,
        parts: vec![moonlog_core::message::Part::text(text)],
        turn: 1,
    };
    use moonlog_core::message::Role;
    for said in [
        message("1", Role::User, "go"),
        message("2", Role::Assistant, "on"),
        message("notice-p", Role::User, "p has ended"),
        message("3", Role::Assistant, "well"),
    ] {
        conversation.push(said);
    }
    conversation.compact(2, "so far", 2);
    assert!(
        conversation.was_told("notice-p") && !conversation.messages().iter().any(|message| message.id == "notice-p")
    );
}
