//! What can be asked of jobs and queues over HTTP, and that all of it survives a restart: priorities, pauses, times,
//! limits, keys, decisions, retries, and the end of a server.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use moonlog_tests::{Server, Settings, eventually};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use std::path::Path;

fn with(config: &str) -> Settings {
    Settings { config: config.into(), ..Settings::default() }
}

/// Ids of the jobs that were started, in order.
async fn started(server: &Server) -> Vec<Value> {
    server.ndjson("/v1/events?types=job.started").await.into_iter().map(|event| event["job"].clone()).collect()
}

fn time_after(ms: u64) -> String {
    let when = format!("now + {}.{:03} seconds", ms / 1000, ms % 1000);
    let mut date = std::process::Command::new("date");
    let output = date.args(["-u", "-d", &when, "+%Y-%m-%dT%H:%M:%S.%NZ"]).output().expect("date runs");
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

#[tokio::test]
async fn higher_priority_goes_first_and_a_pause_survives_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let settings = with("[queues.default]\nconcurrency = 1");
    let server = Server::start_with(folder.path(), &settings).await;
    assert_eq!(server.post("/v1/queues/default/pause", &json!({})).await.0, StatusCode::OK);
    let mut jobs = Vec::new();
    for priority in [0, -5, 10, 0, 7] {
        jobs.push(server.submit(&json!({ "script": "return 1", "priority": priority })).await);
    }
    assert_eq!(started(&server).await, Vec::<Value>::new());
    server.kill();
    let server = Server::start_with(folder.path(), &settings).await;
    let queues = server.get("/v1/queues").await;
    let queue = &queues["items"][0];
    assert_eq!((&queue["name"], &queue["paused"], &queue["depth"]), (&json!("default"), &json!(true), &json!(5)));
    assert_eq!(server.post("/v1/queues/default/resume", &json!({})).await.0, StatusCode::OK);
    for job in &jobs {
        assert_eq!(server.ended(job).await["state"], "completed");
    }
    let expected: Vec<Value> = [2, 4, 0, 3, 1].iter().map(|at| json!(jobs[*at])).collect();
    assert_eq!(started(&server).await, expected);
    let (status, problem) = server.post("/v1/queues/nosuch/pause", &json!({})).await;
    assert_eq!((status, &problem["code"]), (StatusCode::NOT_FOUND, &json!("no_such_queue")));
}

#[tokio::test]
async fn a_job_starts_at_its_time_and_not_before() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path()).await;
    let past = server.submit(&json!({ "script": "return 1", "run_at": "2001-01-01T00:00:00Z" })).await;
    let far = server.submit(&json!({ "script": "return 1", "run_at": "2199-01-01T00:00:00Z" })).await;
    let soon_at = time_after(1_500);
    let soon = server.submit(&json!({ "script": "return 1", "run_at": soon_at })).await;
    assert_eq!(server.ended(&past).await["state"], "completed");
    assert_eq!(server.get(&format!("/v1/jobs/{soon}")).await["state"], "queued");
    // Its time comes over a restart too.
    server.kill();
    let server = Server::start(folder.path()).await;
    let job = server.ended(&soon).await;
    assert!(job["started_at"].as_str().unwrap() >= &soon_at[..23], "{soon_at}: {job}");
    assert_eq!(server.get(&format!("/v1/jobs/{far}")).await["state"], "queued");
    let (status, _) = server.post(&format!("/v1/jobs/{far}/cancel"), &json!({ "reason": "too far" })).await;
    assert_eq!(status, StatusCode::ACCEPTED);
    assert_eq!(server.ended(&far).await["state"], "cancelled", "a queued job ends where it stands");
}

