//! Interrupting a turn whose calls a person is asked about.

use crate::{
    approvals::{asked, asking, decide, outcomes, removing, session_with_tools},
    conversations::{chat, say, until_idle},
    place::Place,
};
use moonlog_core::{
    decide::Busy,
    event::{Decision, EventBody, StepOutcome, StreamId, ToolApprovalDecided},
    id::JobId,
    projection::JobStatus,
};
use serde_json::{Value, json};

/// How many turns are interrupted in the moment in which they come to wait.
const MOMENTS: usize = 150;

fn question() -> Value {
    json!([{ "tool_calls": [{ "name": "ask_user", "input": { "question": "Which one?" } }] }, { "text": "next" }])
}

/// A call that goes on and on, and another one.
fn two_calls(other: &str) -> Value {
    let call = |command: &str| json!({ "name": "execute", "input": { "command": command, "timeout": "60s" } });
    json!([{ "tool_calls": [call("tail -f /dev/null"), call(other)] }, { "text": "done" }])
}

fn decisions(place: &Place, job: &JobId) -> Vec<ToolApprovalDecided> {
    let decided = |event: &std::sync::Arc<moonlog_core::event::Event>| match &event.body {
        EventBody::ToolApprovalDecided(decided) => Some(decided.clone()),
        _ => None,
    };
    place.events(job).iter().filter_map(decided).collect()
}

#[test]
fn an_interrupt_reaches_an_agent_that_is_about_to_wait() {
    for (turns, ended) in [(question(), 1), (removing(&["x"]), 0)] {
        let stage = asking(turns, |_| {});
        let place = &stage.place;
        for _ in 0..MOMENTS {
            let session = session_with_tools(place);
            let turn = say(place, &session, "a", Busy::Queue).unwrap();
            place.block_on(async {
                let log = place.runner.log();
                let mut changes = log.watch_stream(&StreamId::Job(turn));
                let mut version = 0;
                'asked: loop {
                    for event in log.read_stream(&StreamId::Job(turn), version, 64).unwrap() {
                        version = event.version;
                        if event.body.name() == "tool.approval_requested" {
                            break 'asked;
                        }
                    }
                    changes.changed().await.unwrap();
                }
                place.runner.interrupt(&session).await.unwrap();
            });
            assert_eq!(place.result(&turn), "{\"interrupted\":true}");
            until_idle(place, &session);
            let view = chat(place, &session);
            assert!(view.approvals.is_empty(), "{:?}", view.approvals);
            assert!(place.runner.job(&turn).unwrap().unwrap().open_approvals().next().is_none());
            assert_eq!(decisions(place, &turn).len(), 1, "{}", place.listing());
            assert_eq!(outcomes(place, &turn), vec![StepOutcome::Interrupted; ended]);
        }
        place.check();
    }
}

#[test]
fn an_interrupt_reaches_an_agent_that_comes_back_from_its_wait() {
    let call = json!({ "name": "execute", "input": { "command": "rm -f x; tail -f /dev/null", "timeout": "60s" } });
    let stage = asking(json!([{ "tool_calls": [call] }, { "text": "done" }]), |_| {});
    let place = &stage.place;
    for _ in 0..MOMENTS / 3 {
        let session = session_with_tools(place);
        let turn = say(place, &session, "a", Busy::Queue).unwrap();
        let asked = asked(place, &turn, 1);
        decide(place, &turn, &asked[0], Decision::Approved, None);
        place.block_on(place.runner.interrupt(&session)).unwrap();
        assert_eq!(place.result(&turn), "{\"interrupted\":true}");
        until_idle(place, &session);
    }
    place.check();
}

#[test]
fn nobody_is_asked_any_more_about_a_call_of_a_turn_that_was_interrupted() {
    let stage = asking(two_calls("rm -f x"), |_| {});
    let place = &stage.place;
    let session = session_with_tools(place);
    let turn = say(place, &session, "a", Busy::Queue).unwrap();
    // The other call is at work, so the agent has not left.
    place.until_event(&turn, "tool.approval_requested");
    place.until_event(&turn, "tool.started");
    place.block_on(place.runner.interrupt(&session)).unwrap();
    assert_eq!(place.result(&turn), "{\"interrupted\":true}");
    until_idle(place, &session);
    let decided = decisions(place, &turn);
    assert_eq!(decided.len(), 1, "{}", place.listing());
    assert_eq!((decided[0].decision, decided[0].by.as_deref()), (Decision::Denied, None));
    assert_eq!(decided[0].note.as_deref(), Some("the turn was interrupted"));
    assert!(chat(place, &session).approvals.is_empty());
    place.check();
}

#[test]
fn a_call_that_was_approved_is_not_decided_about_again_when_its_job_is_cancelled() {
    // The other call is at work, so the agent hears of the decision itself.
    let stage = asking(two_calls("rm -f x; tail -f /dev/null"), |_| {});
    let place = &stage.place;
    let job = place.submit("return (agent('x'))");
    place.until_event(&job, "tool.approval_requested");
    decide(place, &job, "call_1_2", Decision::Approved, None);
    place.until("both calls", || (place.count(&job, "tool.started") == 2).then_some(()));
    place.cancel(&job);
    assert_eq!(place.ended(&job).state, JobStatus::Cancelled);
    let decided: Vec<Decision> = decisions(place, &job).iter().map(|decided| decided.decision).collect();
    assert_eq!(decided, [Decision::Approved], "{}", place.listing());
    assert_eq!(outcomes(place, &job), [StepOutcome::Cancelled; 2]);
    place.check();
}
