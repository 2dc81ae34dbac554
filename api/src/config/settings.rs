//! The configuration as the rest of moonlog gets it: every value there, of its type, within its bounds.

use super::{AgentsConfig, ModelConfig, WebhookConfig};
use std::{collections::BTreeMap, fmt, net::SocketAddr, path::PathBuf, time::Duration};

/// The effective configuration.
#[derive(Debug, Clone)]
pub struct Config {
    /// HTTP.
    pub api: ApiConfig,
    /// The log.
    pub log: LogConfig,
    /// The runner.
    pub runner: RunnerConfig,
    /// Where sessions work.
    pub workspaces: WorkspacesConfig,
    /// What applies where a request says nothing.
    pub defaults: DefaultsConfig,
    /// Models by name.
    pub models: BTreeMap<String, ModelConfig>,
    /// Other names for models.
    pub aliases: BTreeMap<String, String>,
    /// Agents.
    pub agents: AgentsConfig,
    /// Queues by name; `default` and `defaults.queue` are always there.
    pub queues: BTreeMap<String, QueueConfig>,
    /// What `secret(name)` may be, by name.
    pub secrets: BTreeMap<String, SecretConfig>,
    /// Where events are posted, by name.
    pub webhooks: BTreeMap<String, WebhookConfig>,
    /// What scripts may share.
    pub cache: CacheConfig,
    /// What is kept of ended jobs.
    pub retention: RetentionConfig,
    /// `http` in scripts.
    pub http: HttpConfig,
    /// What tools may do.
    pub tools: ToolsConfig,
    /// Every limit.
    pub limits: LimitsConfig,
    /// Variables that hold keys of the server's own, which no child sees; those of `[secrets]` aside.
    pub key_variables: Vec<String>,
}

/// `[api]`
#[derive(Debug, Clone)]
pub struct ApiConfig {
    /// Where to listen.
    pub listen: SocketAddr,
    /// What clients must send, where anything: `MOONLOG_TOKEN`, or what `api.token_file` holds.
    pub token: Option<Token>,
    /// Further names for `Host`.
    pub hosts: Vec<String>,
    /// Web origins that may use the server.
    pub origins: Vec<String>,
}

/// The token that clients must send. Never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(String);

impl Token {
    /// The token; `None` for an empty text, which would be no secret.
    pub fn new(text: &str) -> Option<Self> {
        let text = text.trim();
        (!text.is_empty()).then(|| Self(text.into()))
    }

    /// The secret itself.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(set)")
    }
}

/// `[log]`
#[derive(Debug, Clone)]
pub struct LogConfig {
    /// The data folder.
    pub folder: PathBuf,
    /// The store's page cache.
    pub cache_bytes: u64,
    /// How much of the disk stays free.
    pub reserve_bytes: u64,
    /// Newest events kept decoded.
    pub tail_cache_bytes: u64,
    /// Stored record batches kept in memory.
    pub frame_cache_bytes: u64,
    /// How often the projections are written out.
    pub snapshot_every_events: u64,
}

/// `[runner]`
#[derive(Debug, Clone)]
pub struct RunnerConfig {
    /// Jobs that may be running at once.
    pub concurrency: usize,
    /// How long a waiting job keeps its script in memory.
    pub idle_evict: Duration,
    /// Script machines kept ready.
    pub warm_vms: usize,
    /// Where workflows are looked for, `~` resolved.
    pub workflow_folders: Vec<PathBuf>,
}

/// `[workspaces]`
#[derive(Debug, Clone)]
pub struct WorkspacesConfig {
    /// Where worktrees are made.
    pub folder: PathBuf,
}

/// `[retention]`
#[derive(Debug, Clone)]
pub struct RetentionConfig {
    /// How long jobs are kept after their end.
    pub max_age: Option<Duration>,
    /// How many ended jobs are kept.
    pub max_ended_jobs: Option<u64>,
    /// How large the store may be.
    pub max_bytes: Option<u64>,
    /// Where jobs are written before they are deleted.
    pub export_folder: Option<PathBuf>,
    /// How often it is looked.
    pub every: Duration,
    /// After how much was removed the store is rewritten.
    pub rewrite_min_bytes: u64,
}

/// `[cache]`
#[derive(Debug, Clone)]
pub struct CacheConfig {
    /// How large shared results may be together.
    pub max_bytes: u64,
    /// How old a shared result may be.
    pub max_age: Duration,
}

