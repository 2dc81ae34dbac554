//! A runner with its tools over a folder of files.

use moonlog_core::{
    event::{Event, StreamId},
    id::{JobId, SessionId},
    json::Json,
    log::{Log, LogOptions},
    storage::MemoryStorage,
};
use moonlog_runner::workspace::WorkspaceOptions;
use moonlog_runner::{
    Runner, RunnerOptions,
    http::{HttpOptions, HttpPolicy},
    process::{HostCommand, Owner, ProcessOptions},
    secret::{SecretSource, Secrets},
    system_clock,
    tool::{ToolContext, ToolOptions, ToolOutput, Tools},
};
use moonlog_scripts::{Library, Limits};
use serde_json::Value;
use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};
use uuid::Uuid;

/// A secret's value, which nothing may show.
pub const SECRET: &str = "hunter2-hunter2";

pub struct Place {
    pub runner: Runner,
    pub folder: tempfile::TempDir,
    pub job: JobId,
    pub session: Option<SessionId>,
    /// Calls name no folder.
    pub rootless: bool,
}

impl Place {
    pub async fn start() -> Self {
        Self::with(|_| {}).await
    }

    pub async fn with(change: impl FnOnce(&mut ToolOptions)) -> Self {
        let (log, _) = Log::open(Arc::new(MemoryStorage::new()), LogOptions::new(|| system_clock()())).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let mut processes = ProcessOptions::new(HostCommand {
            program: std::env::current_exe().unwrap(),
            args: ["process_host", "--exact", "--ignored", "--nocapture", "--test-threads=1"].map(String::from).into(),
        });
        let source = SecretSource { env: "THE_SECRET".into(), ..SecretSource::default() };
        processes.secrets = Arc::new(Secrets::new([("S".to_owned(), source)].into(), |_| Some(SECRET.into())));
        let mut options = RunnerOptions {
            concurrency: 4,
            resume_jobs: true,
            idle_evict_ms: 1_000,
            queues: Default::default(),
            nesting: 1,
            checkpoint_events: 10_000,
            warm_vms: 1,
            bounds: Default::default(),
            limits: Limits::default(),
            agents: Default::default(),
            cache: Default::default(),
            submit_max_bytes: 8 << 20,
            processes,
            tools: ToolOptions::default(),
            workspaces: WorkspaceOptions::new(folder.path().join(".worktrees")),
            http: HttpPolicy::new(HttpOptions::default()).unwrap(),
            config: Json::from_written("{}".into()),
            webhooks: Default::default(),
            repaired: None,
            clock: system_clock(),
            ids: moonlog_runner::random_ids(),
            threads: Default::default(),
            calendar: None,
        };
        change(&mut options.tools);
        let runner = Runner::start(options, log, Library::new(Vec::new())).await.unwrap();
        Self { runner, folder, job: Uuid::now_v7().into(), session: None, rootless: false }
    }

    pub fn tools(&self) -> &Tools {
        self.runner.tools()
    }

    pub fn context(&self) -> ToolContext {
        let owner = Owner { session: self.session, ..Owner::job(self.job, Some("step".into())) };
        ToolContext {
            owner,
            root: (!self.rootless).then(|| self.folder.path().to_path_buf()),
            idempotency_key: "key-7".into(),
            call_id: "call-1".into(),
        }
    }

    pub async fn perform(&self, name: &str, input: Value) -> ToolOutput {
        self.tools().perform(&self.context(), name, &Json::from(input)).await
    }

    /// What a call that succeeds gives.
    pub async fn ok(&self, name: &str, input: Value) -> Value {
        let output = self.perform(name, input.clone()).await;
        assert_eq!(output.error, None, "{name} {input}");
        output.output.to_value()
    }

    /// What a call that fails says: its code and its message, with the folder's own path as `ROOT`.
    pub async fn error(&self, name: &str, input: Value) -> String {
        let output = self.perform(name, input.clone()).await;
        let Some(error) = output.error else { panic!("{name} {input}: {}", output.output) };
        let root = fs::canonicalize(self.folder.path()).unwrap();
        format!("{}: {}", error.code, error.message.replace(root.to_str().unwrap(), "ROOT"))
    }

    pub fn path(&self, path: &str) -> PathBuf {
        self.folder.path().join(path)
    }

    pub fn write(&self, path: &str, content: impl AsRef<[u8]>) {
        let path = self.path(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    pub fn read(&self, path: &str) -> String {
        fs::read_to_string(self.path(path)).unwrap()
    }

    /// All files below the folder with what they hold.
    pub fn all(&self) -> Vec<(String, Vec<u8>)> {
        fn collect(root: &Path, folder: &Path, found: &mut Vec<(String, Vec<u8>)>) {
            for entry in fs::read_dir(folder).unwrap().flatten() {
                let path = entry.path();
                if path.is_dir() {
                    collect(root, &path, found);
                } else {
                    let name = path.strip_prefix(root).unwrap().to_string_lossy().into_owned();
                    found.push((name, fs::read(&path).unwrap()));
                }
            }
        }
        let mut found = Vec::new();
        collect(self.folder.path(), self.folder.path(), &mut found);
        found.sort();
        found
    }

    /// The events of a stream.
    pub fn events(&self, stream: &StreamId) -> Vec<Arc<Event>> {
        self.runner.log().read_stream(stream, 0, 100_000).unwrap()
    }
}
