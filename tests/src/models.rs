//! Model servers that were not written here, of npm, and one over a raw socket that breaks what it answers.

use crate::{readers::npm, wait::eventually};
use std::{
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    path::Path,
    process::{Child, Command, Stdio},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

/// A model server that runs. It is killed when this is dropped.
pub struct ModelServer {
    child: Child,
    port: u16,
}

impl ModelServer {
    /// npm's `@copilotkit/aimock` with these fixtures; `None`, said loudly, where it cannot be had here.
    pub async fn aimock(folder: &Path, fixtures: &serde_json::Value, flags: &[&str]) -> Option<Self> {
        let file = folder.join("fixtures.json");
        std::fs::write(&file, fixtures.to_string()).expect("the fixtures are written");
        let port = free_port();
        let mut command = Command::new("node");
        command.arg(npm()?.join("node_modules/@copilotkit/aimock/dist/cli.js"));
        command.args(["--port", &port.to_string(), "--log-level", "warn", "--fixtures"]).arg(&file).args(flags);
        Some(Self::start(command, port).await)
    }

    /// npm's `openai-mock-api` with this configuration; `None`, said loudly, where it cannot be had here.
    pub async fn openai_mock(folder: &Path, config: &str) -> Option<Self> {
        let file = folder.join("mock.yaml");
        std::fs::write(&file, config).expect("the configuration is written");
        let port = free_port();
        let mut command = Command::new("node");
        command.arg(npm()?.join("node_modules/openai-mock-api/dist/cli.js"));
        command.arg("--config").arg(&file).args(["--port", &port.to_string()]);
        Some(Self::start(command, port).await)
    }

    async fn start(mut command: Command, port: u16) -> Self {
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).spawn().expect("the model server starts");
        let server = Self { child, port };
        eventually("the model server to listen", || {
            std::future::ready(TcpStream::connect(("127.0.0.1", port)).is_ok().then_some(()))
        })
        .await;
        server
    }

    /// Where it is.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }
}

impl Drop for ModelServer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("its address").port()
}

/// Answers each request with the next of `answers`, the last one for ever, byte by byte as it is, and counts them.
pub struct RawServer {
    /// Where it is.
    pub url: String,
    /// How many requests came.
    pub requests: Arc<AtomicUsize>,
    bodies: Arc<Mutex<Vec<String>>>,
}

impl RawServer {
    /// Starts it. It lives as long as the test's process.
    ///
    /// # Panics
    /// Where there is no port.
    pub fn start(answers: Vec<Vec<u8>>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let url = format!("http://{}", listener.local_addr().expect("its address"));
        let requests = Arc::new(AtomicUsize::new(0));
        let bodies = Arc::new(Mutex::new(Vec::new()));
        let (counted, kept) = (requests.clone(), bodies.clone());
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let at = counted.fetch_add(1, Ordering::SeqCst).min(answers.len() - 1);
                let answer = answers[at].clone();
                let kept = kept.clone();
                std::thread::spawn(move || serve(stream, &answer, &kept));
            }
        });
        Self { url, requests, bodies }
    }

    /// What was asked so far, as JSON.
    ///
    /// # Panics
    /// Where something was asked that is no JSON.
    pub fn asked(&self) -> Vec<serde_json::Value> {
        let bodies = self.bodies.lock().unwrap_or_else(PoisonError::into_inner);
        bodies.iter().map(|body| serde_json::from_str(body).expect("a request in JSON")).collect()
    }
}

/// An answer that ends in this is held open without a word.
pub const STALL: &[u8] = b"<stall>";

fn serve(mut stream: TcpStream, answer: &[u8], bodies: &Mutex<Vec<String>>) {
    let (mut read, mut buffer) = (Vec::new(), [0; 4096]);
    while let Ok(count @ 1..) = stream.read(&mut buffer) {
        read.extend_from_slice(&buffer[..count]);
        let text = String::from_utf8_lossy(&read);
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let length =
            head.lines().find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length: ")?.parse().ok());
        if body.len() >= length.unwrap_or(0) {
            if !body.is_empty() {
                bodies.lock().unwrap_or_else(PoisonError::into_inner).push(body.to_owned());
            }
            break;
        }
    }
    let stalls = answer.strip_suffix(STALL);
    let _ = stream.write_all(stalls.unwrap_or(answer));
    let _ = stream.flush();
    if stalls.is_some() {
        let _ = stream.read(&mut buffer);
    }
}