#[tokio::test]
async fn jobs_with_one_concurrency_key_run_one_after_the_other() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path()).await;
    let marks = folder.path().join("marks");
    let script = format!(
        "sh('echo begin >> {0}; sleep 0.05; echo end >> {0}', {{ retry = {{ max = 5 }} }}) sleep('20ms')",
        marks.display()
    );
    let mut jobs = Vec::new();
    for _ in 0..5 {
        jobs.push(server.submit(&json!({ "script": script, "concurrency_key": "one" })).await);
    }
    let other = server.submit(&json!({ "script": "return 1", "concurrency_key": "two" })).await;
    assert_eq!(server.ended(&other).await["state"], "completed", "another key does not wait");
    for job in &jobs {
        assert_eq!(server.ended(job).await["state"], "completed");
    }
    let told = std::fs::read_to_string(&marks).unwrap();
    assert_eq!(told, "begin\nend\n".repeat(5));
    // No job starts before the one before it has ended, waits included.
    let events = server.ndjson("/v1/events?types=job.started,job.completed").await;
    let mut holder = None;
    for event in events.iter().filter(|event| event["job"] != other) {
        match event["type"].as_str().unwrap() {
            "job.started" => assert_eq!(holder.replace(event["job"].clone()), None, "{event}"),
            _ => assert_eq!(holder.take(), Some(event["job"].clone()), "{event}"),
        }
    }
}

#[tokio::test]
async fn a_full_queue_says_when_to_come_again() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start_with(folder.path(), &with("[queues.small]\ncapacity = 2")).await;
    server.post("/v1/queues/small/pause", &json!({})).await;
    let body = json!({ "script": "return 1", "queue": "small" });
    let jobs = [server.submit(&body).await, server.submit(&body).await];
    let response = server.request(Method::POST, "/v1/jobs").json(&body).send().await.unwrap();
    assert_eq!(response.status(), StatusCode::TOO_MANY_REQUESTS);
    let wait: u64 = response.headers()["retry-after"].to_str().unwrap().parse().unwrap();
    assert!(wait >= 1);
    let problem: Value = response.json().await.unwrap();
    assert_eq!(problem["code"], "queue_full");
    // Another queue has room; nothing of the refused one was recorded.
    server.submit(&json!({ "script": "return 1" })).await;
    assert_eq!(server.ndjson("/v1/events?types=job.submitted").await.len(), 3);
    server.post("/v1/queues/small/resume", &json!({})).await;
    for job in &jobs {
        server.ended(job).await;
    }
    server.submit(&body).await;
    let (status, problem) = server.post("/v1/jobs", &json!({ "script": "return 1", "queue": "nosuch" })).await;
    assert_eq!((status, &problem["code"]), (StatusCode::BAD_REQUEST, &json!("no_such_queue")));
}

#[tokio::test]
async fn time_runs_out_for_jobs_steps_and_commands() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path()).await;
    for script in [
        "sleep('1h')",
        "sh('sleep 3600', { timeout = '1h' })",
        "wait_for('never')",
        "step('s', function() sleep('1h') end)",
    ] {
        let job = server.submit(&json!({ "script": script, "timeout_ms": 200 })).await;
        let job = server.ended(&job).await;
        assert_eq!(job["state"], "timed_out", "{script}: {job}");
        let events = server.events(job["id"].as_str().unwrap()).await;
        assert_eq!(events.last().unwrap()["type"], "job.timed_out");
        assert_all_closed(&events);
    }
    let job = server
        .run(
            "local ok, err = pcall(step, 'slow', { timeout = '80ms' }, function() sleep('1h') end)
             local got, why = wait_for('never', { timeout = '50ms' })
             local ran = sh('sleep 3600', { timeout = '80ms', on_timeout = 'kill' })
             local decided, late = approve { title = 'x', timeout = '50ms' }
             return { ok = ok, step = err.code, got = got, why = why.code, killed = ran.timed_out, ran = ran.ok, late = late.code }",
        )
        .await;
    let expected =
        json!({ "ok": false, "step": "timeout", "why": "timeout", "killed": true, "ran": false, "late": "timeout" });
    assert_eq!(job["result"], expected, "{job}");
    // Attempts of a step that times out are recorded.
    let script = "local n = 0
        local ok, err = pcall(step, 's', { timeout = '50ms', retry = { max = 3, backoff = '1ms' } }, function() sleep('1h') end)
        return err.code";
    let job = server.run(script).await;
    assert_eq!(job["result"], "timeout", "{job}");
    let events = server.events(job["id"].as_str().unwrap()).await;
    let timed_out: Vec<&Value> = events
        .iter()
        .filter(|event| event["data"]["path"] == "s" && event["data"]["outcome"] == "timed_out")
        .map(|event| &event["data"]["attempt"])
        .collect();
    assert_eq!(timed_out, [1, 2, 3]);
    assert_all_closed(&events);
}

