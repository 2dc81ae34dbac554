//! What a turn leaves in its session, and an agent behind it, however their job ends.

use crate::{
    agents::{Stage, stage},
    approvals::{asked, asking, decide, outcomes, session_with_tools},
    conversations::{chat, say, session, state, until_idle},
    place::Place,
};
use moonlog_core::{
    decide::Busy,
    event::{Decision, EventBody, ProcessOutcome, StepOutcome, StreamId},
    id::JobId,
    projection::JobStatus,
};
use serde_json::json;

/// Kills the server while this turn is under way, once `there` is. Afterwards it waits for its next attempt.
fn broken_off(stage: Stage, turn: &JobId, there: impl Fn(&Place) -> bool) -> Stage {
    stage.place.until("the middle of a turn", || there(&stage.place).then_some(()));
    let Stage { place, folder } = stage;
    let place = place.kill(0);
    place.until_event(turn, "step.retry_scheduled");
    Stage { place, folder }
}

/// A command is being run, and a person asked.
fn are_begun(place: &Place, job: &JobId) -> bool {
    place.count(job, "tool.approval_requested") == 1 && place.count(job, "tool.started") == 2
}

#[test]
fn a_broken_off_turn_that_is_cancelled_leaves_its_session_idle() {
    let stage = stage(json!([{ "text": "word ".repeat(400), "delay_ms": 5 }, { "text": "next" }]));
    let session = session(&stage.place);
    let turn = say(&stage.place, &session, "a", Busy::Queue).unwrap();
    let stage = broken_off(stage, &turn, |place| chat(place, &session).under_way.is_some());
    let place = &stage.place;
    place.cancel(&turn);
    assert_eq!(place.ended(&turn).state, JobStatus::Cancelled);
    until_idle(place, &session);
    let next = say(place, &session, "b", Busy::Reject).unwrap();
    place.ended(&next);
    place.check();
}

#[test]
fn a_message_is_dropped_with_the_turn_that_would_have_answered_it() {
    let stage = stage(json!([{ "text": "word ".repeat(400), "delay_ms": 5 }, { "text": "next" }]));
    let place = &stage.place;
    let session = session(place);
    let first = say(place, &session, "a", Busy::Queue).unwrap();
    place.until("the first turn", || chat(place, &session).under_way);
    let second = say(place, &session, "b", Busy::Queue).unwrap();
    place.cancel(&second);
    place.until("an empty queue", || chat(place, &session).queue.is_empty().then_some(()));
    place.block_on(place.runner.interrupt(&session)).unwrap();
    place.ended(&first);
    until_idle(place, &session);
    place.check();
}

#[test]
fn a_message_that_is_being_answered_is_changed_no_more() {
    let stage = stage(json!([{ "text": "word ".repeat(400), "delay_ms": 5 }]));
    let place = &stage.place;
    let session = session(place);
    let turn = say(place, &session, "a", Busy::Queue).unwrap();
    place.until("the turn", || state(place, &session).chat.busy);
    let changed = place.block_on(place.runner.change_queued(&session, &turn.to_string(), json!([]).into()));
    assert_eq!(changed.unwrap_err().code(), "message_said");
    place.block_on(place.runner.interrupt(&session)).unwrap();
    place.ended(&turn);
    assert!(chat(place, &session).queue.is_empty());
    place.check();
}

#[test]
fn a_question_that_outlives_a_crash_has_its_end_where_the_turn_is_interrupted() {
    let call = json!({ "name": "execute", "input": { "command": "tail -f /dev/null", "timeout": "60s" } });
    let question = json!({ "name": "ask_user", "input": { "question": "Which one?" } });
    let stage = asking(json!([{ "tool_calls": [call, question] }, { "text": "next" }]), |_| {});
    let session = session_with_tools(&stage.place);
    let turn = say(&stage.place, &session, "a", Busy::Queue).unwrap();
    let begun = |place: &Place| are_begun(place, &turn);
    let stage = broken_off(stage, &turn, begun);
    let place = &stage.place;
    place.block_on(place.runner.interrupt(&session)).unwrap();
    assert_eq!(place.result(&turn), "{\"interrupted\":true}");
    assert_eq!(outcomes(place, &turn), [StepOutcome::Interrupted; 2]);
    until_idle(place, &session);
    place.check();
}

#[test]
fn the_answer_to_a_question_that_outlives_a_crash_is_heard() {
    let call = json!({ "name": "execute", "input": { "command": "tail -f /dev/null", "timeout": "60s" } });
    let question = json!({ "name": "ask_user", "input": { "question": "Which one?" } });
    let stage = asking(json!([{ "tool_calls": [call, question] }, { "text": "next" }]), |_| {});
    let job = stage.place.submit("return (agent('x'))");
    let begun = |place: &Place| are_begun(place, &job);
    let mut stage = broken_off(stage, &job, begun);
    // And another one, while the second attempt waits for the answer.
    let ids = asked(&stage.place, &job, 1);
    let Stage { place, folder } = stage;
    stage = Stage { place: place.kill(0), folder };
    let place = &stage.place;
    assert_eq!(asked(place, &job, 1), ids);
    decide(place, &job, &ids[0], Decision::Approved, Some("b"));
    assert_eq!(place.result(&job), "\"next\"");
    assert_eq!(outcomes(place, &job), [StepOutcome::Interrupted, StepOutcome::Ok]);
    assert_eq!(place.count(&job, "step.started"), 2);
    place.check();
}

#[test]
fn what_an_agent_leaves_running_ends_with_its_job() {
    let call = json!({ "name": "execute", "input": { "command": "tail -f /dev/null", "run_in_background": true } });
    let stage = stage(json!([{ "tool_calls": [call] }, { "text": "done" }]));
    let place = &stage.place;
    let job = place.submit("return (agent('x'))");
    assert_eq!(place.result(&job), "\"done\"");
    let exited = place.until("the process's end", || {
        let all = place.runner.log().read(0, 10_000).unwrap();
        let mut ends = all.iter().filter(|event| matches!(event.stream, StreamId::Process(_)));
        ends.find_map(|event| match &event.body {
            EventBody::ProcessExited(exited) => Some(exited.clone()),
            _ => None,
        })
    });
    assert_eq!(exited.outcome, ProcessOutcome::Killed);
    place.check();
}

#[test]
fn a_woken_turn_hears_the_answer_that_it_waits_for() {
    let call = json!({ "name": "execute", "input": { "command": "true", "run_in_background": true, "wake": true } });
    let question = json!({ "name": "ask_user", "input": { "question": "Which one?" } });
    let turns =
        json!([{ "tool_calls": [call] }, { "text": "it runs" }, { "tool_calls": [question] }, { "text": "thanks" }]);
    let stage = asking(turns, |_| {});
    let place = &stage.place;
    let session = session_with_tools(place);
    place.ended(&say(place, &session, "a", Busy::Queue).unwrap());
    let woken = place.until("a woken turn that asks", || {
        place.runner.views().with(|all| all.approvals().first().map(|asked| asked.job))
    });
    let ids = asked(place, &woken, 1);
    decide(place, &woken, &ids[0], Decision::Approved, Some("b"));
    assert!(place.result(&woken).contains("\"text\":\"thanks\""), "{}", place.listing());
    assert_eq!(outcomes(place, &woken), [StepOutcome::Ok]);
    until_idle(place, &session);
    place.check();
}
