//! What is wrong with a request, a script, a configuration or a place is said clearly, with a stable code, and nothing
//! that was there before is lost by it.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use moonlog_tests::{Server, Settings, command, moonlog, printed};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use std::{
    io::{Read, Write},
    net::TcpStream,
    path::Path,
    process::{Command, Output},
};

const NOBODY: &str = "019ab0c2-7d1e-7cc1-9d53-0a3d6b6f2f11";

/// An answer that must be a problem: status, code, and the whole of it.
async fn problem(request: reqwest::RequestBuilder) -> (u16, String, Value) {
    let response = request.send().await.expect("an answer");
    let status = response.status();
    let url = response.url().clone();
    let kind = response.headers().get("content-type").map(|kind| kind.to_str().unwrap().to_owned());
    let text = response.text().await.unwrap();
    assert_eq!(kind.as_deref(), Some("application/problem+json"), "{url}: {status}: {text}");
    let problem: Value = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"));
    assert_eq!(problem["status"], status.as_u16(), "{problem}");
    for member in ["type", "title", "detail", "code"] {
        assert!(problem[member].as_str().is_some_and(|text| !text.is_empty()), "no {member}: {problem}");
    }
    (status.as_u16(), problem["code"].as_str().unwrap().to_owned(), problem)
}

fn post(server: &Server, path: &str, body: impl Into<reqwest::Body>) -> reqwest::RequestBuilder {
    server.request(Method::POST, path).header("content-type", "application/json").body(body)
}

/// Bytes as they are, on a connection of their own; what comes back until the server closes it or `enough` is there.
fn raw(server: &Server, request: &[u8]) -> String {
    let mut stream = TcpStream::connect(server.url().trim_start_matches("http://")).unwrap();
    stream.set_read_timeout(Some(std::time::Duration::from_secs(30))).unwrap();
    // The server may answer and close before all is sent.
    let _ = stream.write_all(request);
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test]
async fn bodies_that_are_wrong_are_refused_with_their_places() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path()).await;
    for (body, code, words) in [
        ("{", "invalid_json", &["line"][..]),
        ("{\"script\": \"return 1\",}", "invalid_json", &[]),
        ("nonsense", "invalid_json", &[]),
        ("{\"script\": \"\u{1}\"}", "invalid_json", &[]),
        ("[1]", "invalid_request", &["object"]),
        ("\"text\"", "invalid_request", &["object"]),
        ("{}", "invalid_request", &["workflow", "script"]),
        ("", "invalid_request", &["workflow"]),
        ("{\"scirpt\": \"return 1\"}", "invalid_request", &["scirpt"]),
        ("{\"script\": \"return 1\", \"extra\": 1, \"more\": 2}", "invalid_request", &["extra", "more"]),
        ("{\"script\": 1}", "invalid_request", &["script"]),
        ("{\"script\": \"return 1\", \"priority\": \"high\"}", "invalid_request", &["priority"]),
        ("{\"script\": \"return 1\", \"priority\": 1.5}", "invalid_request", &["priority"]),
        ("{\"script\": \"return 1\", \"priority\": 99999999999}", "invalid_request", &["priority"]),
        ("{\"script\": \"return 1\", \"timeout_ms\": -1}", "invalid_request", &["timeout_ms"]),
        ("{\"script\": \"return 1\", \"run_at\": \"tomorrow\"}", "invalid_request", &["run_at"]),
        ("{\"script\": \"return 1\", \"labels\": [1]}", "invalid_request", &["labels"]),
        ("{\"script\": \"return 1\", \"labels\": {\"a\": 1}}", "invalid_request", &["labels.a"]),
        ("{\"script\": \"return 1\", \"retry\": {\"max\": 0}}", "invalid_request", &["retry.max"]),
        ("{\"script\": \"return 1\", \"retry\": {\"max\": 1, \"x\": 1}}", "invalid_request", &["retry.x"]),
        ("{\"script\": \"return 1\", \"idempotency_key\": \"\"}", "invalid_request", &["idempotency_key"]),
        ("{\"script\": \"return 1\", \"session\": \"x\"}", "invalid_request", &["session"]),
        ("{\"script\": \"return 1\", \"workflow\": \"w\"}", "invalid_request", &["script", "workflow"]),
    ] {
        let (status, found, problem) = problem(post(&server, "/v1/jobs", body)).await;
        assert_eq!((status, found.as_str()), (400, code), "{body}: {problem}");
        let text = problem.to_string();
        assert!(words.iter().all(|word| text.contains(word)), "{body}: {words:?} not in {problem}");
    }
    let (status, code, _) = problem(server.request(Method::POST, "/v1/jobs").body(vec![0xff, 0xfe, b'{'])).await;
    assert!((status, code.as_str()) == (400, "invalid_json") || status == 415, "{status} {code}");
    let form = server.request(Method::POST, "/v1/jobs").header("content-type", "text/plain").body("{}");
    let (status, code, _) = problem(form).await;
    assert_eq!((status, code.as_str()), (415, "unsupported_media_type"));
    // Deep nesting is no way to a stack's end.
    let deep = format!("{{\"script\": \"return 1\", \"args\": {}{}}}", "[".repeat(100_000), "]".repeat(100_000));
    let (status, code, _) = problem(post(&server, "/v1/jobs", deep)).await;
    assert_eq!((status, code.as_str()), (400, "invalid_json"));
    assert_eq!(server.get("/v1/jobs").await["items"], json!([]), "nothing was taken of any of them");
}

