//! What these tests share.

use moonlog_tests::{Server, eventually};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

/// A server on a folder that is kept as long as this is.
pub struct Place {
    pub folder: tempfile::TempDir,
}

impl Place {
    pub fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    pub async fn start(&self) -> Server {
        Server::start(self.folder.path()).await
    }
}

/// Status and answer.
pub async fn get(server: &Server, path: &str) -> (StatusCode, Value) {
    let response = server.request(Method::GET, path).send().await.unwrap();
    let status = response.status();
    (status, response.json().await.unwrap())
}

/// Starts a process and gives its id.
pub async fn start(server: &Server, body: &Value) -> String {
    let (status, started) = server.post("/v1/processes", body).await;
    assert_eq!(status, StatusCode::CREATED, "{started}");
    assert_eq!(started["started"], true, "{started}");
    started["id"].as_str().unwrap().to_owned()
}

/// Starts a shell's script and gives its id.
pub async fn sh(server: &Server, script: &str) -> String {
    start(server, &json!({ "command": script, "shell": true })).await
}

/// What it has written, without waiting.
pub async fn shown(server: &Server, id: &str) -> Value {
    let (status, shown) = get(server, &format!("/v1/processes/{id}/output")).await;
    assert_eq!(status, StatusCode::OK, "{shown}");
    shown
}

/// What it has written when it has ended.
pub async fn ended(server: &Server, id: &str) -> Value {
    let (status, shown) = get(server, &format!("/v1/processes/{id}/output?wait=true")).await;
    assert_eq!(status, StatusCode::OK, "{shown}");
    assert_eq!(shown["running"], false, "{shown}");
    shown
}

/// Waits until it has written `text`.
pub async fn wrote(server: &Server, id: &str, text: &str) {
    eventually(text, || async {
        shown(server, id).await["output"].as_str().is_some_and(|output| output.contains(text)).then_some(())
    })
    .await;
}

pub async fn signal(server: &Server, id: &str, signal: &str) -> (StatusCode, Value) {
    server.post(&format!("/v1/processes/{id}/signal"), &json!({ "signal": signal })).await
}

/// Its events.
pub async fn events(server: &Server, id: &str) -> Vec<Value> {
    server.ndjson(&format!("/v1/events?process={id}&follow=false")).await
}

/// Its only `process.exited`.
pub async fn exited(server: &Server, id: &str) -> Value {
    let mut ends: Vec<_> =
        events(server, id).await.into_iter().filter(|event| event["type"] == "process.exited").collect();
    assert_eq!(ends.len(), 1, "one end is recorded: {ends:?}");
    ends.remove(0)["data"].take()
}

/// The processes with this variable in their environment.
pub fn marked(mark: &str) -> Vec<i32> {
    let processes = std::fs::read_dir("/proc").unwrap().flatten();
    let pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    pids.filter(|pid| {
        let environ = std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        let dead = std::fs::read_to_string(format!("/proc/{pid}/stat"))
            .is_ok_and(|stat| stat.rsplit_once(')').is_some_and(|(_, rest)| rest.starts_with(" Z")));
        !dead && environ.split(|byte| *byte == 0).any(|variable| variable == mark.as_bytes())
    })
    .collect()
}
