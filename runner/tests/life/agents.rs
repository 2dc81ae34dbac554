//! Agents with a scripted model: what they answer, what stands in the log, and what a crash leaves.

use crate::place::Place;
use moonlog_core::{
    event::{EventBody, StepOutcome},
    id::JobId,
    json::Json,
    projection::JobStatus,
};
use moonlog_runner::{
    RunnerOptions,
    agent::model::{ModelOptions, ModelsOptions, Provider},
};
use serde_json::{Value, json};
use std::{collections::BTreeMap, path::PathBuf, sync::Arc};

/// A place whose model `main` plays these turns.
pub struct Stage {
    pub place: Place,
    pub folder: Arc<tempfile::TempDir>,
}

pub fn stage(turns: Value) -> Stage {
    stage_with(turns, |_| {})
}

pub fn stage_with(turns: Value, change: impl Fn(&mut RunnerOptions) + 'static) -> Stage {
    let folder = Arc::new(tempfile::tempdir().unwrap());
    let file = folder.path().join("turns.json");
    std::fs::write(&file, turns.to_string()).unwrap();
    let root = folder.path().to_owned();
    let place = Place::with(move |options| {
        options.agents.models = models(file.clone());
        options.tools.roots = vec![root.clone()];
        change(options);
    });
    Stage { place, folder }
}

pub fn models(file: PathBuf) -> ModelsOptions {
    let main = ModelOptions { file: Some(file), ..ModelOptions::new(Provider::Scripted, "") };
    ModelsOptions {
        models: BTreeMap::from([("main".into(), main)]),
        aliases: BTreeMap::from([("fast".into(), "main".into())]),
        default: "main".into(),
    }
}

impl Stage {
    pub fn run(&self, script: &str) -> Value {
        let job = self.place.submit(script);
        let result: Value = serde_json::from_str(&self.place.result(&job)).unwrap();
        self.replays(&job);
        result
    }

    /// The job's script fits its log.
    fn replays(&self, job: &JobId) {
        self.place.check();
        let _ = job;
    }
}

fn names_of(place: &Place, job: &JobId, prefixes: &[&str]) -> Vec<String> {
    let wanted = |name: &&str| prefixes.iter().any(|prefix| name.starts_with(prefix));
    place.names(job).into_iter().filter(wanted).map(Into::into).collect()
}

