//! Agents in combination: side by side, in rows, spawned and in child jobs, and the limits that they share there.

use crate::place::Place;
use moonlog_core::{event::EventBody, projection::JobStatus};
use moonlog_runner::{
    RunnerOptions,
    agent::model::{ModelOptions, ModelsOptions, Provider},
};
use serde_json::{Value, json};
use std::{collections::BTreeMap, sync::Arc};

/// A place whose model plays these turns, with workflows that have agents.
fn stage(turns: &Value, change: impl Fn(&mut RunnerOptions) + 'static) -> (Place, Arc<tempfile::TempDir>) {
    let folder = Arc::new(tempfile::tempdir().unwrap());
    let file = folder.path().join("turns.json");
    std::fs::write(&file, turns.to_string()).unwrap();
    let place = Place::with(move |options| {
        let main = ModelOptions { file: Some(file.clone()), ..ModelOptions::new(Provider::Scripted, "") };
        options.agents.models = ModelsOptions { models: BTreeMap::from([("main".into(), main)]), ..Default::default() };
        change(options);
    });
    for (name, source) in [
        ("asks", "return { run = function(args) return (agent(args.prompt or 'child')) end }"),
        (
            "asks-often",
            "return { run = function(args)
                local codes = {}
                for i = 1, args.times do
                    local ok, text, err = pcall(agent, 'child ' .. i)
                    codes[i] = if not ok then text.code elseif text == nil then err.code else 'ok'
                end
                return codes
            end }",
        ),
        ("parent", "return { run = function(args) return assert(workflow('asks')) end }"),
    ] {
        std::fs::write(place.folder().join(format!("{name}.luau")), source).unwrap();
    }
    (place, folder)
}

fn run(place: &Place, script: &str) -> Value {
    let job = place.submit(script);
    serde_json::from_str(&place.result(&job)).unwrap()
}

fn says(when: &str, text: &str) -> Value {
    json!({ "when": when, "text": text })
}

#[test]
fn agents_answer_side_by_side_in_rows_spawned_and_in_children() {
    let turns =
        json!([says("draw", "drawn"), says("paint", "painted"), says("child", "from a child"), { "text": "else" }]);
    let (place, _folder) = stage(&turns, |_| {});
    let result = run(
        &place,
        "local side, errors = parallel {
            draw = function() return (agent('draw')) end,
            child = function() return workflow('asks') end,
            fails = function() return assert(agent('x', { model = 'none' })) end,
        }
        local rows = pipeline({ 'draw', 'paint' }, function(what) return (agent(what)) end,
            function(answer, what) return what .. ':' .. answer .. ':' .. agent('and then') end)
        local handle = spawn(function() return { agent('paint'), workflow('asks', { prompt = 'draw' }) } end)
        local graph = flow { steps = {
            { id = 'a', kind = 'agent', run = function() return 'draw' end },
            { id = 'b', deps = { 'a' }, run = function(ctx) return ctx.results.a .. ' again' end },
        } }
        return { side = side, code = errors.fails.code, rows = rows, spawned = (handle:wait()), graph = graph.results.b }",
    );
    assert_eq!(result["side"], json!({ "draw": "drawn", "child": "from a child" }));
    assert_eq!(result["code"], "unknown_model");
    assert_eq!(result["rows"], json!(["draw:drawn:else", "paint:painted:else"]));
    assert_eq!(result["spawned"][0], "painted");
    assert_eq!(result["graph"], "drawn again");
    place.check();
}

