//! Given what happened, when a command comes, then these events follow, or this refusal.

use crate::given::*;
use moonlog_core::{
    decide::*,
    error_info::ErrorInfo,
    event::*,
    json::Json,
    projection::{JobState, Projection},
};

fn job(bodies: Vec<EventBody>) -> JobState {
    JobState::fold(stream(bodies)).unwrap()
}

/// The events' names, or the refusal's code.
fn outcome<E: Into<NewEvent>>(decided: Result<Vec<E>, Refusal>) -> String {
    match decided {
        Ok(events) => events.into_iter().map(|event| event.into().body.name()).collect::<Vec<_>>().join(" "),
        Err(refusal) => ErrorInfo::from(refusal).code,
    }
}

fn cancel_requested() -> EventBody {
    EventBody::JobCancelRequested(JobCancelRequested { reason: Some("first".into()) })
}

const SIGNALS: SignalLimits = SignalLimits { signals: 100, name_max_bytes: 256 };

#[test]
fn cancel() {
    let retried = EventBody::JobRetryScheduled(JobRetryScheduled {
        attempt: 1,
        wait_ms: 5,
        error: ErrorInfo::new("script_error", "boom"),
    });
    let cases = [
        ("queued", vec![submitted()], "job.cancel_requested job.cancelled"),
        ("queued for a retry", vec![submitted(), started(1, 1), retried], "job.cancel_requested job.cancelled"),
        ("running", vec![submitted(), started(1, 1)], "job.cancel_requested"),
        ("waiting", vec![submitted(), started(1, 1), waiting(WaitKind::Sleep)], "job.cancel_requested"),
        ("asked before", vec![submitted(), started(1, 1), cancel_requested()], ""),
        ("ended", vec![submitted(), started(1, 1), completed()], "job_ended"),
    ];
    for (what, given, then) in cases {
        assert_eq!(outcome(decide_cancel(&job(given), Some("why".into()))), then, "{what}");
    }
}

#[test]
fn cancel_of_a_queued_job_keeps_the_first_reason() {
    let events = decide_cancel(&job(vec![submitted(), cancel_requested()]), Some("second".into())).unwrap();
    assert_eq!(events, [EventBody::JobCancelled(JobCancelled { reason: Some("first".into()) }).into()]);
    let events = decide_cancel(&job(vec![submitted()]), None).unwrap();
    assert_eq!(events[1].cause, Some(Cause::Before(1)));
}

#[test]
fn signal() {
    let running = vec![submitted(), started(1, 1)];
    let with_key = vec![submitted(), signalled("go", Some("k"))];
    let cases = [
        ("queued", vec![submitted()], "go", None, "job.signalled"),
        ("running", running.clone(), "go", Some("k"), "job.signalled"),
        ("same key", with_key.clone(), "go", Some("k"), ""),
        ("other key", with_key.clone(), "go", Some("l"), "job.signalled"),
        ("same key, other name", with_key.clone(), "stop", Some("k"), "idempotency_key_reused"),
        ("same key, ended", [with_key.clone(), vec![completed()]].concat(), "go", Some("k"), ""),
        (
            "same key, other name, ended",
            [with_key.clone(), vec![completed()]].concat(),
            "stop",
            Some("k"),
            "idempotency_key_reused",
        ),
        ("other key, ended", [with_key.clone(), vec![completed()]].concat(), "go", Some("l"), "job_ended"),
        ("no name", running.clone(), "", None, "invalid_request"),
        ("ended", vec![submitted(), started(1, 1), completed()], "go", None, "job_ended"),
    ];
    for (what, given, name, key, then) in cases {
        let decided = decide_signal(&job(given), name, Json::null(), key.map(Into::into), SIGNALS);
        assert_eq!(outcome(decided), then, "{what}");
    }
    let other = decide_signal(&job(with_key), "go", Json::of(&1), Some("k".into()), SIGNALS);
    assert_eq!(outcome(other), "idempotency_key_reused", "another payload");
    let many = job([vec![submitted()], vec![signalled("go", None); SIGNALS.signals]].concat());
    assert_eq!(outcome(decide_signal(&many, "go", Json::null(), None, SIGNALS)), "too_many_signals");
    let long = "n".repeat(257);
    assert_eq!(outcome(decide_signal(&job(running), &long, Json::null(), None, SIGNALS)), "invalid_request");
}

