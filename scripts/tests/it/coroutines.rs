//! A script's own coroutines, `pcall` and other machinery around operations.

use crate::world::{Say, World, error};

fn eval(source: &str) -> String {
    World::new(source, |step| {
        if step.path.contains("bad") { Say::Bad(moonlog_core::event::StepOutcome::Error, "bad") } else { Say::Ok("1") }
    })
    .result()
}

#[test]
fn operations_pass_through_coroutines_and_pcall() {
    let cases: &[(&str, &str)] = &[
        (
            "local co = coroutine.create(function(a) local x = exec('a') local y = coroutine.yield(a + x) sleep(1) return y + x end)
             local _, one = coroutine.resume(co, 10) local _, two = coroutine.resume(co, 20) return {one, two, coroutine.status(co)}",
            r#"[11,21,"dead"]"#,
        ),
        ("local out = {} for v in coroutine.wrap(function() for i = 1, 3 do exec('a') coroutine.yield(i) end end) do table.insert(out, v) end return out", "[1,2,3]"),
        (
            "local f = coroutine.wrap(function() local g = coroutine.wrap(function() coroutine.yield(exec('a')) return 2 end) coroutine.yield(g() + exec('b')) return g() end)
             return {f(), f()}",
            "[2,2]",
        ),
        ("return {pcall(function() exec('a') error('x', 0) end)}", r#"[false,"x"]"#),
        ("return {xpcall(function() exec('a') error('x', 0) end, function(e) return e .. '!' end)}", r#"[false,"x!"]"#),
        ("local co = coroutine.create(function() exec('a') error('in') end) return {coroutine.resume(co)}", r#"[false,"test:1: in"]"#),
        ("local co co = coroutine.create(function() parallel {function() return exec('x') end} return coroutine.isyieldable() end) return {coroutine.resume(co)}", "[true,true]"),
        (
            "local co = coroutine.create(function() exec('a') end) local r = parallel { function() return (coroutine.resume(co)) end, function() return {coroutine.status(co), (coroutine.resume(co))} end } return r",
            r#"[true,["normal",false]]"#,
        ),
        ("return step('s', function() local f = coroutine.wrap(function() coroutine.yield(exec('a')) return 2 end) return f() + f() end)", "3"),
        ("local t = setmetatable({}, {__index = function(_, k) return k end}) return t.x", r#""x""#),
    ];
    for (source, result) in cases {
        assert_eq!(eval(source), *result, "{source}");
    }
}

#[test]
fn where_nothing_can_wait_an_operation_is_an_error_that_says_so() {
    for source in [
        "local t = setmetatable({}, {__index = function() return exec('a') end}) return t.x",
        "table.sort({1, 2, 3}, function(a, b) exec('a') return a < b end)",
        "string.gsub('abc', '.', function() exec('a') end)",
        "local t = setmetatable({}, {__tostring = function() sleep(1) return 'x' end}) return tostring(t)",
        "table.sort({1, 2}, function(a, b) local f = coroutine.wrap(function() exec('x') end) f() return a < b end)",
        "string.gsub('abc', '.', function() step('s', function() end) end)",
        "local _, err = xpcall(error, function() exec('a') end, 'x') error(err, 0)",
    ] {
        let error = error(source);
        assert_eq!(error.code, "operation_not_allowed", "{source}: {}", error.message);
        assert!(error.message.contains("a metamethod, a sort comparison, a gsub callback"), "{}", error.message);
    }
}

#[test]
fn a_script_cannot_yield_where_nobody_resumes_it() {
    for source in [
        "coroutine.yield(1)",
        "parallel{ function() end } coroutine.yield(1)",
        "local f = coroutine.wrap(function() step('s', function() coroutine.yield(1) end) end) f()",
        "step('s', {timeout = 1}, function() coroutine.yield(1) end)",
    ] {
        let error = error(source);
        assert_eq!(error.code, "yield_not_allowed", "{source}: {}", error.message);
    }
    let source = "local main = coroutine.running() local r = parallel { function() return {coroutine.resume(main)} end } return r[1]";
    assert_eq!(eval(source), r#"[false,"cannot resume a coroutine that the script did not create"]"#);
    assert_eq!(error("coroutine.close(coroutine.running())").code, "invalid_argument");
}

#[test]
fn what_an_error_handler_throws_is_what_xpcall_returns() {
    for (source, expected) in [
        ("return { xpcall(error, function(e) return 'handled ' .. e end, 'x') }", r#"[false,"handled x"]"#),
        ("return { xpcall(error, function(e) error('worse than ' .. e, 0) end, 'x') }", r#"[false,"worse than x"]"#),
        ("return { xpcall(function(...) return ... end, error, 1, 2) }", "[true,1,2]"),
        ("return { xpcall(function() return exec('a') == nil end, error) }", "[true,false]"),
    ] {
        assert_eq!(eval(source), expected, "{source}");
    }
    assert_eq!(error("xpcall(error, 'no function')").code, "invalid_argument");
}