#[test]
fn a_question_is_answered_after_tools_were_called() {
    let stage = stage(json!([
        { "tool_calls": [
            { "name": "execute", "input": { "command": "echo out" } },
            { "name": "read_file", "input": { "path": "notes.txt" } },
        ], "usage": { "prompt_tokens": 100, "completion_tokens": 10, "cached_tokens": 60, "reasoning_tokens": 0 } },
        { "reasoning": "I see.", "text": "All is well.",
          "usage": { "prompt_tokens": 150, "completion_tokens": 5, "cached_tokens": 100, "reasoning_tokens": 2 } },
    ]));
    std::fs::write(stage.folder.path().join("notes.txt"), "remember\n").unwrap();
    let job = stage.place.submit(
        "local text, info = agent('What is up?', { model = 'fast', label = 'ask' })
         return { text, info.turns, info.usage.prompt_tokens, budget.spent() }",
    );
    assert_eq!(stage.place.result(&job), r#"["All is well.",2,250,265]"#);
    let view = stage.place.ended(&job);
    assert_eq!((view.usage.prompt_tokens, view.usage.cached_tokens, view.usage.reasoning_tokens), (250, 160, 2));
    let deltaless: Vec<_> =
        names_of(&stage.place, &job, &["chat.", "tool."]).into_iter().filter(|name| name != "chat.delta").collect();
    let expected = [
        "chat.message_added", // the question
        "chat.message_added", // the system prompt
        "chat.started",
        "chat.finished",
        "chat.message_added",
        "tool.started",
        "tool.started",
        "tool.finished",
        "tool.finished",
        "chat.message_added",
        "chat.started",
        "chat.finished",
        "chat.message_added",
    ];
    assert_eq!(deltaless, expected);
    let finished: Vec<String> = stage
        .place
        .events(&job)
        .iter()
        .filter_map(|event| match &event.body {
            EventBody::ToolFinished(finished) => Some(finished.output.to_string()),
            EventBody::StepFinished(step) => Some(step.path.clone()),
            EventBody::JobCompleted(completed) => Some(completed.usage.prompt_tokens.to_string()),
            _ => None,
        })
        .collect();
    assert!(finished.iter().any(|text| text.contains("out\\n")), "{finished:?}");
    assert!(finished.iter().any(|text| text.contains("remember")), "{finished:?}");
    assert_eq!(finished[finished.len() - 2..], ["ask".to_owned(), "250".into()]);
    stage.place.check();
}

#[test]
fn without_a_model_the_agent_says_what_to_set() {
    let place = Place::start();
    let job = place.submit("local text, err = agent('x') return { code = err.code, message = err.message }");
    let result = place.result(&job);
    assert!(
        result.contains("\"no_model\"") && result.contains("[models.main]") && result.contains("moonlog.toml"),
        "{result}"
    );
}

#[test]
fn a_request_that_fails_for_a_while_is_made_again() {
    let stage = stage(json!([
        { "error": { "status": 429, "message": "slow down", "retry_after_ms": 20 } },
        { "error": { "status": 503, "retry_after_ms": 1 } },
        { "text": "there" },
        { "error": { "status": 400, "message": "never" } },
    ]));
    let script = "local text, info = agent('x') local next, err = agent('y', { session = info.session })
                  return { text, next or err.code, err.message }";
    let job = stage.place.submit(script);
    let result = stage.place.result(&job);
    assert!(result.starts_with(r#"["there","model_status","the model's server answered 400: never"]"#), "{result}");
    let retries: Vec<_> = stage
        .place
        .events(&job)
        .iter()
        .filter_map(|event| match &event.body {
            EventBody::ChatRetryScheduled(retry) => Some((retry.attempt, retry.wait_ms, retry.status)),
            _ => None,
        })
        .collect();
    assert_eq!(retries, [(1, 20, 429), (2, 1, 503)]);
    stage.place.check();
}

#[test]
fn an_answer_that_does_not_match_its_schema_is_sent_back() {
    let stage = stage(json!([{ "text": "one" }, { "text": "{\"n\": \"1\"}" }, { "text": "```json\n{\"n\": 1}\n```" }]));
    let schema = "{ type = 'object', properties = { n = { type = 'integer' } }, required = { 'n' } }";
    let result =
        stage.run(&format!("local value, info = agent('x', {{ schema = {schema} }}) return {{ value.n, info.turns }}"));
    assert_eq!(result, json!([1, 3]));
    let result = stage.run("local value, err = agent('x', { schema = { type = 'nonsense' } }) return err.code");
    assert_eq!(result, json!("invalid_schema"));
}

#[test]
fn a_mistaken_call_is_explained_to_the_model() {
    let stage = stage(json!([
        { "tool_calls": [{ "name": "read_fil", "input": { "path": "a" } }] },
        { "tool_calls": [{ "name": "read_file", "input": { "paht": "a" } }] },
        { "text": "done" },
    ]));
    let job = stage.place.submit("return (agent('x', { tools = { 'read_file', 'execute' } }))");
    stage.place.result(&job);
    let outputs: Vec<String> = stage
        .place
        .events(&job)
        .iter()
        .filter_map(|event| match &event.body {
            EventBody::ToolFinished(finished) => Some(finished.output.to_string()),
            _ => None,
        })
        .collect();
    assert!(outputs[0].contains("Did you mean read_file"), "{outputs:?}");
    assert!(outputs[1].contains("paht"), "{outputs:?}");
}

#[test]
fn a_server_killed_between_calls_runs_no_finished_call_again() {
    let stage = stage(json!([
        { "tool_calls": [
            { "name": "execute", "input": { "command": "echo ran >> log.txt" } },
            { "name": "execute", "input": { "command": "tail -f /dev/null", "timeout": "60s" } },
        ] },
        { "text": "done" },
    ]));
    let job = stage.place.submit("return (agent('x'))");
    stage.place.until_event(&job, "tool.finished");
    let Stage { place, folder } = stage;
    let place = place.kill(0);
    assert_eq!(place.result(&job), "\"done\"");
    let ran = std::fs::read_to_string(folder.path().join("log.txt"));
    assert_eq!(ran.unwrap_or_else(|error| panic!("{error}\n{}", place.listing())), "ran\n");
    let outcomes: Vec<StepOutcome> = place
        .events(&job)
        .iter()
        .filter_map(|event| match &event.body {
            EventBody::ToolFinished(finished) => Some(finished.outcome),
            EventBody::StepFinished(step) => Some(step.outcome),
            _ => None,
        })
        .collect();
    assert_eq!(outcomes, [StepOutcome::Ok, StepOutcome::Interrupted, StepOutcome::Interrupted, StepOutcome::Ok]);
    place.check();
}

#[test]
fn a_server_killed_while_the_model_answers_records_what_had_arrived() {
    let words = "word ".repeat(400);
    let stage = stage(json!([{ "text": words, "delay_ms": 5 }]));
    let job = stage.place.submit("return #agent('x')");
    stage.place.until_event(&job, "chat.delta");
    let Stage { place, folder } = stage;
    std::fs::write(folder.path().join("turns.json"), json!([{ "text": "short" }]).to_string()).unwrap();
    let place = place.kill(0);
    assert_eq!(place.result(&job), "5");
    let ends: Vec<(String, bool)> = place
        .events(&job)
        .iter()
        .filter_map(|event| match &event.body {
            EventBody::ChatFinished(finished) => {
                let arrived = finished.error.as_ref().and_then(|error| error.details.as_ref()).map(Json::to_string);
                Some((finished.finish_reason.clone(), arrived.is_some_and(|arrived| arrived.contains("word "))))
            }
            _ => None,
        })
        .collect();
    assert_eq!(ends, [("interrupted".into(), true), ("stop".into(), false)]);
    place.check();
}

#[test]
fn a_cancelled_job_leaves_no_turn_open() {
    let stage = stage(json!([{ "text": "word ".repeat(4_000), "delay_ms": 5 }]));
    let job = stage.place.submit("return (agent('x'))");
    stage.place.until_event(&job, "chat.delta");
    stage.place.cancel(&job);
    assert_eq!(stage.place.ended(&job).state, JobStatus::Cancelled);
    let last = names_of(&stage.place, &job, &["chat.finished", "step.finished", "job."]);
    assert_eq!(last[last.len() - 3..], ["chat.finished", "step.finished", "job.cancelled"]);
    stage.place.check();
}

#[test]
fn an_agent_s_time_is_limited_and_its_part_kept() {
    let stage = stage(json!([{ "text": "word ".repeat(4_000), "delay_ms": 5 }]));
    let result = stage.run("local text, err = agent('x', { timeout = '150ms' }) return err.code");
    assert_eq!(result, json!("timeout"));
}

#[test]
fn several_models_are_asked_side_by_side() {
    let stage = stage(json!([{ "text": "same" }]));
    let result = stage.run(
        "local results, infos = agent('x', { models = { 'main', 'fast', 'none' } })
        return { results.main, results.fast, infos.main.turns, infos.errors.none.code }",
    );
    assert_eq!(result, json!(["same", "same", 1, "unknown_model"]));
}

/// All that was said in a job's agents, by role, as JSON.
pub fn said(place: &Place, job: &JobId) -> Vec<(String, String)> {
    let added = |event: &Arc<moonlog_core::event::Event>| match &event.body {
        EventBody::ChatMessageAdded(added) => Some((added.role.clone(), added.parts.to_string())),
        _ => None,
    };
    place.events(job).iter().filter_map(added).collect()
}

#[test]
fn a_full_context_is_compacted_and_the_first_message_kept() {
    let call = |n: usize| json!({ "tool_calls": [{ "name": "execute", "input": { "command": format!("echo {n} {}", "x".repeat(400)) } }] });
    let mut turns: Vec<Value> = (0..6).map(call).collect();
    turns.push(json!({ "text": "done" }));
    let stage = stage_with(json!(turns), |options| {
        options.agents.models.models.get_mut("main").unwrap().context_tokens = 1_500;
    });
    let job = stage.place.submit("return (agent('the task', { tools = { 'execute' } }))");
    assert_eq!(stage.place.result(&job), "\"done\"");
    let compacted: Vec<_> = stage
        .place
        .events(&job)
        .iter()
        .filter_map(|event| match &event.body {
            EventBody::ChatCompacted(compacted) => {
                Some((compacted.tokens_before > compacted.tokens_after, compacted.messages_before))
            }
            _ => None,
        })
        .collect();
    assert!(!compacted.is_empty() && compacted.iter().all(|(smaller, count)| *smaller && *count >= 3), "{compacted:?}");
    stage.place.check();
}
