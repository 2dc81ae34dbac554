//! Children: begun once, found again, and cancelled with their parents.

use crate::place::Place;
use moonlog_core::{
    event::{EventBody, JobWaiting, StreamId},
    log::{Append, Expected, Log, LogOptions},
    projection::JobStatus,
    storage::MemoryStorage,
};
use std::sync::Arc;

/// What a log looks like that ends right behind the event `name` of a job.
fn cut_behind(place: &Place, is_last: impl Fn(&EventBody) -> bool) -> Arc<MemoryStorage> {
    let events = place.runner.log().read(0, 1_000_000).unwrap();
    let storage = Arc::new(MemoryStorage::new());
    let (log, _) = Log::open(storage.clone(), LogOptions::new(crate::place::now)).unwrap();
    for event in &events {
        if let EventBody::JobSubmitted(job) = &event.body {
            log.put_blob(place.runner.log().blob(&job.script_hash).unwrap().unwrap()).unwrap();
        }
        let new = moonlog_core::event::NewEvent {
            body: event.body.clone(),
            job: event.job,
            session: event.session,
            process: event.process,
            step: event.step.clone(),
            cause: event.cause.map(moonlog_core::event::Cause::At),
            origin: None,
        };
        log.append(Append::new(event.stream.clone(), Expected::Any, vec![new])).unwrap();
        if is_last(&event.body) {
            break;
        }
    }
    log.close();
    storage
}

#[test]
fn a_child_that_a_crash_kept_from_being_submitted_is_submitted_later() {
    let place = Place::start();
    let job = place.submit("return workflow('quick', {n = 7})");
    assert_eq!(place.result(&job), "7");
    // The wait for the child was recorded, the child was not.
    let storage = cut_behind(&place, |body| matches!(body, EventBody::StepStarted(_)));
    let (log, _) = Log::open(storage.clone(), LogOptions::new(crate::place::now)).unwrap();
    let waiting = JobWaiting {
        reason: moonlog_core::event::WaitKind::Child,
        step: Some("workflow".into()),
        name: None,
        title: None,
        until: None,
    };
    log.append(Append::new(StreamId::Job(job), Expected::Open, vec![EventBody::JobWaiting(waiting).into()])).unwrap();
    log.close();
    let place = place.over(storage);
    let view = place.ended(&job);
    assert_eq!(view.state, JobStatus::Completed, "{:?}\n{}", view.error, place.listing());
    assert_eq!(place.children(&job).len(), 1);
    place.check();
}

#[test]
fn no_child_outlives_its_parent() {
    let cases = [
        ("cancelled while it waits", "workflow('waits')", true),
        ("failed", "spawn(function() workflow('waits') end) sleep('50ms') error('no', 0)", false),
        ("failed at once", "spawn(function() workflow('waits') end) sleep(0) error('no', 0)", false),
        (
            "lost its branch",
            "parallel({function() workflow('waits') end, function() sleep('20ms') return 1 end}, {join = 'one_success'})",
            false,
        ),
        (
            "lost its branch at once",
            "parallel({function() workflow('waits') end, function() sleep(0) return 1 end}, {join = 'one_success'})",
            false,
        ),
        ("ran out of time", "pcall(step, 's', {timeout = '30ms'}, function() workflow('waits') end)", false),
    ];
    for evict in [0, 60_000] {
        let place = Place::with(move |options| options.idle_evict_ms = evict);
        for (what, source, cancel) in cases {
            for _ in 0..5 {
                let job = place.submit(source);
                if cancel {
                    place.until("a child", || (!place.children(&job).is_empty()).then_some(()));
                    place.cancel(&job);
                }
                place.ended(&job);
                for child in place.children(&job) {
                    let view = place.ended(&child);
                    assert_eq!(view.state, JobStatus::Cancelled, "{what}");
                }
            }
        }
        place.check();
    }
}

#[test]
fn a_child_whose_parent_was_closed_before_a_crash_is_cancelled() {
    let place = Place::start();
    let job = place.submit(
        "parallel({function() workflow('waits') end, function() wait_for('go') return 1 end}, {join = 'one_success'})
        wait_for('end')",
    );
    let child = place.until("a child", || place.children(&job).first().copied());
    place.until_status(&child, JobStatus::Waiting);
    place.signal(&job, "go", "1");
    place.ended(&child);
    // The branch is closed, the child does not know.
    let storage =
        cut_behind(&place, |body| matches!(body, EventBody::StepFinished(step) if step.path.ends_with("workflow")));
    let place = place.over(storage);
    assert_eq!(place.ended(&child).state, JobStatus::Cancelled);
    place.signal(&job, "end", "1");
    place.ended(&job);
    place.check();
}

#[test]
fn a_job_says_which_child_it_waits_for() {
    let place = Place::start();
    let job = place.submit("return workflow('waits')");
    place.until_status(&job, JobStatus::Waiting);
    let child = place.until("a child", || place.children(&job).first().copied());
    let name = place.runner.job(&job).unwrap().unwrap().waiting.as_ref().unwrap().name.clone();
    assert_eq!(name, Some(child.to_string()));
    place.signal(&child, "go", "1");
    assert_eq!(place.result(&job), "1");
}
