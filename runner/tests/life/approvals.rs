//! Calls that a person has to approve, and questions: what waits for them holds no place, survives everything, and is
//! decided by itself when its time, which counts from the question, is up.

use crate::{
    agents::{Stage, models, said, stage_with},
    conversations::{chat, say, until_idle},
    place::Place,
};
use moonlog_core::{
    decide::{Busy, CreateSession},
    event::{Decision, EventBody, StepOutcome, WaitKind},
    id::{JobId, SessionId},
    json::Json,
    projection::{ChatStatus, JobStatus},
};
use moonlog_runner::{RunnerOptions, tool::Rule};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

pub fn asking(turns: Value, change: impl Fn(&mut RunnerOptions) + 'static) -> Stage {
    stage_with(turns, move |options| {
        options.idle_evict_ms = 0;
        options.tools.policy.ask = vec![Rule::parse("execute:rm *").unwrap()];
        change(options);
    })
}

pub fn removing(names: &[&str]) -> Value {
    let call = |name: &&str| json!({ "name": "execute", "input": { "command": format!("rm -f {name}") } });
    json!([{ "tool_calls": names.iter().map(call).collect::<Vec<_>>() }, { "text": "done" }])
}

/// The open questions of a job, when it waits for them.
pub fn asked(place: &Place, job: &JobId, count: usize) -> Vec<String> {
    place.until("the job to wait for a person", || {
        let state = place.runner.job(job).unwrap()?;
        // Calls of one turn ask at once, in any order.
        let mut open: Vec<String> = state.open_approvals().map(|open| open.id).collect();
        open.sort();
        let waiting = state.waiting.as_ref().filter(|waiting| waiting.reason == WaitKind::Approval)?;
        assert!(waiting.until.is_some() && waiting.name.is_some(), "{waiting:?}");
        (open.len() == count && state.status == JobStatus::Waiting).then_some(open)
    })
}

pub fn decide(place: &Place, job: &JobId, id: &str, decision: Decision, note: Option<&str>) {
    let note = note.map(str::to_owned);
    place.block_on(place.runner.decide(job, id, decision, Some("me".into()), note)).unwrap();
}

pub fn outcomes(place: &Place, job: &JobId) -> Vec<StepOutcome> {
    let outcome = |event: &std::sync::Arc<moonlog_core::event::Event>| match &event.body {
        EventBody::ToolFinished(finished) => Some(finished.outcome),
        _ => None,
    };
    place.events(job).iter().filter_map(outcome).collect()
}

#[test]
fn an_agent_that_waits_for_approval_gives_its_place_back() {
    let stage = asking(removing(&["x"]), |options| options.concurrency = 1);
    let place = &stage.place;
    for decision in [Decision::Approved, Decision::Denied] {
        let job = place.submit("return (agent('x'))");
        let ids = asked(place, &job, 1);
        // The one place there is is free meanwhile.
        assert_eq!(place.result(&place.submit("return 1")), "1");
        decide(place, &job, &ids[0], decision, None);
        assert_eq!(place.result(&job), "\"done\"");
        let expected = if decision == Decision::Approved { StepOutcome::Ok } else { StepOutcome::Error };
        assert_eq!(outcomes(place, &job), [expected]);
        assert_eq!((place.count(&job, "step.started"), place.count(&job, "tool.approval_requested")), (1, 1));
        assert_eq!((place.count(&job, "job.waiting"), place.count(&job, "job.resumed")), (1, 1));
    }
    place.check();
}

#[test]
fn of_several_calls_those_go_on_that_are_decided() {
    let mut turns = removing(&["x", "y"]);
    turns[0]["tool_calls"]
        .as_array_mut()
        .unwrap()
        .push(json!({ "name": "execute", "input": { "command": "echo by" } }));
    let stage = asking(turns, |_| {});
    let place = &stage.place;
    std::fs::write(stage.folder.path().join("x"), "").unwrap();
    std::fs::write(stage.folder.path().join("y"), "").unwrap();
    let job = place.submit("return (agent('x'))");
    let ids = asked(place, &job, 2);
    assert_eq!(outcomes(place, &job), [StepOutcome::Ok], "the third needs nobody");
    decide(place, &job, &ids[1], Decision::Approved, None);
    place.until("the approved call", || (outcomes(place, &job).len() == 2).then_some(()));
    assert_eq!((asked(place, &job, 1), stage.folder.path().join("y").exists()), (vec![ids[0].clone()], false));
    decide(place, &job, &ids[0], Decision::Denied, Some("keep it"));
    assert_eq!(place.result(&job), "\"done\"");
    assert!(stage.folder.path().join("x").exists());
    let all = said(place, &job);
    assert!(all.iter().any(|(role, text)| role == "tool" && text.contains("keep it")), "{all:?}");
    assert_eq!(place.count(&job, "tool.approval_requested"), 2);
    place.check();
}

