//! What goes into a run and what comes out of it.

use moonlog_core::{
    error_info::ErrorInfo,
    event::{CachedFrom, EventBody, NewEvent, StepFinished, StepStarted},
    id::{Hash, JobId},
    journal::Mismatch,
    json::Json,
    time::Timestamp,
};
use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

/// What is to be run.
#[derive(Debug, Clone)]
pub struct RunSpec {
    /// The job.
    pub job: JobId,
    /// The run of the job: its steps' first key.
    pub run: u32,
    /// The workflow's name, which stands in errors before the line.
    pub workflow: String,
    /// The script.
    pub source: Arc<str>,
    /// The hash of `source`.
    pub script_hash: Hash,
    /// `args`.
    pub args: Json,
    /// What `math.random` and `uuid()` come from.
    pub seed: u64,
    /// The time of `job.started`, or of `job.continued`: `now()` at the start.
    pub started_at: Timestamp,
    /// How many levels of child jobs may stand under it.
    pub nesting: u32,
    /// `budget.total`; unlimited where `None`.
    pub budget_total: Option<u64>,
    /// Stops it from another thread.
    pub stop: StopHandle,
    /// Where results of earlier runs may be taken from.
    pub earlier: Option<Arc<dyn Earlier>>,
}

/// What earlier runs have recorded. Asked as an operation begins, and answered at once, so that what is taken over stands
/// in the script's order like everything else that it does.
pub trait Earlier: Send + Sync + std::fmt::Debug {
    /// The result that may stand for an operation, if there is one.
    fn find(&self, wanted: &Wanted<'_>) -> Option<Found>;
}

/// An operation as it begins.
#[derive(Debug, Clone, Copy)]
pub struct Wanted<'a> {
    /// Its call path.
    pub path: &'a str,
    /// blake3 of its kind, inputs and options.
    pub spec_hash: &'a Hash,
    /// Whether the result of the job that this one resumes may stand for it, where path and hash are the same.
    pub resumes: bool,
    /// How old a result that any job has shared may be, where that may stand for it.
    pub cache_ms: Option<u64>,
}

/// A result that was recorded.
#[derive(Debug, Clone, PartialEq)]
pub struct Found {
    /// What it gave.
    pub output: Json,
    /// Where it stands.
    pub from: CachedFrom,
}

/// Why a run could not go on. None of these is the script's own failure, which is `RunState::Failed`.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum RunError {
    /// The script asked for something else than its journal holds.
    #[error("{0}")]
    Mismatch(Box<Mismatch>),
    /// A limit or a fault of the runner's during replay: the job is left as it was.
    #[error("replay stopped: {0}")]
    Replay(ErrorInfo),
    /// The script does not compile.
    #[error("{0}")]
    Script(ErrorInfo),
}

/// What came of letting a run go on.
#[derive(Debug, Clone, PartialEq)]
pub struct Slice {
    /// New events in order, to be appended before anything else is delivered. What only the runner knows is left for it
    /// to fill in: `latency_ms` (0 here), and the attempt of an operation of its own that the script cancels (1 here).
    pub intents: Vec<NewEvent>,
    /// How the run stands now.
    pub state: RunState,
}

impl Slice {
    /// Whether the run has ended in it, and all that it began was done by the script itself.
    pub fn only_ends(&self) -> bool {
        let acts = |event: &NewEvent| matches!(&event.body, EventBody::StepStarted(step) if step.kind != "step");
        matches!(self.state, RunState::Returned(_) | RunState::Failed(_)) && !self.intents.iter().any(acts)
    }
}

/// How a run stands at the end of a slice.
#[derive(Debug, Clone, PartialEq)]
pub enum RunState {
    /// Every branch waits for a delivery.
    Blocked,
    /// Many bytes of intents: append them, wait until they are durable, then give `Input::Continue`.
    More,
    /// The script ended with this result.
    Returned(Json),
    /// The script failed.
    Failed(ErrorInfo),
    /// `continue_as` with these arguments.
    Continued(Json),
}

/// What is delivered to a run.
#[derive(Debug, Clone, PartialEq)]
pub enum Input {
    /// An operation ended.
    Finished {
        /// How.
        event: StepFinished,
        /// Whether a `step.retry_scheduled` stands behind it.
        retry: bool,
        /// The event's time.
        time: Timestamp,
    },
    /// The next attempt at a code step begins.
    Attempt {
        /// Its `step.started`.
        event: StepStarted,
        /// The event's time.
        time: Timestamp,
    },
    /// After `RunState::More`.
    Continue,
}

/// Stops a run from another thread.
#[derive(Debug, Clone, Default)]
pub struct StopHandle(pub(crate) Arc<AtomicBool>);

impl StopHandle {
    /// Makes the running slice fail soon with code `cancelled`.
    pub fn stop(&self) {
        self.0.store(true, Ordering::Relaxed);
    }
}
