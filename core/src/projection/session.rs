//! The state of one session, folded from the events that name it, in whatever stream they stand.

use super::{ChatState, FileOp, PendingChange, WorkspaceKind, WorkspaceState, WorkspaceStatus};
use crate::{
    codec::{Decode, Encode},
    collision::Proximity,
    event::{Event, EventBody, FileChanged, SessionConfigured, StreamId, WorkspaceScanned},
    id::{JobId, ProcessId, SessionId},
    json::Json,
    time::Timestamp,
};
use serde::{Deserialize, Serialize};
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    str::FromStr,
    sync::Arc,
};

/// Whether a session takes anything more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, Encode, Decode)]
#[serde(rename_all = "snake_case")]
pub enum SessionStatus {
    /// It does.
    Open,
    /// It was put away: it takes nothing until it is opened again.
    Archived,
    /// It was closed, and stays to be read.
    Closed,
}

impl fmt::Display for SessionStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Open => "open",
            Self::Archived => "archived",
            Self::Closed => "closed",
        })
    }
}

/// A text that is no status of a session.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no status of a session: expected open, archived or closed")]
pub struct InvalidSessionStatus(String);

impl FromStr for SessionStatus {
    type Err = InvalidSessionStatus;

    fn from_str(text: &str) -> Result<Self, InvalidSessionStatus> {
        match text {
            "open" => Ok(Self::Open),
            "archived" => Ok(Self::Archived),
            "closed" => Ok(Self::Closed),
            _ => Err(InvalidSessionStatus(text.chars().take(80).collect())),
        }
    }
}

/// What is known of a session.
#[derive(Debug, Clone, PartialEq)]
pub struct SessionState {
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
    /// Whether it is woken, and what it may use.
    pub options: SessionConfigured,
    /// Where it works.
    pub workspace: Option<Arc<WorkspaceState>>,
    /// When it was created.
    pub created_at: Timestamp,
    /// The position of `session.created`.
    pub created_position: u64,
    /// When it was closed.
    pub closed_at: Option<Timestamp>,
    /// The version of the last event in its own stream.
    pub version: u64,
    /// The position of the last event that was folded.
    pub position: u64,
    /// The files that it has changed and that were neither merged nor reverted, by path.
    pub changes: BTreeMap<Arc<str>, Arc<PendingChange>>,
    /// What it was told of collisions, by file and other session.
    pub collisions: BTreeMap<(Arc<str>, SessionId), Proximity>,
    /// Its jobs that have not ended.
    pub jobs: BTreeSet<JobId>,
    /// Its processes that run.
    pub processes: BTreeSet<ProcessId>,
    /// What is said in it.
    pub chat: ChatState,
}

impl SessionState {
    /// The state after `session.created`, or `None` for any other event.
    pub fn from_created(event: &Event) -> Option<Self> {
        let EventBody::SessionCreated(created) = &event.body else { return None };
        let StreamId::Session(id) = event.stream else { return None };
        Some(Self {
            id,
            status: SessionStatus::Open,
            title: None,
            labels: BTreeMap::new(),
            agent: created.agent.clone(),
            options: SessionConfigured::default(),
            workspace: None,
            created_at: event.happened_at(),
            created_position: event.position,
            closed_at: None,
            version: event.version,
            position: event.position,
            changes: BTreeMap::new(),
            collisions: BTreeMap::new(),
            jobs: BTreeSet::new(),
            processes: BTreeSet::new(),
            chat: ChatState::default(),
        })
    }

    /// The state after the events that name the session, `session.created` first.
    pub fn fold<E: AsRef<Event>>(events: impl IntoIterator<Item = E>) -> Option<Self> {
        let mut events = events.into_iter();
        let mut state = Self::from_created(events.next()?.as_ref())?;
        for event in events {
            state.apply(event.as_ref());
        }
        Some(state)
    }

    /// Whether nothing is to come any more: it is closed, and so is its workspace.
    pub fn is_settled(&self) -> bool {
        let open = |workspace: &Arc<WorkspaceState>| workspace.status != WorkspaceStatus::Closed;
        self.status == SessionStatus::Closed && !self.workspace.as_ref().is_some_and(open)
    }