#[test]
fn an_agent_s_own_workspace_is_there_at_once() {
    let (place, folder) = stage(
        &json!([{ "tool_calls": [{ "name": "read_file", "input": { "path": "turns.json" } }] }, { "text": "read" }]),
        |_| {},
    );
    let path = folder.path().display();
    let script = format!(
        "local all = {{}}
        for i = 1, 20 do all[i] = function() return (assert(agent('x', {{ workspace = '{path}' }}))) end end
        local results, errors = parallel(all)
        return {{ #results, (errors[1] or {{}}).message }}"
    );
    assert_eq!(run(&place, &script), json!([20]));
    place.check();
}

#[test]
fn a_job_has_a_thousand_agents_and_no_more() {
    let (place, _folder) = stage(&json!([]), |_| {});
    let result = run(
        &place,
        "local codes = {}
        for i = 1, 1001 do
            local ok, text, err = pcall(agent, 'x', { model = 'none' })
            local code = if ok then err.code else text.code
            codes[code] = (codes[code] or 0) + 1
        end
        return codes",
    );
    assert_eq!(result, json!({ "unknown_model": 1000, "limit_agents": 1 }));
}

#[test]
fn a_job_and_its_children_share_the_number_of_agents_also_over_a_crash() {
    let (place, _folder) = stage(&json!([{ "text": "fine" }]), |options| options.limits.agents_max = 5);
    let script = "agent('one') agent('two')
        local first = assert(workflow('asks-often', { times = 2 }))
        wait_for('go')
        local second = assert(workflow('asks-often', { times = 3 }))
        local ok, err = pcall(agent, 'last')
        return { first, second, err.code }";
    let job = place.submit(script);
    place.until_status(&job, JobStatus::Waiting);
    place.until("the first child", || (place.count(&job, "step.finished") == 3).then_some(()));
    let place = place.kill(0);
    place.until_status(&job, JobStatus::Waiting);
    place.signal(&job, "go", "1");
    let result: Value = serde_json::from_str(&place.result(&job)).unwrap();
    assert_eq!(result, json!([["ok", "ok"], ["ok", "limit_agents", "limit_agents"], "limit_agents"]));
    place.check();
}

#[test]
fn not_more_agents_of_a_job_and_its_children_run_than_may() {
    let turns = json!([{ "text": "a b c d", "delay_ms": 5 }]);
    let (place, _folder) = stage(&turns, |options| options.agents.concurrency = 2);
    let script = "local all = {}
        for i = 1, 4 do all[i] = function() return (assert(agent('own ' .. i))) end end
        for i = 5, 8 do all[i] = function() return assert(workflow('asks')) end end
        local results, errors = parallel(all)
        return { #results, next(errors) == nil }";
    assert_eq!(run(&place, script), json!([8, true]));
    let (mut open, mut most, mut total) = (0_i32, 0, 0);
    for event in place.runner.log().read(0, 1_000_000).unwrap() {
        match &event.body {
            EventBody::ChatStarted(_) => (open, total) = (open + 1, total + 1),
            EventBody::ChatFinished(_) => open -= 1,
            _ => {}
        }
        most = most.max(open);
    }
    assert_eq!((most, total), (2, 8));
    place.check();
}

#[test]
fn a_spawned_agent_needs_no_place_of_those_who_wait_for_it() {
    let turns = json!([
        { "when": "boss", "tool_calls": [{ "name": "spawn_agent", "input": { "task": "a part" } }] },
        { "when": "boss", "tool_calls": [{ "name": "list_agents", "input": {} }] },
        { "when": "boss", "text": "done" },
        { "text": "part done" },
    ]);
    let (place, _folder) = stage(&turns, |options| options.agents.concurrency = 1);
    assert_eq!(run(&place, "return (agent('boss'))"), json!("done"));
}

#[test]
fn children_have_no_children_unless_that_is_configured() {
    let (place, _folder) = stage(&json!([{ "text": "fine" }]), |_| {});
    let script = "local value, err = workflow('parent') return if err then { err.code, err.message } else { value }";
    let refused = run(&place, script);
    assert_eq!(refused[0], "limit_nesting", "{refused}");
    assert!(refused[1].as_str().unwrap().contains("limits.nesting"), "{refused}");
    let (place, _folder) = stage(&json!([{ "text": "fine" }]), |options| options.nesting = 2);
    assert_eq!(run(&place, script), json!(["fine"]));
    place.check();
}

#[test]
fn items_beyond_the_limit_are_an_error_and_no_agent_is_asked() {
    let (place, _folder) = stage(&json!([{ "text": "fine" }]), |_| {});
    let script = "local items = {} for i = 1, 4097 do items[i] = i end
        local ok, err = pcall(pipeline, items, function(i) return (agent('x' .. i)) end)
        return { ok, err.code, err.message }";
    let result = run(&place, script);
    assert_eq!((&result[0], &result[1]), (&json!(false), &json!("items_max")), "{result}");
}

#[test]
fn a_budget_holds_over_children_side_by_side_and_over_a_crash() {
    let usage = json!({ "prompt_tokens": 50, "completion_tokens": 10, "cached_tokens": 0, "reasoning_tokens": 0 });
    let (place, _folder) = stage(&json!([{ "text": "fine", "usage": usage }]), |_| {});
    let script = "local first = assert(workflow('asks'))
        wait_for('go')
        local codes = {}
        for i = 1, 3 do
            local text, err = workflow('asks-often', { times = 1 })
            codes[i] = if text then text[1] else err.code
        end
        local ok, err = pcall(agent, 'own')
        return { first, codes, err.code }";
    let job = place.submit_with(script, |submit| submit.budget_tokens = Some(150));
    place.until_status(&job, JobStatus::Waiting);
    place.until("the first child", || (place.count(&job, "step.finished") == 1).then_some(()));
    let place = place.kill(0);
    place.until_status(&job, JobStatus::Waiting);
    place.signal(&job, "go", "1");
    let result: Value = serde_json::from_str(&place.result(&job)).unwrap();
    // 60 before the crash, 120 and 180 behind it: what is begun is ended, what comes next is refused.
    assert_eq!(result, json!(["fine", ["ok", "ok", "budget_exhausted"], "budget_exhausted"]));
    place.check();
}

#[test]
fn scripts_see_what_children_used_and_children_what_is_left() {
    let usage = json!({ "prompt_tokens": 50, "completion_tokens": 10, "cached_tokens": 0, "reasoning_tokens": 0 });
    let (place, _folder) = stage(&json!([{ "text": "fine", "usage": usage }]), |options| options.nesting = 2);
    let workflow = |name: &str, body: &str| {
        let source = format!("return {{ run = function(args) {body} end }}");
        std::fs::write(place.path().join(format!("{name}.luau")), source).unwrap();
    };
    workflow(
        "looks",
        "local first = { budget.total, budget.spent(), budget.remaining() }
         agent('x')
         return { first, { budget.total, budget.spent(), budget.remaining() } }",
    );
    workflow("passes-on", "local seen = workflow('looks') return { seen, budget.total, budget.spent() }");
    let script = "local seen = {}
        local function look(what) table.insert(seen, { what, budget.spent(), budget.remaining() }) end
        agent('own') look('own')
        look(workflow('looks'))
        wait_for('go')
        look(workflow('passes-on'))
        return seen";
    let job = place.submit_with(script, |submit| submit.budget_tokens = Some(1000));
    place.until_status(&job, JobStatus::Waiting);
    place.until("the child", || (place.count(&job, "step.finished") == 2).then_some(()));
    let place = place.kill(0);
    place.signal(&job, "go", "1");
    let result: Value = serde_json::from_str(&place.result(&job)).unwrap();
    let looked = |total: u64| json!([[total, 0, total], [total, 60, total - 60]]);
    let expected = json!([["own", 60, 940], [looked(940), 120, 880], [[looked(880), 880, 60], 180, 820]]);
    assert_eq!(result, expected);
    // Without a limit, what was used is told all the same.
    let job = place.submit("workflow('asks') local once = budget.spent() agent('own') return { once, budget.spent() }");
    assert_eq!(place.result(&job), "[60,120]");
    place.check();
}
