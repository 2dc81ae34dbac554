//! What can be asked of a runner, and why it may refuse.

use moonlog_core::{
    decide::Refusal,
    error_info::ErrorInfo,
    event::{ForkRef, JobRetryPolicy},
    id::{Hash, JobId, SessionId},
    json::Json,
    log::{AppendError, Poisoned, ReadError},
    time::Timestamp,
};
use moonlog_scripts::{Problem, SchemaError};
use std::collections::BTreeMap;

/// Which script a job runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ScriptSource {
    /// A workflow of the library, by name.
    Workflow(String),
    /// A script that the submitter brings.
    Script {
        /// Its source.
        source: String,
        /// What it is called in errors, where it gives itself no name; `script` where absent.
        name: Option<String>,
    },
}

/// A job to be run.
#[derive(Debug, Clone, PartialEq)]
pub struct Submit {
    /// Which script.
    pub what: ScriptSource,
    /// Its arguments; `{}` where absent.
    pub args: Option<Json>,
    /// The same key with the same request is answered with the first job.
    pub idempotency_key: Option<String>,
    /// The hash of the request in canonical form; goes with the key.
    pub request_hash: Option<Hash>,
    /// `default` where absent.
    pub queue: Option<String>,
    /// Higher runs first.
    pub priority: i32,
    /// Not before this time.
    pub run_at: Option<Timestamp>,
    /// From its first start to its end.
    pub timeout_ms: Option<u64>,
    /// When and how often the whole job is tried again.
    pub retry: Option<JobRetryPolicy>,
    /// How many tokens its agents may use.
    pub budget_tokens: Option<u64>,
    /// At most one job of a key runs at a time.
    pub concurrency_key: Option<String>,
    /// The session it runs in.
    pub session: Option<SessionId>,
    /// The job whose results are taken over where they fit.
    pub resume_from: Option<JobId>,
    /// The submitter's own marks.
    pub labels: BTreeMap<String, String>,
    /// The job whose history it shares, which decides its randomness too.
    pub forked_from: Option<(ForkRef, u64)>,
}

/// How an ended job is run again.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Retry {
    /// Another script; the job's own where absent.
    pub script: Option<ScriptSource>,
    /// Other arguments; the job's own where absent.
    pub args: Option<Json>,
    /// The same key for the same job and script is answered with the first new job.
    pub idempotency_key: Option<String>,
}

/// How a job is forked.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Fork {
    /// The last version of its stream that is shared.
    pub at: u64,
    /// Another script, which has to do as the history says up to there; the job's own where absent.
    pub script: Option<ScriptSource>,
    /// Other arguments; the job's own where absent.
    pub args: Option<Json>,
}

impl Submit {
    /// A job with nothing but its script.
    pub const fn new(what: ScriptSource) -> Self {
        Self {
            what,
            args: None,
            idempotency_key: None,
            request_hash: None,
            queue: None,
            priority: 0,
            run_at: None,
            timeout_ms: None,
            retry: None,
            budget_tokens: None,
            concurrency_key: None,
            session: None,
            resume_from: None,
            labels: BTreeMap::new(),
            forked_from: None,
        }
    }

    /// Whether the job may begin before its submission is durable: nothing that others submit or do decides when, and it takes
    /// nothing over.
    pub(crate) const fn may_begin_ahead(&self) -> bool {
        self.idempotency_key.is_none()
            && self.run_at.is_none()
            && self.concurrency_key.is_none()
            && self.session.is_none()
            && self.resume_from.is_none()
            && self.forked_from.is_none()
    }
}

/// The answer to a submission.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Submitted {
    /// The job.
    pub job: JobId,
    /// False where the key was known, and this is the first job under it.
    pub created: bool,
}

/// Why a submission was refused.
#[derive(Debug, thiserror::Error)]
pub enum SubmitError {
    /// No workflow has this name.
    #[error("no workflow is named `{name}`{}", nearest.as_ref().map(|n| format!(": did you mean `{n}`?")).unwrap_or_default())]
    NoSuchWorkflow {
        /// What was asked for.
        name: String,
        /// The nearest that is there.
        nearest: Option<String>,
    },
    /// The script does not compile, or is broken in another way.
    #[error("the script does not compile: {}", .0.first().map(problem).unwrap_or_default())]
    DoesNotCompile(Vec<Problem>),
    /// The arguments do not fit the workflow's schema.
    #[error("the arguments do not fit the workflow's schema: {}", .0.first().map(schema_error).unwrap_or_default())]
    InvalidArgs(Vec<SchemaError>),
    /// The key was used with another request.
    #[error("the idempotency key was used for job {job} with another body")]
    KeyReused {
        /// The job.
        job: JobId,
    },
    /// The queue takes no more.
    #[error("queue `{queue}` is full: {capacity} jobs wait in it")]
    QueueFull {
        /// The queue.
        queue: String,
        /// How many it takes.
        capacity: usize,
        /// When to try again.
        retry_after_ms: u64,
    },
    /// As many jobs have not ended as may.
    #[error("{max} jobs have not ended, which is the limit: wait for some to end, or raise limits.unended_jobs")]
    TooManyJobs {
        /// How many may be.
        max: u64,
        /// When to try again.
        retry_after_ms: u64,
    },
    /// No queue has this name.
    #[error("no queue is named `{name}`: add [queues.{name}] to the configuration")]
    NoSuchQueue {
        /// What was asked for.
        name: String,
    },
    /// No session has this id.
    #[error("there is no session {session}")]
    NoSuchSession {
        /// What was asked for.
        session: SessionId,
    },
    /// The session takes nothing more.
    #[error("{0}")]
    SessionClosed(ErrorInfo),
    /// Something is larger than allowed.
    #[error("{what} has {bytes} bytes, and {limit_bytes} are allowed")]
    TooLarge {
        /// What.
        what: &'static str,
        /// Its size.
        bytes: usize,
        /// What is allowed.
        limit_bytes: usize,
    },
    /// A value that cannot be.
    #[error("{0}")]
    Invalid(ErrorInfo),
    /// The server takes nothing now.
    #[error("{0}")]
    Unavailable(ErrorInfo),
}