    /// Folds the next event that names the session.
    pub fn apply(&mut self, event: &Event) {
        self.position = event.position;
        if event.stream == StreamId::Session(self.id) {
            self.version = event.version;
        }
        self.chat.apply(event);
        match &event.body {
            EventBody::SessionDescribed(described) => {
                self.title = described.title.as_deref().map(Into::into);
                self.labels = described.labels.clone();
            }
            EventBody::SessionConfigured(options) => self.options = *options,
            EventBody::SessionStatusChanged(changed) => {
                if let Ok(status) = changed.to.parse() {
                    self.status = status;
                }
            }
            EventBody::SessionClosed(_) => {
                self.status = SessionStatus::Closed;
                self.closed_at = Some(event.happened_at());
            }
            EventBody::JobSubmitted(submitted) if !submitted.imported => self.jobs.extend(event.job),
            body if body.is_terminal() => {
                event.job.map(|job| self.jobs.remove(&job));
            }
            EventBody::ProcessStarted(_) => self.processes.extend(event.process),
            EventBody::ProcessExited(_) => {
                event.process.map(|process| self.processes.remove(&process));
            }
            EventBody::WorkspaceRequested(requested) => {
                self.workspace = WorkspaceState::from_requested(requested).map(Arc::new);
            }
            EventBody::WorkspaceCreated(created) => self.change_workspace(|workspace| {
                workspace.status = WorkspaceStatus::Ready;
                workspace.base_commit = created.base_commit.clone();
                workspace.error = None;
            }),
            EventBody::WorkspaceFailed(failed) => self.change_workspace(|workspace| {
                workspace.status = WorkspaceStatus::Failed;
                workspace.error = Some(Box::new(failed.error.clone()));
            }),
            EventBody::WorkspaceClosed(closed) => self.change_workspace(|workspace| {
                workspace.status = WorkspaceStatus::Closed;
                workspace.closed = Some(Box::new(closed.clone()));
            }),
            EventBody::FileChanged(changed) => self.file_changed(changed, event),
            EventBody::WorkspaceScanned(scanned) => self.scanned(scanned, event.position),
            EventBody::WorkspaceReverted(reverted) => {
                for path in &reverted.paths {
                    self.forget_change(path);
                }
            }
            EventBody::WorkspaceMerged(merged) => {
                self.changes.clear();
                self.collisions.clear();
                self.change_workspace(|workspace| workspace.base_commit = Some(merged.head.clone()));
            }
            EventBody::WorkspaceCollisionDetected(collision) => {
                if let Ok(proximity) = collision.proximity.parse() {
                    self.collisions.insert((collision.path.as_str().into(), collision.with), proximity);
                }
            }
            _ => {}
        }
    }

    fn change_workspace(&mut self, change: impl FnOnce(&mut WorkspaceState)) {
        if let Some(workspace) = &mut self.workspace {
            change(Arc::make_mut(workspace));
        }
    }

    fn file_changed(&mut self, changed: &FileChanged, event: &Event) {
        let kind = self.workspace.as_ref().map_or(WorkspaceKind::Directory, |workspace| workspace.kind);
        match self.changes.get_mut(changed.path.as_str()) {
            None => {
                let change = PendingChange::new(changed, event, kind);
                self.changes.insert(changed.path.as_str().into(), Arc::new(change));
            }
            Some(change) => {
                if !Arc::make_mut(change).and(changed, event, kind) {
                    self.forget_change(&changed.path);
                }
            }
        }
    }

    /// What a scan saw stands for all that was known.
    fn scanned(&mut self, scanned: &WorkspaceScanned, position: u64) {
        let mut before = std::mem::take(&mut self.changes);
        for file in &scanned.files {
            let path: Arc<str> = file.path.as_str().into();
            let known = before.remove(&path);
            let change = PendingChange {
                op: FileOp::named(&file.op),
                before_hash: known.as_ref().and_then(|known| known.before_hash),
                after_hash: file.after_hash,
                position: known
                    .filter(|known| known.after_hash == file.after_hash)
                    .map_or(position, |known| known.position),
                edits: Vec::new(),
                edits_dropped: false,
                lines: Some(file.lines.clone()),
            };
            self.changes.insert(path, Arc::new(change));
        }
        self.collisions.retain(|(path, _), _| self.changes.contains_key(path));
        self.change_workspace(|workspace| {
            workspace.base_commit = Some(scanned.base_commit.clone());
            workspace.omitted = scanned.omitted;
        });
    }

    fn forget_change(&mut self, path: &str) {
        self.changes.remove(path);
        self.collisions.retain(|(of, _), _| **of != *path);
    }
}
