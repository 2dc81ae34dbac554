//! Scripts that mean harm, submitted to a server that others use: each ends with a clear error of its own, and the jobs of
//! the others end in time.

use futures_util::future::join_all;
use moonlog_tests::{Server, Settings};
use serde_json::{Value, json};
use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant},
};

/// Small limits, so that they are reached soon.
const CONFIG: &str = "
[limits]
script_compute_ms = 400
script_memory_bytes = 16_777_216
value_max_bytes = 1_048_576
script_source_bytes = 100_000
steps_per_job = 300
events_per_job = 2_000
open_branches = 50
items_max = 100
";

/// How long a job of the others may take while harm is done: 2 cores are shared with all of it. A script that was let
/// compute freely would hold it up for as long as the test lasts.
const OTHERS_MAX: Duration = Duration::from_secs(15);

/// Scripts by the code that each must fail with.
const HOSTILE: &[(&str, &[&str])] = &[
    (
        "limit_cpu",
        &[
            "while true do end",
            "while true do pcall(function() while true do end end) end",
            "while true do xpcall(function() while true do end end, function() while true do end end) end",
            "sleep('1ms') while true do pcall(function() while true do end end) end",
            "local t = setmetatable({}, { __index = function() while true do end end }) return t.x",
            "local t = setmetatable({}, { __eq = function() while true do end end }) return t == setmetatable({}, getmetatable(t))",
            "local t = setmetatable({}, { __tostring = function() while true do end end }) return tostring(t)",
            "while true do coroutine.resume(coroutine.create(function() while true do end end)) end",
            "parallel { function() while true do end end, function() sleep('1h') end }",
            "step('s', function() while true do end end)",
            "string.find(('a'):rep(300000), ('.-'):rep(30) .. 'b')",
            "string.gsub(('a'):rep(300000), ('a*'):rep(30) .. 'b', '')",
            "string.gsub('abc', '.', function() while true do end end)",
            "table.sort({ 3, 2, 1 }, function() while true do end end)",
            "table.move({}, 1, 1e9, 2)",
            "local s = ('x'):rep(1000000) while true do s:find('y', 1, true) end",
            "return { run = function() while true do end end }",
        ],
    ),
    (
        "limit_memory",
        &[
            "return #('x'):rep(1e9)",
            "local s = 'x' while true do s = s .. s end",
            "while true do pcall(function() local s = 'x' while true do s = s .. s end end) end",
            "local t = table.create(1000, ('x'):rep(100000)) return #table.concat(t)",
            "return buffer.create(1e9)",
            "local t = {} while true do t = { t, {}, {}, {} } end",
            "step('s', function() return #('x'):rep(1e9) end)",
            "sleep('1ms') return buffer.create(1e9)",
        ],
    ),
    (
        "limit_recursion",
        &[
            "local function f() return 1 + f() end f()",
            "local t = setmetatable({}, {}) getmetatable(t).__index = function(s, k) return s[k] end return t.x",
        ],
    ),
    ("limit_steps", &["while true do step('s', function() end) end", "while true do sleep(0) end"]),
    ("limit_events", &["while true do emit('e', 1) end", "while true do log('x') end"]),
    (
        "limit_branches",
        &[
            "local b = {} for i = 1, 60 do b[i] = function() sleep(60) end end parallel(b)",
            "while true do spawn(function() sleep(60) end) end",
        ],
    ),
    ("items_max", &["pipeline(table.create(101, 1), function(x) return x end)"]),
    (
        "limit_value",
        &[
            "return ('x'):rep(2000000)",
            "emit('e', ('x'):rep(2000000))",
            "step('s', function() return ('x'):rep(2000000) end)",
            "exec('echo', { ('x'):rep(2000000) })",
        ],
    ),
    (
        "invalid_value",
        &[
            "local t = {} t.self = t return t",
            "return { here = function() end }",
            "return { here = 0 / 0 }",
            "return { here = coroutine.create(function() end) }",
            "emit('e', { [1] = 1, x = 2 })",
        ],
    ),
    (
        "script_error",
        &[
            "getfenv(1)",
            "setfenv(1, {})",
            "loadstring('return 1')()",
            "require('os')",
            "os.execute('true')",
            "io.open('/etc/passwd')",
            "debug.getregistry()",
            "getmetatable('').__index = {}",
            "getmetatable('').__index.find = nil",
            "rawset(string, 'find', nil)",
            "setmetatable(_G, {})",
            "table.clear(string)",
            "string.find = nil",
            "error('on purpose')",
        ],
    ),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_hostile_script_ends_with_its_own_error_and_others_end_in_time() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start_with(folder.path(), &Settings { config: CONFIG.into(), ..Settings::default() }).await;
    let done = AtomicBool::new(false);

    // The others: a job that steps, acts and sleeps, one after the other until the harm is done.
    let others = async {
        let mut took = Vec::new();
        while !done.load(Ordering::Relaxed) {
            let begun = Instant::now();
            let script = "local a = step('a', function() return 1 end)
                          sleep('5ms')
                          return a + tonumber(exec('echo', { '1' }).stdout)";
            let job = server.run(script).await;
            assert_eq!(job["result"], 2, "{job}");
            took.push(begun.elapsed());
        }
        took
    };
    let harm = async {
        let scripts = HOSTILE.iter().flat_map(|(code, scripts)| scripts.iter().map(move |script| (*code, *script)));
        let mut jobs = Vec::new();
        for (code, script) in scripts {
            jobs.push((code, script, server.submit(&json!({ "script": script })).await));
        }
        let ended = join_all(jobs.iter().map(|(_, _, job)| server.ended(job))).await;
        done.store(true, Ordering::Relaxed);
        jobs.into_iter().zip(ended).map(|((code, script, _), job)| (code, script, job)).collect::<Vec<_>>()
    };
    let (took, ended) = tokio::join!(others, harm);

    let mut wrong = Vec::new();
    for (code, script, job) in &ended {
        let error = &job["error"];
        if job["state"] != "failed" || error["code"] != *code {
            wrong.push(format!("{script}\n    wanted {code}, is {} {error} {}", job["state"], job["result"]));
        }
        assert!(!error["message"].as_str().unwrap_or_default().is_empty(), "{script}: an error without words");
    }
    assert!(wrong.is_empty(), "{} of {} ended otherwise:\n{}", wrong.len(), ended.len(), wrong.join("\n"));
    let longest = took.iter().max().unwrap();
    println!("{} hostile scripts; {} other jobs meanwhile, the slowest in {longest:?}", ended.len(), took.len());
    assert!(took.len() >= 3 && *longest < OTHERS_MAX, "the others: {took:?}");

    // Nobody is left behind: the server is as it was.
    let job = server.run("return string.find('abc', 'b')").await;
    assert_eq!(job["result"], 2, "{job}");
    let queues = server.get("/v1/queues").await;
    assert_eq!(queues["items"][0]["running"], 0, "{queues}");
}

