//! What is asked for when a process is started, and the limits that all of them share.

use super::CommandHost;
use crate::{secret::Secrets, threads::Threads};
use moonlog_core::{
    event::{ProcessTokenClaimed, StreamId},
    id::{JobId, ProcessId, SessionId},
};
use std::{collections::BTreeMap, ffi::OsString, path::PathBuf, sync::Arc};

/// How the process host is run: moonlog's own binary with its hidden subcommand.
#[derive(Debug, Clone)]
pub struct HostCommand {
    /// The program, which must call [`host_main`](super::host_main) before it starts any thread.
    pub program: PathBuf,
    /// Its arguments.
    pub args: Vec<String>,
}

/// Limits of processes, each with its unit in its name.
#[derive(Debug, Clone)]
pub struct ProcessLimits {
    /// How much of a process's output is recorded in the log, over both descriptors.
    pub output_max_bytes: u64,
    /// How much of each of standard output and standard error `exec` gives back: its first and its last half.
    pub capture_bytes: usize,
    /// How long a cancelled process has between SIGTERM and SIGKILL.
    pub grace_ms: u64,
    /// How long a process's output is still read after its end, where something that it started holds it open.
    pub drain_ms: u64,
    /// How long the start of a process may take.
    pub start_ms: u64,
    /// How many processes may run at once.
    pub processes_max: usize,
    /// How long a process writes nothing, behind what looks like a question, until it is said to have stalled.
    pub stall_ms: u64,
}

impl Default for ProcessLimits {
    fn default() -> Self {
        Self {
            output_max_bytes: 8 << 20,
            capture_bytes: 2 << 20,
            grace_ms: 2_000,
            drain_ms: 100,
            start_ms: 10_000,
            processes_max: 4_096,
            stall_ms: 45_000,
        }
    }
}

/// What all processes of a server share.
#[derive(Debug, Clone)]
pub struct ProcessOptions {
    /// How the process host is run.
    pub host: HostCommand,
    /// What runs commands in its place, such as in a simulation.
    pub hosted: Option<Arc<dyn CommandHost>>,
    /// Where the log is read for those who ask. A runner sets its own.
    pub threads: Threads,
    /// Limits.
    pub limits: ProcessLimits,
    /// The environment that children start from; the server's own by default. `MOONLOG_*` and the variables that
    /// secrets come from are taken out of it.
    pub base_env: Vec<(OsString, OsString)>,
    /// Further variables that are taken out of it: keys of the server's own.
    pub withheld: Vec<String>,
    /// Where a process runs that names no folder.
    pub workdir: PathBuf,
    /// The secrets that commands may get, and that outputs are scrubbed of.
    pub secrets: Arc<Secrets>,
}

impl ProcessOptions {
    /// Default limits, the server's own environment and folder, no secrets.
    pub fn new(host: HostCommand) -> Self {
        Self {
            host,
            hosted: None,
            threads: Threads::default(),
            limits: ProcessLimits::default(),
            base_env: std::env::vars_os().collect(),
            withheld: Vec::new(),
            workdir: std::env::current_dir().unwrap_or_else(|_| PathBuf::from("/")),
            secrets: Arc::new(Secrets::default()),
        }
    }
}

/// Whose process it is, and where its events go.
#[derive(Debug, Clone)]
pub struct Owner {
    /// The stream of its events.
    pub stream: StreamId,
    /// The job that it belongs to and that it does not outlive; for a process with a stream of its own, the job that
    /// started it.
    pub job: Option<JobId>,
    /// The session it belongs to.
    pub session: Option<SessionId>,
    /// The call path of the step that started it.
    pub step: Option<Arc<str>>,
}

impl Owner {
    /// A job's own process.
    pub fn job(job: JobId, step: Option<Arc<str>>) -> Self {
        Self { stream: StreamId::Job(job), job: Some(job), session: None, step }
    }

    /// A process of a session, or of nobody, with a stream of its own.
    pub fn own(process: ProcessId, session: Option<SessionId>) -> Self {
        Self { stream: StreamId::Process(process), job: None, session, step: None }
    }

    /// The job at whose end the process is killed.
    pub fn dies_with(&self) -> Option<JobId> {
        match &self.stream {
            StreamId::Job(job) => Some(*job),
            _ => None,
        }
    }
}

/// A process to be started.
#[derive(Debug, Clone)]
pub struct ProcessSpec {
    /// Its id, made by the caller, so that it is known before anything waits.
    pub id: ProcessId,
    /// The program: a name that is looked up in `PATH`, or a path.
    pub command: String,
    /// Its arguments.
    pub args: Vec<String>,
    /// Where it runs.
    pub workdir: Option<PathBuf>,
    /// Variables that are set on top of the base environment. Placeholders of secrets are replaced.
    pub env: BTreeMap<String, String>,
    /// What it reads; placeholders of secrets are replaced where this is text. Without it, its input is empty.
    pub stdin: Option<Vec<u8>>,
    /// Whether nobody waits for it.
    pub background: bool,
    /// Whether [`Process::captured`](super::Process::captured) shall give all of its output. Else its beginning and
    /// its end are kept in memory, which is enough for showing.
    pub capture: bool,
    /// What it is for.
    pub description: Option<String>,
    /// When it is killed, from its start.
    pub timeout_ms: Option<u64>,
    /// The position of the event that led to it.
    pub cause: Option<u64>,
    /// The token that a client starts it under.
    pub claim: Option<ProcessTokenClaimed>,
    /// Whose it is.
    pub owner: Owner,
}

impl ProcessSpec {
    /// A process with nothing but its command, that nobody waits for.
    pub fn new(id: ProcessId, command: impl Into<String>, owner: Owner) -> Self {
        Self {
            id,
            command: command.into(),
            args: Vec::new(),
            workdir: None,
            env: BTreeMap::new(),
            stdin: None,
            background: true,
            capture: false,
            description: None,
            cause: None,
            timeout_ms: None,
            claim: None,
            owner,
        }
    }
}