/// Every step that was started has one finish per attempt, and every process an exit.
fn assert_all_closed(events: &[Value]) {
    let count = |kind: &str| events.iter().filter(|event| event["type"] == kind).count();
    for (begin, end) in [("step.started", "step.finished"), ("process.started", "process.exited")] {
        assert_eq!(count(begin), count(end), "{begin} and {end}: {events:#?}");
    }
}

#[tokio::test]
async fn a_job_that_never_stops_for_breath_can_be_cancelled() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path()).await;
    for script in [
        "while true do step('s', function() end) end",
        "while true do emit('e', 1) end",
        "while true do sleep(0) end",
        "while true do exec('true') end",
        "parallel { function() while true do sleep(0.001) end end, function() while true do sleep(0.001) end end }",
    ] {
        let job = server.submit(&json!({ "script": script })).await;
        let path = format!("/v1/jobs/{job}");
        eventually("the job to be under way", || async {
            (server.get(&path).await["version"].as_u64() > Some(20)).then_some(())
        })
        .await;
        let (status, answer) = server.post(&format!("/v1/jobs/{job}/cancel"), &json!({})).await;
        assert_eq!(status, StatusCode::ACCEPTED, "{script}: {answer}");
        let job = server.ended(&job).await;
        assert_eq!(job["state"], "cancelled", "{script}: {job}");
    }
}

#[tokio::test]
async fn a_key_makes_one_job_of_many_submissions() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path()).await;
    let body = json!({ "script": "return args.n", "args": { "n": 1, "m": [] }, "idempotency_key": "k" });
    let submissions = (0..20).map(|_| server.post("/v1/jobs", &body));
    let answers = futures_util::future::join_all(submissions).await;
    let created = answers.iter().filter(|(status, _)| *status == StatusCode::CREATED).count();
    assert_eq!(created, 1, "{answers:?}");
    let id = &answers[0].1["id"];
    assert!(answers.iter().all(|(status, job)| &job["id"] == id && status.is_success()), "{answers:?}");
    assert_eq!(server.ended(id.as_str().unwrap()).await["result"], 1);

    server.kill();
    let server = Server::start(folder.path()).await;
    // The same JSON in other words, also after the job's end and a restart; with `wait` the result is there.
    let text = r#"{"idempotency_key":"k", "args":{"m":[],"n":1},   "script":"return args.n"}"#;
    let request = server.request(Method::POST, "/v1/jobs?wait=10s").header("content-type", "application/json");
    let response = request.body(text).send().await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    let job: Value = response.json().await.unwrap();
    assert_eq!((&job["id"], &job["result"]), (id, &json!(1)));
    for other in [
        json!({ "script": "return args.n", "args": { "n": 2, "m": [] }, "idempotency_key": "k" }),
        json!({ "script": "return 2", "idempotency_key": "k" }),
        json!({ "script": "return args.n", "args": { "n": 1, "m": [] }, "priority": 1, "idempotency_key": "k" }),
    ] {
        let (status, problem) = server.post("/v1/jobs", &other).await;
        assert_eq!((status, &problem["code"]), (StatusCode::CONFLICT, &json!("idempotency_key_reused")), "{problem}");
        assert_eq!(&problem["job"], id);
    }
    // A refused submission leaves its key free.
    let (status, _) = server.post("/v1/jobs", &json!({ "script": "return return", "idempotency_key": "free" })).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    server.submit(&json!({ "script": "return 1", "idempotency_key": "free" })).await;
}