#[test]
fn what_waits_for_a_person_survives_a_crash_with_no_new_attempt() {
    let question = json!([
        { "tool_calls": [{ "name": "ask_user", "input": { "question": "Which one?", "options": ["a", "b"] } }],
          "usage": { "prompt_tokens": 40, "completion_tokens": 2 } },
        { "text": "thanks", "usage": { "prompt_tokens": 50, "completion_tokens": 8 } },
    ]);
    for (turns, note, output) in [(question, Some("b"), "\"answer\":\"b\""), (removing(&["x"]), None, "exit_code")] {
        for kills in [1, 2] {
            let mut stage = asking(turns.clone(), |_| {});
            let job = stage
                .place
                .submit("local text, info = agent('x') return { text, info.usage.prompt_tokens, info.turns }");
            let ids = asked(&stage.place, &job, 1);
            for _ in 0..kills {
                let Stage { place, folder } = stage;
                stage = Stage { place: place.kill(0), folder };
                assert_eq!(asked(&stage.place, &job, 1), ids);
            }
            let place = &stage.place;
            decide(place, &job, &ids[0], Decision::Approved, note);
            let result = place.result(&job);
            if note.is_some() {
                assert_eq!(result, "[\"thanks\",90,2]");
            }
            let all = said(place, &job);
            assert!(all.iter().any(|(role, text)| role == "tool" && text.contains(output)), "{all:?}");
            for (name, count) in [
                ("step.started", 1),
                ("step.finished", 1),
                ("tool.approval_requested", 1),
                ("tool.approval_decided", 1),
                ("tool.started", 1),
                ("tool.finished", 1),
            ] {
                assert_eq!(place.count(&job, name), count, "{name}\n{}", place.listing());
            }
            place.check();
        }
    }
}

#[test]
fn a_decision_that_comes_while_no_server_runs_counts_at_the_next_start() {
    let stage = asking(removing(&["x"]), |_| {});
    let job = stage.place.submit("return (agent('x'))");
    let ids = asked(&stage.place, &job, 1);
    // Nothing of the job's may go on before the crash.
    let Stage { place, folder: _folder } = stage;
    decide(&place, &job, &ids[0], Decision::Approved, None);
    let place = place.kill(1_000);
    assert_eq!(place.result(&job), "\"done\"");
    place.check();
}

#[test]
fn the_time_for_an_answer_counts_from_the_question_over_a_restart() {
    let timeout = Duration::from_millis(1_500);
    let stage = asking(removing(&["x"]), move |options| {
        options.agents.approvals.timeout = timeout;
        options.agents.approvals.default = false;
    });
    let begun = Instant::now();
    let jobs = [
        stage.place.submit("return (agent('x'))"),
        // A script's own call has the same time.
        stage.place.submit("local out, err = tool('execute', { command = 'rm -f x' }) return err.code"),
    ];
    let dues: Vec<_> = jobs
        .iter()
        .map(|job| {
            asked(&stage.place, job, 1);
            let state = stage.place.runner.job(job).unwrap().unwrap();
            let open = state.open_approvals().next().unwrap();
            let until = state.waiting.as_ref().unwrap().until.unwrap();
            assert_eq!(until, open.requested_at.plus_ms(1_500));
            until
        })
        .collect();
    let Stage { place, folder: _folder } = stage;
    let place = place.kill(0);
    assert_eq!([place.result(&jobs[0]), place.result(&jobs[1])], ["\"done\"", "\"denied\""]);
    assert!(begun.elapsed() >= timeout);
    for (job, due) in jobs.iter().zip(dues) {
        let decided = place.events(job).into_iter().find(|event| event.body.name() == "tool.approval_decided").unwrap();
        // Of the second server's wait, only what was left of the time.
        assert!(decided.time >= due && decided.time < due.plus_ms(1_400), "{:?} {due:?}", decided.time);
        assert!(decided.body.data_json().contains("by default"));
    }
    place.check();
}

#[test]
fn a_job_that_waits_for_a_person_can_be_cancelled_and_its_turn_interrupted() {
    let question = json!([
        { "tool_calls": [{ "name": "ask_user", "input": { "question": "Which one?" } }] },
        { "text": "next" },
    ]);
    let stage = asking(question, |_| {});
    let place = &stage.place;
    let job = place.submit("return (agent('x'))");
    asked(place, &job, 1);
    place.cancel(&job);
    assert_eq!(place.ended(&job).state, JobStatus::Cancelled);
    assert_eq!(outcomes(place, &job), [StepOutcome::Cancelled]);

    let session = session_with_tools(place);
    for kills in [false, true] {
        let turn = say(place, &session, "a", Busy::Queue).unwrap();
        asked(place, &turn, 1);
        let view = chat(place, &session);
        assert_eq!((view.chat_status, view.approvals.len(), view.pending_calls.len()), (ChatStatus::Waiting, 1, 1));
        if kills {
            break;
        }
        place.block_on(place.runner.interrupt(&session)).unwrap();
        assert_eq!(place.result(&turn), "{\"interrupted\":true}");
        until_idle(place, &session);
        // The next turn of the file is an answer: play the question once more.
        std::fs::write(
            stage.folder.path().join("turns.json"),
            json!([{ "text": "" }, { "tool_calls": [{ "name": "ask_user", "input": { "question": "Again?" } }] }, { "text": "next" }])
                .to_string(),
        )
        .unwrap();
    }
    let turn = chat(place, &session).turn_job.unwrap();
    let Stage { place, folder: _folder } = stage;
    let place = place.kill(0);
    asked(&place, &turn, 1);
    let next = say(&place, &session, "b", Busy::Interrupt).unwrap();
    assert_eq!(place.result(&turn), "{\"interrupted\":true}");
    assert!(place.result(&next).contains("next"));
    place.check();
}

