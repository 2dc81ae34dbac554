//! Attempts at jobs and at steps, over restarts.

use crate::place::Place;
use moonlog_core::{
    event::{EventBody, RetryPolicy},
    projection::JobStatus,
};

fn retry(max: u32, backoff_ms: u64) -> Option<RetryPolicy> {
    Some(RetryPolicy { max, backoff_ms, factor: 1.0, max_backoff_ms: 60_000 })
}

#[test]
fn each_attempt_waits_for_the_backoff_of_the_one_before() {
    let place = Place::start();
    let jobs: Vec<_> =
        (0..20).map(|_| place.submit_with("error('no', 0)", |submit| submit.retry = retry(3, 30))).collect();
    for job in &jobs {
        assert_eq!(place.ended(job).state, JobStatus::Failed);
        assert_eq!(place.count(job, "job.started"), 3, "{}", place.listing());
        assert_eq!(place.count(job, "job.retry_scheduled"), 2, "{}", place.listing());
    }
    place.check();
}

#[test]
fn an_attempt_that_is_due_after_a_restart_is_made() {
    let place = Place::start();
    let job = place.submit_with("error('no', 0)", |submit| submit.retry = retry(2, 300));
    place.until_event(&job, "job.retry_scheduled");
    let place = place.kill(0).restart();
    assert_eq!(place.ended(&job).state, JobStatus::Failed);
    assert_eq!(place.count(&job, "job.started"), 2);
    place.check();
}

#[test]
fn a_job_whose_time_is_up_between_attempts_ends_then() {
    let place = Place::start();
    let job = place.submit_with("error('no', 0)", |submit| {
        submit.retry = retry(2, 3_600_000);
        submit.timeout_ms = Some(100);
    });
    assert_eq!(place.ended(&job).state, JobStatus::TimedOut);
    place.check();
}

#[test]
fn a_command_is_tried_again_over_a_kill() {
    let place = Place::start();
    let job = place.submit("return exec('false', nil, {retry = {max = 3, backoff = '200ms', factor = 1}}).exit_code");
    place.until_event(&job, "step.retry_scheduled");
    let place = place.kill(0);
    assert_eq!(place.result(&job), "1");
    let attempts: Vec<u32> = place
        .events(&job)
        .iter()
        .filter_map(|event| match &event.body {
            EventBody::StepStarted(step) => Some(step.attempt),
            _ => None,
        })
        .collect();
    assert_eq!(attempts, [1, 2, 3]);
    place.check();
}

#[test]
fn a_command_that_runs_when_the_server_is_killed_is_interrupted() {
    let place = Place::start();
    let job = place.submit("local r, e = exec('sleep', {'100'}) return e.code");
    place.until_event(&job, "process.started");
    let place = place.kill(0);
    assert_eq!(place.result(&job), "\"interrupted\"");
    place.check();
}

#[test]
fn a_step_that_is_open_when_the_server_is_killed_goes_on_inside() {
    let place = Place::start();
    let source = "return step('outer', {retry = 2, timeout = '5s'}, function(c)
        local first = exec('echo', {'1'}).stdout
        wait_for('go')
        if c.attempt == 1 then error('again', 0) end
        return first .. c.attempt
    end)";
    let job = place.submit(source);
    place.until_status(&job, JobStatus::Waiting);
    let place = place.kill(0);
    place.signal(&job, "go", "1");
    place.until("the second attempt waits", || {
        // For the signal, for the next attempt, and for the signal again.
        (place.count(&job, "job.waiting") == 3).then_some(())
    });
    let place = place.restart();
    place.signal(&job, "go", "1");
    assert_eq!(place.result(&job), "\"1\\n2\"");
    place.check();
}

#[test]
fn signals_that_nobody_took_are_there_for_the_next_run() {
    let place = Place::with(|options| options.idle_evict_ms = 0);
    let job = place.submit(
        "if args.n == 3 then return args.got end
        local got = wait_for('go')
        continue_as({n = (args.n or 0) + 1, got = (args.got or '') .. got})",
    );
    for text in ["\"a\"", "\"b\"", "\"c\""] {
        place.signal(&job, "go", text);
    }
    assert_eq!(place.result(&job), "\"abc\"");
    place.check();
}

#[test]
fn steps_that_time_out_one_right_after_the_other_replay() {
    let place = Place::with(|options| options.idle_evict_ms = 0);
    let branch = "function() step('s', {retry = {max = 2, backoff = '1h'}, timeout = '10ms'}, function() wait_for('go') end) end";
    let job = place.submit(&format!("parallel({{ {branch}, {branch} }})"));
    place.until("both back off", || (place.count(&job, "step.retry_scheduled") == 2).then_some(()));
    let place = place.kill(0);
    place.cancel(&job);
    assert_eq!(place.ended(&job).state, JobStatus::Cancelled);
    place.check();
}

#[test]
fn what_a_step_runs_sees_the_key_that_the_step_was_given() {
    let place = Place::start();
    let job = place.submit(
        "return step('pay', {retry = {max = 2, backoff = '1ms'}}, function(call)
          local shown = sh('printf %s $IDEMPOTENCY_KEY').stdout
          assert(shown == call.idempotency_key and call.attempt == 2, 'again')
          return sh('printf %s $IDEMPOTENCY_KEY').stdout == shown
        end)",
    );
    assert_eq!(place.result(&job), "false");
    place.check();
}
