//! Scripts that mean harm: each ends with its own clear error, soon.

use crate::world::{ended_soon, engine, spec};
use moonlog_core::json::Json;
use moonlog_scripts::{Engine, Limits, Run, RunState};

fn small() -> Engine {
    engine(Limits { cpu_ms: 100, memory_bytes: 16 << 20, value_bytes: 1 << 20, ..Limits::default() })
}

fn ends(engine: &Engine, source: &str) -> String {
    match ended_soon(engine, source) {
        RunState::Failed(error) => error.code,
        other => format!("{other:?}"),
    }
}

#[test]
fn endless_computing_is_stopped() {
    let engine = small();
    for source in [
        "while true do end",
        "while true do pcall(function() while true do end end) end",
        "while true do xpcall(function() while true do end end, function() while true do end end) end",
        "local t = setmetatable({}, {__index = function() while true do end end}) return t.x",
        "coroutine.wrap(function() while true do end end)()",
        "while true do coroutine.resume(coroutine.create(function() while true do end end)) end",
        "parallel { function() while true do end end }",
        "while true do parallel { function() end } end",
        "while true do json.encode({1}) end",
        "while true do math.random() now() end",
        "step('s', function() while true do end end)",
        "string.find(('a'):rep(300000), ('.-'):rep(30) .. 'b')",
        "string.gsub(('a'):rep(300000), ('a*'):rep(30) .. 'b', '')",
        "string.gsub('abc', '.', function() while true do end end)",
        "table.sort({3, 2, 1}, function() while true do end end)",
        "table.move({}, 1, 1e9, 2)",
        "for i in function() return 1 end do end",
        "local s = ('x'):rep(1000000) while true do s:find('y', 1, true) end",
    ] {
        assert_eq!(ends(&engine, source), "limit_cpu", "{source}");
    }
}

#[test]
fn memory_bombs_are_stopped() {
    let engine = small();
    for source in [
        "return #('x'):rep(1e9)",
        "local t = {} for i = 1, 1e9 do t[i] = ('x'):rep(1000) .. i end",
        "local s = 'x' while true do s = s .. s end",
        "while true do pcall(function() local s = 'x' while true do s = s .. s end end) end",
        "local t = table.create(1000, ('x'):rep(100000)) return #table.concat(t)",
        "return buffer.create(1e9)",
        "table.create(1e7, 0)",
        "local function f(...) return f(1, ...) end local t = {} while true do t = {t, {}, {}, {}} end",
        "coroutine.wrap(function() return #('x'):rep(1e9) end)()",
        "xpcall(function() return #('x'):rep(1e9) end, function(e) return e end)",
        "step('s', function() return #('x'):rep(1e9) end)",
    ] {
        assert_eq!(ends(&engine, source), "limit_memory", "{source}");
    }
    let error = crate::world::error(
        "local t = {}\nlocal function grow()\nfor i = 1, 1e9 do t[i] = ('x'):rep(1000) .. i end\nend\ngrow()",
    );
    assert_eq!(error.code, "limit_memory");
    assert_eq!(error.traceback.as_deref(), Some("test:3 function grow\ntest:5"), "where it was used up");
    // What is garbage does not count.
    let engine = crate::world::engine(Limits { memory_bytes: 16 << 20, ..Limits::default() });
    assert_eq!(ends(&engine, "for i = 1, 300 do local s = ('x'):rep(1000000) .. i end return 1"), "Returned(1)");
}

#[test]
fn deep_recursion_is_stopped() {
    let engine = small();
    for source in [
        "local function f() return 1 + f() end f()",
        "local t = setmetatable({}, {}) getmetatable(t).__index = function(s, k) return s[k] end return t.x",
        "local function f() pcall(f) error('x') end f()",
        "local function f() coroutine.wrap(f)() end f()",
        "return string.find(('('):rep(300), ('('):rep(300))",
    ] {
        let end = ends(&engine, source);
        assert!(
            ["limit_recursion", "script_error", "limit_memory", "limit_cpu"].contains(&end.as_str()),
            "{source}: {end}"
        );
    }
    let nested = format!("return {}1{}", "(".repeat(5000), ")".repeat(5000));
    assert_eq!(ends(&engine, &nested), "syntax_error");
    assert_eq!(ends(&engine, &format!("return '{}'", "x".repeat(2 << 20))), "limit_source");
}

#[test]
fn nothing_outside_can_be_reached() {
    let engine = small();
    for name in [
        "getfenv",
        "setfenv",
        "loadstring",
        "load",
        "require",
        "newproxy",
        "collectgarbage",
        "gcinfo",
        "debug",
        "io",
        "package",
        "dofile",
        "os.execute",
        "os.getenv",
        "os.exit",
    ] {
        assert_eq!(ends(&engine, &format!("return {name} == nil")), "Returned(true)", "{name}");
    }
    for source in [
        "getmetatable('').__index = {}",
        "getmetatable('').__index.find = nil",
        "rawset(string, 'find', nil)",
        "rawset(_G, 'exec', nil)",
        "setmetatable(_G, {})",
        "setmetatable(string, {})",
        "table.clear(string)",
        "table.insert(json, 1)",
        "getmetatable(attach('x')).__index = nil",
        "getmetatable(select(2, pcall(exec))).__tostring = nil",
        "getmetatable(json.array()).x = 1",
        "getmetatable(json.null).x = 1",
    ] {
        let end = ends(&engine, source);
        assert!(["script_error", "invalid_argument"].contains(&end.as_str()), "{source}: {end}");
    }
    // A job cannot leave anything for the next one on the same VM.
    let one = engine;
    assert_eq!(ends(&one, "leaked = 1 math.randomseed(7) return 1"), "Returned(1)");
    let first = ends(&one, "return {tostring(leaked), math.random(1, 1e9)}");
    assert!(first.contains("nil"), "{first}");
    assert_eq!(first, ends(&one, "return {tostring(leaked), math.random(1, 1e9)}"));
    assert_eq!(ends(&one, "return #'\\27Lua'"), "Returned(4)");
}

#[test]
fn a_stopped_run_ends_soon() {
    let engine = engine(Limits { cpu_ms: 60_000, ..Limits::default() });
    let (mut run, _) = Run::start(
        &engine,
        spec("sleep(1) while true do pcall(function() while true do end end) end", Json::null()),
        &[],
    )
    .unwrap();
    let stop = run.stop_handle();
    let stopper = std::thread::spawn(move || stop.stop());
    let input = moonlog_scripts::Input::Continue;
    let _ = run.resume(input);
    stopper.join().unwrap();
    let slice = run.resume(moonlog_scripts::Input::Continue).unwrap();
    assert!(matches!(slice.state, RunState::Failed(error) if error.code == "cancelled"));
}
