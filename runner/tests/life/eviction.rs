//! Jobs that wait without a virtual machine, and what wakes them.

use crate::place::Place;
use moonlog_core::{event::Decision, projection::JobStatus};

/// A runner whose jobs keep nothing while they wait.
fn place() -> Place {
    Place::with(|options| options.idle_evict_ms = 0)
}

#[test]
fn what_a_job_waits_for_wakes_it() {
    let cases = [
        ("sleep", "sleep('20ms') return 1"),
        ("signal in time", "return wait_for('go', {timeout = '10s'})"),
        (
            "signal too late",
            "local v, e = wait_for('never', {timeout = '20ms'}) return if e.code == 'timeout' then 1 else 0",
        ),
        ("child", "return workflow('naps', {n = 1})"),
        ("quick child", "return workflow('quick', {n = 1})"),
        ("process", "return process('sh', {'-c', 'sleep 0.1; exit 1'}):wait().exit_code"),
        (
            "process that lives on",
            "local v, e = process('sleep', {'100'}):wait('100ms') return if e.code == 'timeout' then 1 else 0",
        ),
        (
            "branch that lives on",
            "local h = spawn(function() sleep('200ms') end) local v, e = h:wait('20ms') return if e.code == 'timeout' then 1 else 0",
        ),
        (
            "backoff",
            "return step('s', {retry = {max = 2, backoff = '20ms'}}, function(c) if c.attempt == 1 then error('x') end return 1 end)",
        ),
        (
            "time of a step",
            "local ok, e = pcall(step, 's', {timeout = '20ms'}, function() wait_for('never') end) return if e.code == 'timeout' then 1 else e",
        ),
        (
            "default of an approval",
            "return if approve({title = 't', timeout = '20ms', default = true}).approved then 1 else 0",
        ),
    ];
    for round in 0..3 {
        let place = place();
        let jobs: Vec<_> = cases.iter().map(|(what, source)| (what, place.submit(source))).collect();
        place.signal(&jobs[1].1, "go", "1");
        for (what, job) in jobs {
            assert_eq!(place.result(&job), "1", "{what} in round {round}");
        }
        place.check();
    }
}

#[test]
fn signals_right_after_the_start_are_not_missed() {
    let place = place();
    let source = "local sum = 0 for i = 1, 5 do sum += wait_for('go') end return sum";
    let jobs: Vec<_> = (0..30).map(|_| place.submit(source)).collect();
    for round in 1..=5 {
        for job in &jobs {
            place.signal(job, "go", &round.to_string());
        }
    }
    for job in &jobs {
        assert_eq!(place.result(job), "15");
    }
    place.check();
}

#[test]
fn a_decision_comes_to_a_job_that_was_evicted() {
    let place = place();
    let job = place.submit("local d = approve({title = 't'}) return {d.approved, d.by}");
    place.until_status(&job, JobStatus::Waiting);
    place.block_on(place.runner.decide(&job, "approve", Decision::Approved, Some("me".into()), None)).unwrap();
    assert_eq!(place.result(&job), "[true,\"me\"]");
    place.check();
}

#[test]
fn a_decision_of_one_run_is_not_that_of_the_next() {
    let place = Place::with(|options| options.idle_evict_ms = 60_000);
    let job = place.submit(
        "local d = approve({title = 't', timeout = if args.again then '100ms' else nil})
        if not args.again then continue_as({again = true}) end
        return d",
    );
    place.until_status(&job, JobStatus::Waiting);
    place.block_on(place.runner.decide(&job, "approve", Decision::Approved, None, None)).unwrap();
    assert_eq!(place.result(&job), "null", "nobody approved the second time");
    place.check();
}

#[test]
fn time_is_up_for_a_job_that_was_evicted() {
    let place = place();
    let job = place.submit_with("wait_for('never')", |submit| submit.timeout_ms = Some(100));
    assert_eq!(place.ended(&job).state, JobStatus::TimedOut);
    place.check();
}

#[test]
fn other_events_do_not_wake_a_job() {
    let place = place();
    let job = place.submit("return wait_for('go')");
    place.until_status(&job, JobStatus::Waiting);
    for _ in 0..20 {
        place.signal(&job, "other", "1");
    }
    place.signal(&job, "go", "1");
    assert_eq!(place.result(&job), "1");
    assert!(place.count(&job, "job.resumed") <= 3, "{}", place.listing());
    place.check();
}

#[test]
fn waiting_survives_kills() {
    let mut place = place();
    let cases = [
        ("signal", "return wait_for('go')"),
        ("approval", "return if approve({title = 't'}).approved then 1 else 0"),
        ("child", "return workflow('waits')"),
        ("sleep", "sleep('300ms') return 1"),
    ];
    let jobs: Vec<_> = cases.iter().map(|(_, source)| place.submit(source)).collect();
    for job in &jobs {
        place.until_status(job, JobStatus::Waiting);
    }
    for _ in 0..3 {
        place = place.kill(0);
    }
    place.signal(&jobs[0], "go", "1");
    place.block_on(place.runner.decide(&jobs[1], "approve", Decision::Approved, None, None)).unwrap();
    let child = place.until("a child", || place.children(&jobs[2]).first().copied());
    place.signal(&child, "go", "1");
    for (job, (what, _)) in jobs.iter().zip(cases) {
        assert_eq!(place.result(job), "1", "{what}");
        assert_eq!(place.count(job, "job.started"), 1, "{what}: waits stay open with no new attempt");
    }
    place.check();
}