fn problem(problem: &Problem) -> String {
    match problem.line {
        Some(line) if !problem.message.starts_with("line ") => format!("line {line}: {}", problem.message),
        _ => problem.message.clone(),
    }
}

fn schema_error(error: &SchemaError) -> String {
    if error.path.is_empty() { error.message.clone() } else { format!("{}: {}", error.path, error.message) }
}

impl SubmitError {
    /// The stable code of the error.
    pub fn code(&self) -> &str {
        match self {
            Self::NoSuchWorkflow { .. } => "no_such_workflow",
            Self::DoesNotCompile(_) => "script_does_not_compile",
            Self::InvalidArgs(_) => "invalid_args",
            Self::KeyReused { .. } => "idempotency_key_reused",
            Self::QueueFull { .. } => "queue_full",
            Self::TooManyJobs { .. } => "too_many_jobs",
            Self::NoSuchQueue { .. } => "no_such_queue",
            Self::TooLarge { .. } => "too_large",
            Self::NoSuchSession { .. } => "no_such_session",
            Self::SessionClosed(error) | Self::Invalid(error) | Self::Unavailable(error) => &error.code,
        }
    }
}

/// Why a command was refused.
#[derive(Debug, thiserror::Error)]
pub enum CommandError {
    /// No such job.
    #[error("no such job")]
    NoSuchJob,
    /// No such thing other than a job.
    #[error("{0}")]
    NotFound(ErrorInfo),
    /// A job cannot be submitted again.
    #[error(transparent)]
    Submit(#[from] SubmitError),
    /// It does not fit the state of things.
    #[error("{0}")]
    Conflict(ErrorInfo),
    /// A value that cannot be.
    #[error("{0}")]
    Invalid(ErrorInfo),
    /// There are as many of them as may be.
    #[error("{0}")]
    TooMany(ErrorInfo),
    /// The server takes nothing now.
    #[error("{0}")]
    Unavailable(ErrorInfo),
}

impl CommandError {
    /// The stable code of the error.
    pub fn code(&self) -> &str {
        match self {
            Self::NoSuchJob => "no_such_job",
            Self::Submit(error) => error.code(),
            Self::NotFound(error)
            | Self::Conflict(error)
            | Self::Invalid(error)
            | Self::TooMany(error)
            | Self::Unavailable(error) => &error.code,
        }
    }

    /// The same, to be shown.
    pub fn to_info(&self) -> ErrorInfo {
        match self {
            Self::NoSuchJob => ErrorInfo::new("no_such_job", self.to_string()),
            Self::Submit(error) => ErrorInfo::new(error.code(), self.to_string()),
            Self::NotFound(error)
            | Self::Conflict(error)
            | Self::Invalid(error)
            | Self::TooMany(error)
            | Self::Unavailable(error) => error.clone(),
        }
    }
}

/// Why a runner did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The log cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The log cannot be written.
    #[error(transparent)]
    Append(#[from] AppendError),
    /// The log refuses appends.
    #[error(transparent)]
    Poisoned(#[from] Poisoned),
}

fn unavailable(message: String) -> ErrorInfo {
    ErrorInfo::new("log_unavailable", message).retryable()
}

impl From<AppendError> for SubmitError {
    fn from(error: AppendError) -> Self {
        Self::Unavailable(unavailable(error.to_string()))
    }
}
impl From<Poisoned> for SubmitError {
    fn from(error: Poisoned) -> Self {
        Self::Unavailable(unavailable(error.to_string()))
    }
}
impl From<ReadError> for SubmitError {
    fn from(error: ReadError) -> Self {
        Self::Unavailable(unavailable(error.to_string()))
    }
}
impl From<Refusal> for CommandError {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::NoSuchApproval { .. } | Refusal::NoSuchMessage { .. } => Self::NotFound(refusal.into()),
            Refusal::Invalid { .. } => Self::Invalid(refusal.into()),
            Refusal::TooManyMessages { .. } => Self::TooMany(refusal.into()),
            _ => Self::Conflict(refusal.into()),
        }
    }
}
impl From<AppendError> for CommandError {
    fn from(error: AppendError) -> Self {
        Self::Unavailable(unavailable(error.to_string()))
    }
}
impl From<Poisoned> for CommandError {
    fn from(error: Poisoned) -> Self {
        Self::Unavailable(unavailable(error.to_string()))
    }
}
impl From<ReadError> for CommandError {
    fn from(error: ReadError) -> Self {
        Self::Unavailable(unavailable(error.to_string()))
    }
}
