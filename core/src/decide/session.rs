//! Creating and closing a session.

use super::Refusal;
use crate::{
    event::{EventBody, SessionClosed, SessionCreated, SessionDescribed},
    json::Json,
    projection::{SessionState, SessionStatus},
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
}

/// Creates a session.
pub fn decide_create_session(create: CreateSession) -> Vec<EventBody> {
    let CreateSession { workspace, agent, title, labels } = create;
    let mut events = vec![EventBody::SessionCreated(SessionCreated { workspace, agent })];
    if title.is_some() || !labels.is_empty() {
        events.push(EventBody::SessionDescribed(SessionDescribed { title, labels }));
    }
    events
}

/// Closes a session that has nothing running. What becomes of its workspace is recorded behind this.
///
/// # Errors
/// Where it is closed, or has jobs that have not ended.
pub fn decide_close_session(session: &SessionState) -> Result<Vec<EventBody>, Refusal> {
    decide_in_session(session)?;
    if let Some(job) = session.jobs.first() {
        return Err(Refusal::SessionBusy { session: session.id, jobs: session.jobs.len(), job: *job });
    }
    Ok(vec![EventBody::SessionClosed(SessionClosed {})])
}

/// Whether a session takes anything more: a job, a workspace, a process.
///
/// # Errors
/// Where it is closed.
pub fn decide_in_session(session: &SessionState) -> Result<(), Refusal> {
    match session.status {
        SessionStatus::Open => Ok(()),
        SessionStatus::Closed => Err(Refusal::SessionClosed { session: session.id }),
    }
}
