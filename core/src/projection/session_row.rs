//! A session's state as a row, in parts that are decoded one by one.

use super::{ChatState, PendingChange, SessionState, SessionStatus, WorkspaceState, job_row::Parts};
use crate::{
    codec::{self, CodecError, Decode, Encode},
    collision::Proximity,
    event::SessionConfigured,
    id::{JobId, ProcessId, SessionId},
    json::Json,
    time::Timestamp,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

#[derive(Encode, Decode)]
struct Facts {
    id: SessionId,
    status: SessionStatus,
    title: Option<Arc<str>>,
    labels: BTreeMap<String, String>,
    created_at: Timestamp,
    created_position: u64,
    closed_at: Option<Timestamp>,
    version: u64,
    position: u64,
    jobs: BTreeSet<JobId>,
    processes: BTreeSet<ProcessId>,
    collisions: BTreeMap<(Arc<str>, SessionId), Proximity>,
    changes: u64,
    options: SessionConfigured,
}

/// The row of `session`.
pub(super) fn encode(session: &SessionState) -> Result<Vec<u8>, CodecError> {
    let facts = Facts {
        id: session.id,
        status: session.status,
        title: session.title.clone(),
        labels: session.labels.clone(),
        created_at: session.created_at,
        created_position: session.created_position,
        closed_at: session.closed_at,
        version: session.version,
        position: session.position,
        jobs: session.jobs.clone(),
        processes: session.processes.clone(),
        collisions: session.collisions.clone(),
        changes: session.changes.len() as u64,
        options: session.options,
    };
    let mut row = codec::encode(&facts)?;
    row.extend(codec::encode(&session.agent)?);
    row.extend(codec::encode(&session.workspace)?);
    row.extend(codec::encode(&session.chat)?);
    for (path, change) in &session.changes {
        row.extend(codec::encode(path)?);
        row.extend(codec::encode(&**change)?);
    }
    Ok(row)
}

/// The session whose row this is.
pub(super) fn decode(row: &[u8]) -> Result<SessionState, CodecError> {
    let mut parts = Parts { rest: row };
    let facts: Facts = parts.next()?;
    let agent: Json = parts.next()?;
    let workspace: Option<Arc<WorkspaceState>> = parts.next()?;
    let chat: ChatState = parts.next()?;
    let mut changes = BTreeMap::new();
    for _ in 0..facts.changes {
        let path: Arc<str> = parts.next()?;
        let change: PendingChange = parts.next()?;
        changes.insert(path, Arc::new(change));
    }
    if !parts.rest.is_empty() {
        return Err(CodecError::TrailingBytes(parts.rest.len()));
    }
    Ok(SessionState {
        id: facts.id,
        status: facts.status,
        title: facts.title,
        labels: facts.labels,
        agent,
        options: facts.options,
        workspace,
        created_at: facts.created_at,
        created_position: facts.created_position,
        closed_at: facts.closed_at,
        version: facts.version,
        position: facts.position,
        changes,
        collisions: facts.collisions,
        jobs: facts.jobs,
        processes: facts.processes,
        chat,
    })
}
