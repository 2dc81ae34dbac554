//! Each operation: what it writes as its input, what it gives back.

use crate::world::{Say, World, error, eval, listing};
use moonlog_core::event::{EventBody, StepOutcome, StepStarted};

fn answers(step: &StepStarted) -> Say {
    match (step.kind.as_str(), step.path.as_str()) {
        ("exec" | "sh", path) if path.starts_with("missing") => Say::Bad(StepOutcome::Error, "not_found"),
        ("exec" | "sh", path) if path.starts_with("nonzero") => {
            Say::Both(r#"{"ok":false,"exit_code":3}"#, "exit_nonzero")
        }
        ("exec" | "sh", _) => Say::Ok(r#"{"ok":true,"exit_code":0,"stdout":"hi","signal":null}"#),
        ("process", _) => Say::Ok(r#"{"id":"019ab0c2-7d1e-7cc1-9d53-0a3d6b6f2f11"}"#),
        ("process_wait", _) => Say::Bad(StepOutcome::TimedOut, "timeout"),
        ("process_output", _) => Say::Ok(r#"{"output":"x","running":true}"#),
        ("process_search", _) => Say::Ok(r#"{"matches":[],"truncated":false}"#),
        ("process_signal", _) => Say::Ok("true"),
        ("wait_for", path) if path.starts_with("late") => Say::Bad(StepOutcome::TimedOut, "timeout"),
        ("wait_for", _) => Say::Ok(r#"{"a":[1,null,3],"b":null}"#),
        ("approve", _) => Say::Ok(r#"{"approved":true,"by":"me"}"#),
        ("workflow", _) => Say::Ok(r#"[1,2]"#),
        ("tool", "look") => Say::Ok(r#"{"content":"x"}"#),
        ("tool", _) => Say::Bad(StepOutcome::Error, "unknown_tool"),
        ("http", _) => Say::Ok(r#"{"status":200,"headers":{},"body":"ok"}"#),
        _ => Say::Ok("null"),
    }
}

#[test]
fn operations_write_their_inputs_and_give_what_came_of_them() {
    let cases: &[(&str, &str, &str)] = &[
        (
            r#"exec("git", {"-C", 1}, {cwd = "/x", env = {A = "b"}, timeout = "2s", check = true})"#,
            r#"exec {"args":["-C","1"],"check":true,"command":"git","cwd":"/x","env":{"A":"b"},"on_timeout":"background","timeout_ms":2000}"#,
            r#"{"exit_code":0,"ok":true,"stdout":"hi"}"#,
        ),
        (
            r#"exec("ls")"#,
            r#"exec {"args":[],"command":"ls","on_timeout":"background","timeout_ms":10000}"#,
            r#"{"exit_code":0,"ok":true,"stdout":"hi"}"#,
        ),
        (
            r#"sh("ls | wc", {stdin = secret("T"), on_timeout = "kill", retry = {max = 3, backoff = "1m"}, label = "count"})"#,
            r#"sh {"on_timeout":"kill","retry":{"backoff_ms":60000,"factor":2,"max":3,"max_backoff_ms":60000},"script":"ls | wc","stdin":"⟦secret:T⟧","timeout_ms":10000}"#,
            r#"{"exit_code":0,"ok":true,"stdout":"hi"}"#,
        ),
        (
            r#"process("sleep", {"9"}, {description = "d"})"#,
            r#"process {"args":["9"],"command":"sleep","description":"d"}"#,
            r#"{"id":"019ab0c2-7d1e-7cc1-9d53-0a3d6b6f2f11"}"#,
        ),
        (
            r#"select(2, attach("p"):wait("1s")).code"#,
            r#"process_wait {"process":"p","timeout_ms":1000}"#,
            r#""timeout""#,
        ),
        (r#"attach("p"):output().output"#, r#"process_output {"process":"p"}"#, r#""x""#),
        (
            r#"attach("p"):search("a.b", {limit = 2}).matches"#,
            r#"process_search {"limit":2,"pattern":"a.b","process":"p"}"#,
            "[]",
        ),
        (r#"attach("p"):signal("SIGTERM")"#, r#"process_signal {"process":"p","signal":"SIGTERM"}"#, "true"),
        (
            r#"tool("read_file", {path = "a"}, {label = "look", retry = 2}).content"#,
            r#"tool {"input":{"path":"a"},"name":"read_file","retry":{"backoff_ms":1000,"factor":2,"max":2,"max_backoff_ms":60000}}"#,
            r#""x""#,
        ),
        (r#"select(2, tool("nope")).code"#, r#"tool {"input":{},"name":"nope"}"#, r#""unknown_tool""#),
        (r#"sleep("250ms")"#, r#"sleep {"ms":250}"#, "null"),
        (r#"sleep(1.5)"#, r#"sleep {"ms":1500}"#, "null"),
        (
            r#"wait_for("go", {timeout = "2h"})"#,
            r#"wait_for {"signal":"go","timeout_ms":7200000}"#,
            r#"{"a":[1,null,3]}"#,
        ),
        (r#"wait_for("go").a.n"#, r#"wait_for {"signal":"go"}"#, "3"),
        (
            r#"approve{title = "ok?", details = {x = 1}, timeout = 5, default = "denied"}.by"#,
            r#"approve {"default":false,"details":{"x":1},"timeout_ms":5000,"title":"ok?"}"#,
            r#""me""#,
        ),
        (
            r#"workflow("other", {a = 1}, {timeout = 1})"#,
            r#"workflow {"args":{"a":1},"name":"other","opts":{"timeout_ms":1000}}"#,
            "[1,2]",
        ),
        (r#"workflow("other")"#, r#"workflow {"args":{},"name":"other","opts":{}}"#, "[1,2]"),
        (
            r#"http.request{method = "post", url = "http://x", headers = {a = "b"}, body = {q = {}}}.status"#,
            r#"http {"body":"{\"q\":{}}","headers":{"a":"b","content-type":"application/json"},"method":"POST","url":"http://x"}"#,
            "200",
        ),
        (
            r#"http.get("http://x", {timeout = 1}).body"#,
            r#"http {"method":"GET","timeout_ms":1000,"url":"http://x"}"#,
            r#""ok""#,
        ),
    ];
    for (call, input, result) in cases {
        let told = World::new(&format!("return (({call}))"), answers);
        assert_eq!(told.result(), *result, "{call}");
        let asked = told.told().events.iter().find_map(|event| match &event.body {
            EventBody::StepStarted(step) => Some(format!("{} {}", step.kind, step.input)),
            _ => None,
        });
        assert_eq!(asked.as_deref(), Some(*input), "{call}");
    }
}

#[test]
fn failures_come_back_as_nil_and_an_error() {
    let world = World::new(
        r#"
        local out, err = exec("x", nil, {label = "missing"})
        local kept = exec("x", nil, {label = "nonzero"})
        local ok, thrown = pcall(exec, "x", nil, {label = "nonzero", check = true})
        local nothing, late = wait_for("s", {timeout = 1, label = "late"})
        local fine, why = pcall(function() return assert(sh("x", {label = "missing"})) end)
        return {out == nil, err.code, tostring(err), "e: " .. err, kept.exit_code, ok, thrown.code, nothing == nil, late.code, fine, why.code}
        "#,
        answers,
    );
    let result = r#"[true,"not_found","it failed with not_found","e: it failed with not_found",3,false,"exit_nonzero",true,"timeout",false,"not_found"]"#;
    assert_eq!(world.result(), result);
}

#[test]
fn uncaught_errors_carry_code_line_and_traceback() {
    let error =
        World::new("local function inner()\n  assert(exec('x', nil, {label = 'missing'}))\nend\ninner()", answers)
            .error();
    assert_eq!((error.code.as_str(), error.message.as_str()), ("not_found", "it failed with not_found"));
    assert_eq!(error.traceback.as_deref(), Some("test:2 function inner\ntest:4"));

    let error = crate::world::error("local t = nil\nreturn t.x");
    assert_eq!(error.code, "script_error");
    assert_eq!(error.message, "test:2: attempt to index nil with 'x'");
    assert_eq!(error.traceback.as_deref(), Some("test:2"));

    let error = crate::world::error("exec(3)");
    assert_eq!(
        (error.code.as_str(), error.message.as_str()),
        ("invalid_argument", "test:1: exec: command must be a string, got number")
    );
}

#[test]
fn call_paths_name_where_an_operation_stands() {
    let world = World::new(
        r#"
        exec("a") exec("b") sleep(0) exec("c", nil, {label = "my/label: x"})
        parallel { b = function() exec("x") exec("x") end, a = function() parallel { function() sleep(1) end } end }
        parallel { a = function() exec("x") end }
        pipeline({"p", "q"}, function(v) sleep(1) return v end, function(v) return exec(v) end)
        step("outer", function() exec("in") step("inner", function() exec("deep") end) end)
        spawn(function() sleep(1) log("hello") end)
        "#,
        answers,
    );
    let told = world.told();
    let paths: Vec<&str> = told
        .events
        .iter()
        .filter_map(|event| match &event.body {
            EventBody::StepStarted(step) => Some(step.path.as_str()),
            _ => None,
        })
        .collect();
    let expected = [
        "exec",
        "exec:2",
        "sleep",
        "my%2Flabel%3A%20x",
        "b/exec",
        "a/1/sleep",
        "b/exec:2",
        "a:2/exec",
        "1.1/sleep",
        "2.1/sleep",
        "1.2/exec",
        "2.2/exec",
        "outer",
        "outer@1/exec",
        "outer@1/inner",
        "outer@1/inner@1/exec",
        "spawn/sleep",
    ];
    assert_eq!(paths, expected);
    assert!(listing(&told.events).contains("log spawn info hello"));
}

#[test]
fn notes_stand_in_the_log_in_order() {
    let told = World::new(
        r#"phase("One") print("a", 1, {x = 1}, nil) log("b", "warn") emit("mine", {1, {}}) step("s", function() log("in") end)
        parallel { k = function() log("branch") end }"#,
        answers,
    )
    .told();
    let expected = [
        "job.started",
        "phase - One",
        "log - info a\t1\t{\"x\":1}\tnil",
        "log - warn b",
        "emit - mine [1,{}]",
        "start step s 1",
        "log s info in",
        "end s 1 Ok",
        "log k info branch",
        "job.completed",
    ];
    assert_eq!(listing(&told.events), expected.join("\n"));
}

#[test]
fn time_and_chance_come_from_the_journal() {
    let world = World::new(
        r#"
        local a, t = now(), os.time()
        sleep(1)
        return {a, t, now() - a, os.clock(), os.date("%Y-%m-%d", 0), os.date("!*t", 0).year, math.random(1, 6), uuid(), math.random(),
          os.time{year = 2026, month = 1, day = 1, hour = 0}}
        "#,
        answers,
    );
    let first = world.result();
    assert_eq!(first, world.result());
    assert!(first.starts_with("[1700000000,1700000000,2,2,\"1970-01-01\",1970,"), "{first}");
    assert!(first.ends_with(",1767225600]"), "{first}");
}

#[test]
fn values_cross_the_border_or_are_refused_by_name() {
    let good: &[(&str, &str)] = &[
        ("return", "null"),
        ("return {}", "{}"),
        ("return json.array{}", "[]"),
        ("return json.decode('[]')", "[]"),
        ("return json.decode('{\"a\":null,\"b\":[null]}')", r#"{"a":null,"b":[null]}"#),
        ("return {json.null}", "[null]"),
        ("return {1, 2.5, -0, 1e300, 2^53}", "[1,2.5,0,1e+300,9007199254740992]"),
        ("return {b = 1, a = 'é\\n'}", r#"{"a":"é\n","b":1}"#),
        ("return table.pack(1, nil, 3)", "[1,null,3]"),
        ("return {n = 3}", r#"{"n":3}"#),
        ("return (parallel {function() end, function() return 2 end})", "[null,2]"),
        ("return args", "{}"),
    ];
    for (source, result) in good {
        assert_eq!(eval(source), *result, "{source}");
    }
    let bad: &[(&str, &str)] = &[
        ("return {a = {b = print}}", "the script's result.a.b is a function, which JSON cannot hold"),
        (
            "local t = {} t.t = {t} return t",
            "the script's result.t[1] contains itself (a cycle), which JSON cannot hold",
        ),
        ("return {0/0}", "the script's result[1] is NaN, which JSON cannot hold"),
        (
            "return {[1] = 1, [3] = 3}",
            "the script's result is an array with a hole at [2]: fill it with json.null, or give its length as `n`",
        ),
        ("return {1, x = 2}", "the script's result mixes indexes with the key `x`, which JSON cannot hold"),
        ("return {x = '\\255'}", "the script's result.x is a string that is not valid UTF-8, which JSON cannot hold"),
        ("return {[true] = 1}", "the script's result has a key that is a boolean, which JSON cannot hold"),
        ("return buffer.create(1)", "the script's result is a buffer, which JSON cannot hold"),
        ("local t = {} for i = 1, 200 do t = {t} end return t", "is nested more than 100 levels deep"),
    ];
    for (source, message) in bad {
        let error = error(source);
        assert_eq!(error.code, "invalid_value", "{source}");
        assert!(error.message.contains(message), "{source}: {}", error.message);
    }
}

#[test]
fn library_functions_do_what_luau_documents() {
    let cases: &[(&str, &str)] = &[
        (r#"return ("a,b"):split(",")"#, r#"["a","b"]"#),
        (r#"return {("abc"):find("b", 1, true)}"#, "[2,2]"),
        (
            r#"local s = ("x"):rep(2000000) .. "needle" return {s:find(("x"):rep(10) .. "needle", 1, true)}"#,
            "[1999991,2000006]",
        ),
        (r#"return #(("ab"):rep(1000000)):split("ab")"#, "1000001"),
        (r#"return table.move({1,2,3}, 1, 3, 2, {9})"#, "[9,1,2,3]"),
        (
            r#"local out = {} for k, v in sorted_pairs{b = 2, a = 1, [1] = 0} do table.insert(out, k) end return out"#,
            r#"[1,"a","b"]"#,
        ),
        (r#"return {pcall(error, {code = "x"})}"#, r#"[false,{"code":"x"}]"#),
        (
            r#"return tostring({}) .. tostring(print) .. string.format("%s", {}) .. `{print}`"#,
            r#""tablefunctiontablefunction""#,
        ),
        (r#"return {json.encode({b=1,a={}}), json.decode('{"x":[1]}').x[1]}"#, r#"["{\"a\":{},\"b\":1}",1]"#),
        (r#"return {budget.total == math.huge, budget.spent(), budget.remaining() == math.huge}"#, "[true,0,true]"),
        ("x = 1 function helper() return x end return helper()", "1"),
    ];
    for (source, result) in cases {
        assert_eq!(eval(source), *result, "{source}");
    }
    for (source, message) in [
        ("exec = 1", "the global `exec` is read-only"),
        ("args = 1 args.x = 1 return args.x", "attempt to index number"),
        ("string.rep = 1", "readonly"),
        ("_G.foo = 1", "readonly"),
        ("json.null.x = 1", "readonly"),
        ("sleep('soon')", "a duration is expected"),
        ("exec('x', nil, {timout = 1})", "unknown option `timout`"),
        ("workflow('x', nil, {timout = 1})", "unknown option `timout`"),
        ("workflow('x', nil, {retry = {max = 0}})", "workflow: retry.max"),
        ("parallel{1}", "branch `1` must be a function"),
        ("json.decode('{')", "json.decode: EOF"),
    ] {
        let error = error(source);
        assert!(error.message.contains(message), "{source}: {}", error.message);
    }
}

#[test]
fn a_default_that_is_no_decision_is_refused() {
    for (default, recorded) in [("true", "true"), ("'approved'", "true"), ("{approved = false, note = 'n'}", "false")] {
        let told = World::new(&format!("return approve{{title = 'ok?', default = {default}}}.by"), answers).told();
        let input = told.events.iter().find_map(|event| match &event.body {
            EventBody::StepStarted(step) => Some(step.input.to_value()["default"].to_string()),
            _ => None,
        });
        assert_eq!(input.as_deref(), Some(recorded), "{default}");
    }
    for default in ["'maybe'", "{}", "5"] {
        let source = format!("local ok, err = pcall(approve, {{title = 'ok?', default = {default}}}) return err.code");
        assert_eq!(World::new(&source, answers).result(), r#""invalid_argument""#, "{default}");
    }
}

#[test]
fn text_that_is_no_json_has_a_code() {
    for text in ["{bad", "1e999", "[1,]", ""] {
        let source = format!("local ok, err = pcall(json.decode, '{text}') return err.code");
        assert_eq!(World::new(&source, answers).result(), r#""invalid_json""#, "{text}");
    }
}

#[test]
fn errors_of_the_library_name_the_line_of_the_script() {
    for (call, told) in [
        ("string.format('%d', 'x')", "test:2: invalid argument #2 to 'format' (number expected, got string)"),
        ("('%d'):format({})", "test:2: invalid argument #2 to 'format' (number expected, got string)"),
        ("os.date('%Q')", "test:2: invalid argument #1 to 'date' (invalid conversion specifier)"),
        ("('x'):find('[')", "test:2: malformed pattern (missing ']')"),
        ("os.time({})", "test:2: field 'day' missing in date table"),
        ("json.array(5)", "test:2: json.array: a table is expected, got number"),
        ("error('mine')", "test:2: mine"),
        ("error('mine', 0)", "mine"),
        ("error('mine', 3)", "mine"),
        ("error(5)", "test:2: 5"),
    ] {
        let source = format!("local ok, err = pcall(function()\n{call} end) return tostring(err)");
        assert_eq!(World::new(&source, answers).result(), serde_json::to_string(told).unwrap(), "{call}");
    }
    let source = "local function check(n)\nerror('bad ' .. n, 2) end\nlocal ok, err = pcall(function()\ncheck(1) end) return err";
    assert_eq!(World::new(source, answers).result(), r#""test:4: bad 1""#);
    let source = "local ok, err = pcall(function() error({code = 'mine'}) end) return err.code";
    assert_eq!(World::new(source, answers).result(), r#""mine""#);
}