#[tokio::test]
async fn giant_and_chunked_bodies_meet_the_limit() {
    let folder = tempfile::tempdir().unwrap();
    let settings = Settings { config: "[limits]\nbody_max_bytes = 100_000".into(), ..Settings::default() };
    let server = Server::start_with(folder.path(), &settings).await;
    let body = |size: usize| json!({ "script": "return #args.x", "args": { "x": "y".repeat(size) } }).to_string();
    let (status, code, problem_text) = problem(post(&server, "/v1/jobs", body(200_000))).await;
    assert_eq!((status, code.as_str()), (413, "body_too_large"), "{problem_text}");
    assert_eq!(problem_text["limit_bytes"], 100_000);

    let address = server.url().trim_start_matches("http://").to_owned();
    let head = format!(
        "POST /v1/jobs?wait=20s HTTP/1.1\r\nhost: {address}\r\ncontent-type: application/json\r\nconnection: close\r\n"
    );
    let chunked = |body: &str, size: usize| {
        let mut request = format!("{head}transfer-encoding: chunked\r\n\r\n").into_bytes();
        for piece in body.as_bytes().chunks(size) {
            request.extend_from_slice(format!("{:x}\r\n", piece.len()).as_bytes());
            request.extend_from_slice(piece);
            request.extend_from_slice(b"\r\n");
        }
        request.extend_from_slice(b"0\r\n\r\n");
        request
    };
    let answer = raw(&server, &chunked(&body(50_000), 777));
    assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("\"result\":50000"), "{answer}");
    let answer = raw(&server, &chunked(&body(200_000), 7_777));
    assert!(answer.starts_with("HTTP/1.1 413") && answer.contains("body_too_large"), "{answer}");
    // A length that says more than anybody has.
    let answer = raw(&server, format!("{head}content-length: 99999999999\r\nexpect: 100-continue\r\n\r\n").as_bytes());
    assert!(answer.contains("413") && answer.contains("body_too_large"), "{answer}");
    // Headers without an end.
    let endless = format!("GET /healthz HTTP/1.1\r\nhost: {address}\r\nx: {}\r\n\r\n", "y".repeat(200_000));
    let answer = raw(&server, endless.as_bytes());
    assert!(answer.starts_with("HTTP/1.1 4"), "{answer}");
    for nonsense in [&b"\x16\x03\x01\x02\x00\x01"[..], b"GET\r\n\r\n", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"] {
        raw(&server, nonsense);
    }
    assert_eq!(server.run("return 1").await["result"], 1, "the server is as it was");
}

