//! Each event names the one that led to it.

use crate::place::Place;
use moonlog_core::{
    event::{Decision, Event, RetryPolicy},
    id::JobId,
    projection::JobStatus,
};
use std::sync::Arc;

/// For each event of this type: what type its cause is of, and at what path.
fn causes(place: &Place, job: &JobId, name: &str) -> Vec<String> {
    let all = place.runner.log().read(0, 1_000_000).unwrap();
    let shown = |event: &Arc<Event>| match event.cause {
        None => "nothing".to_owned(),
        Some(cause) => {
            let cause = &all[cause as usize - 1];
            assert!(cause.position < event.position, "{} of {}", cause.position, event.position);
            let path = cause.step.as_deref().map(|path| format!(" {path}"));
            format!("{}{}", cause.body.name(), path.unwrap_or_default())
        }
    };
    all.iter().filter(|event| event.job == Some(*job) && event.body.name() == name).map(shown).collect()
}

fn decide(place: &Place, job: &JobId) {
    place.until("an approval", || place.runner.views().with(|all| all.approvals().first().map(|_| ())));
    place.block_on(place.runner.decide(job, "approve", Decision::Approved, None, None)).unwrap();
}

#[test]
fn a_job_tells_what_made_it_start_wait_and_go_on() {
    // With and without the script being rebuilt when it goes on.
    for idle_evict_ms in [0, 60_000] {
        let place = Place::with(move |options| options.idle_evict_ms = idle_evict_ms);
        let job = place.submit_with(
            "exec('true') attach(process('sleep', {'0.2'}).id):wait() wait_for('go') approve('yes') exec('true') sleep('20ms')
                workflow('waits') error('no')",
            |submit| submit.retry = Some(RetryPolicy { max: 2, backoff_ms: 1, factor: 1.0, max_backoff_ms: 1 }),
        );
        for attempt in 1..=2 {
            place
                .until("a wait for the signal", || (place.count(&job, "job.waiting") == 5 * attempt - 3).then_some(()));
            place.signal(&job, "go", "1");
            decide(&place, &job);
            let child = place.until("a child", || place.children(&job).get(attempt - 1).copied());
            assert_eq!(causes(&place, &child, "job.submitted"), ["step.started workflow"]);
            place.until_status(&child, JobStatus::Waiting);
            place.signal(&child, "go", "1");
        }
        assert_eq!(place.ended(&job).state, JobStatus::Failed);
        assert_eq!(causes(&place, &job, "job.started"), ["job.submitted", "job.retry_scheduled"]);
        assert_eq!(
            causes(&place, &job, "process.started"),
            ["step.started exec", "step.started process", "step.started exec:2"].repeat(2)
        );
        let waits =
            ["process_wait", "wait_for", "approve", "sleep", "workflow"].map(|kind| format!("step.started {kind}"));
        assert_eq!(causes(&place, &job, "job.waiting"), [&waits[..], &waits[..]].concat());
        // A job whose task is there hears of a process's end from the task that waits for it, which knows no position.
        let mut resumed = causes(&place, &job, "job.resumed");
        resumed
            .iter_mut()
            .filter(|cause| *cause == "process.exited process")
            .for_each(|cause| *cause = "nothing".into());
        let ends = ["nothing", "job.signalled", "tool.approval_decided approve", "nothing", "job.completed"];
        assert_eq!(resumed, ends.repeat(2), "{idle_evict_ms}\n{}", place.listing());
        place.check();
    }
}

#[test]
fn a_job_that_is_cancelled_names_the_request() {
    let place = Place::start();
    let running = place.submit("wait_for('go')");
    place.until_status(&running, JobStatus::Waiting);
    let queued = place.submit_with("return 1", |submit| {
        submit.run_at = Some(crate::place::now().plus_ms(60_000));
    });
    for job in [running, queued] {
        place.cancel(&job);
        place.ended(&job);
        assert_eq!(causes(&place, &job, "job.cancelled"), ["job.cancel_requested"]);
    }
}