#[tokio::test]
async fn a_signals_key_makes_one_signal_of_many() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path()).await;
    let id = server.submit(&json!({ "script": "return { wait_for('go'), wait_for('go') }" })).await;
    let path = format!("/v1/jobs/{id}/signals/go");
    for _ in 0..3 {
        let (status, answer) = server.post(&path, &json!({ "payload": 1, "idempotency_key": "a" })).await;
        assert_eq!(status, StatusCode::ACCEPTED, "{answer}");
    }
    server.kill();
    let server = Server::start(folder.path()).await;
    server.post(&path, &json!({ "payload": 1, "idempotency_key": "a" })).await;
    server.in_state(&id, "waiting").await;
    server.post(&path, &json!({ "payload": 2, "idempotency_key": "b" })).await;
    assert_eq!(server.ended(&id).await["result"], json!([1, 2]));
    let (status, problem) = server.post(&path, &json!({ "payload": 3 })).await;
    assert_eq!((status, &problem["code"]), (StatusCode::CONFLICT, &json!("job_ended")));
    let nobody = "/v1/jobs/019ab0c2-7d1e-7cc1-9d53-0a3d6b6f2f11/signals/go";
    let (status, problem) = server.post(nobody, &json!({ "payload": 3 })).await;
    assert_eq!((status, &problem["code"]), (StatusCode::NOT_FOUND, &json!("no_such_job")));
}

#[tokio::test]
async fn an_ended_job_is_submitted_again_as_a_new_one() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path()).await;
    let body = json!({ "script": "if args.n == 1 then error('no') end return args", "args": { "n": 1 },
        "labels": { "team": "x" }, "priority": 3, "idempotency_key": "k" });
    let first = server.submit(&body).await;
    assert_eq!(server.ended(&first).await["state"], "failed");
    let response = server.request(Method::POST, &format!("/v1/jobs/{first}/retry")).send().await.unwrap();
    assert_eq!(response.status(), StatusCode::CREATED);
    let location = response.headers()["location"].to_str().unwrap().to_owned();
    let second: Value = response.json().await.unwrap();
    let id = second["id"].as_str().unwrap();
    assert_eq!(location, format!("/v1/jobs/{id}"));
    assert_ne!(id, first);
    let second = server.ended(id).await;
    for field in ["script_hash", "args", "labels", "priority", "queue", "workflow", "state"] {
        let first = server.get(&format!("/v1/jobs/{first}")).await;
        assert_eq!(second[field], first[field], "{field}");
    }
    let open = server.submit(&json!({ "script": "wait_for('go')" })).await;
    let (status, problem) = server.post(&format!("/v1/jobs/{open}/retry"), &json!({})).await;
    assert_eq!((status, &problem["code"]), (StatusCode::CONFLICT, &json!("job_not_ended")));
}

#[tokio::test]
async fn a_server_that_is_told_to_stop_leaves_jobs_to_the_next() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path()).await;
    let marks = folder.path().join("marks");
    let script = format!(
        "local n = step('count', function() return assert(sh('echo x >> {}; echo 1')).stdout end)
         local slept = sleep('300ms')
         local out, err = sh('sleep 1; echo done', {{ retry = {{ max = 10, backoff = '1ms' }} }})
         return {{ n = n, out = out and out.stdout, err = err and err.code }}",
        marks.display()
    );
    let mut jobs = Vec::new();
    for _ in 0..5 {
        jobs.push(server.submit(&json!({ "script": script })).await);
    }
    let queued = server.submit(&json!({ "script": "return 'late'", "run_at": time_after(3_000) })).await;
    eventually("the jobs to act", || async {
        let processes = server.ndjson("/v1/events?types=process.started").await;
        (processes.len() >= 8).then_some(())
    })
    .await;
    // A request that waits is answered before the server ends.
    let waiting = server.request(Method::GET, &format!("/v1/jobs/{queued}?wait=60s")).send();
    let waiting = tokio::spawn(waiting);
    let status = server.terminate().await;
    assert!(status.success(), "{status}");
    if let Ok(response) = waiting.await.unwrap() {
        assert!(response.status() == StatusCode::ACCEPTED || response.status() == 503, "{}", response.status());
    }
    assert!(!folder.path().join("data/server.json").exists(), "nobody is sent to a server that is gone");

    let server = Server::start(folder.path()).await;
    for job in &jobs {
        let job = server.ended(job).await;
        assert_eq!(job["result"], json!({ "n": "1\n", "out": "done\n" }), "{job}");
        let events = server.events(job["id"].as_str().unwrap()).await;
        assert_all_closed(&events);
    }
    assert_eq!(server.ended(&queued).await["result"], "late");
    assert_eq!(std::fs::read_to_string(marks).unwrap().lines().count(), 5, "what was recorded was done once");
    let system = server.ndjson("/v1/events?types=runner.*").await;
    let types: Vec<&str> = system.iter().map(|event| event["type"].as_str().unwrap()).collect();
    assert_eq!(types, ["runner.started", "runner.stopped", "runner.started"]);
}