#[tokio::test]
async fn scripts_and_workflows_that_cannot_be_run_say_why() {
    let folder = tempfile::tempdir().unwrap();
    let workflows = folder.path().join(".moonlog/workflows");
    std::fs::create_dir_all(&workflows).unwrap();
    let typed = "return { args = { type = 'object', required = { 'n' }, additionalProperties = false,
        properties = { n = { type = 'integer' }, list = { type = 'array', items = { type = 'string' } } } },
        run = function(args) return args.n end }";
    std::fs::write(workflows.join("typed.luau"), typed).unwrap();
    std::fs::write(workflows.join("broken.luau"), "local x = 1\nreturn {{\n").unwrap();
    let server = Server::start(folder.path()).await;
    for (script, line) in [
        ("return return", 1),
        ("local x = 1\nlocal y = \nreturn 1 +", 3),
        ("local a = 1\n\n\nif a then", 4),
        ("for i = 1, 3 do\n  print('x'\nend", 3),
        ("goto out", 1),
    ] {
        let (status, code, problem) = problem(post(&server, "/v1/jobs", json!({ "script": script }).to_string())).await;
        assert_eq!((status, code.as_str()), (400, "script_does_not_compile"), "{script}: {problem}");
        assert_eq!(problem["errors"][0]["line"], line, "{script}: {problem}");
        assert!(!problem["errors"][0]["message"].as_str().unwrap().is_empty());
    }
    for (workflow, nearest) in [("typde", Some("typed")), ("repo_report", Some("repo-report")), ("qqqqqqqq", None)] {
        let (status, code, problem) =
            problem(post(&server, "/v1/jobs", json!({ "workflow": workflow }).to_string())).await;
        assert_eq!((status, code.as_str()), (404, "no_such_workflow"), "{problem}");
        assert_eq!(problem["nearest"].as_str(), nearest, "{problem}");
    }
    for (args, place) in [
        (json!({}), "args"),
        (json!({ "n": "one" }), "args.n"),
        (json!({ "n": 1.5 }), "args.n"),
        (json!({ "n": 1, "list": ["a", 2] }), "args.list[1]"),
        (json!({ "n": 1, "other": 2 }), "args"),
        (json!([1]), "args"),
    ] {
        let body = json!({ "workflow": "typed", "args": args }).to_string();
        let (status, code, problem) = problem(post(&server, "/v1/jobs", body)).await;
        assert_eq!((status, code.as_str()), (422, "invalid_args"), "{args}: {problem}");
        assert_eq!(problem["errors"][0]["path"], place, "{args}: {problem}");
    }
    // A broken file is listed as broken, and cannot be run.
    let listed = server.get("/v1/workflows").await.to_string();
    assert!(listed.contains("broken") && listed.contains("typed"), "{listed}");
    let (status, _, _) = problem(post(&server, "/v1/jobs", json!({ "workflow": "broken" }).to_string())).await;
    assert!((400..500).contains(&status), "{status}");
    assert_eq!(server.get("/v1/jobs").await["items"], json!([]), "nothing was recorded of any of them");
}