#[tokio::test]
async fn errors_name_the_key_the_line_and_the_limit() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start_with(folder.path(), &Settings { config: CONFIG.into(), ..Settings::default() }).await;
    for (script, words) in [
        ("return { a = { b = { 1, function() end } } }", &["a.b"][..]),
        ("local t = { x = {} } t.x.back = t return t", &["x.back"]),
        ("return { deep = { n = 0/0 } }", &["deep.n"]),
        ("local x = 1\n\nwhile true do end", &[":3", "400"]),
        ("local x = 1\n\n\nlocal s = ('x'):rep(1e9)", &["memory"]),
        ("local function inner()\n  error('here')\nend\ninner()", &[":2", "here"]),
    ] {
        let job = server.run(script).await;
        let error = &job["error"];
        let text = format!("{} {}", error["message"], error["traceback"]);
        for word in words {
            assert!(text.contains(word), "{script}\n  has no `{word}`: {error}");
        }
    }
}

#[tokio::test]
async fn a_source_beyond_the_limit_is_refused_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start_with(folder.path(), &Settings { config: CONFIG.into(), ..Settings::default() }).await;
    let script = format!("return '{}'", "x".repeat(200_000));
    let (status, problem): (_, Value) = server.post("/v1/jobs", &json!({ "script": script })).await;
    assert_eq!((status.as_u16(), &problem["code"]), (413, &json!("too_large")), "{problem}");
    assert_eq!(server.get("/v1/jobs").await["items"], json!([]));
}
