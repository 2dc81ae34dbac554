//! `moonlog doctor`: what is wrong is named, with what to do, and no secret is told.

use crate::place::{Place, Said};
use serde_json::Value;
use std::{
    io::{Read, Write},
    net::TcpListener,
};

/// A server that answers every request with this status and body, and gives what it was asked.
fn server(status: &'static str, body: &'static str) -> (String, std::sync::mpsc::Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let (asked, heard) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            let mut buffer = [0; 4096];
            let count = stream.read(&mut buffer).unwrap_or(0);
            let _ = asked.send(String::from_utf8_lossy(&buffer[..count]).into_owned());
            let length = body.len();
            let _ = write!(stream, "HTTP/1.1 {status}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}");
        }
    });
    (url, heard)
}

fn look(place: &Place) -> (i32, Value) {
    let mut command = place.command(&["doctor", "--json"]);
    command.env("GOOD_KEY", "sk-very-secret-1").env_remove("NO_SUCH_KEY");
    // A port that the other tests of this machine do not use at the same time.
    command.env("MOONLOG_API__LISTEN", "127.0.0.1:0");
    let said = Said::of(command.output().unwrap());
    assert!(!said.out.contains("sk-very-secret") && !said.err.contains("sk-very-secret"), "{}", said.out);
    (said.status, serde_json::from_str(&said.out).unwrap())
}

fn level<'a>(report: &'a Value, check: &str) -> &'a str {
    let found = report["findings"].as_array().unwrap().iter().find(|finding| finding["check"] == check);
    found.unwrap_or_else(|| panic!("no `{check}` in {report}"))["level"].as_str().unwrap()
}

#[test]
fn a_fresh_folder_has_nothing_wrong() {
    let place = Place::new();
    let (status, report) = look(&place);
    assert_eq!((status, &report["ok"]), (0, &Value::Bool(true)), "{report}");
    for (check, expected) in [
        ("configuration", "ok"),
        ("data folder", "ok"),
        ("free space", "ok"),
        ("listen", "ok"),
        ("models", "warning"),
        ("git", "ok"),
        ("process host", "ok"),
    ] {
        assert_eq!(level(&report, check), expected, "{check}: {report}");
    }
    // It has changed nothing.
    assert!(!place.path().join(".moonlog").exists());
}

#[test]
fn each_model_variable_and_alias_is_looked_at() {
    let (listing, heard) = server("200 OK", r#"{"data":[{"id":"some-model"}]}"#);
    let (refusing, _) = server("401 Unauthorized", r#"{"error":"no sk-very-secret-1"}"#);
    let place = Place::new();
    place.write("turns.json", r#"[{"text":"a"},{"text":"b"}]"#);
    place.write("broken.json", "[{]");
    let model = |name: &str, rest: &str| format!("[models.{name}]\n{rest}\n");
    let config = [
        model("main", &format!("base_url = \"{listing}/v1\"\nmodel = \"some-model\"\napi_key_env = \"GOOD_KEY\"")),
        model("other", &format!("base_url = \"{listing}/v1\"\nmodel = \"another\"")),
        model("refused", &format!("base_url = \"{refusing}/v1\"\nmodel = \"m\"\napi_key_env = \"GOOD_KEY\"")),
        model("gone", "base_url = \"http://127.0.0.1:1/v1\"\nmodel = \"m\""),
        model("keyless", "provider = \"anthropic\"\nmodel = \"m\"\napi_key_env = \"NO_SUCH_KEY\""),
        model("demo", "provider = \"scripted\"\nfile = \"turns.json\""),
        model("sad", "provider = \"scripted\"\nfile = \"broken.json\""),
        "[aliases]\nfast = \"nothing\"\n[secrets.TOKEN]\nenv = \"NO_SUCH_KEY\"\n[secrets.FINE]\nenv = \"GOOD_KEY\"\n"
            .into(),
    ];
    place.write("moonlog.toml", config.concat());
    let (status, report) = look(&place);
    assert_eq!((status, &report["ok"]), (1, &Value::Bool(false)));
    for (check, expected) in [
        ("model main", "ok"),
        ("model other", "warning"),
        ("model refused", "wrong"),
        ("model gone", "wrong"),
        ("model keyless", "wrong"),
        ("model demo", "ok"),
        ("model sad", "wrong"),
        ("alias fast", "wrong"),
        ("secrets.TOKEN.env", "wrong"),
        ("secrets.FINE.env", "ok"),
    ] {
        assert_eq!(level(&report, check), expected, "{check}: {report}");
    }
    // The cheapest request there is, and no other.
    let asked: Vec<String> = heard.try_iter().collect();
    assert!(!asked.is_empty() && asked.iter().all(|request| request.starts_with("GET /v1/models ")), "{asked:?}");
}

#[test]
fn a_broken_configuration_and_a_held_folder_are_named() {
    let place = Place::new();
    place.write("moonlog.toml", "[runner]\nconcurency = 3\n");
    let (status, report) = look(&place);
    assert_eq!((status, level(&report, "configuration")), (1, "wrong"), "{report}");
    assert!(report.to_string().contains("runner.concurrency"), "{report}");

    place.write("moonlog.toml", "");
    let server = place.serve();
    let (status, report) = look(&place);
    assert_eq!((status, level(&report, "server"), level(&report, "data lock")), (0, "ok", "ok"), "{report}");
    server.stop("-KILL");

    let folder = place.path().join(".moonlog/data");
    let lock = std::fs::File::open(folder.join("lock")).unwrap();
    lock.lock().unwrap();
    std::fs::write(folder.join("format"), "something else\n").unwrap();
    let (status, report) = look(&place);
    assert_eq!((status, level(&report, "data lock"), level(&report, "data format")), (1, "wrong", "wrong"), "{report}");
    let text = place.run(&["doctor"]);
    assert_eq!(text.status, 1);
    assert!(text.out.contains("hint: ") && text.out.contains("things are wrong"), "{}", text.out);
}