#[tokio::test]
async fn unknown_paths_methods_ids_and_cursors() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path()).await;
    let job = server.run("return 1").await["id"].as_str().unwrap().to_owned();
    let before = server.ndjson("/v1/events").await;
    for (method, path, status, code) in [
        (Method::GET, "/nothing".to_owned(), 404, "no_such_path"),
        (Method::GET, "/v1".into(), 404, "no_such_path"),
        (Method::GET, "/v1/jobs/".into(), 404, "no_such_path"),
        (Method::POST, "/v1/nothing/at/all".into(), 404, "no_such_path"),
        (Method::GET, "/v1/../etc/passwd%00".into(), 404, "no_such_path"),
        (Method::PUT, "/v1/jobs".into(), 405, "method_not_allowed"),
        (Method::PATCH, format!("/v1/jobs/{job}"), 405, "method_not_allowed"),
        (Method::GET, format!("/v1/jobs/{job}/cancel"), 405, "method_not_allowed"),
        (Method::POST, "/healthz".into(), 405, "method_not_allowed"),
        (Method::from_bytes(b"BREW").unwrap(), "/v1/jobs".into(), 405, "method_not_allowed"),
        (Method::GET, format!("/v1/jobs/{NOBODY}"), 404, "no_such_job"),
        (Method::GET, "/v1/jobs/not-an-id".into(), 404, "no_such_job"),
        (Method::GET, format!("/v1/jobs/{NOBODY}/events"), 404, "no_such_job"),
        (Method::GET, format!("/v1/jobs/{NOBODY}/state"), 404, "no_such_job"),
        (Method::POST, format!("/v1/jobs/{NOBODY}/cancel"), 404, "no_such_job"),
        (Method::POST, format!("/v1/jobs/{NOBODY}/retry"), 404, "no_such_job"),
        (Method::GET, "/v1/blobs/00".into(), 404, "no_such_blob"),
        (Method::GET, format!("/v1/blobs/{}", "0".repeat(64)), 404, "no_such_blob"),
        (Method::GET, "/v1/workflows/nosuch".into(), 404, "no_such_workflow"),
        (Method::GET, "/v1/jobs?cursor=x".into(), 400, "invalid_cursor"),
        (Method::GET, "/v1/jobs?limit=0".into(), 400, "invalid_query"),
        (Method::GET, "/v1/jobs?limit=many".into(), 400, "invalid_query"),
        (Method::GET, "/v1/jobs?state=nosuch".into(), 400, "invalid_query"),
        (Method::GET, "/v1/jobs?nosuch=1".into(), 400, "invalid_query"),
        (Method::GET, "/v1/jobs?since=yesterday".into(), 400, "invalid_query"),
        (Method::GET, format!("/v1/jobs/{job}/state?at=0"), 400, "invalid_query"),
        (Method::GET, format!("/v1/jobs/{job}/state?at=99"), 400, "invalid_query"),
        (Method::GET, format!("/v1/jobs/{job}?wait=soon"), 400, "invalid_query"),
    ] {
        let what = format!("{method} {path}");
        let request = server.request(method, &path);
        let response = request.try_clone().unwrap().send().await.unwrap();
        let allow = response.headers().get("allow").cloned();
        let (found, found_code, answer) = problem(request).await;
        assert_eq!((found, found_code.as_str()), (status, code), "{what}: {answer}");
        assert_eq!(allow.is_some(), status == 405, "{what}: Allow stands on a 405");
    }
    let response = server.request(Method::HEAD, &format!("/v1/jobs/{job}")).send().await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    assert!(response.headers()["content-length"].to_str().unwrap().parse::<u64>().unwrap() > 100);
    let response = server.request(Method::OPTIONS, "/v1/jobs").send().await.unwrap();
    assert_eq!(response.headers()["allow"], "POST, GET, HEAD, OPTIONS");
    assert_eq!(server.ndjson("/v1/events").await, before, "nothing was recorded of any of them");
}

#[tokio::test]
async fn pages_from_elsewhere_cannot_use_the_server() {
    let folder = tempfile::tempdir().unwrap();
    let settings = Settings {
        config: "[api]\nhosts = [\"ci.example.com\"]\norigins = [\"https://ui.example.com\"]".into(),
        ..Settings::default()
    };
    let server = Server::start_with(folder.path(), &settings).await;
    let port = server.url().rsplit(':').next().unwrap();
    let get = |name: &'static str, value: String| server.request(Method::GET, "/v1/jobs").header(name, value);
    for host in
        [format!("localhost:{port}"), format!("127.0.0.1:{port}"), format!("[::1]:{port}"), "ci.example.com".into()]
    {
        let response = get("host", host.clone()).send().await.unwrap();
        assert_eq!(response.status(), StatusCode::OK, "{host}");
    }
    for host in ["evil.example.com", "127.0.0.1.evil.com", "localhost.evil.com", "ci.example.com.evil.com", "10.0.0.1"]
    {
        let (status, code, _) = problem(get("host", host.into())).await;
        assert_eq!((status, code.as_str()), (403, "forbidden_host"), "{host}");
    }
    for origin in [server.url().to_owned(), "https://ui.example.com".into()] {
        let response = get("origin", origin.clone()).send().await.unwrap();
        assert_eq!(response.status(), StatusCode::OK, "{origin}");
    }
    for origin in
        ["https://evil.example.com", "null", "http://127.0.0.1:1", "https://ui.example.com.evil.com", "file://"]
    {
        let (status, code, _) = problem(get("origin", origin.into())).await;
        assert_eq!((status, code.as_str()), (403, "forbidden_origin"), "{origin}");
        let write = post(&server, "/v1/jobs", "{\"script\":\"return 1\"}").header("origin", origin);
        assert_eq!(problem(write).await.0, 403, "{origin}");
    }
    assert_eq!(server.get("/v1/jobs").await["items"], json!([]));
}