/// A session whose agent has all tools.
pub fn session_with_tools(place: &Place) -> SessionId {
    let create = CreateSession { agent: Json::from(json!({ "model": "main" })), ..CreateSession::default() };
    place.block_on(place.runner.create_session(create, None)).unwrap().id
}

#[test]
fn ids_of_calls_are_unique_in_a_job() {
    // A scripted model counts the turns of its conversation, and so gives two agents the same ids.
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("turns.json");
    std::fs::write(&file, removing(&["x"]).to_string()).unwrap();
    let place = Place::with(move |options| {
        options.idle_evict_ms = 0;
        options.agents.models = models(file.clone());
        options.tools.policy.ask = vec![Rule::parse("execute:rm *").unwrap()];
    });
    let script =
        "local done = parallel { a = function() return (agent('x')) end, b = function() return (agent('y')) end }
        return { done.a, done.b }";
    let job = place.submit(script);
    let ids = asked(&place, &job, 2);
    assert_ne!(ids[0], ids[1]);
    let place = place.kill(0);
    assert_eq!(asked(&place, &job, 2).len(), 2);
    decide(&place, &job, &ids[0], Decision::Approved, None);
    decide(&place, &job, &ids[1], Decision::Denied, None);
    assert_eq!(place.result(&job), r#"["done","done"]"#);
    let mut ends = outcomes(&place, &job);
    ends.sort_by_key(|outcome| *outcome == StepOutcome::Error);
    assert_eq!(ends, [StepOutcome::Ok, StepOutcome::Error]);
    place.check();
}

#[test]
fn a_call_that_was_approved_and_had_begun_is_interrupted_by_a_crash() {
    let turns = json!([
        { "tool_calls": [{ "name": "execute", "input": { "command": "rm -f x; tail -f /dev/null", "timeout": "60s" } }] },
        { "text": "done" },
    ]);
    let stage = asking(turns, |_| {});
    let job = stage.place.submit("return (agent('x'))");
    let ids = asked(&stage.place, &job, 1);
    decide(&stage.place, &job, &ids[0], Decision::Approved, None);
    stage.place.until_event(&job, "tool.started");
    let Stage { place, folder: _folder } = stage;
    let place = place.kill(1_000);
    assert_eq!(place.result(&job), "\"done\"");
    // What had begun has its end, and is neither asked about nor made again.
    assert_eq!(outcomes(&place, &job), [StepOutcome::Interrupted]);
    for (name, count) in [("tool.started", 1), ("tool.approval_requested", 1), ("step.started", 2)] {
        assert_eq!(place.count(&job, name), count, "{name}\n{}", place.listing());
    }
    place.check();
}

#[test]
fn an_agent_that_cannot_go_on_after_its_answer_leaves_no_half_pair() {
    let asks = json!({ "tool_calls": [{ "name": "ask_user", "input": { "question": "Which one?" } }],
        "usage": { "prompt_tokens": 10, "completion_tokens": 0 } });
    let stage = asking(json!([asks, { "text": "never said" }]), |_| {});
    let place = &stage.place;
    // The other branch uses up what there is while this one waits.
    let script = "local out, errors = parallel {
            a = function() return (agent('x')) end,
            b = function() wait_for('go') return (agent('y', { tools = { 'ask_user' } })) end,
        }
        return { errors.a and errors.a.code, errors.b and errors.b.code }";
    let job = place.submit_with(script, |submit| submit.budget_tokens = Some(15));
    let first = asked(place, &job, 1);
    place.signal(&job, "go", "1");
    let both = asked(place, &job, 2);
    decide(place, &job, &first[0], Decision::Approved, Some("a"));
    let other = both.iter().find(|id| **id != first[0]).unwrap();
    place.until("the first to end", || (place.count(&job, "tool.finished") >= 1).then_some(()));
    decide(place, &job, other, Decision::Approved, Some("b"));
    assert_eq!(place.result(&job), r#"["budget_exhausted","budget_exhausted"]"#);
    assert_eq!((place.count(&job, "tool.started"), place.count(&job, "tool.finished")), (2, 2), "{}", place.listing());
    place.check();
}
