//! Tokens and money: what a job, its children, and its session may use, and where it is counted.

use crate::{
    agents::{stage, stage_with},
    conversations::{say, state, until_idle},
};
use moonlog_core::{
    cost::Cost,
    decide::{Busy, ChangeSession, CreateSession},
    event::EventBody,
    json::Json,
    projection::{JobStatus, Trace},
};
use moonlog_runner::agent::model::{ModelOptions, Prices, Provider};
use serde_json::{Value, json};

fn used(prompt: u64, completion: u64, cached: u64) -> Value {
    json!({ "prompt_tokens": prompt, "completion_tokens": completion, "cached_tokens": cached, "reasoning_tokens": 0 })
}

#[test]
fn a_budget_stops_the_job() {
    let stage = stage(json!([{ "text": "a", "usage": used(60, 0, 0) }]));
    let script = "local spent = {}
        for i = 1, 3 do
            local ok, err = pcall(agent, 'x')
            spent[i] = if ok then budget.remaining() else err.code
        end
        return spent";
    let job = stage.place.submit_with(script, |submit| submit.budget_tokens = Some(100));
    assert_eq!(stage.place.result(&job), r#"[40,0,"budget_exhausted"]"#);
    stage.place.check();
}

#[test]
fn a_budget_is_never_found_exhausted_between_a_call_and_its_result() {
    let call = json!({ "name": "execute", "input": { "command": "echo out" } });
    let stage = stage(json!([
        { "tool_calls": [call, call], "usage": used(100, 0, 0) },
        { "text": "never said", "usage": used(1, 1, 0) },
    ]));
    let script = "local ok, err = pcall(agent, 'x') return err.code";
    let job = stage.place.submit_with(script, |submit| submit.budget_tokens = Some(50));
    assert_eq!(stage.place.result(&job), "\"budget_exhausted\"");
    let names = stage.place.names(&job);
    let last: Vec<&str> =
        names.iter().filter(|name| name.starts_with("tool.") || name.starts_with("chat.m")).copied().collect();
    let expected = ["tool.started", "tool.started", "tool.finished", "tool.finished", "chat.message_added"];
    assert_eq!(last[last.len() - 5..], expected, "{names:?}");
    stage.place.check();
}

#[test]
fn children_and_spawned_agents_use_up_their_parent_s_budget() {
    let other = tempfile::tempdir().unwrap();
    let file = other.path().join("turns.json");
    std::fs::write(&file, json!([{ "text": "part", "usage": used(70, 10, 0) }]).to_string()).unwrap();
    let turns = json!([
        { "tool_calls": [{ "name": "spawn_agent", "input": { "task": "a part", "model": "other", "label": "p" } }], "usage": used(10, 0, 0) },
        { "tool_calls": [{ "name": "execute", "input": { "command": "timeout 1 tail -f /dev/null; true" } }], "usage": used(10, 0, 0) },
        { "text": "never said" },
    ]);
    let stage = stage_with(turns, move |options| {
        let other = ModelOptions { file: Some(file.clone()), ..ModelOptions::new(Provider::Scripted, "") };
        options.agents.models.models.insert("other".into(), other);
    });
    // 10 + 80 + 10 of 100: nothing is left for a third turn.
    let job = stage
        .place
        .submit_with("local ok, err = pcall(agent, 'x') return err.code", |submit| submit.budget_tokens = Some(100));
    assert_eq!(stage.place.result(&job), "\"budget_exhausted\"");
    stage.place.check();

    let workflow = "return { run = function() local ok, err = pcall(agent, 'y', { model = 'other' }) return if ok then 'ok' else err.code end }";
    std::fs::write(stage.place.path().join("asks.luau"), workflow).unwrap();
    let script = "local out = {} for i = 1, 3 do out[i] = workflow('asks', {}) end return out";
    let job = stage.place.submit_with(script, |submit| submit.budget_tokens = Some(100));
    assert_eq!(stage.place.result(&job), r#"["ok","ok","budget_exhausted"]"#);
    stage.place.check();
}

#[test]
fn a_session_s_budget_is_shared_by_its_turns_and_survives_a_restart() {
    let stage = stage(
        json!([{ "text": "one", "usage": used(60, 0, 0) }, { "text": "two", "usage": used(60, 0, 0) }, { "text": "three" }]),
    );
    let create = CreateSession {
        agent: Json::from(json!({ "model": "main", "tools": [] })),
        options: moonlog_core::event::SessionConfigured { wake: false, budget_tokens: Some(100) },
        ..CreateSession::default()
    };
    let session = stage.place.block_on(stage.place.runner.create_session(create, None)).unwrap().id;
    for text in ["a", "b"] {
        let job = say(&stage.place, &session, text, Busy::Queue).unwrap();
        stage.place.result(&job);
        until_idle(&stage.place, &session);
    }
    let place = stage.place.kill(0);
    assert_eq!(place.runner.spent_in_session(&session), 120);
    assert_eq!(state(&place, &session).summary().budget_tokens, Some(100));
    let job = say(&place, &session, "c", Busy::Queue).unwrap();
    let view = place.ended(&job);
    assert_eq!(view.state, JobStatus::Failed);
    let error = view.error.unwrap();
    assert!(error.code == "budget_exhausted" && error.message.contains("session"), "{error:?}");
    // More is given.
    let change = ChangeSession { budget_tokens: Some(Some(1_000)), ..ChangeSession::default() };
    place.block_on(place.runner.change_session(&session, change)).unwrap();
    let job = say(&place, &session, "d", Busy::Queue).unwrap();
    assert!(place.result(&job).contains("three"));
    place.check();
}

#[test]
fn what_it_costs_stands_in_the_job_the_session_and_the_trace() {
    let stage = stage_with(
        json!([
            { "tool_calls": [{ "name": "execute", "input": { "command": "true" } }], "usage": used(1_000, 100, 400) },
            { "text": "done", "usage": used(2_000, 50, 1_800) },
        ]),
        |options| {
            let main = options.agents.models.models.get_mut("main").unwrap();
            main.prices = Some(Prices { prompt: 2.5, cached: 0.25, completion: 10.0 });
        },
    );
    let job = stage.place.submit("local text, info = agent('x') return { info.usage.cost, info.session }");
    let result: Value = serde_json::from_str(&stage.place.result(&job)).unwrap();
    // 600 and 200 at 2.5, 400 and 1,800 at 0.25, 150 at 10, each for a million.
    assert_eq!(result[0], json!(0.00405));
    let cost = Some(Cost::of_units(0.00405));
    assert_eq!(stage.place.ended(&job).usage.cost, cost);
    let events = stage.place.events(&job);
    let completed = events.iter().find_map(|event| match &event.body {
        EventBody::JobCompleted(completed) => Some(completed.usage.clone()),
        _ => None,
    });
    assert_eq!(completed.unwrap().cost, cost);
    let trace = Trace::fold(events).unwrap();
    assert_eq!((trace.usage.cost, trace.cache_hit_rate), (cost, Some(2_200.0 / 3_000.0)));
    let turns: Vec<(Option<f64>, f64)> = trace
        .spans
        .iter()
        .filter(|span| span.model.is_some())
        .map(|span| (span.cache_hit_rate, span.usage.as_ref().unwrap().cost.unwrap().units()))
        .collect();
    assert_eq!(turns, [(Some(0.4), 0.0026), (Some(0.9), 0.00145)]);
    assert_eq!(trace.spans[0].usage.as_ref().unwrap().cost, cost);
    let session = serde_json::from_value(result[1].clone()).unwrap();
    assert_eq!(state(&stage.place, &session).chat.usage.cost, cost);
    stage.place.check();
}

#[test]
fn what_is_taken_over_says_so_and_costs_nothing() {
    let stage = stage(json!([{ "text": "a", "usage": used(60, 1, 0) }]));
    let script = "local text, info = agent('x', { cache = '1h' }) return { text, info.cached, budget.spent() }";
    let first = stage.place.submit(script);
    assert_eq!(stage.place.result(&first), r#"["a",false,61]"#);
    let again = stage.place.submit(script);
    assert_eq!(stage.place.result(&again), r#"["a",true,0]"#);
    let plain = "local text, info = agent('x') return { text, info.cached }";
    let first = stage.place.submit(plain);
    assert_eq!(stage.place.result(&first), r#"["a",false]"#);
    let again = stage.place.submit_with(plain, |submit| submit.resume_from = Some(first));
    assert_eq!(stage.place.result(&again), r#"["a",true]"#);
    stage.place.check();
}