#[tokio::test]
async fn approvals_are_listed_decided_once_and_survive_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path()).await;
    let script = "local results = parallel {
          a = function() return approve { title = 'Ship it?', details = { risk = 3 } } end,
          b = function() return approve { title = 'And this?' } end,
        }
        return results";
    let id = server.submit(&json!({ "script": script })).await;
    let open = || async {
        let items = server.get("/v1/approvals").await["items"].clone();
        (items.as_array().unwrap().len() == 2).then_some(items)
    };
    let items = eventually("both approvals to be open", open).await;
    assert!(items.as_array().unwrap().iter().all(|item| item["job"] == id), "{items}");
    server.kill();
    let server = Server::start(folder.path()).await;
    let after = server.get("/v1/approvals").await["items"].clone();
    assert_eq!(after, items, "they are open as before");
    let text = items.to_string();
    assert!(text.contains("Ship it?") && text.contains("risk"), "{text}");

    let path_of = |title: &str| {
        let item = items.as_array().unwrap().iter().find(|item| item.to_string().contains(title)).unwrap();
        let call = item["call_id"].as_str().or(item["id"].as_str()).unwrap_or_else(|| panic!("{item}"));
        format!("/v1/jobs/{id}/approvals/{}", call.replace('/', "%2F"))
    };
    let (ship, this) = (path_of("Ship it?"), path_of("And this?"));
    let (status, problem) = server.post(&ship, &json!({ "by": "eve" })).await;
    assert_eq!(status, StatusCode::BAD_REQUEST, "{problem}");
    let (status, answer) = server.post(&ship, &json!({ "approved": true, "by": "ann", "note": "go" })).await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    let (status, problem) = server.post(&ship, &json!({ "approved": false })).await;
    assert_eq!((status, &problem["code"]), (StatusCode::CONFLICT, &json!("already_decided")));
    server.kill();
    let server = Server::start(folder.path()).await;
    assert_eq!(server.get("/v1/approvals").await["items"].as_array().unwrap().len(), 1);
    assert_eq!(server.post(&this, &json!({ "approved": false })).await.0, StatusCode::OK);
    let job = server.ended(&id).await;
    let a = &job["result"]["a"];
    assert_eq!((&a["approved"], &a["by"], &a["note"]), (&json!(true), &json!("ann"), &json!("go")), "{job}");
    assert_eq!(job["result"]["b"]["approved"], false);
    let (status, problem) = server.post(&format!("/v1/jobs/{id}/approvals/nosuch"), &json!({ "approved": true })).await;
    assert!(status == StatusCode::NOT_FOUND || status == StatusCode::CONFLICT, "{problem}");
}

/// All files below `folder` that hold `needle`.
fn files_with(folder: &Path, needle: &[u8]) -> Vec<String> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap().flatten() {
        let path = entry.path();
        if path.is_dir() {
            found.extend(files_with(&path, needle));
        } else if std::fs::read(&path).is_ok_and(|bytes| bytes.windows(needle.len()).any(|part| part == needle)) {
            found.push(path.display().to_string());
        }
    }
    found
}

