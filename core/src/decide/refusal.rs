//! Why a command is refused.

use crate::{
    error_info::ErrorInfo,
    id::{JobId, SessionId},
    projection::{JobStatus, SessionPhase},
};

/// A command that cannot be followed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The job has ended.
    #[error("job {job} has ended: it is {status}")]
    Ended {
        /// The job.
        job: JobId,
        /// How it ended.
        status: JobStatus,
    },
    /// The job has not ended.
    #[error("job {job} has not ended: it is {status}; cancel it first, or wait for it")]
    NotEnded {
        /// The job.
        job: JobId,
        /// Where it stands.
        status: JobStatus,
    },
    /// A job that has not ended needs it.
    #[error("job {job} is needed by job {by}, which has not ended: cancel that one first, or wait for it")]
    Needed {
        /// The job.
        job: JobId,
        /// The one that needs it.
        by: JobId,
    },
    /// It took part in a session that is still open.
    #[error(
        "job {job} took part in session {session}, which is still open, or its workspace is: close the session first"
    )]
    InOpenSession {
        /// The job.
        job: JobId,
        /// The session.
        session: SessionId,
    },
    /// The job never asked for this approval.
    #[error("job {job} asks for no approval `{id}`; GET /v1/approvals lists those that are open")]
    NoSuchApproval {
        /// The job.
        job: JobId,
        /// What was given.
        id: String,
    },
    /// The approval was decided, or the step that asked has ended.
    #[error("approval `{id}` of job {job} is decided already")]
    AlreadyDecided {
        /// The job.
        job: JobId,
        /// The approval.
        id: String,
    },
    /// The job has more signals than it consumes.
    #[error(
        "job {job} has {max} signals that it did not consume yet, as many as it may (limits.signals_per_job); send this one \
         when it has"
    )]
    TooManySignals {
        /// The job.
        job: JobId,
        /// How many it may have.
        max: usize,
    },
    /// As many messages wait in the session as may.
    #[error(
        "{max} messages wait in session {session}, as many as may (limits.queued_messages); say this when some have been \
         answered, or take some back"
    )]
    TooManyMessages {
        /// The session.
        session: SessionId,
        /// How many may wait.
        max: usize,
    },
    /// The idempotency key was used with another signal.
    #[error("the idempotency key was used for another signal to job {job}")]
    KeyReused {
        /// The job.
        job: JobId,
    },
    /// The session is closed.
    #[error("session {session} is closed: create another one")]
    SessionClosed {
        /// The session.
        session: SessionId,
    },
    /// The session was put away.
    #[error("session {session} is archived: open it again first, with PATCH and status `open`")]
    SessionArchived {
        /// The session.
        session: SessionId,
    },
    /// The session cannot become that.
    #[error("session {session} is {from}, and cannot become {to} from there")]
    IllegalStatus {
        /// The session.
        session: SessionId,
        /// Where it stands.
        from: SessionPhase,
        /// What was wanted.
        to: SessionPhase,
    },
    /// The session has jobs that have not ended.
    #[error(
        "session {session} has {jobs} jobs that have not ended, such as {job}; cancel them first, or wait for them"
    )]
    SessionBusy {
        /// The session.
        session: SessionId,
        /// How many.
        jobs: usize,
        /// One of them.
        job: JobId,
    },
    /// No turn is under way.
    #[error("session {session} is idle: there is no turn to interrupt")]
    SessionIdle {
        /// The session.
        session: SessionId,
    },
    /// There is no such message.
    #[error("session {session} has no message `{message}` that this can be done to")]
    NoSuchMessage {
        /// The session.
        session: SessionId,
        /// The message.
        message: String,
    },
    /// The message does not wait any more.
    #[error("message `{message}` of session {session} does not wait any more: its turn has begun")]
    MessageSaid {
        /// The session.
        session: SessionId,
        /// The message.
        message: String,
    },
    /// A field of the command is no good.
    #[error("{field}: {message}")]
    Invalid {
        /// The field.
        field: &'static str,
        /// What is wrong with it.
        message: String,
    },
}

impl Refusal {
    /// The stable code of the error.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Ended { .. } => "job_ended",
            Self::NotEnded { .. } => "job_not_ended",
            Self::Needed { .. } => "job_needed",
            Self::InOpenSession { .. } => "session_open",
            Self::NoSuchApproval { .. } => "no_such_approval",
            Self::AlreadyDecided { .. } => "already_decided",
            Self::TooManySignals { .. } => "too_many_signals",
            Self::TooManyMessages { .. } => "too_many_messages",
            Self::KeyReused { .. } => "idempotency_key_reused",
            Self::SessionClosed { .. } => "session_closed",
            Self::SessionArchived { .. } => "session_archived",
            Self::IllegalStatus { .. } => "illegal_status",
            Self::SessionBusy { .. } => "session_busy",
            Self::SessionIdle { .. } => "session_idle",
            Self::NoSuchMessage { .. } => "no_such_message",
            Self::MessageSaid { .. } => "message_said",
            Self::Invalid { .. } => "invalid_request",
        }
    }
}

impl From<Refusal> for ErrorInfo {
    fn from(refusal: Refusal) -> Self {
        let error = Self::new(refusal.code(), refusal.to_string());
        match refusal {
            Refusal::TooManySignals { .. } | Refusal::TooManyMessages { .. } | Refusal::SessionBusy { .. } => {
                error.retryable()
            }
            Refusal::Invalid { field, message } => {
                error.with_details(serde_json::json!({ "field": field, "message": message }).into())
            }
            _ => error,
        }
    }
}
