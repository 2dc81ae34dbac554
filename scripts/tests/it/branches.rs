//! Combinators: results, failures, limits, cancelling, spawned branches, and what each leaves in the log.

use crate::world::{Say, World, engine, error, listing};
use moonlog_core::event::{StepOutcome, StepStarted};
use moonlog_scripts::{Limits, RunState};

fn answers(step: &StepStarted) -> Say {
    match (step.kind.as_str(), step.path.as_str()) {
        (_, path) if path.contains("hang") => Say::Never,
        (_, path) if path.contains("late") => Say::Late("\"late\""),
        ("exec", path) if path.contains("bad") => Say::Bad(StepOutcome::Error, "bad"),
        ("wait", _) => Say::Bad(StepOutcome::TimedOut, "timeout"),
        _ => Say::Ok("1"),
    }
}

fn both(source: &str) -> [(String, String); 2] {
    [false, true].map(|newest_first| {
        let mut world = World::new(source, answers);
        world.newest_first = newest_first;
        let told = world.told();
        (listing(&told.events), format!("{:?}", told.state))
    })
}

fn state(source: &str) -> String {
    let [(_, first), (_, second)] = both(source);
    assert_eq!(first, second);
    first
}

#[test]
fn parallel_returns_results_and_errors_by_key() {
    let source = "local results, errors = parallel {
        a = function() return exec('x') end,
        b = function() error('boom') end,
        c = function() return nil, 'ignored' end,
        d = function() assert(exec('x', nil, {label = 'bad'})) end,
      } return {results, errors.b.message, errors.b.code, errors.d.code, tostring(errors.d)}";
    assert_eq!(state(source), r#"Returned([{"a":1},"test:3: boom","script_error","bad","it failed with bad"])"#);
    assert_eq!(state("local r, e = parallel {} return {r, e}"), "Returned([[],[]])");
    let source = "local r, e = parallel({function() return 1 end, function() error('x', 0) end, function() return exec('x') end}, {limit = 1})
      return {r, r.n, e[2].message}";
    assert_eq!(state(source), r#"Returned([[1,null,1],3,"x"])"#);
}

#[test]
fn the_first_failure_cancels_the_rest_where_all_must_succeed() {
    let source = "local ok, err = pcall(parallel, {
        function() parallel { function() step('s', function() exec('x', nil, {label = 'hang'}) end) end, function() sleep(1) assert(false, 'first') end } end,
        function() exec('y', nil, {label = 'hang2'}) end,
        function() sleep(1) sleep(1) error('second', 0) end,
      }, {join = 'all_success'}) return {ok, tostring(err)}";
    for (log, state) in both(source) {
        assert_eq!(state, r#"Returned([false,"second"])"#);
        let tail = "end 1/1/s@1/hang 1 Cancelled\nend 1/1/s 1 Cancelled\nend 2/hang2 1 Cancelled\njob.completed";
        assert!(log.ends_with(tail), "{log}");
    }
}

#[test]
fn the_first_success_is_returned_where_one_is_enough() {
    let source = "return (parallel({function() return exec('x', nil, {label='hang'}) end, function() sleep(1) return 'quick' end, function() error('no') end},
       {join = 'one_success'}))";
    assert_eq!(state(source), r#"Returned("quick")"#);
    let error = error("parallel({function() error('no', 0) end}, {join = 'one_success'})");
    assert_eq!(error.code, "no_branch_succeeded");
}

#[test]
fn pipeline_has_no_barrier_and_drops_what_fails() {
    let source = "local r, e = pipeline({'a', 'b', 'c'},
        function(v, item, i) exec('x') if i == 2 then error('dropped', 0) end return v .. i end,
        function(v, item, i) return v .. item .. (exec('y')) end, {limit = 2})
      return {r, e[2].message, r.n}";
    assert_eq!(state(source), r#"Returned([["a1a1",null,"c3c1"],"dropped",3])"#);
    let error = error("pipeline(table.create(5000, 1), function() end)");
    assert_eq!(error.code, "items_max");
    assert_eq!(state("return #pipeline(table.create(4096, 1), function(v) return v end)"), "Returned(4096)");
}