/// `[defaults]`
#[derive(Debug, Clone)]
pub struct DefaultsConfig {
    /// What `agent()` uses.
    pub model: String,
    /// The queue of jobs that name none.
    pub queue: String,
}

/// `[queues.NAME]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueueConfig {
    /// Jobs that may be running at once.
    pub concurrency: usize,
    /// Jobs that may be queued.
    pub capacity: u64,
    /// Jobs that may start in a minute; 0: any number.
    pub rate_per_minute: u64,
    /// Jobs of one concurrency key that may start in a minute; 0: any number.
    pub key_rate_per_minute: u64,
}

/// `[secrets.NAME]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SecretConfig {
    /// The variable that holds it.
    pub env: String,
    /// Where `http` may send it.
    pub hosts: Vec<String>,
    /// Which commands may get it.
    pub commands: Vec<String>,
}

/// `[http]`
#[derive(Debug, Clone)]
pub struct HttpConfig {
    /// Private hosts, addresses and ranges that scripts may reach.
    pub allow_private: Vec<String>,
    /// How long a request may take that names no timeout.
    pub timeout: Duration,
    /// How many redirects are followed.
    pub redirects_max: usize,
}

/// `[tools]`
#[derive(Debug, Clone)]
pub struct ToolsConfig {
    /// How long a call waits for approval.
    pub approval_timeout: Duration,
    /// Whether a call that nobody decided about is made.
    pub approval_default: bool,
    /// Calls that need approval.
    pub ask: Vec<String>,
    /// Calls that need none.
    pub allow: Vec<String>,
    /// Calls that are refused.
    pub deny: Vec<String>,
    /// Where tools may go without a workspace, `~` resolved.
    pub roots: Vec<PathBuf>,
    /// What `read_file` gives at once.
    pub read_max_bytes: usize,
    /// Lines that it gives at once.
    pub read_max_lines: usize,
    /// A line as it is shown.
    pub line_max_bytes: usize,
    /// A file that is written or edited.
    pub write_max_bytes: usize,
    /// A diff that is recorded.
    pub diff_max_bytes: usize,
    /// Edits of one call.
    pub edits_max: usize,
    /// Paths that `list_files` gives.
    pub list_max: usize,
    /// Lines that `search_files` gives.
    pub search_max_matches: usize,
    /// How long both look.
    pub search_max: Duration,
    /// How long `execute` waits by default.
    pub execute_timeout: Duration,
    /// The longest wait for a process.
    pub wait_max: Duration,
}

/// `[limits]`; what each is for stands in `keys.rs` and in what `moonlog config` prints.
#[derive(Debug, Clone)]
#[expect(missing_docs, reason = "each is documented once, beside its default, in keys.rs")]
pub struct LimitsConfig {
    pub connections: usize,
    pub connection_keep: Duration,
    pub feeds: usize,
    pub header_read_timeout: Duration,
    pub body_read_timeout: Duration,
    pub header_max_bytes: usize,
    pub body_max_bytes: u64,
    /// A bundle that is imported.
    pub import_max_bytes: u64,
    pub wait_max: Duration,
    pub drain: Duration,
    pub feed_keep_alive: Duration,
    pub feed_cache_bytes: usize,
    pub inline_max_bytes: u64,
    pub ticket: Duration,
    pub backup_stall: Duration,
    pub script_source_bytes: u64,
    pub script_memory_bytes: u64,
    pub script_compute: Duration,
    pub steps_per_job: u64,
    pub events_per_job: u64,
    pub open_branches: u64,
    pub agents_per_job: u64,
    pub items_max: u64,
    pub value_max_bytes: u64,
    pub nesting: u32,
    pub process_capture_bytes: u64,
    pub process_output_bytes: u64,
    pub process_stall: Duration,
    pub http_response_bytes: u64,
    pub git_timeout: Duration,
    pub git_output_bytes: usize,
    pub workspace_files: usize,
    pub workspace_diff_bytes: u64,
    pub unended_jobs: u64,
    pub processes: usize,
    pub workflows: usize,
    pub schedules: usize,
    pub open_sessions: usize,
    pub queued_messages: usize,
    pub signals_per_job: usize,
    pub name_max_bytes: usize,
    pub key_max_bytes: usize,
    pub label_max_bytes: usize,
    pub title_max_bytes: usize,
    pub reason_max_bytes: usize,
    pub note_max_bytes: usize,
    pub session_agent_max_bytes: usize,
    pub labels: usize,
    pub bulk_jobs: usize,
}
