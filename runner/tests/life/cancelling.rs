//! Cancelling a job, whatever it is doing, and stopping the server meanwhile.

use crate::place::Place;
use moonlog_core::{
    event::{EventBody, RetryPolicy},
    projection::JobStatus,
};
use moonlog_runner::{QueueOptions, Submit};
use std::time::{Duration, Instant};

fn later(submit: &mut Submit) {
    submit.run_at = Some(crate::place::now().plus_ms(3_600_000));
}

fn again_in_an_hour(submit: &mut Submit) {
    submit.retry = Some(RetryPolicy { max: 2, backoff_ms: 3_600_000, factor: 1.0, max_backoff_ms: 3_600_000 });
}

/// What a job is doing: its script, how it is submitted, and the event that shows it.
type Case = (&'static str, &'static str, fn(&mut Submit), &'static str);

const CASES: [Case; 9] = [
    ("it is to run later", "return 1", later, "job.submitted"),
    ("it waits for its next attempt", "error('no', 0)", again_in_an_hour, "job.retry_scheduled"),
    ("it waits", "wait_for('never')", |_| {}, "job.waiting"),
    ("it computes", "emit('begun', 1) sleep(0) while true do end", |_| {}, "job.emitted"),
    (
        "it makes events",
        "while true do step('s', function() emit('begun', ('x'):rep(1000)) end) end",
        |_| {},
        "job.emitted",
    ),
    ("its command runs", "exec('sleep', {'100'})", |_| {}, "process.started"),
    (
        "its process runs",
        "process('sh', {'-c', 'trap \"\" TERM; while :; do sleep 1; done'}):wait()",
        |_| {},
        "process.started",
    ),
    ("its child waits", "workflow('waits')", |_| {}, "job.waiting"),
    (
        "its step backs off",
        "step('s', {retry = {max = 2, backoff = '1h'}}, function() error('x') end)",
        |_| {},
        "step.retry_scheduled",
    ),
];

#[test]
fn a_job_is_cancelled_whatever_it_does() {
    for evict in [0, 60_000] {
        let place = Place::with(move |options| options.idle_evict_ms = evict);
        for (what, source, change, event) in CASES {
            let job = place.submit_with(source, change);
            place.until_event(&job, event);
            let since = Instant::now();
            place.cancel(&job);
            assert_eq!(place.ended(&job).state, JobStatus::Cancelled, "{what}");
            assert!(since.elapsed() < Duration::from_secs(10), "{what} took {:?}", since.elapsed());
            for child in place.children(&job) {
                assert_eq!(place.ended(&child).state, JobStatus::Cancelled, "{what}");
            }
        }
        assert!(place.runner.processes().running().is_empty());
        place.check();
    }
}

#[test]
fn a_job_goes_on_after_a_restart_whatever_it_did() {
    let mut place = Place::start();
    let jobs: Vec<_> = CASES
        .iter()
        .filter(|(what, ..)| !["it computes", "it makes events"].contains(what))
        .map(|(what, source, change, event)| {
            let job = place.submit_with(source, change);
            place.until_event(&job, event);
            (*what, job)
        })
        .collect();
    place = place.restart();
    for (what, job) in jobs {
        if !matches!(what, "its command runs" | "its process runs") {
            place.cancel(&job);
            assert_eq!(place.ended(&job).state, JobStatus::Cancelled, "{what}");
        } else {
            assert_eq!(place.ended(&job).state, JobStatus::Completed, "{what}");
        }
        for child in place.children(&job) {
            place.ended(&child);
        }
    }
    place.check();
}

/// A queue in which one job runs at a time.
fn narrow(evict: u64) -> Place {
    Place::with(move |options| {
        options.idle_evict_ms = evict;
        options.queues.insert("narrow".into(), QueueOptions { concurrency: 1, capacity: 100 });
    })
}

#[test]
fn a_waiting_job_ends_though_no_place_is_free() {
    for evict in [0, 60_000] {
        let place = narrow(evict);
        let in_queue = |submit: &mut Submit| submit.queue = Some("narrow".into());
        let cancelled = place.submit_with("wait_for('go')", in_queue);
        place.until_status(&cancelled, JobStatus::Waiting);
        let wants_place = place.submit_with("wait_for('go')", in_queue);
        place.until_status(&wants_place, JobStatus::Waiting);
        let timed_out = place.submit_with("wait_for('go')", |submit| {
            in_queue(submit);
            submit.timeout_ms = Some(300);
        });
        place.until_status(&timed_out, JobStatus::Waiting);
        let runs = place.submit_with("exec('sleep', {'100'})", in_queue);
        place.until_event(&runs, "process.started");
        place.signal(&wants_place, "go", "1");
        place.cancel(&cancelled);
        assert_eq!(place.ended(&cancelled).state, JobStatus::Cancelled);
        assert_eq!(place.ended(&timed_out).state, JobStatus::TimedOut);
        place.cancel(&wants_place);
        assert_eq!(place.ended(&wants_place).state, JobStatus::Cancelled);
        assert_eq!(place.status(&runs), JobStatus::Running);
        place.cancel(&runs);
        place.ended(&runs);
        // The place is free again.
        let last = place.submit_with("return 1", in_queue);
        assert_eq!(place.result(&last), "1");
        place.check();
    }
}

#[test]
fn commands_reach_a_job_that_never_stops_appending() {
    let place = Place::start();
    let source = "parallel({
        function() exec('sh', {'-c', 'while :; do echo x; done'}, {timeout = '1h'}) end,
        function() while true do step('s', function() emit('e', 1) end) sleep(0) end end,
    })";
    let job = place.submit(source);
    place.until_event(&job, "process.output");
    for _ in 0..10 {
        place.signal(&job, "s", "1");
    }
    place.cancel(&job);
    assert_eq!(place.ended(&job).state, JobStatus::Cancelled);
    assert_eq!(place.count(&job, "job.signalled"), 10);
    place.check();
}

#[test]
fn a_key_of_a_signal_counts_once_also_at_once() {
    let place = Place::start();
    let job = place.submit("wait_for('end')");
    let send = || place.runner.signal(&job, "s", moonlog_core::json::Json::null(), Some("key".into()));
    place.block_on(async { futures_util::future::join_all((0..20).map(|_| send())).await });
    assert_eq!(place.count(&job, "job.signalled"), 1);
    place.signal(&job, "end", "1");
    place.ended(&job);
}

#[test]
fn processes_can_put_things_away_before_they_are_killed() {
    let place = Place::start();
    let tidy = "trap 'echo tidied; exit 5' TERM; echo begun; while :; do sleep 0.01; done";
    let ended = place.submit(&format!("process('sh', {{'-c', [[{tidy}]]}}) wait_for('go')"));
    let cancelled = place.submit(&format!("sh([[{tidy}]])"));
    for job in [&ended, &cancelled] {
        place.until_event(job, "process.output");
    }
    place.signal(&ended, "go", "1");
    place.cancel(&cancelled);
    for (job, status) in [(&ended, JobStatus::Completed), (&cancelled, JobStatus::Cancelled)] {
        assert_eq!(place.ended(job).state, status);
        let exits = place.events(job).into_iter().filter_map(|event| match &event.body {
            EventBody::ProcessExited(exited) => Some(exited.exit_code),
            _ => None,
        });
        assert_eq!(exits.collect::<Vec<_>>(), [Some(5)], "{}", place.listing());
    }
    place.check();
}
