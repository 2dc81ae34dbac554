//! Replay: what a script did is done again from its log, with no side effect, and anything else is found.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use moonlog_tests::{Random, Server, command, printed};
use serde_json::{Value, json};
use std::{collections::HashSet, path::Path, time::Duration};

const SEED: u64 = 0x7265_706c_6179;

/// Scripts of every kind, by name.
const SCRIPTS: &[(&str, &str)] = &[
    ("pure", "local s = 0 for i = 1, 30 do s += step('add', function() return i end) end return s"),
    (
        "commands",
        "local a = exec('echo', { 'a' }) local b = sh('echo b >&2; exit 3') return { a.stdout, b.stderr, b.exit_code }",
    ),
    ("failing", "local out, err = exec('/no/such/command') assert(out, err)"),
    ("throwing", "step('s', function() error({ code = 'mine', message = 'no', extra = 7 }) end)"),
    (
        "retried",
        "local n = 0 return step('s', { retry = { max = 3, backoff = '1ms' } }, function(c) if c.attempt < 3 then error('again') end return c.attempt end)",
    ),
    (
        "parallel",
        "local r, e = parallel { slow = function() sleep('40ms') return 's' end, quick = function() return exec('echo', { 'q' }).stdout end, bad = function() error('x') end } return { r, tostring(e.bad) }",
    ),
    (
        "race",
        "return parallel({ function() sleep('30ms') return 1 end, function() sleep('1h') return 2 end }, { join = 'one_success' })",
    ),
    (
        "all_success",
        "return pcall(parallel, { function() sleep('10ms') error('x') end, function() sleep('1h') end }, { join = 'all_success' })",
    ),
    (
        "pipeline",
        "return pipeline({ 3, 1, 2 }, function(v) sleep(v / 100) return v * 2 end, function(v, item) return { v, item } end)",
    ),
    ("spawn", "local h = spawn(function() sleep('20ms') return 'h' end) local st = h:status() return { st, h:wait() }"),
    ("random", "return { math.random(), math.random(1, 100), uuid(), now() > 0, os.time() > 0 }"),
    (
        "process",
        "local p = process('sh', { '-c', 'echo one; echo two' }) local w = p:wait() local o = p:output() return { w.exit_code, o.output, #p:search('tw').matches }",
    ),
    ("background", "process('sleep', { '3600' }) return 1"),
    ("sleep", "for i = 1, 3 do sleep('5ms') end return now() > 0"),
    ("timeout", "local got, err = wait_for('never', { timeout = '20ms' }) return err.code"),
    ("events", "phase('One') log('a') print('b', 1) emit('e', { x = { 1, 2 } }) phase('Two') return nil"),
    (
        "nested",
        "return step('outer', function() local a = exec('echo', { 'in' }).stdout return step('inner', function() return a end) end)",
    ),
    (
        "coroutines",
        "local co = coroutine.wrap(function() for i = 1, 3 do coroutine.yield(exec('echo', { tostring(i) }).stdout) end end) return { co(), co(), co() }",
    ),
    (
        "pcall",
        "local ok, err = pcall(function() sleep('1ms') error('caught') end) local x = step('after', function() return 1 end) return { ok, tostring(err), x }",
    ),
    (
        "continue",
        "local n = args.n or 0 step('s', function() return n end) if n < 3 then continue_as({ n = n + 1 }) end return n",
    ),
    ("json", "return json.decode(json.encode({ a = json.null, b = { 1, 2 }, c = 'ü' }))"),
    ("cancelled", "wait_for('never')"),
    ("timed_out", "sleep('1h')"),
    ("signal", "local a = wait_for('go') return { a, now() > 0 }"),
    ("approval", "return approve { title = 'ok?' }.approved"),
    ("child", "return workflow('double', { n = 21 })"),
    (
        "long",
        "for i = 1, 3000 do emit('n', i) end step('x', function() return 1 end) for i = 1, 3000 do emit('m', i) end return 1",
    ),
];

fn replay(folder: &Path, arguments: &[&str]) -> (i32, String) {
    let mut all = vec!["replay"];
    all.extend(arguments);
    let output = command(folder, &all);
    (output.status.code().unwrap_or(-1), printed(&output))
}

fn add_workflow(folder: &Path) {
    let workflows = folder.join(".moonlog/workflows");
    std::fs::create_dir_all(&workflows).unwrap();
    std::fs::write(
        workflows.join("double.luau"),
        "return { run = function(args) return step('d', function() return args.n * 2 end) end }",
    )
    .unwrap();
}

async fn submit_all(server: &Server) -> Vec<(&'static str, String)> {
    let mut jobs = Vec::new();
    for (name, script) in SCRIPTS {
        let mut body = json!({ "script": script });
        if *name == "timed_out" {
            body["timeout_ms"] = json!(50);
        }
        jobs.push((*name, server.submit(&body).await));
    }
    jobs
}