#[test]
fn spawned_branches_run_beside_and_the_job_waits_for_them() {
    let source = "local h = spawn(function() exec('x', nil, {label='late'}) return 5 end)
      local before = h:status()
      local none, err = h:wait(1)
      local value = h:wait()
      return {before, err.code, value, h:status(), h:wait(1)}";
    assert_eq!(state(source), r#"Returned(["running","timeout",5,"completed",5])"#);
    let source = "local h = spawn(function() sleep(1) return 5 end) return h:wait(10)";
    let told = World::new(source, |step| if step.kind == "wait" { Say::Never } else { Say::Ok("1") }).told();
    assert!(listing(&told.events).contains("end wait 1 Ok"));
    let source = "spawn(function() exec('x') error('lost', 0) end) return 1";
    let told = World::new(source, answers).told();
    assert!(
        listing(&told.events).contains("log spawn error spawned branch `spawn` failed and nobody waited for it: lost")
    );
    let source = "local h h = spawn(function() h:wait() end) return select(2, h:wait()).code";
    assert_eq!(state(source), r#"Returned("deadlock")"#);
    let source = "spawn(function() exec('x', nil, {label='hang'}) end) exec('y') error('main', 0)";
    let told = World::new(source, answers).told();
    assert!(listing(&told.events).ends_with("end spawn/hang 1 Cancelled\njob.failed"), "{}", listing(&told.events));
}

#[test]
fn results_and_errors_are_arrays_with_null_in_their_holes() {
    let cases = [
        ("parallel({f, b, f, b, f})", r#"[["x",null,"x",null,"x"],[null,"no",null,"no"]]"#),
        ("parallel({f, f})", r#"[["x","x"],[]]"#),
        ("parallel({b})", r#"[[null],["no"]]"#),
        ("parallel({})", "[[],[]]"),
        ("parallel({a = f})", r#"[{"a":"x"},{}]"#),
        ("pipeline({1, 2}, function(v) return if v == 2 then b() else v end)", r#"[[1],[null,"no"]]"#),
    ];
    for (call, expected) in cases {
        let source = format!(
            "local function f() return 'x' end local function b() error('no', 0) end local r, e = {call} \
             local said = json.decode(json.encode(e)) for k, v in pairs(said) do \
             if v ~= json.null then said[k] = v.message end end return {{r, said}}"
        );
        let told = World::new(&source, answers).told();
        let RunState::Returned(result) = told.state else { panic!("{call}: {:?}", told.state) };
        assert_eq!(result.as_str().replace("[1,null]", "[1]"), expected, "{call}");
    }
}

#[test]
fn continue_as_ends_the_run_when_all_spawned_have_ended() {
    let told = World::new("spawn(function() exec('x') log('done') end) continue_as({n = 1})", answers).told();
    assert_eq!(told.state, RunState::Continued(moonlog_core::json::Json::parse("{\"n\":1}").unwrap()));
    assert!(listing(&told.events).contains("log spawn info done"));
    let error = error("step('s', function() continue_as() end)");
    assert_eq!(error.code, "operation_not_allowed");
}

#[test]
fn branches_that_wait_for_each_other_are_a_deadlock() {
    let error = error(
        "local a, b a = spawn(function() sleep(1) return b:wait() end) b = spawn(function() return a:wait() end)",
    );
    assert_eq!(error.code, "deadlock");
}

#[test]
fn limits_have_their_own_codes() {
    let cases: &[(&str, Limits, &str)] = &[
        (
            "for i = 1, 11 do step('s', function() end) end",
            Limits { steps_max: 10, ..Limits::default() },
            "limit_steps",
        ),
        ("while true do pcall(log, 'x') end", Limits { events_max: 10, ..Limits::default() }, "limit_events"),
        (
            "local b = {} for i = 1, 11 do b[i] = function() sleep(1) end end parallel(b)",
            Limits { branches_max: 10, ..Limits::default() },
            "limit_branches",
        ),
        ("return ('x'):rep(2000)", Limits { value_bytes: 1000, ..Limits::default() }, "limit_value"),
        ("exec(('x'):rep(2000))", Limits { value_bytes: 1000, ..Limits::default() }, "limit_value"),
    ];
    for (source, limits, code) in cases {
        let mut world = World::new(source, answers);
        world.engine = engine(limits.clone());
        let told = world.run(&[]).unwrap();
        let RunState::Failed(error) = told.state else { panic!("{source}: {:?}", told.state) };
        assert_eq!(error.code, *code, "{source}: {}", error.message);
    }
}

#[test]
fn many_unflushed_events_wait_for_their_flush() {
    let mut world =
        World::new("for i = 1, 100 do step('s', function() return ('x'):rep(100) end) log('y') end return 1", answers);
    world.engine = engine(Limits { unflushed_bytes: 4096, ..Limits::default() });
    assert_eq!(world.result(), "1");
}

#[test]
fn what_a_branch_threw_has_a_code_and_prints_as_its_message() {
    let thrown = "error({code = 'mine', message = 'no luck', details = {a = 1}})";
    let source = format!(
        "local _, a = parallel {{function() {thrown} end}}
        local _, b = pipeline({{1}}, function() {thrown} end)
        local _, c = spawn(function() {thrown} end):wait()
        local told = {{}}
        for _, err in {{a[1], b[1], c}} do
          table.insert(told, {{tostring(err), 'as ' .. err, err.code, err.retryable, err.details.a}})
        end
        return told"
    );
    let one = r#"["no luck","as no luck","mine",false,1]"#;
    assert_eq!(state(&source), format!("Returned([{one},{one},{one}])"));
    let source = "local _, e = parallel {function() error({x = 1}) end} return {e[1].x, e[1].code}";
    assert_eq!(state(source), r#"Returned([1,"script_error"])"#);
}

#[test]
fn items_that_are_no_array_are_refused() {
    let source = "local ok, err = pcall(pipeline, {a = 1}, function() end) return {ok, err.code, tostring(err)}";
    assert_eq!(
        state(source),
        r#"Returned([false,"invalid_argument","test:1: pipeline: an array of items is expected, got a table with the key `a`"])"#
    );
    assert_eq!(state("return {pipeline({}, function() end)}"), "Returned([[],[]])");
}
