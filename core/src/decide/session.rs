//! Creating and closing a session.

use super::Refusal;
use crate::{
    event::{EventBody, SessionClosed, SessionConfigured, SessionCreated, SessionDescribed, SessionStatusChanged},
    id::JobId,
    json::Json,
    projection::{SessionPhase, SessionState, SessionStatus},
};
use std::collections::BTreeMap;

/// What a session is created with.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CreateSession {
    /// Where it shall work, as it was asked for.
    pub workspace: Json,
    /// Who answers: model, system prompt and tools.
    pub agent: Json,
    /// What it is called.
    pub title: Option<String>,
    /// Its owner's own marks.
    pub labels: BTreeMap<String, String>,
    /// Whether it is woken, and what it may use.
    pub options: SessionConfigured,
}

/// What is to be changed of a session; what is not said stays.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ChangeSession {
    /// Its status.
    pub status: Option<SessionStatus>,
    /// What it is called; nothing, where that is the change.
    pub title: Option<Option<String>>,
    /// Its owner's own marks, all of them.
    pub labels: Option<BTreeMap<String, String>>,
    /// Whether it is woken.
    pub wake: Option<bool>,
    /// How many tokens its turns may use; any number, where that is the change.
    pub budget_tokens: Option<Option<u64>>,
}

/// Creates a session.
pub fn decide_create_session(create: CreateSession) -> Vec<EventBody> {
    let CreateSession { workspace, agent, title, labels, options } = create;
    let mut events = vec![EventBody::SessionCreated(SessionCreated { workspace, agent })];
    if title.is_some() || !labels.is_empty() {
        events.push(EventBody::SessionDescribed(SessionDescribed { title, labels }));
    }
    if options != SessionConfigured::default() {
        events.push(EventBody::SessionConfigured(options));
    }
    events
}

/// Changes a session. What it is already is no event.
///
/// # Errors
/// Where its status may not become what is wanted, or it is closed.
pub fn decide_change_session(session: &SessionState, change: ChangeSession) -> Result<Vec<EventBody>, Refusal> {
    let mut events = Vec::new();
    if session.status == SessionStatus::Closed {
        return Err(Refusal::SessionClosed { session: session.id });
    }
    if let Some(to) = change.status.filter(|to| *to != session.status) {
        let next = match to {
            SessionStatus::Open => SessionPhase::Idle,
            SessionStatus::Archived => SessionPhase::Archived,
            SessionStatus::Closed => SessionPhase::Closed,
        };
        check_phase(session, next)?;
        events.push(match to {
            SessionStatus::Closed => EventBody::SessionClosed(SessionClosed {}),
            to => EventBody::SessionStatusChanged(SessionStatusChanged { to: to.to_string() }),
        });
    }
    let described = SessionDescribed {
        title: change.title.unwrap_or_else(|| session.title.as_deref().map(str::to_owned)),
        labels: change.labels.unwrap_or_else(|| session.labels.clone()),
    };
    if described.title.as_deref() != session.title.as_deref() || described.labels != session.labels {
        events.push(EventBody::SessionDescribed(described));
    }
    let options = SessionConfigured {
        wake: change.wake.unwrap_or(session.options.wake),
        budget_tokens: change.budget_tokens.unwrap_or(session.options.budget_tokens),
    };
    if options != session.options {
        events.push(EventBody::SessionConfigured(options));
    }
    Ok(events)
}

/// Whether a session may become this.
fn check_phase(session: &SessionState, next: SessionPhase) -> Result<(), Refusal> {
    let phase = session.phase();
    match phase {
        _ if phase.may_become(next) => Ok(()),
        SessionPhase::Closed => Err(Refusal::SessionClosed { session: session.id }),
        SessionPhase::Running | SessionPhase::Waiting => {
            let job = session.jobs.first().copied().or(session.chat.busy.map(|(job, _)| job));
            let job = job.unwrap_or(JobId::from_bytes([0; 16]));
            Err(Refusal::SessionBusy { session: session.id, jobs: session.jobs.len().max(1), job })
        }
        SessionPhase::Idle | SessionPhase::Archived => {
            Err(Refusal::IllegalStatus { session: session.id, from: phase, to: next })
        }
    }
}

/// Closes a session that has nothing running. What becomes of its workspace is recorded behind this.
///
/// # Errors
/// Where it is closed, or has jobs that have not ended.
pub fn decide_close_session(session: &SessionState) -> Result<Vec<EventBody>, Refusal> {
    check_phase(session, SessionPhase::Closed)?;
    Ok(vec![EventBody::SessionClosed(SessionClosed {})])
}

/// Whether a session takes anything more: a job, a workspace, a process.
///
/// # Errors
/// Where it is closed.
pub fn decide_in_session(session: &SessionState) -> Result<(), Refusal> {
    match session.status {
        SessionStatus::Open => Ok(()),
        SessionStatus::Archived => Err(Refusal::SessionArchived { session: session.id }),
        SessionStatus::Closed => Err(Refusal::SessionClosed { session: session.id }),
    }
}