#[test]
fn approval() {
    let asked = vec![submitted(), started(1, 1), step("a", "approve", 1, "{}"), approval_requested("a")];
    let with = |more: &[EventBody]| [asked.clone(), more.to_vec()].concat();
    let cases = [
        ("open", with(&[]), "tool.approval_decided"),
        ("decided", with(&[approval_decided("a")]), "already_decided"),
        ("decided and taken", with(&[approval_decided("a"), finished("a", 1, StepOutcome::Ok)]), "already_decided"),
        ("its time is over", with(&[finished("a", 1, StepOutcome::Ok)]), "already_decided"),
        ("asked again", with(&[finished("a", 1, StepOutcome::Ok), approval_requested("a")]), "tool.approval_decided"),
        ("never asked", vec![submitted(), started(1, 1)], "no_such_approval"),
        ("ended", with(&[finished("a", 1, StepOutcome::Ok), completed()]), "job_ended"),
    ];
    for (what, given, then) in cases {
        let decided = decide_approval(&job(given), "a", Decision::Denied, None, None);
        let bodies = decided.map(|events| events.into_iter().map(|event| event.body).collect());
        assert_eq!(outcome(bodies), then, "{what}");
    }
}

#[test]
fn queues() {
    let paused = EventBody::QueuePaused(QueueChanged { queue: "q".into() });
    let mut all = Projection::new();
    assert_eq!(decide_resume(all.queues(), "q"), []);
    assert_eq!(decide_pause(all.queues(), "q"), std::slice::from_ref(&paused));
    for event in sequence([(StreamId::System, vec![paused.into()])]) {
        all.apply(&event);
    }
    assert_eq!(decide_pause(all.queues(), "q"), []);
    assert_eq!(decide_resume(all.queues(), "q"), [EventBody::QueueResumed(QueueChanged { queue: "q".into() })]);
}

#[test]
fn retry_is_a_new_job_that_takes_over_results() {
    let mut first = submission();
    first.idempotency_key = Some("k".into());
    first.parent = Some(ParentRef { job: job_id(9), step: "w".into() });
    let ended = job(vec![EventBody::JobSubmitted(first.into()), started(1, 1), completed()]);
    let again = decide_retry(&ended, 77).unwrap();
    assert_eq!((again.resume_from, again.seed), (Some(job_id(1)), 77));
    assert_eq!((again.idempotency_key, again.parent), (None, None));
    assert_eq!(again.args, submission().args);
    assert!(matches!(decide_retry(&job(vec![submitted()]), 1), Err(Refusal::NotEnded { .. })));
}

#[test]
fn steps_close_from_the_inside() {
    let state = job(vec![
        submitted(),
        started(1, 1),
        step("outer", "step", 1, "{}"),
        step("outer@1/inner", "exec", 1, "{}"),
        step("other", "sleep", 1, "{}"),
        finished("other", 1, StepOutcome::Error),
        retry("other", 1, 5),
    ]);
    let closed = close_steps(&state, StepOutcome::Cancelled, None, at(9_000));
    let paths: Vec<_> = closed.iter().map(|event| event.step.as_deref().unwrap()).collect();
    assert_eq!(paths, ["outer@1/inner", "outer"], "an attempt that has its finish gets no second one");
    let EventBody::StepFinished(finished) = &closed[0].body else { panic!() };
    assert_eq!((finished.outcome, finished.latency_ms), (StepOutcome::Cancelled, 5_000));
}