#[tokio::test]
async fn secrets_are_nowhere_but_in_the_commands_that_may_have_them() {
    const SECRET: &str = "s3cr3t/value+with?chars=0123456789";
    // Its base64, behind 0, 1 and 2 other bytes; the ends, which depend on what stands beside it, are left out.
    let alignments = ["czNjcjN0L3ZhbHVlK3dpdGg/", "Y3IzdC92YWx1ZSt3aXRoP2No", "M2NyM3QvdmFsdWUrd2l0aD9j"];
    let folder = tempfile::tempdir().unwrap();
    let settings = Settings {
        config: "[secrets.KEY]\nenv = \"THE_KEY\"\ncommands = [\"sh\"]\n[secrets.UNSET]\nenv = \"NOT_SET_ANYWHERE\"\ncommands = [\"sh\"]\n".into(),
        env: vec![("THE_KEY".into(), SECRET.into())],
        ..Settings::default()
    };
    let server = Server::start_with(folder.path(), &settings).await;
    let script = r#"
        local opts = { env = { T = secret("KEY") } }
        local plain = sh('echo "a $T b"; echo "err $T" >&2; test -n "$T"', opts)
        local split = sh('printf "%s" "${T%%value*}"; sleep 0.2; printf "%s" "value${T#*value}"; sleep 0.2; echo .', opts)
        local encoded = sh('printf "%s" "$T" | base64 -w0; printf "x%s" "$T" | base64 -w0; printf "xy%s" "$T" | base64 -w0', opts)
        local piped = sh('cat', { stdin = secret("KEY") })
        local length = sh('printf "%s" "$T" | wc -c', opts)
        local failed, why = pcall(function() return assert(sh('echo "$T" >&2; exit 3', { env = { T = secret("KEY") }, check = true })) end)
        local p = process('sh', { '-c', 'echo "$T"' }, opts)
        p:wait()
        emit('all', { plain, split, encoded, piped, p:output() })
        log(plain.stdout)
        local refused, because = exec('env', {}, opts)
        local unknown, what = pcall(function() return sh('true', { env = { T = secret('NOSUCH') } }) end)
        local unset, not_set = sh('true', { env = { T = secret('UNSET') } })
        local inherited = sh('env')
        return { plain = plain.stdout, err = plain.stderr, given = plain.ok, split = split.stdout, piped = piped.stdout,
                 length = tonumber(length.stdout), because = because and because.code, refused = refused ~= nil,
                 why = tostring(why), unset = not_set and not_set.code, inherited = inherited.stdout:find('THE_KEY') ~= nil }
    "#;
    let job = server.run(script).await;
    assert_eq!(job["state"], "completed", "{job}");
    let result = &job["result"];
    assert_eq!((&result["plain"], &result["err"]), (&json!("a *** b\n"), &json!("err ***\n")), "{result}");
    assert_eq!((&result["given"], &result["length"]), (&json!(true), &json!(SECRET.len())), "the command had it");
    assert_eq!((&result["split"], &result["piped"]), (&json!("***.\n"), &json!("***")), "{result}");
    assert_eq!((&result["refused"], &result["because"]), (&json!(false), &json!("secret_not_allowed")), "{result}");
    assert_eq!(result["inherited"], false, "{result}");
    assert!(result["unset"].is_string(), "{result}");

    let feed = server.request(Method::GET, "/v1/events?follow=false").header("accept", "text/event-stream");
    let feed = feed.send().await.unwrap().text().await.unwrap();
    let id = job["id"].as_str().unwrap();
    let state = server.get(&format!("/v1/jobs/{id}/state")).await.to_string();
    let metrics = server.request(Method::GET, "/metrics").send().await.unwrap().text().await.unwrap();
    let url_form = "s3cr3t%2Fvalue%2Bwith%3Fchars%3D0123456789";
    for needle in alignments.iter().copied().chain([SECRET, url_form, "with?chars=0123456789"]) {
        for (what, text) in [("feed", &feed), ("state", &state), ("job", &job.to_string()), ("metrics", &metrics)] {
            assert!(!text.contains(needle), "{needle} is in the {what}: {text}");
        }
    }
    assert!(server.terminate().await.success());
    for needle in alignments.iter().copied().chain([SECRET, url_form]) {
        assert_eq!(files_with(folder.path(), needle.as_bytes()), Vec::<String>::new(), "{needle} is on the disk");
    }
}
