//! What a runner can be told, with the defaults.

use crate::threads::Threads;
use crate::{
    agent::AgentOptions, bounds::Bounds, clock::Clock, http::HttpPolicy, process::ProcessOptions, reuse::CacheOptions,
    tool::ToolOptions, webhook::WebhookOptions, workspace::WorkspaceOptions,
};
use moonlog_core::{json::Json, rate::MINUTE_MS};
use moonlog_scripts::Limits;
use std::{collections::BTreeMap, sync::Arc};
use uuid::Uuid;

/// Where ids come from.
pub type Ids = Arc<dyn Fn() -> Uuid + Send + Sync>;

/// Ids by time and chance.
pub fn random_ids() -> Ids {
    Arc::new(Uuid::now_v7)
}

/// A queue's limits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueueOptions {
    /// How many of its jobs may run at once.
    pub concurrency: usize,
    /// How many may be queued; beyond it, submissions are refused.
    pub capacity: usize,
    /// How many of its jobs may start in a minute, each attempt counted; 0: any number.
    pub rate_per_minute: u64,
    /// How many jobs of one concurrency key may start in it in a minute; 0: any number.
    pub key_rate_per_minute: u64,
    /// How long that minute is, for tests that have no minute.
    pub rate_span_ms: u64,
}

impl Default for QueueOptions {
    fn default() -> Self {
        Self { concurrency: 64, capacity: 100_000, rate_per_minute: 0, key_rate_per_minute: 0, rate_span_ms: MINUTE_MS }
    }
}

/// What a runner can be told.
#[derive(Clone)]
pub struct RunnerOptions {
    /// How many jobs may run at once, over all queues. 0 is for a server that only answers: it records nothing of its
    /// own, and leaves jobs as they are.
    pub concurrency: usize,
    /// Whether jobs that an earlier server left unfinished go on. A server for one command leaves them as they are.
    pub resume_jobs: bool,
    /// How long a job that only waits keeps its virtual machine, in milliseconds.
    pub idle_evict_ms: u64,
    /// The queues, by name. `default` is always there.
    pub queues: BTreeMap<String, QueueOptions>,
    /// How many levels of child jobs may stand under a job.
    pub nesting: u32,
    /// How many events between two snapshots of the projections.
    pub checkpoint_events: u64,
    /// How many virtual machines are kept warm.
    pub warm_vms: usize,
    /// How many there may be of what grows.
    pub bounds: Bounds,
    /// What a script may use.
    pub limits: Limits,
    /// The largest `args` of a job, in bytes. A script's source has a limit of its own.
    pub submit_max_bytes: usize,
    /// How processes are started and recorded.
    pub processes: ProcessOptions,
    /// Agents and the models that they ask.
    pub agents: AgentOptions,
    /// What tools may do, and where.
    pub tools: ToolOptions,
    /// Where sessions work.
    pub workspaces: WorkspaceOptions,
    /// What scripts may share with a `cache`.
    pub cache: CacheOptions,
    /// Where `http` may go.
    pub http: HttpPolicy,
    /// Where events are posted, by name.
    pub webhooks: BTreeMap<String, WebhookOptions>,
    /// The effective configuration, secrets left out, for `runner.started`.
    pub config: Json,
    /// What was mended when the log was opened, for `runner.started`.
    pub repaired: Option<Json>,
    /// Where the time comes from: of all that lasts so long, or is so old.
    pub clock: Clock,
    /// Where the ids of jobs, sessions and processes come from.
    pub ids: Ids,
    /// Where work is done that would hold up others.
    pub threads: Threads,
    /// Where the time of day comes from, by which schedules and `run_at` go; `None`: as the time.
    pub calendar: Option<Clock>,
}
