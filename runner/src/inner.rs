//! What all parts of the runner share.

use crate::{
    agent::{CallIds, Families, LiveAgents, Metered, model::Models},
    dispatcher::Message,
    locks::Locks,
    options::RunnerOptions,
    process::{ProcessTable, Processes},
    rate::{ModelRates, StartRates},
    reuse::SharedResults,
    session::Stirred,
    sources::{Source, Sources},
    submit::Admission,
    tool::Tools,
    waiters::Waiters,
    webhook::Workers,
    workspace::Workspaces,
};
use moonlog_core::{
    error_info::ErrorInfo,
    id::{Hash, JobId},
    log::{Log, Poisoned, ReadError},
    projection::Views,
};
use moonlog_scripts::{Engine, Library};
use std::sync::{Arc, Mutex};
use tokio::sync::{Notify, OwnedSemaphorePermit, RwLock, Semaphore, mpsc};
use uuid::Uuid;

/// What runs jobs, for `job.started`: moonlog's version, and the build of Luau, on which the order of `pairs` depends.
pub(crate) const RUNNER: &str = concat!("moonlog ", env!("CARGO_PKG_VERSION"), " (mlua 0.12, luau)");

/// How many waiting jobs keep their virtual machines, at about half a MiB each. Thousands that come to wait at once would
/// take gigabytes for the moment that each may keep its own.
pub(super) const IDLE_MACHINES: usize = 64;

/// What all parts of the runner share.
pub(crate) struct Inner {
    pub(crate) options: RunnerOptions,
    pub(crate) log: Log,
    pub(crate) views: Views,
    pub(crate) library: Library,
    pub(crate) engine: Engine,
    pub(crate) processes: Processes,
    pub(crate) process_table: ProcessTable,
    pub(crate) tools: Tools,
    pub(crate) models: Models,
    /// Agents that run.
    pub(crate) agents: LiveAgents,
    /// Tokens of jobs that have agents.
    pub(crate) metered: Metered,
    /// Ids of tool calls of jobs that have agents.
    pub(crate) call_ids: CallIds,
    /// Sessions that may have to be woken.
    pub(crate) stirred: Stirred,
    /// How many agents these have.
    pub(crate) families: Families,
    pub(crate) admission: Admission,
    pub(crate) workspaces: Workspaces,
    pub(crate) waiters: Arc<Waiters>,
    /// How many jobs were started within a minute.
    pub(crate) start_rates: Mutex<StartRates>,
    /// How often models were asked within a minute.
    pub(crate) model_rates: Arc<ModelRates>,
    pub(crate) sources: Sources,
    /// Whether a thread's other tasks can be moved to another thread.
    pub(crate) moves_tasks: bool,
    /// Results that scripts share.
    pub(crate) shared: SharedResults,
    /// Commands to one job take turns.
    pub(crate) commands: Locks,
    /// Shared by those who make a job that needs another one's history; held alone while it is decided what is deleted.
    pub(crate) histories: RwLock<()>,
    /// Agents that are spawned by one job come one after the other.
    pub(crate) spawning: Locks,
    /// Told when a schedule is set or removed.
    pub(crate) schedules_changed: Notify,
    /// What posts events.
    pub(crate) webhooks: Workers,
    /// Permits to keep a virtual machine while its job waits.
    pub(super) idle_machines: Arc<Semaphore>,
    pub(super) dispatcher: mpsc::UnboundedSender<Message>,
}

impl Inner {
    /// Tells the dispatcher. Nobody listens any more where the runner has stopped.
    pub(crate) fn tell(&self, message: Message) {
        let _ = self.dispatcher.send(message);
    }

    /// A new id.
    pub(crate) fn new_id(&self) -> Uuid {
        (self.options.ids)()
    }

    /// A permit to keep a waiting job's virtual machine, where not too many are kept.
    pub(crate) fn keep_machine(&self) -> Option<OwnedSemaphorePermit> {
        self.idle_machines.clone().try_acquire_owned().ok()
    }

    /// The source of a script that some job was submitted with.
    pub(crate) fn source(&self, hash: &Hash) -> Result<Source, ErrorInfo> {
        if let Some(source) = self.sources.get(hash) {
            return Ok(source);
        }
        let unreadable = |why: String| ErrorInfo::new("script_unreadable", format!("script {hash}: {why}"));
        let bytes = self.log.blob(hash).map_err(|error| unreadable(error.to_string()))?;
        let bytes = bytes.ok_or_else(|| unreadable("it is not in the log".into()))?;
        let text = String::from_utf8(bytes).map_err(|error| unreadable(error.to_string()))?;
        Ok(self.sources.keep(*hash, text.into()))
    }

    /// Comes when the events up to `position` are durable and folded: one wake for both.
    pub(crate) async fn applied(&self, position: u64) -> Result<(), Poisoned> {
        if self.waiters.applied(position).await {
            return Ok(());
        }
        // Nothing more is folded: the log tells why, if it refuses.
        self.log.durable(position).await
    }

    /// The same where nobody else may be in a hurry to have them written.
    pub(crate) async fn applied_at_once(&self, position: u64) -> Result<(), Poisoned> {
        self.log.hurry(position);
        self.applied(position).await
    }

    /// Comes when a job has ended, or when `enough` does; at once where there is no such job.
    pub(crate) async fn until_ended(&self, job: &JobId, enough: impl Future<Output = ()>) -> Result<(), ReadError> {
        // Asked for before the look, so that an end in between is not missed.
        let ended = self.waiters.end_of(*job);
        if self.views.job(job)?.is_some_and(|job| job.ended_at.is_none()) {
            tokio::select! {
                biased;
                () = ended => {}
                () = enough => {}
            }
        }
        Ok(())
    }
}

/// The refusal of everything while the server stops or the log is read-only.
pub(crate) fn stopping() -> ErrorInfo {
    ErrorInfo::new("stopping", "the server is stopping: try again when it is back").retryable()
}