#[tokio::test]
async fn a_token_is_asked_for_everywhere_but_at_the_pulse() {
    let folder = tempfile::tempdir().unwrap();
    let settings = Settings { env: vec![("MOONLOG_TOKEN".into(), "correct horse".into())], ..Settings::default() };
    let server = Server::start_with(folder.path(), &settings).await;
    for path in ["/v1/jobs", "/v1/events", "/metrics", "/readyz", "/nothing", "/openapi.json", "/v1/workflows"] {
        for (given, code) in [
            (None, "token_needed"),
            (Some("Bearer wrong"), "invalid_token"),
            (Some("Bearer "), "token_needed"),
            (Some("Bearer correct horse battery"), "invalid_token"),
            (Some("Basic correct horse"), "token_needed"),
        ] {
            let mut request = server.request(Method::GET, path);
            if let Some(given) = given {
                request = request.header("authorization", given);
            }
            let (status, found, answer) = problem(request).await;
            assert_eq!(status, 401, "{path} {given:?}: {answer}");
            // Another scheme may count as no token or as a wrong one.
            assert!(
                found == code || given.is_some_and(|given| given.starts_with("Basic")),
                "{path} {given:?}: {answer}"
            );
        }
    }
    let healthz = server.request(Method::GET, "/healthz").send().await.unwrap();
    assert_eq!(healthz.status(), StatusCode::OK);
    let bearer =
        |method: Method, path: &str| server.request(method, path).header("authorization", "Bearer correct horse");
    assert_eq!(bearer(Method::GET, "/v1/jobs").send().await.unwrap().status(), StatusCode::OK);
    // A ticket opens feeds, and nothing else.
    let ticket: Value = bearer(Method::POST, "/v1/tickets").send().await.unwrap().json().await.unwrap();
    let ticket = ticket["ticket"].as_str().unwrap();
    let feed = server.request(Method::GET, &format!("/v1/events?follow=false&ticket={ticket}")).send().await.unwrap();
    assert_eq!(feed.status(), StatusCode::OK);
    let (status, _, _) = problem(server.request(Method::GET, &format!("/v1/jobs?ticket={ticket}"))).await;
    assert_eq!(status, 401);
    let (status, code, _) = problem(server.request(Method::GET, "/v1/events?ticket=nonsense")).await;
    assert_eq!((status, code.as_str()), (401, "invalid_ticket"));
    assert!(!server.said().contains("correct horse"));
}

#[tokio::test]
async fn output_that_is_not_text_is_kept_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path()).await;
    let job = server
        .run(
            r#"exec('printf', { '\\377\\376\\000ok' })
               exec('printf', { 'gr\\303\\274n' })
               sh("printf '\\303'; sleep 0.2; printf '\\274'")
               return exec('printf', { 'a\\377b' }).stdout"#,
        )
        .await;
    assert_eq!(job["state"], "completed", "{job}");
    let events = server.events(job["id"].as_str().unwrap()).await;
    let outputs: Vec<&Value> =
        events.iter().filter(|event| event["type"] == "process.output").map(|event| &event["data"]).collect();
    // 0xff 0xfe 0x00 'o' 'k'
    assert_eq!(outputs[0]["base64"], "//4Ab2s=", "{outputs:?}");
    assert!(outputs[0].get("text").is_none_or(Value::is_null));
    assert_eq!(outputs[1]["text"], "grün");
    assert_eq!(outputs[2]["text"], "ü", "a letter is not torn by a pause: {outputs:?}");
    assert!(job["result"].as_str().unwrap().contains('b'), "{job}");
}

