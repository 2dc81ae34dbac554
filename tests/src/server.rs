//! A server process.

use crate::{binary::moonlog, wait::eventually};
use reqwest::{Client, Method, Response, StatusCode};
use serde_json::Value;
use std::{
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

/// How a server is started.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    /// What `moonlog.toml` says.
    pub config: String,
    /// Variables of its environment.
    pub env: Vec<(String, String)>,
    /// What a shell does before it becomes the server, such as setting a limit.
    pub before: Option<String>,
}

/// Where a server says that it listens. One that cannot write its address down is found by that alone.
fn told(said: &str) -> Option<String> {
    let (url, _) = said.split_once("serving url=\"")?.1.split_once('"')?;
    Some(url.to_owned())
}

/// A running server. It is killed when this is dropped.
pub struct Server {
    child: Child,
    url: String,
    folder: PathBuf,
    client: Client,
}

impl Server {
    /// Starts a server with its data in `folder`, on a port that is free.
    pub async fn start(folder: &Path) -> Self {
        Self::start_with(folder, &Settings::default()).await
    }

    /// Starts a server with settings of its own.
    pub async fn start_with(folder: &Path, settings: &Settings) -> Self {
        match Self::try_start(folder, settings).await {
            Ok(server) => server,
            Err(ended) => panic!("the server ended: {ended}\n{}", said(folder)),
        }
    }

    /// The same, where it may refuse to start: its exit status then.
    ///
    /// # Errors
    /// That status.
    pub async fn try_start(folder: &Path, settings: &Settings) -> Result<Self, std::process::ExitStatus> {
        let config = folder.join("moonlog.toml");
        std::fs::write(&config, &settings.config).expect("the configuration is written");
        let address = folder.join("data").join("server.json");
        let _ = std::fs::remove_file(&address);
        let errors = std::fs::File::options()
            .create(true)
            .append(true)
            .open(folder.join("stderr.log"))
            .expect("a file for what the server says");
        let mut command = match &settings.before {
            None => Command::new(moonlog()),
            Some(before) => {
                let mut shell = Command::new("sh");
                shell.args(["-c", &format!("{before}; exec \"$0\" \"$@\"")]).arg(moonlog());
                shell
            }
        };
        let spoken = errors.metadata().expect("its length").len() as usize;
        let child = command
            .args(["serve", "--listen", "127.0.0.1:0", "--data", "data", "--config", "moonlog.toml"])
            .current_dir(folder)
            .envs(settings.env.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(errors)
            .spawn()
            .expect("the server starts");
        let client = Client::builder().no_proxy().timeout(Duration::from_secs(330)).build().expect("a client");
        let mut server = Self { child, url: String::new(), folder: folder.to_owned(), client };
        server.url = eventually("the server to listen", || {
            let ended = server.child.try_wait().expect("the server can be waited for");
            let url = std::fs::read_to_string(&address)
                .ok()
                .and_then(|text| serde_json::from_str::<Value>(&text).ok()?["url"].as_str().map(str::to_owned))
                .or_else(|| told(server.said().get(spoken..)?));
            std::future::ready(ended.map(Err).or(url.map(Ok)))
        })
        .await?;
        Ok(server)
    }

    /// Where it listens, such as `http://127.0.0.1:40123`.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What it has said on standard error, over all its starts on the folder.
    pub fn said(&self) -> String {
        said(&self.folder)
    }

    /// Ends it as a power cut would, as far as a process can tell.
    pub fn kill(mut self) {
        self.child.kill().expect("the server is killed");
        self.child.wait().expect("the server is gone");
    }

    /// Asks it to end, and waits until it has.
    pub async fn terminate(mut self) -> std::process::ExitStatus {
        let pid = self.child.id().to_string();
        let sent = Command::new("kill").args(["-TERM", &pid]).status().expect("kill runs");
        assert!(sent.success(), "SIGTERM was not sent");
        eventually("the server to end", || std::future::ready(self.child.try_wait().expect("it can be waited for")))
            .await
    }

    /// A request.
    pub fn request(&self, method: Method, path: &str) -> reqwest::RequestBuilder {
        self.client.request(method, format!("{}{path}", self.url))
    }

    /// `GET`, as JSON.
    pub async fn get(&self, path: &str) -> Value {
        let response = self.request(Method::GET, path).send().await.expect("an answer");
        json(response).await.1
    }

    /// `POST` of a JSON body: the status, and the answer as JSON.
    pub async fn post(&self, path: &str, body: &Value) -> (StatusCode, Value) {
        json(self.request(Method::POST, path).json(body).send().await.expect("an answer")).await
    }

    /// Submits a job and gives its id.
    pub async fn submit(&self, body: &Value) -> String {
        let (status, job) = self.post("/v1/jobs", body).await;
        assert_eq!(status, StatusCode::CREATED, "{job}");
        job["id"].as_str().expect("a job has an id").to_owned()
    }

    /// Runs a script to its end and gives the job.
    pub async fn run(&self, script: &str) -> Value {
        let (status, job) = self.post("/v1/jobs?wait=60s", &serde_json::json!({ "script": script })).await;
        assert_eq!(status, StatusCode::OK, "{job}");
        assert!(job["ended_at"].is_string(), "{job}");
        job
    }

    /// Waits for a job's end and gives the job.
    pub async fn ended(&self, job: &str) -> Value {
        let response = self.request(Method::GET, &format!("/v1/jobs/{job}?wait=60s")).send().await.expect("an answer");
        let (status, job) = json(response).await;
        assert_eq!(status, StatusCode::OK, "{job}\n{}", self.said());
        job
    }

    /// Waits until a job is in `state` and gives the job.
    pub async fn in_state(&self, job: &str, state: &str) -> Value {
        eventually(&format!("job {job} to be {state}"), || async {
            let job = self.get(&format!("/v1/jobs/{job}")).await;
            (job["state"] == state).then_some(job)
        })
        .await
    }

    /// A job's events.
    pub async fn events(&self, job: &str) -> Vec<Value> {
        self.ndjson(&format!("/v1/jobs/{job}/events?follow=false")).await
    }

    /// A job's events of these types.
    pub async fn events_of(&self, job: &Value, types: &str) -> Vec<Value> {
        let id = job["id"].as_str().expect("a job has an id");
        self.ndjson(&format!("/v1/jobs/{id}/events?types={types}&follow=false")).await
    }

    /// A finite feed as lines of JSON.
    pub async fn ndjson(&self, path: &str) -> Vec<Value> {
        let response =
            self.request(Method::GET, path).header("accept", "application/x-ndjson").send().await.expect("an answer");
        assert!(response.status().is_success(), "{path}: {}", response.status());
        let text = response.text().await.unwrap_or_else(|error| panic!("{path}: {error}\n{}", self.said()));
        text.lines().map(|line| serde_json::from_str(line).expect("a line of JSON")).collect()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn said(folder: &Path) -> String {
    std::fs::read_to_string(folder.join("stderr.log")).unwrap_or_default()
}

async fn json(response: Response) -> (StatusCode, Value) {
    let status = response.status();
    let text = response.text().await.expect("a body");
    let value = serde_json::from_str(&text).unwrap_or(Value::String(text));
    (status, value)
}
