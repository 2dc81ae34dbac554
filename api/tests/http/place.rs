//! A server in this process.

use moonlog_api::{
    config::{Config, Token},
    server::{ServeError, ServeOptions, Served, serve},
};
use moonlog_core::{
    event::{EventBody, NewEvent, StreamId},
    json::Json,
    log::{Append, Expected, Log, LogOptions},
    storage::MemoryStorage,
};
use moonlog_runner::{
    QueueOptions, Runner, RunnerOptions,
    http::{HttpOptions, HttpPolicy},
    process::{HostCommand, ProcessOptions},
    system_clock,
    workspace::WorkspaceOptions,
};
use moonlog_scripts::{Library, Limits};
use reqwest::{Client, Method, RequestBuilder, Response, StatusCode};
use serde_json::Value;
use std::{sync::Arc, time::Duration};

/// A server, its runner, and a client.
pub struct Place {
    pub served: Served,
    pub runner: Runner,
    pub client: Client,
    token: Option<String>,
    /// Where sessions work.
    pub folder: tempfile::TempDir,
}

/// How a server is set up.
pub struct Settings {
    pub serve: ServeOptions,
    pub queues: Vec<(&'static str, QueueOptions)>,
    /// Where workflows are looked for.
    pub workflows: Vec<std::path::PathBuf>,
    /// What else is different about the runner.
    pub runner: fn(&mut RunnerOptions),
}

impl Default for Settings {
    fn default() -> Self {
        let loaded = Config::load(Some("/dev/null".as_ref()), [], &[]).unwrap();
        let listen = ([127, 0, 0, 1], 0).into();
        Self {
            serve: ServeOptions { listen, address_file: None, ..ServeOptions::of(&loaded.config) },
            queues: vec![],
            workflows: vec![],
            runner: |_| {},
        }
    }
}

impl Place {
    pub async fn start() -> Self {
        Self::with(|_| {}).await
    }

    pub async fn with(change: impl FnOnce(&mut Settings)) -> Self {
        Self::try_with(change).await.unwrap_or_else(|error| panic!("the server starts: {error}"))
    }

    pub async fn try_with(change: impl FnOnce(&mut Settings)) -> Result<Self, ServeError> {
        let mut settings = Settings::default();
        change(&mut settings);
        let clock = system_clock();
        let (log, _) = Log::open(Arc::new(MemoryStorage::new()), LogOptions::new(move || clock())).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let mut options = runner_options(settings.queues, folder.path().join("worktrees"));
        (settings.runner)(&mut options);
        let runner = Runner::start(options, log, Library::new(settings.workflows)).await.unwrap();
        let token = settings.serve.token.as_ref().map(|token| token.reveal().to_owned());
        let served = serve(settings.serve, runner.clone()).await?;
        let client = Client::builder().no_proxy().timeout(Duration::from_secs(60)).build().unwrap();
        Ok(Self { served, runner, client, token, folder })
    }

    pub fn log(&self) -> &Log {
        self.runner.log()
    }

    /// A request, with the token where there is one.
    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let request = self.client.request(method, format!("{}{path}", self.served.url()));
        match &self.token {
            Some(token) => request.bearer_auth(token),
            None => request,
        }
    }

    pub async fn get(&self, path: &str) -> (StatusCode, Value) {
        read(self.request(Method::GET, path).send().await.unwrap()).await
    }

    pub async fn post(&self, path: &str, body: &Value) -> (StatusCode, Value) {
        read(self.request(Method::POST, path).json(body).send().await.unwrap()).await
    }

    pub async fn post_text(&self, path: &str, body: impl Into<reqwest::Body>) -> (StatusCode, Value) {
        let request = self.request(Method::POST, path).header("content-type", "application/json").body(body);
        read(request.send().await.unwrap()).await
    }

    /// Events that no runner would have made, for feeds and lists to show.
    pub async fn append(&self, stream: StreamId, bodies: Vec<EventBody>) -> u64 {
        let events = bodies.into_iter().map(NewEvent::from).collect();
        let appended = self.log().append(Append::new(stream, Expected::Any, events)).unwrap();
        self.log().durable(appended.last_position).await.unwrap();
        appended.last_position
    }
}

pub fn token(text: &str) -> Option<Token> {
    Token::new(text)
}

/// Status and body; the body must be JSON, and a problem where the status says so.
pub async fn read(response: Response) -> (StatusCode, Value) {
    let status = response.status();
    let media = response.headers().get("content-type").map(|v| v.to_str().unwrap().to_owned()).unwrap_or_default();
    let text = response.text().await.unwrap();
    let body: Value = serde_json::from_str(&text).unwrap_or_else(|_| panic!("{status} {media}: no JSON: {text:?}"));
    if status.is_client_error() || status.is_server_error() {
        assert_eq!(media, "application/problem+json", "{text}");
        assert_eq!(body["status"], status.as_u16(), "{text}");
        let published = body["code"].as_str().and_then(moonlog_core::error_code::find);
        let is_published = published.is_some_and(|code| code.status.contains(&status.as_u16()));
        assert!(is_published, "core/src/error_code does not say that this code answers with {status}: {text}");
        for member in ["type", "title", "detail", "code"] {
            assert!(body[member].as_str().is_some_and(|text| !text.is_empty()), "{member} of {text}");
        }
    }
    (status, body)
}

fn runner_options(queues: Vec<(&'static str, QueueOptions)>, worktrees: std::path::PathBuf) -> RunnerOptions {
    let processes = ProcessOptions::new(HostCommand {
        program: env!("CARGO_BIN_EXE_moonlog").into(),
        args: vec!["process-host".into()],
    });
    let http = HttpOptions {
        allowed_networks: vec![],
        response_max_bytes: 1 << 20,
        request_max_bytes: 1 << 20,
        timeout_ms: 1_000,
        redirects_max: 1,
        secrets: processes.secrets.clone(),
    };
    RunnerOptions {
        resume_jobs: true,
        concurrency: 16,
        idle_evict_ms: 100,
        queues: queues.into_iter().map(|(name, options)| (name.to_owned(), options)).collect(),
        nesting: 1,
        checkpoint_events: 10_000,
        warm_vms: 2,
        bounds: Default::default(),
        limits: Limits::default(),
        agents: moonlog_runner::agent::AgentOptions::default(),
        submit_max_bytes: 8 << 20,
        processes,
        tools: Default::default(),
        cache: Default::default(),
        workspaces: WorkspaceOptions::new(worktrees),
        http: HttpPolicy::new(http).unwrap(),
        config: Json::from_written("{}".into()),
        webhooks: Default::default(),
        repaired: None,
        clock: system_clock(),
        ids: moonlog_runner::random_ids(),
        threads: Default::default(),
        calendar: None,
    }
}