/// Runs `moonlog serve` that must not start.
fn refused(folder: &Path, arguments: &[&str], env: &[(&str, &str)]) -> (i32, String) {
    let mut command = Command::new("timeout");
    command.arg("30").arg(moonlog()).arg("serve").args(arguments).envs(env.iter().copied()).current_dir(folder);
    let output: Output = command.output().unwrap();
    (output.status.code().unwrap_or(-1), printed(&output))
}

#[tokio::test]
async fn a_server_that_cannot_start_says_why() {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    let local = ["--listen", "127.0.0.1:0", "--data", "data"];
    for (config, words) in [
        ("[api]\nlisten = 5", &["moonlog.toml:2", "api.listen"][..]),
        ("[api]\nlistn = \"127.0.0.1:0\"", &["moonlog.toml:2", "api.listn", "api.listen"]),
        ("[limits]\nstep_per_job = 1", &["steps_per_job"]),
        ("[limits]\nsteps_per_job = \"many\"", &["limits.steps_per_job"]),
        ("[nosuch]\nx = 1", &["nosuch"]),
        ("[api\n", &["moonlog.toml:1"]),
        ("[queues.q]\ncapacity = 0", &["queues.q.capacity"]),
        ("[secrets.K]\nhosts = []", &["secrets.K.env"]),
    ] {
        std::fs::write(here.join("moonlog.toml"), config).unwrap();
        let (status, text) = refused(here, &local, &[]);
        assert_eq!(status, 2, "{config}: {text}");
        assert!(words.iter().all(|word| text.contains(word)), "{config}: {words:?} not in {text}");
        assert!(!here.join("data").exists(), "a configuration that is wrong makes no folder");
    }
    std::fs::remove_file(here.join("moonlog.toml")).unwrap();
    let (status, text) = refused(here, &local, &[("MOONLOG_LIMITS__STEPS_PER_JBO", "1")]);
    assert!(status == 2 && text.contains("MOONLOG_LIMITS__STEPS_PER_JBO") && text.contains("steps_per_job"), "{text}");
    let (status, text) = refused(here, &["--config", "nosuch.toml"], &[]);
    assert!(status == 2 && text.contains("nosuch.toml"), "{text}");
    let (status, text) = refused(here, &["--listen", "0.0.0.0:0", "--data", "data"], &[]);
    assert!(status == 2 && text.contains("MOONLOG_TOKEN"), "{text}");

    // A place where no folder can be.
    std::fs::write(here.join("file"), "x").unwrap();
    let (status, text) = refused(here, &["--listen", "127.0.0.1:0", "--data", "file/data"], &[]);
    assert!(status != 0 && text.contains("file/data"), "{status} {text}");
    let (status, text) = refused(here, &["--listen", "127.0.0.1:0", "--data", "file"], &[]);
    assert!(status != 0 && text.contains("file"), "{status} {text}");
    let (status, text) = refused(here, &["--listen", "127.0.0.1:0", "--data", "/proc/nowhere"], &[]);
    assert!(status != 0 && text.contains("/proc/nowhere"), "{status} {text}");

    // A port that is taken, and a folder that is.
    let server = Server::start(here).await;
    let address = server.url().trim_start_matches("http://").to_owned();
    let (status, text) = refused(here, &["--listen", &address, "--data", "other"], &[]);
    assert!(status == 3 && text.contains(&address), "{status} {text}");
    let (status, text) = refused(here, &local, &[]);
    assert!(status == 3 && text.contains("data"), "{status} {text}");
    assert_eq!(server.run("return 1").await["result"], 1, "the first one does not notice");
    for arguments in [&["nonsense"][..], &["run"], &["replay", "x", "--at", "y"]] {
        assert_eq!(command(here, arguments).status.code(), Some(2), "{arguments:?}");
    }
    let output = command(here, &["--server", "http://127.0.0.1:1", "jobs"]);
    assert_eq!(output.status.code(), Some(3), "{}", printed(&output));
}
