//! What can be started, as what it runs, and what is refused.

use crate::support::*;
use moonlog_tests::{Server, Settings, eventually};
use reqwest::StatusCode;
use serde_json::{Value, json};
use std::{
    io::Write,
    net::TcpStream,
    time::{Duration, Instant},
};

#[tokio::test]
async fn a_start_does_not_wait_and_has_a_stream_of_its_own() {
    let place = Place::new();
    let server = place.start().await;
    let folder = place.folder.path().canonicalize().unwrap();
    let begun = Instant::now();
    let body = json!({ "command": "sleep", "args": ["1000"], "workdir": folder, "background": true });
    let (status, started) = server.post("/v1/processes", &body).await;
    assert!(begun.elapsed() < Duration::from_secs(30));
    assert_eq!((status, &started["started"]), (StatusCode::CREATED, &json!(true)));
    let id = started["id"].as_str().unwrap();
    assert_eq!(started.as_object().unwrap().len(), 2, "{started}");

    let (_, list) = get(&server, "/v1/processes").await;
    let listed = &list["processes"][0];
    assert_eq!((&listed["id"], &listed["command"], &listed["args"]), (&json!(id), &json!("sleep"), &json!(["1000"])));
    assert_eq!((&listed["workdir"], &listed["background"]), (&json!(folder), &json!(true)));
    assert_eq!(listed["running"], true);
    assert!(listed.get("exit_code").is_none() && listed.get("exited_at_unix").is_none(), "{listed}");
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs() as i64;
    assert!((now - listed["started_at_unix"].as_i64().unwrap()).abs() < 60, "{listed}");
    assert_eq!(get(&server, &format!("/v1/processes/{id}")).await, (StatusCode::OK, listed.clone()));

    assert_eq!(signal(&server, id, "kill").await.0, StatusCode::OK);
    ended(&server, id).await;
    let events = events(&server, id).await;
    let kinds: Vec<_> = events.iter().map(|event| event["type"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["process.started", "process.exited"]);
    for (version, event) in (1..).zip(&events) {
        assert_eq!((&event["stream"], &event["version"]), (&json!(format!("process/{id}")), &json!(version)));
        assert_eq!((&event["process"], &event["job"]), (&json!(id), &Value::Null));
    }
}

#[tokio::test]
async fn commands_run_as_they_are_and_scripts_in_a_shell() {
    let place = Place::new();
    let server = place.start().await;
    std::fs::create_dir(place.folder.path().join("sub")).unwrap();
    for (body, output) in [
        (json!({ "command": "printf", "args": ["%s|", "a b", "$HOME", "*"] }), "a b|$HOME|*|"),
        (json!({ "command": "echo $((6 * 7)) | tr 4 5", "shell": true }), "52\n"),
        (json!({ "command": "echo \"$0 $1 $2\"", "shell": true, "args": ["a b", "c"] }), "sh a b c\n"),
        (json!({ "command": "echo $A-$TERM", "shell": true, "env": { "A": "1", "TERM": "own" } }), "1-own\n"),
        (json!({ "command": "basename $PWD", "shell": true, "workdir": "sub" }), "sub\n"),
        (json!({ "command": "cat; echo end", "shell": true }), "end\n"),
    ] {
        let id = start(&server, &body).await;
        let shown = ended(&server, &id).await;
        assert_eq!(shown["output"], output, "{body}");
        assert_eq!((&shown["exit_code"], &shown["outcome"]), (&json!(0), &json!("exited")), "{body}");
        assert!(shown.get("truncated").is_none() && shown.get("signal").is_none(), "{shown}");
        let (_, process) = get(&server, &format!("/v1/processes/{id}")).await;
        assert_eq!(process["command"], body["command"], "{process}");
        assert!(process["exited_at_unix"].as_i64() >= process["started_at_unix"].as_i64(), "{process}");
    }
}

#[tokio::test]
async fn what_cannot_be_started_is_refused_with_its_place() {
    let place = Place::new();
    let server = place.start().await;
    std::fs::write(place.folder.path().join("plain"), "text").unwrap();
    for (body, path) in [
        (json!({}), "command"),
        (json!({ "command": "" }), "command"),
        (json!({ "command": "  ", "shell": true }), "command"),
        (json!({ "command": 7 }), "command"),
        (json!({ "command": "no-such-program-anywhere" }), "command"),
        (json!({ "command": "./plain" }), "command"),
        (json!({ "command": "a\u{0}b" }), "command"),
        (json!({ "command": "true", "args": "x" }), "args"),
        (json!({ "command": "true", "args": ["x", 7] }), "args[1]"),
        (json!({ "command": "true", "args": ["a\u{0}b"] }), "args"),
        (json!({ "command": "true", "workdir": "/no/such/folder" }), "workdir"),
        (json!({ "command": "true", "workdir": "plain" }), "workdir"),
        (json!({ "command": "true", "env": { "A": 1 } }), "env.A"),
        (json!({ "command": "true", "env": { "A=B": "1" } }), "env"),
        (json!({ "command": "true", "env": { "A": "\u{0}" } }), "env"),
        (json!({ "command": "true", "shell": "yes" }), "shell"),
        (json!({ "command": "true", "background": 1 }), "background"),
        (json!({ "command": "true", "timeout_ms": 0 }), "timeout_ms"),
        (json!({ "command": "true", "timeout_ms": 1.5 }), "timeout_ms"),
        (json!({ "command": "true", "session": "mine" }), "session"),
        (json!({ "command": "true", "client_token": "" }), "client_token"),
        (json!({ "command": "true", "comand": "x" }), "comand"),
    ] {
        let (status, problem) = server.post("/v1/processes", &body).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{body}: {problem}");
        assert_eq!(problem["errors"][0]["path"], path, "{body}: {problem}");
        assert!(problem["code"].is_string(), "{problem}");
    }
    assert_eq!(get(&server, "/v1/processes").await.1, json!({ "processes": [] }), "nothing was started");
}

#[tokio::test]
async fn the_servers_own_variables_do_not_reach_a_child() {
    let place = Place::new();
    let own = ["MOONLOG_TOKEN", "A_SECRET", "A_MODEL_KEY", "MOONLOG_LOG"];
    let settings = Settings {
        config: "[secrets.S]\nenv = \"A_SECRET\"\n[models.main]\nprovider = \"openai\"\napi_key_env = \"A_MODEL_KEY\""
            .into(),
        env: [("A_SECRET", "s"), ("A_MODEL_KEY", "s"), ("MOONLOG_LOG", "info"), ("KEPT", "1"), ("EDITOR", "vi")]
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .into(),
        ..Settings::default()
    };
    let server = Server::start_with(place.folder.path(), &settings).await;
    let id = start(&server, &json!({ "command": "env", "env": { "PAGER": "less" } })).await;
    let shown = ended(&server, &id).await;
    let lines: Vec<&str> = shown["output"].as_str().unwrap().lines().collect();
    for name in own {
        assert!(!lines.iter().any(|line| line.starts_with(&format!("{name}="))), "{name} in {lines:?}");
    }
    for line in [
        "KEPT=1",
        "GIT_EDITOR=true",
        "GIT_SEQUENCE_EDITOR=true",
        "EDITOR=true",
        "VISUAL=true",
        "GIT_TERMINAL_PROMPT=0",
        "NO_COLOR=1",
        "TERM=dumb",
        "PAGER=less",
        "GIT_PAGER=cat",
    ] {
        assert!(lines.contains(&line), "{line} in {lines:?}");
    }
}

#[tokio::test]
async fn who_hangs_up_has_still_started_it() {
    let place = Place::new();
    let server = place.start().await;
    let body = json!({ "command": "sleep 1000", "shell": true }).to_string();
    let address = server.url().strip_prefix("http://").unwrap().to_owned();
    let mut socket = TcpStream::connect(&address).unwrap();
    let head = format!(
        "POST /v1/processes HTTP/1.1\r\nhost: {address}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    socket.write_all(format!("{head}{body}").as_bytes()).unwrap();
    let id = eventually("the process", || async {
        let (_, list) = get(&server, "/v1/processes").await;
        list["processes"][0]["id"].as_str().map(str::to_owned)
    })
    .await;
    drop(socket);
    // It goes on: a signal finds it.
    assert_eq!(shown(&server, &id).await["running"], true);
    assert_eq!(signal(&server, &id, "terminate").await.0, StatusCode::OK);
    assert_eq!(ended(&server, &id).await["signal"], "SIGTERM");
}
