//! Code steps: attempts, retries, timeouts, and what a replay gives.

use crate::world::{Say, World, listing};
use moonlog_core::event::{StepOutcome, StepStarted};

fn answers(step: &StepStarted) -> Say {
    match (step.kind.as_str(), step.path.as_str()) {
        ("step", path) if path.starts_with("slow") => Say::Bad(StepOutcome::TimedOut, "timeout"),
        ("exec", path) if path.contains("hang") => Say::Never,
        _ => Say::Ok("1"),
    }
}

fn told(source: &str) -> (String, String) {
    let told = World::new(source, answers).told();
    (listing(&told.events), format!("{:?}", told.state))
}

#[test]
fn a_pure_step_runs_without_waiting() {
    let (log, state) =
        told("local t = step('s', {input = {x = 1}}, function(c) return {c.attempt, #c.idempotency_key} end) return t");
    assert_eq!(log, "job.started\nstart step s 1\nend s 1 Ok\njob.completed");
    assert_eq!(state, "Returned([1,32])");
}

#[test]
fn a_step_throws_what_its_function_throws() {
    let source = "local a, b = pcall(step, 's', function() error('boom') end)
      local c, d = pcall(step, 't', function() error({code = 'x', message = 'y', z = 1}) end)
      local e, f = pcall(step, 'u', function() error({1}) end)
      return {a, b, c, d.code, d.z, tostring(d), f}";
    let (_, state) = told(source);
    assert_eq!(state, r#"Returned([false,"test:1: boom",false,"x",1,"y",[1]])"#);
    let error = World::new("local function f()\n error('boom')\nend\nstep('s', f)", answers).error();
    assert_eq!(error.message, "test:2: boom");
    assert_eq!(error.traceback.as_deref(), Some("test:2 function f\ntest:4"));
}

#[test]
fn a_traceback_leads_into_the_function_that_waited() {
    let error = World::new("local function f()\n exec('x')\n error('boom')\nend\nstep('s', f)", answers).error();
    assert_eq!(error.message, "test:3: boom");
    assert_eq!(error.traceback.as_deref(), Some("test:3 function f\ntest:5"));
    let source = "local function f()\n exec('x')\n error('boom')\nend\nstep('s', {timeout = 9}, f)";
    let error = World::new(source, answers).error();
    assert_eq!(error.message, "test:3: boom");
    assert!(error.traceback.as_deref().is_some_and(|text| text.contains("test:3 function f")), "{error:?}");
    let source = "parallel({ function()\n exec('x')\n error('boom')\nend }, {join = 'all_success'})";
    let error = World::new(source, answers).error();
    assert_eq!(error.message, "test:3: boom");
    assert!(error.traceback.as_deref().is_some_and(|text| text.starts_with("test:3")), "{error:?}");
}

#[test]
fn a_failed_attempt_is_followed_by_the_next() {
    let source = "return step('s', {retry = {max = 3, backoff = 1}}, function(c) exec('x') if c.attempt < 3 then error('no') end return c.attempt end)";
    let (log, state) = told(source);
    assert_eq!(state, "Returned(3)");
    let expected = "job.started
start step s 1
start exec s@1/exec 1
end s@1/exec 1 Ok
end s 1 Error
retry s 1 1000
start step s 2
start exec s@2/exec 1
end s@2/exec 1 Ok
end s 2 Error
retry s 2 2000
start step s 3
start exec s@3/exec 1
end s@3/exec 1 Ok
end s 3 Ok
job.completed";
    assert_eq!(log, expected);
    let (_, state) = told("return {pcall(step, 's', {retry = 2}, function(c) error('no ' .. c.attempt, 0) end)}");
    assert_eq!(state, r#"Returned([false,"no 2"])"#);
}

#[test]
fn a_step_whose_time_is_up_is_cancelled_inside() {
    let source = "local ok, err = pcall(step, 'slow', {timeout = 1, retry = 2}, function() parallel { function() exec('x', nil, {label='hang'}) end } end)
      return {ok, err.code, step('fast', {timeout = 1}, function() return exec('x') end)}";
    let (log, state) = told(source);
    assert_eq!(state, r#"Returned([false,"timeout",1])"#);
    let expected = "job.started
start step slow 1
start exec slow@1/1/hang 1
end slow 1 TimedOut
retry slow 1 1000
end slow@1/1/hang 1 Cancelled
start step slow 2
start exec slow@2/1/hang 1
end slow 2 TimedOut
end slow@2/1/hang 1 Cancelled
start step fast 1
start exec fast@1/exec 1
end fast@1/exec 1 Ok
end fast 1 Ok
job.completed";
    assert_eq!(log, expected);
}

#[test]
fn what_is_spawned_inside_a_step_ends_before_it() {
    let (log, _) = told("step('s', function() spawn(function() exec('x') end) end)");
    assert_eq!(
        log,
        "job.started\nstart step s 1\nstart exec s@1/spawn/exec 1\nend s@1/spawn/exec 1 Ok\nend s 1 Ok\njob.completed"
    );
}

#[test]
fn steps_in_branches_replay_in_their_recorded_order() {
    for newest_first in [false, true] {
        let mut world = World::new(
            "local seen = {}
            parallel {
              function() step('a', function() exec('x') exec('y') end) log('a') step('a2', function() end) end,
              function() for i = 1, 3 do step('b', function() exec('x') end) log('b' .. i .. ' ' .. now()) end end,
              function() sleep(1) step('c', function() log('in c') end) log('c') end,
            }
            return now()",
            answers,
        );
        world.newest_first = newest_first;
        // A cut may change when things end, and so what now() says: here only the whole log is replayed.
        let told = world.run(&[]).unwrap();
        let again = world.run(&told.events[..told.events.len() - 1]).unwrap();
        assert_eq!(listing(&told.events), listing(&again.events));
        assert_eq!(told.state, again.state);
    }
}

#[test]
fn a_step_with_a_timeout_that_ran_through_has_its_turn_again_where_it_had_it() {
    // The second branch ends, unseen by the log, between the turn of the step's function and that of its branch.
    let source = "local ends = {}
        pcall(parallel, {
          function() exec('x') end,
          function() local h = spawn(function() step('pure', function() end) end) h:wait(1) end,
          function()
            step('s', {timeout = 20}, function() return 1 end)
            parallel { function() exec('never') end, function() exec('never') end }
          end,
        }, {join = 'one_success'})
        exec('y')";
    let world = World::new(source, answers);
    let told = world.run(&[]).unwrap();
    assert!(!listing(&told.events).contains("3/1/exec"), "{}", listing(&told.events));
    for cut in 0..told.events.len() {
        let again = world.run(&told.events[..cut]).unwrap();
        assert_eq!(listing(&told.events), listing(&again.events), "cut at {cut}");
    }
}

#[test]
fn a_result_that_cannot_be_recorded_fails_its_step() {
    let (_, state) =
        told("local ok, err = pcall(step, 's', function() return print end) return {ok, err.code, tostring(err)}");
    assert_eq!(
        state,
        r#"Returned([false,"invalid_value","step `s`: the step's result is a function, which JSON cannot hold"])"#
    );
}

#[test]
fn details_of_an_error_are_found_beside_its_code_and_together() {
    for fields in ["details = {a = 1, code = 404}", "a = 1, details = {code = 404}"] {
        let source = format!(
            "local ok, err = pcall(step, 's', function() error({{code = 'mine', message = 'no', {fields}}}) end)
            return {{err.code, err.a, err.details.a, err.details.code}}"
        );
        assert_eq!(told(&source).1, r#"Returned(["mine",1,1,404])"#, "{fields}");
    }
    let (_, state) = told("error({code = 'mine', message = 'no', details = {a = 1}})");
    assert!(state.contains(r#"details: Some({"a":1})"#), "{state}");
    let (_, state) = told("local _, err = pcall(step, 's', function() error({code = 'mine', b = 2}) end) return err");
    assert_eq!(state, r#"Returned({"b":2,"code":"mine","message":"mine","retryable":false})"#);
}
