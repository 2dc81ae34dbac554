//! The journal by itself: what may be offered, and in which order things are given.

use super::*;
use crate::{
    event::{Event, EventBody, JobLogged, NewEvent, StepFinished, StepOutcome, StepStarted, StreamId},
    id::{Hash, JobId},
    json::Json,
    time::Timestamp,
};
use std::sync::Arc;

fn started(path: &str, kind: &str) -> EventBody {
    EventBody::StepStarted(StepStarted {
        run: 1,
        path: path.into(),
        name: path.into(),
        kind: kind.into(),
        spec_hash: Hash::ZERO,
        attempt: 1,
        input: Json::null(),
    })
}

fn finished(path: &str, outcome: StepOutcome) -> EventBody {
    EventBody::StepFinished(StepFinished {
        run: 1,
        path: path.into(),
        attempt: 1,
        outcome,
        output: None,
        error: None,
        latency_ms: 0,
        cached: false,
        cached_from: None,
        tokens_spent: None,
    })
}

fn journal(bodies: &[EventBody]) -> Journal {
    let event = |(index, body): (usize, &EventBody)| {
        let NewEvent { body, step, .. } = NewEvent::from(body.clone());
        let position = index as u64 + 1;
        Arc::new(Event {
            position,
            stream: StreamId::Job(JobId::from_bytes([1; 16])),
            version: position,
            time: Timestamp::from_micros(position as i64),
            job: None,
            session: None,
            process: None,
            step,
            cause: None,
            origin: None,
            body,
            blob: None,
        })
    };
    Journal::new(1, &bodies.iter().enumerate().map(event).collect::<Vec<_>>())
}

fn log(message: &str) -> EventBody {
    EventBody::JobLogged(JobLogged { level: "info".into(), message: message.into() })
}

#[test]
fn what_the_script_does_is_matched_in_order_and_then_new() {
    let mut journal = journal(&[started("a", "exec"), log("x")]);
    assert!(matches!(journal.offer(&log("x")), Offer::Other(entry) if entry.event.position == 1));
    assert!(matches!(journal.offer(&started("a", "exec")), Offer::Matched));
    assert!(matches!(journal.offer(&log("x")), Offer::Matched));
    assert!(journal.is_over());
    assert!(matches!(journal.offer(&log("x")), Offer::New));
}

#[test]
fn a_delivery_that_was_appended_early_waits_for_the_script() {
    let mut journal = journal(&[started("a", "exec"), finished("a", StepOutcome::Ok), log("after")]);
    assert!(matches!(journal.offer(&started("a", "exec")), Offer::Matched));
    assert!(matches!(journal.offer(&log("after")), Offer::Matched));
    assert!(matches!(journal.take_delivery(), Some(Delivery::Finished { event, .. }) if event.path == "a"));
    assert!(journal.is_over());
}

#[test]
fn a_recorded_step_stands_for_what_is_inside() {
    let mut journal = journal(&[
        started("s", "step"),
        started("s@1/x", "exec"),
        finished("s@1/x", StepOutcome::Ok),
        finished("s", StepOutcome::Ok),
    ]);
    assert!(matches!(journal.offer(&started("s", "step")), Offer::Matched));
    assert!(journal.skip_recorded("s", 1));
    assert_eq!(journal.next_code_finish(), Some(("s", 1)));
    let recorded = journal.take_code_finish();
    assert!(recorded.is_some_and(|recorded| recorded.last && recorded.now == Some(Timestamp::from_micros(3))));
}

#[test]
fn what_is_closed_at_an_end_from_outside_is_not_delivered() {
    let cancelled = EventBody::JobCancelled(crate::event::JobCancelled { reason: None });
    let mut journal = journal(&[started("a", "sleep"), finished("a", StepOutcome::Cancelled), cancelled]);
    assert!(matches!(journal.offer(&started("a", "sleep")), Offer::Matched));
    assert!(journal.take_delivery().is_none());
    assert_eq!(journal.peek().map(|entry| entry.role), Some(Role::Closing));
}

#[test]
fn keys_are_the_same_for_every_attempt() {
    let job = JobId::from_bytes([1; 16]);
    let key = |run, path| idempotency_key(&job, run, path);
    let shown = |path| operation_key(&job, 1, path, "http");
    assert_eq!([shown("a/pay@1/http"), shown("a/pay@2/http")], [key(1, "a/pay"), key(1, "a/pay")]);
    for path in ["http", "a/http", "pay@1/http:2", "pay@1/b/http", "pay@1/other"] {
        assert_eq!(shown(path), key(1, path), "{path}");
    }
    assert_eq!(key(1, "s@1/http"), key(1, "s@2/http"));
    assert_ne!(key(1, "s@1/http"), key(2, "s@1/http"));
    assert_ne!(key(1, "s/http"), key(1, "s/http:2"));
    assert_eq!(key(1, "s").len(), 32);
}
