//! A runner in a runtime of its own, so that it can be killed, over a storage that outlives it.

use crate::history::History;
use moonlog_core::{
    event::{Event, EventBody, StreamId},
    id::JobId,
    json::Json,
    log::{Log, LogOptions},
    projection::{JobStatus, JobView},
    storage::MemoryStorage,
    time::Timestamp,
};
use moonlog_runner::{
    Runner, RunnerOptions, ScriptSource, Submit,
    http::{HttpOptions, HttpPolicy},
    process::{HostCommand, ProcessOptions},
    system_clock,
    workspace::WorkspaceOptions,
};
use moonlog_scripts::{Library, Limits};
use std::{
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::{runtime::Runtime, task::JoinHandle};

/// How long anything may take before a test has failed.
const LONG: Duration = Duration::from_secs(20);

/// Workflows that scripts here may call.
const WORKFLOWS: [(&str, &str); 5] = [
    ("quick", "return { run = function(args) return args.n end }"),
    ("naps", "return { run = function(args) sleep(args.s or 0.02) return args.n end }"),
    ("halves", "return { run = function(args) sh('true') error('no', 0) end }"),
    ("fails", "return { run = function() error('no', 0) end }"),
    ("waits", "return { run = function() return wait_for('go') end }"),
];

/// A server's insides, without its API.
pub struct Place {
    pub storage: Arc<MemoryStorage>,
    pub runner: Runner,
    runtime: Option<Runtime>,
    folder: Arc<tempfile::TempDir>,
    change: Arc<dyn Fn(&mut RunnerOptions)>,
}

pub fn now() -> Timestamp {
    system_clock()()
}

impl Place {
    pub fn start() -> Self {
        Self::with(|_| {})
    }

    pub fn with(change: impl Fn(&mut RunnerOptions) + 'static) -> Self {
        let folder = tempfile::tempdir().unwrap();
        for (name, source) in WORKFLOWS {
            std::fs::write(folder.path().join(format!("{name}.luau")), source).unwrap();
        }
        Self::begin(Arc::new(MemoryStorage::new()), Arc::new(folder), Arc::new(change))
    }

    fn begin(
        storage: Arc<MemoryStorage>,
        folder: Arc<tempfile::TempDir>,
        change: Arc<dyn Fn(&mut RunnerOptions)>,
    ) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let (log, _) = Log::open(storage.clone(), LogOptions::new(now)).unwrap();
        let mut options = options(folder.path().join("worktrees"));
        change(&mut options);
        let library = Library::new(vec![folder.path().to_owned()]);
        let runner = runtime.block_on(Runner::start(options, log, library)).unwrap();
        Self { storage, runner, runtime: Some(runtime), folder, change }
    }

    /// Stops the runner as a server does that is asked to, and starts the next one.
    pub fn restart(mut self) -> Self {
        self.block_on(self.runner.shutdown());
        let runtime = self.runtime.take().unwrap();
        runtime.shutdown_timeout(Duration::from_secs(5));
        Self::begin(self.storage.clone(), self.folder.clone(), self.change.clone())
    }

    /// Kills the runner, with `kept` of the writes that were not synced, and starts the next one.
    pub fn kill(mut self, kept: usize) -> Self {
        let storage = Arc::new(self.storage.after_power_cut(kept));
        self.runtime.take().unwrap().shutdown_background();
        Self::begin(storage, self.folder.clone(), self.change.clone())
    }

    /// Kills the runner, and starts the next one on this storage.
    pub fn over(mut self, storage: Arc<MemoryStorage>) -> Self {
        self.runtime.take().unwrap().shutdown_background();
        Self::begin(storage, self.folder.clone(), self.change.clone())
    }

    /// Where its workflows are.
    pub fn path(&self) -> &std::path::Path {
        self.folder.path()
    }

    pub fn block_on<T>(&self, future: impl Future<Output = T>) -> T {
        self.runtime.as_ref().unwrap().block_on(async {
            tokio::time::timeout(LONG, future).await.unwrap_or_else(|_| panic!("took too long\n{}", self.listing()))
        })
    }

    /// Does something meanwhile.
    pub fn spawn<T: Send + 'static>(&self, future: impl Future<Output = T> + Send + 'static) -> JoinHandle<T> {
        self.runtime.as_ref().unwrap().spawn(future)
    }

    /// Where the workflows are that scripts may call.
    pub fn folder(&self) -> &std::path::Path {
        self.folder.path()
    }

    pub fn submit(&self, source: &str) -> JobId {
        self.submit_with(source, |_| {})
    }

    pub fn submit_with(&self, source: &str, change: impl FnOnce(&mut Submit)) -> JobId {
        let mut submit = Submit::new(ScriptSource::Script { source: source.into(), name: Some("test".into()) });
        change(&mut submit);
        self.block_on(self.runner.submit(submit)).unwrap().job
    }

    /// The job when it has ended.
    pub fn ended(&self, job: &JobId) -> JobView {
        let view = self.block_on(async {
            self.runner.wait(job, tokio::time::sleep(LONG - Duration::from_secs(2))).await.unwrap();
            self.runner.job(job).unwrap().unwrap().view()
        });
        assert!(view.state.is_ended(), "{job} is still {}\n{}", view.state, self.listing());
        view
    }

    /// What the job returned, as JSON.
    pub fn result(&self, job: &JobId) -> String {
        let view = self.ended(job);
        assert_eq!(view.state, JobStatus::Completed, "{:?}\n{}", view.error, self.listing());
        view.result.unwrap().as_str().to_owned()
    }

    pub fn signal(&self, job: &JobId, name: &str, payload: &str) {
        self.block_on(self.runner.signal(job, name, Json::parse(payload).unwrap(), None)).unwrap();
    }

    pub fn cancel(&self, job: &JobId) {
        self.block_on(self.runner.cancel(job, Some("test".into()))).unwrap();
    }

    pub fn status(&self, job: &JobId) -> JobStatus {
        self.runner.job(job).unwrap().unwrap().status
    }

    /// Returns when the check gives something.
    pub fn until<T>(&self, what: &str, mut check: impl FnMut() -> Option<T>) -> T {
        let until = Instant::now() + LONG;
        loop {
            if let Some(found) = check() {
                return found;
            }
            assert!(Instant::now() < until, "never came about: {what}\n{}", self.listing());
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    pub fn until_status(&self, job: &JobId, status: JobStatus) {
        self.until(&status.to_string(), || (self.status(job) == status).then_some(()));
    }

    /// Returns when the job's stream has an event of this type.
    pub fn until_event(&self, job: &JobId, name: &str) {
        self.until(name, || self.events(job).iter().any(|event| event.body.name() == name).then_some(()));
    }

    pub fn events(&self, job: &JobId) -> Vec<Arc<Event>> {
        self.runner.log().read_stream(&StreamId::Job(*job), 0, 1_000_000).unwrap()
    }

    /// The names of a job's events, in order.
    pub fn names(&self, job: &JobId) -> Vec<&'static str> {
        self.events(job).iter().map(|event| event.body.name()).collect()
    }

    pub fn count(&self, job: &JobId, name: &str) -> usize {
        self.names(job).iter().filter(|other| **other == name).count()
    }

    /// The children of a job that are known.
    pub fn children(&self, parent: &JobId) -> Vec<JobId> {
        let all = self.runner.log().read(0, 1_000_000).unwrap();
        let of_parent = |event: &&Arc<Event>| matches!(&event.body, EventBody::JobSubmitted(job) if job.parent.as_ref().is_some_and(|p| p.job == *parent));
        // What is durable is folded a moment later: only then can it be asked for.
        let known = |job: &JobId| self.runner.job(job).unwrap().is_some();
        all.iter().filter(of_parent).filter_map(|event| event.job).filter(known).collect()
    }

    /// Checks what must hold of any log in which all jobs have ended.
    pub fn check(&self) {
        if let Err(why) = History::of(self.runner.log(), self.runner.options().limits.clone()).check() {
            panic!("{why}\n{}", self.listing());
        }
    }

    pub fn listing(&self) -> String {
        History::of(self.runner.log(), self.runner.options().limits.clone()).listing()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

fn options(worktrees: std::path::PathBuf) -> RunnerOptions {
    let processes = ProcessOptions::new(HostCommand {
        program: std::env::current_exe().unwrap(),
        args: ["process_host", "--exact", "--ignored", "--nocapture", "--test-threads=1"].map(String::from).into(),
    });
    RunnerOptions {
        concurrency: 16,
        resume_jobs: true,
        idle_evict_ms: 1_000,
        queues: Default::default(),
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
        http: HttpPolicy::new(HttpOptions::default()).unwrap(),
        config: Json::from_written("{}".into()),
        webhooks: Default::default(),
        repaired: None,
        clock: system_clock(),
        ids: moonlog_runner::random_ids(),
        threads: Default::default(),
        calendar: None,
    }
}
