//! Queues, priorities, keys and times.

use crate::place::Place;
use moonlog_core::{event::EventBody, id::JobId, projection::JobStatus};
use moonlog_runner::{QueueOptions, Submit};

/// The jobs in the order in which they were started.
fn order(place: &Place) -> Vec<JobId> {
    let events = place.runner.log().read(0, 1_000_000).unwrap();
    events.iter().filter(|event| matches!(event.body, EventBody::JobStarted(_))).filter_map(|event| event.job).collect()
}

#[test]
fn one_job_of_a_key_runs_at_a_time() {
    let place = Place::start();
    let keyed = |submit: &mut Submit| submit.concurrency_key = Some("k".into());
    let jobs: Vec<_> = (0..10).map(|_| place.submit_with("sleep('5ms') return 1", keyed)).collect();
    let dropped = jobs[4];
    let _ = place.block_on(place.runner.cancel(&dropped, None));
    for job in &jobs {
        place.ended(job);
    }
    let (mut running, mut most) = (0, 0);
    for event in place.runner.log().read(0, 1_000_000).unwrap() {
        match &event.body {
            EventBody::JobStarted(_) => running += 1,
            body if body.is_terminal() && event.job != Some(dropped) => running -= 1,
            _ => {}
        }
        most = most.max(running);
    }
    assert!(most <= 1 + usize::from(order(&place).contains(&dropped)), "{}", place.listing());
    place.check();
}

#[test]
fn a_key_is_free_again_however_its_holder_ends() {
    let place = Place::start();
    let keyed = |submit: &mut Submit| submit.concurrency_key = Some("k".into());
    for (what, source) in [("returns", "return 1"), ("fails", "error('no')"), ("is cancelled", "wait_for('never')")] {
        let first = place.submit_with(source, keyed);
        let cancelled = place.submit_with("return 1", keyed);
        let last = place.submit_with("return 1", keyed);
        if what == "is cancelled" {
            place.until_status(&first, JobStatus::Waiting);
            place.cancel(&cancelled);
            place.cancel(&first);
        }
        place.ended(&first);
        assert_eq!(place.result(&last), "1", "{what}");
    }
    place.check();
}

#[test]
fn a_key_is_kept_over_a_kill() {
    let place = Place::start();
    let keyed = |submit: &mut Submit| submit.concurrency_key = Some("k".into());
    let first = place.submit_with("return wait_for('go')", keyed);
    place.until_status(&first, JobStatus::Waiting);
    let second = place.submit_with("return 2", keyed);
    let place = place.kill(0);
    let other = place.submit("return 3");
    place.result(&other);
    assert_eq!(place.status(&second), JobStatus::Queued);
    place.signal(&first, "go", "1");
    assert_eq!(place.result(&second), "2");
    place.check();
}

#[test]
fn turns_go_by_priority_then_by_age_in_a_paused_queue_and_behind_a_time() {
    let place = Place::with(|options| {
        options.queues.insert("one".into(), QueueOptions { concurrency: 1, capacity: 100, ..QueueOptions::default() });
    });
    place.block_on(place.runner.pause_queue("one")).unwrap();
    let soon = crate::place::now().plus_ms(50);
    let priorities = [0, 5, -1, 5, 9];
    let jobs: Vec<_> = priorities
        .iter()
        .map(|priority| {
            place.submit_with("sleep('1ms') return 1", |submit| {
                submit.queue = Some("one".into());
                submit.priority = *priority;
                // The first in turn is due only when the queue has long been paused.
                submit.run_at = (*priority == 9).then_some(soon);
            })
        })
        .collect();
    place.until("its time", || (crate::place::now() > soon.plus_ms(50)).then_some(()));
    let place = place.kill(0);
    place.block_on(place.runner.resume_queue("one")).unwrap();
    for job in &jobs {
        place.result(job);
    }
    // A job that naps gives its place to the next: only the starts are in turn.
    assert_eq!(order(&place), [jobs[4], jobs[1], jobs[3], jobs[0], jobs[2]]);
    place.check();
}

#[test]
fn a_paused_queue_lets_what_it_began_go_on() {
    let place = Place::with(|options| options.idle_evict_ms = 0);
    let job = place.submit("wait_for('a') wait_for('b') return 1");
    place.until_status(&job, JobStatus::Waiting);
    place.block_on(place.runner.pause_queue("default")).unwrap();
    let queued = place.submit("return 2");
    place.signal(&job, "a", "1");
    let place = place.restart();
    place.signal(&job, "b", "1");
    assert_eq!(place.result(&job), "1");
    assert_eq!(place.status(&queued), JobStatus::Queued);
    place.block_on(place.runner.resume_queue("default")).unwrap();
    assert_eq!(place.result(&queued), "2");
    place.check();
}

#[test]
fn thousands_of_jobs_of_one_key_do_not_look_at_each_other() {
    // Each end lets one of the others run; if all were looked at, this would take minutes.
    let place = Place::start();
    place.block_on(place.runner.pause_queue("default")).unwrap();
    let jobs: Vec<_> = place.block_on(async {
        let submits = (0..2_000).map(|_| async {
            let what = moonlog_runner::ScriptSource::Script { source: "return 1".into(), name: None };
            let mut submit = Submit::new(what);
            submit.concurrency_key = Some("k".into());
            place.runner.submit(submit).await.unwrap().job
        });
        futures_util::future::join_all(submits).await
    });
    place.block_on(place.runner.resume_queue("default")).unwrap();
    for job in &jobs {
        place.result(job);
    }
}
