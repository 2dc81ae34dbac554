//! Limits of a job: each is an end with a clear error, and none leaves a job behind.

use crate::place::Place;
use moonlog_core::{json::Json, projection::JobStatus};

#[test]
fn a_job_ends_in_time_though_it_never_waits() {
    let place = Place::start();
    let sources = [
        "while true do step('s', function() emit('e', ('x'):rep(1000)) end) end",
        "while true do step('s', function() for i = 1, 1e6 do end end) end",
    ];
    for source in sources {
        let job = place.submit_with(source, |submit| submit.timeout_ms = Some(300));
        let view = place.ended(&job);
        assert_eq!(view.state, JobStatus::TimedOut, "{:?}", view.error);
        assert!(view.ended_at.unwrap() < view.started_at.unwrap().plus_ms(2_500), "{view:?}");
    }
    place.check();
}

#[test]
fn limits_count_over_evictions_and_runs() {
    let place = Place::with(|options| {
        options.idle_evict_ms = 0;
        options.limits.steps_max = 10;
        options.limits.events_max = 50;
        options.limits.value_bytes = 1_000;
    });
    let cases = [
        ("limit_steps", "for i = 1, 20 do sleep('1ms') end"),
        ("limit_events", "for i = 1, 20 do for j = 1, 20 do emit('e', 1) end sleep('1ms') end"),
        ("limit_value", "return ('x'):rep(2000)"),
    ];
    for (code, source) in cases {
        let job = place.submit(source);
        let view = place.ended(&job);
        assert_eq!((view.state, &*view.error.unwrap().code), (JobStatus::Failed, code));
    }
    // Each run has its own.
    let job = place.submit(
        "for i = 1, 8 do sleep('1ms') end if (args.n or 0) < 3 then continue_as({n = (args.n or 0) + 1}) end return args.n",
    );
    assert_eq!(place.result(&job), "3");
    place.check();
}

#[test]
fn what_the_log_does_not_take_fails_the_job_and_no_other() {
    // Quotes and the like are larger in the log than in the script.
    let place = Place::with(|options| options.limits.value_bytes = 256 << 20);
    let cases = ["return ('x'):rep(70 * 1024 * 1024)", "emit('e', ('x'):rep(70 * 1024 * 1024)) wait_for('x')"];
    for source in cases {
        let job = place.submit(&format!("local ok = pcall(function() end) {source}"));
        let view = place.ended(&job);
        assert_eq!(view.state, JobStatus::Failed, "{source}");
    }
    let job = place.submit("return 1");
    assert_eq!(place.result(&job), "1");
    place.check();
}

#[test]
fn many_jobs_that_write_a_lot_wait_for_the_disk() {
    let place = Place::start();
    let source = "for i = 1, 12 do emit('e', ('x'):rep(1000 * 1000)) end return 1";
    let jobs: Vec<_> = (0..16).map(|_| place.submit(source)).collect();
    for job in &jobs {
        assert_eq!(place.result(job), "1");
    }
}

#[test]
fn a_script_that_was_quick_holds_up_nobody_when_it_is_not() {
    let place = Place::with(|options| options.limits.cpu_ms = 600);
    let source = "if args.long then while true do end end return 1";
    let submit = |long: bool, timeout_ms| {
        place.submit_with(source, |submit| {
            submit.args = Some(Json::of(&serde_json::json!({ "long": long })));
            submit.timeout_ms = timeout_ms;
        })
    };
    // Known to be quick by then.
    (0..3).for_each(|_| assert_eq!(place.result(&submit(false, None)), "1"));
    // One more of them than there are threads.
    let long: Vec<_> = (0..3).map(|_| submit(true, None)).collect();
    assert_eq!(place.result(&submit(false, None)), "1");
    assert_eq!(place.result(&place.submit("return sleep(0)")), "null");
    assert_eq!(place.ended(&submit(true, Some(100))).state, JobStatus::TimedOut);
    place.cancel(&long[0]);
    assert_eq!(place.ended(&long[0]).state, JobStatus::Cancelled);
    assert_eq!(long[1..].iter().map(|job| place.status(job)).collect::<Vec<_>>(), [JobStatus::Running; 2]);
    for job in &long[1..] {
        assert_eq!(place.ended(job).error.unwrap().code, "limit_cpu");
    }
    place.check();
}
