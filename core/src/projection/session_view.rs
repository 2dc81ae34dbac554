//! A session as answers show it: what a client that comes back needs to show it as it stands.

use super::{ChatView, FileOp, SessionState, SessionStatus, WorkspaceKind, WorkspaceState, WorkspaceStatus};
use crate::{
    collision::Proximity,
    error_info::ErrorInfo,
    event::WorkspaceClosed,
    id::{Hash, JobId, ProcessId, SessionId},
    json::Json,
    time::Timestamp,
};
use serde::Serialize;
use std::{collections::BTreeMap, sync::Arc};

/// A session, wherever one is returned.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SessionView {
    /// The session.
    pub id: SessionId,
    /// Whether it takes anything more.
    pub status: SessionStatus,
    /// What it is called.
    pub title: Option<Arc<str>>,
    /// Its owner's own marks.
    pub labels: BTreeMap<String, String>,
    /// Who answers: model, system prompt and tools.
    pub agent: Json,
    /// Whether something that its agents have left running wakes it at its end.
    pub wake: bool,
    /// How many tokens its turns may use, with what they spawn.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub budget_tokens: Option<u64>,
    /// Where it works.
    pub workspace: Option<WorkspaceView>,
    /// What is said in it, where it is shown whole.
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    pub chat: Option<ChatView>,
    /// The files that it has changed and that were neither merged nor reverted.
    pub changes: Vec<ChangeView>,
    /// What other sessions have changed in the same files, as it was told.
    pub collisions: Vec<CollisionView>,
    /// Its jobs that have not ended.
    pub jobs: Vec<JobId>,
    /// Its processes that run.
    pub processes: Vec<ProcessId>,
    /// When it was created.
    pub created_at: Timestamp,
    /// When it was closed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub closed_at: Option<Timestamp>,
    /// The version of the last event in its own stream.
    pub version: u64,
    /// The position of the last event that is told of here: its feed goes on behind it.
    pub position: u64,
}

/// A workspace, wherever one is returned.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct WorkspaceView {
    /// What it is.
    pub kind: WorkspaceKind,
    /// Where it stands.
    pub status: WorkspaceStatus,
    /// Where it is, or was.
    pub path: String,
    /// The git folder that all worktrees of the repository share.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub repository: Option<String>,
    /// The reference that a worktree began at, and is merged into where it is a branch.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub base: Option<String>,
    /// The commit that its changes are compared with.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub base_commit: Option<String>,
    /// Its own branch.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub branch: Option<String>,
    /// Why it could not be made.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<ErrorInfo>,
    /// What became of it with its session.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub closed: Option<WorkspaceClosed>,
}

/// A file that a session has changed.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ChangeView {
    /// Relative to the workspace.
    pub path: Arc<str>,
    /// What became of it, all in all.
    pub op: FileOp,
    /// blake3 of what it held before the first change, where that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub before_hash: Option<Hash>,
    /// blake3 of what it held after the last change that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after_hash: Option<Hash>,
    /// The position of the last event that told of it.
    pub position: u64,
}

/// A file that another session has changed too.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct CollisionView {
    /// Relative to the workspace.
    pub path: Arc<str>,
    /// The other session.
    pub with: SessionId,
    /// How close.
    pub proximity: Proximity,
}

impl SessionState {
    /// The session as answers show it.
    pub fn view(&self) -> SessionView {
        SessionView { chat: Some(self.chat.view()), ..self.summary() }
    }

    /// The session as lists show it, without what is said in it.
    pub fn summary(&self) -> SessionView {
        SessionView {
            chat: None,
            id: self.id,
            status: self.status,
            title: self.title.clone(),
            labels: self.labels.clone(),
            agent: self.agent.clone(),
            wake: self.options.wake,
            budget_tokens: self.options.budget_tokens,
            workspace: self.workspace.as_deref().map(WorkspaceState::view),
            changes: self
                .changes
                .iter()
                .map(|(path, change)| ChangeView {
                    path: path.clone(),
                    op: change.op,
                    before_hash: change.before_hash,
                    after_hash: change.after_hash,
                    position: change.position,
                })
                .collect(),
            collisions: self
                .collisions
                .iter()
                .map(|((path, with), proximity)| CollisionView {
                    path: path.clone(),
                    with: *with,
                    proximity: *proximity,
                })
                .collect(),
            jobs: self.jobs.iter().copied().collect(),
            processes: self.processes.iter().copied().collect(),
            created_at: self.created_at,
            closed_at: self.closed_at,
            version: self.version,
            position: self.position,
        }
    }
}

impl WorkspaceState {
    /// The workspace as answers show it.
    pub fn view(&self) -> WorkspaceView {
        let requested = &self.requested;
        WorkspaceView {
            kind: self.kind,
            status: self.status,
            path: requested.path.clone(),
            repository: requested.repository.clone(),
            base: requested.base.clone(),
            base_commit: self.base_commit.clone(),
            branch: requested.branch.clone(),
            error: self.error.as_deref().cloned(),
            closed: self.closed.as_deref().cloned(),
        }
    }
}