/// Brings every job to its end.
async fn finish(server: &Server, jobs: &[(&str, String)]) {
    for (name, job) in jobs {
        match *name {
            "cancelled" => {
                server.post(&format!("/v1/jobs/{job}/cancel"), &json!({})).await;
            }
            "signal" => {
                server.post(&format!("/v1/jobs/{job}/signals/go"), &json!({ "payload": [1] })).await;
            }
            "approval" => {
                server.in_state(job, "waiting").await;
                server.post(&format!("/v1/jobs/{job}/approvals/approve"), &json!({ "approved": true })).await;
            }
            _ => {}
        }
        let ended = server.ended(job).await;
        let expected = match *name {
            "failing" | "throwing" => "failed",
            "cancelled" => "cancelled",
            "timed_out" => "timed_out",
            _ => "completed",
        };
        assert_eq!(ended["state"], expected, "{name}: {ended}");
    }
}

fn all_deterministic(folder: &Path, jobs: &[(&str, String)]) {
    for (name, job) in jobs {
        let (status, text) = replay(folder, &[job, "--json"]);
        let verdict: Value = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{name}: {error}: {text}"));
        assert_eq!((status, &verdict["outcome"]), (0, &json!("deterministic")), "{name}: {verdict}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_kind_of_script_replays_as_it_ran() {
    let folder = tempfile::tempdir().unwrap();
    add_workflow(folder.path());
    let server = Server::start(folder.path()).await;
    let jobs = submit_all(&server).await;
    finish(&server, &jobs).await;
    let before = server.ndjson("/v1/events").await.len();
    all_deterministic(folder.path(), &jobs);
    let (status, text) = replay(folder.path(), &[&jobs[0].1]);
    assert!(status == 0 && text.contains("deterministic"), "{status} {text}");
    assert_eq!(server.ndjson("/v1/events").await.len(), before, "a replay records nothing");
    // On the folder alone too.
    assert!(server.terminate().await.success());
    all_deterministic(folder.path(), &jobs[..8]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_survived_kills_replays_too() {
    let mut random = Random::from_env(SEED);
    let folder = tempfile::tempdir().unwrap();
    add_workflow(folder.path());
    let mut jobs = Vec::new();
    for _ in 0..4 {
        let server = Server::start(folder.path()).await;
        jobs.extend(submit_all(&server).await);
        tokio::time::sleep(Duration::from_millis(random.below(150))).await;
        server.kill();
    }
    let server = Server::start(folder.path()).await;
    for (name, job) in &jobs {
        match *name {
            "cancelled" => drop(server.post(&format!("/v1/jobs/{job}/cancel"), &json!({})).await),
            "signal" => drop(server.post(&format!("/v1/jobs/{job}/signals/go"), &json!({ "payload": [1] })).await),
            "approval" => {
                // It may have been decided before... no kill comes between, so it is open, or soon will be.
                server.in_state(job, "waiting").await;
                server.post(&format!("/v1/jobs/{job}/approvals/approve"), &json!({ "approved": true })).await;
            }
            _ => {}
        }
        server.ended(job).await;
    }
    let interrupted = server.ndjson("/v1/events?types=step.finished").await;
    let interrupted = interrupted.iter().filter(|event| event["data"]["outcome"] == "interrupted").count();
    println!("{} jobs over 4 kills, {interrupted} operations interrupted", jobs.len());
    all_deterministic(folder.path(), &jobs);
}

/// Changed scripts: what stood there, what stands there now, the step that must be named, and the line; none where the
/// script has ended.
const CHANGED: &[(&str, &str, &str, Option<u32>)] = &[
    // Another name.
    (
        "step('a', function() return 1 end)\nstep('b', function() return 2 end)",
        "step('a', function() return 1 end)\nstep('c', function() return 2 end)",
        "b",
        Some(2),
    ),
    // Another input.
    ("local x = 1\nexec('echo', { 'one' })", "local x = 1\nexec('echo', { 'two' })", "exec", Some(2)),
    // Another kind.
    ("sleep('1ms')\nsleep('1ms')", "sleep('1ms')\nexec('true')", "sleep:2", Some(2)),
    // One more in front.
    ("exec('echo', { 'x' })", "\nstep('new', function() end)\nexec('echo', { 'x' })", "new", Some(2)),
    // In a branch.
    (
        "parallel { left = function() sleep('1ms') end,\nright = function() step('r', function() end) end }",
        "parallel { left = function() sleep('1ms') end,\nright = function() step('q', function() end) end }",
        "r",
        Some(2),
    ),
    // One that is gone.
    (
        "step('a', function() end)\nstep('b', function() end)\nreturn 1",
        "step('a', function() end)\n\nreturn 1",
        "b",
        None,
    ),
    // Events of its own are matched too.
    ("emit('e', 1)\nemit('e', 2)", "emit('e', 1)\nemit('e', 3)", "", Some(2)),
];

#[tokio::test]
async fn a_changed_script_is_caught_at_its_step_and_line() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path()).await;
    for (index, (was, is, step, line)) in CHANGED.iter().enumerate() {
        let job = server.run(was).await["id"].as_str().unwrap().to_owned();
        let file = folder.path().join(format!("changed{index}.luau"));
        std::fs::write(&file, was).unwrap();
        let (status, text) = replay(folder.path(), &[&job, "--script", file.to_str().unwrap()]);
        assert_eq!(status, 0, "the same script fits: {text}");
        std::fs::write(&file, format!("-- a comment changes nothing\n{was}")).unwrap();
        assert_eq!(replay(folder.path(), &[&job, "--script", file.to_str().unwrap()]).0, 0);
        std::fs::write(&file, is).unwrap();
        let (status, text) = replay(folder.path(), &[&job, "--script", file.to_str().unwrap()]);
        assert_eq!(status, 1, "{is}: {text}");
        assert!(text.contains(step), "{is}: no step `{step}` in {text}");
        match line {
            Some(line) => assert!(text.contains(&format!("changed{index}:{line}")), "{is}: no line {line} in {text}"),
            None => assert!(text.contains("the script has ended"), "{is}: {text}"),
        }
        let (status, text) = replay(folder.path(), &[&job, "--json", "--script", file.to_str().unwrap()]);
        let verdict: Value = serde_json::from_str(&text).unwrap();
        assert_eq!((status, &verdict["outcome"]), (1, &json!("mismatch")), "{verdict}");
        assert_eq!(verdict["mismatch"]["line"], json!(line), "{is}: {verdict}");
    }
    // Another result only.
    let job = server.run("step('a', function() return 1 end) return 'old'").await["id"].as_str().unwrap().to_owned();
    let file = folder.path().join("result.luau");
    std::fs::write(&file, "step('a', function() return 1 end) return 'new'").unwrap();
    let (status, text) = replay(folder.path(), &[&job, "--script", file.to_str().unwrap()]);
    assert!(status == 1 && text.contains("old") && text.contains("new"), "{status} {text}");
    // One that does not compile.
    std::fs::write(&file, "local x =\n\n= 1").unwrap();
    let (status, text) = replay(folder.path(), &[&job, "--script", file.to_str().unwrap()]);
    assert!(status != 0 && text.contains("3"), "{status} {text}");
}

#[tokio::test]
async fn branches_see_the_order_that_was_recorded() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path()).await;
    // Branches end in the reverse of the order in which they begin, and say so to each other.
    let script = "local order = {}
        local branches = {}
        for i = 1, 5 do
            branches[i] = function()
                sleep((6 - i) * 0.03)
                table.insert(order, i)
                step('saw-' .. table.concat(order, '-'), function() return #order end)
            end
        end
        parallel(branches)
        return order";
    let job = server.run(script).await;
    assert_eq!(job["result"], json!([5, 4, 3, 2, 1]), "{job}");
    let id = job["id"].as_str().unwrap();
    let (status, text) = replay(folder.path(), &[id]);
    assert_eq!(status, 0, "{text}");
    let (status, text) = replay(folder.path(), &[id, "--step", "--json"]);
    let walk: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(status, 0);
    let events = server.events(id).await;
    let positions: Vec<&Value> = walk["walk"].as_array().unwrap().iter().map(|walked| &walked["position"]).collect();
    let recorded: HashSet<String> = events.iter().map(|event| event["position"].to_string()).collect();
    assert!(positions.iter().all(|position| recorded.contains(&position.to_string())));
    assert!(positions.is_sorted_by_key(|position| position.as_u64()), "it walks in the recorded order");
    // Time and chance come from the journal: a script that looks at both replays to the same.
    let script = "local r, seen = {}, {}
        parallel { function() sleep('20ms') table.insert(seen, { 'a', now(), math.random() }) end,
                   function() exec('true') table.insert(seen, { 'b', now(), math.random() }) end }
        emit('seen', seen) return seen";
    let id = server.run(script).await["id"].as_str().unwrap().to_owned();
    let (status, text) = replay(folder.path(), &[&id]);
    assert_eq!(status, 0, "{text}");
}

#[tokio::test]
async fn a_job_is_shown_as_of_a_version() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path()).await;
    let job = server
        .run("phase('One') step('a', function() return 1 end) phase('Two') return step('b', function() return 2 end)")
        .await;
    let id = job["id"].as_str().unwrap();
    let events = server.events(id).await;
    for (at, event) in (1..).zip(&events) {
        let state = server.get(&format!("/v1/jobs/{id}/state?at={at}")).await;
        assert_eq!((&state["at"], &state["position"]), (&json!(at), &event["position"]), "{state}");
        let expected = match event["type"].as_str().unwrap() {
            "job.submitted" => "queued",
            "job.completed" => "completed",
            _ => "running",
        };
        assert_eq!(state["job"]["state"], expected, "at {at}");
        let (status, text) = replay(folder.path(), &[id, "--at", &at.to_string(), "--json"]);
        assert_eq!(status, 0, "{text}");
        assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), state, "the command says what the server says");
        let (status, text) = replay(folder.path(), &[id, "--at", &at.to_string()]);
        assert!(status == 0 && text.contains(expected), "{text}");
    }
    let last = server.get(&format!("/v1/jobs/{id}/state")).await;
    assert_eq!(last["job"], server.get(&format!("/v1/jobs/{id}")).await, "the fold is what the projections hold");
    for at in [0, events.len() + 1] {
        let (status, _) = replay(folder.path(), &[id, "--at", &at.to_string()]);
        assert_ne!(status, 0, "there is no version {at}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bundle_replays_elsewhere_and_can_be_taken_in() {
    let folder = tempfile::tempdir().unwrap();
    add_workflow(folder.path());
    let server = Server::start(folder.path()).await;
    let mut jobs = submit_all(&server).await;
    finish(&server, &jobs).await;
    // One with data that stands apart from its events, and one whose output is not UTF-8.
    for script in [
        "emit('big', ('0123456789'):rep(20000)) return ('x'):rep(2000000)",
        "exec('printf', { '\\\\377\\\\376 bytes' }) return 1",
    ] {
        jobs.push(("large", server.run(script).await["id"].as_str().unwrap().to_owned()));
    }
    let elsewhere = tempfile::tempdir().unwrap();
    let other = Server::start(elsewhere.path()).await;
    for (name, job) in &jobs {
        let bundle = elsewhere.path().join(format!("{job}.moonlog"));
        let bundle = bundle.to_str().unwrap();
        let output = command(folder.path(), &["export", job, "-o", bundle]);
        assert!(output.status.success(), "{name}: {}", printed(&output));
        // Without a server, and without the log that it came from.
        let (status, text) = replay(Path::new("/"), &[bundle]);
        assert!(status == 0 && text.contains("deterministic"), "{name}: {status} {text}");
        let output = command(elsewhere.path(), &["import", bundle]);
        assert!(output.status.success(), "{name}: {}", printed(&output));
        let taken = String::from_utf8(output.stdout).unwrap().trim().to_owned();
        let (was, is) = (server.get(&format!("/v1/jobs/{job}")).await, other.get(&format!("/v1/jobs/{taken}")).await);
        for field in ["state", "workflow", "script_hash", "args", "result", "error", "steps", "version", "started_at"] {
            assert_eq!(was[field], is[field], "{name}: {field}");
        }
        let (status, text) = replay(elsewhere.path(), &[&taken]);
        assert!(status == 0 && text.contains("deterministic"), "{name}: {status} {text}");
        let what = |events: Vec<Value>| -> Vec<(Value, Value, Value)> {
            let parts = |mut event: Value| {
                // Its one mark, on its first event.
                event["data"].as_object_mut().unwrap().remove("imported");
                (event["type"].clone(), event["data"].clone(), event["step"].clone())
            };
            events.into_iter().map(parts).collect()
        };
        let (was, is) = (what(server.events(job).await), what(other.events(&taken).await));
        for (was, is) in was.iter().zip(&is) {
            assert_eq!(was, is, "{name}");
        }
        assert_eq!(was.len(), is.len(), "{name}");
        // Once is enough.
        let output = command(elsewhere.path(), &["import", bundle]);
        assert_ne!(output.status.code(), Some(0), "{name}: taken in twice: {}", printed(&output));
    }
    // A bundle that was damaged is refused, and nothing of it stays.
    let bundle = elsewhere.path().join(format!("{}.moonlog", jobs[1].1));
    let text = std::fs::read_to_string(&bundle).unwrap();
    let count = other.ndjson("/v1/events").await.len();
    for damaged in [text[..text.len() / 2].to_owned(), text.replacen("echo", "ecko", 1), "{}\n".into(), String::new()] {
        std::fs::write(&bundle, damaged).unwrap();
        let bundle = bundle.to_str().unwrap();
        assert_ne!(command(elsewhere.path(), &["import", bundle]).status.code(), Some(0));
        assert_ne!(replay(Path::new("/"), &[bundle]).0, 0);
    }
    assert_eq!(other.ndjson("/v1/events").await.len(), count);
    assert!(other.terminate().await.success());
    let output = command(elsewhere.path(), &["verify"]);
    assert!(output.status.success(), "{}", printed(&output));
}
