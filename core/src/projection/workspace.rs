//! A session's workspace, and the files that it has changed there.

use crate::{
    codec::{Decode, Encode},
    diff::Replaced,
    error_info::ErrorInfo,
    event::{Event, FileChanged, Lines, WorkspaceClosed, WorkspaceRequested},
    id::Hash,
};
use serde::{Deserialize, Serialize};
use std::{fmt, str::FromStr, sync::Arc};

/// How many edits of one file are remembered. Beyond, the file cannot be reverted by them.
const EDITS_MAX: usize = 1_000;

/// What a workspace is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, Encode, Decode)]
#[serde(rename_all = "snake_case")]
pub enum WorkspaceKind {
    /// A git worktree on a branch of its own.
    Worktree,
    /// A plain directory.
    Directory,
}

impl WorkspaceKind {
    /// Its name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Worktree => "worktree",
            Self::Directory => "directory",
        }
    }
}

impl fmt::Display for WorkspaceKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for WorkspaceKind {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        [Self::Worktree, Self::Directory].into_iter().find(|kind| kind.as_str() == text).ok_or(())
    }
}

/// Where a workspace stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, Encode, Decode)]
#[serde(rename_all = "snake_case")]
pub enum WorkspaceStatus {
    /// It is being made, or a server died while it was.
    Requested,
    /// It was made.
    Ready,
    /// It could not be made.
    Failed,
    /// Its session was closed.
    Closed,
}

/// A workspace that a session is bound to.
#[derive(Debug, Clone, PartialEq, Encode, Decode)]
pub struct WorkspaceState {
    /// What it is.
    pub kind: WorkspaceKind,
    /// Where it stands.
    pub status: WorkspaceStatus,
    /// Where it is, and where it comes from.
    pub requested: Arc<WorkspaceRequested>,
    /// The commit that its changes are compared with.
    pub base_commit: Option<String>,
    /// Why it could not be made.
    pub error: Option<Box<ErrorInfo>>,
    /// What became of it with its session.
    pub closed: Option<Box<WorkspaceClosed>>,
    /// How many changed files the last scan left out.
    pub omitted: u64,
}

impl WorkspaceState {
    /// The state after `workspace.requested`; `None` where its kind is none of this version's.
    pub(super) fn from_requested(requested: &WorkspaceRequested) -> Option<Self> {
        Some(Self {
            kind: requested.kind.parse().ok()?,
            status: WorkspaceStatus::Requested,
            base_commit: requested.base_commit.clone(),
            requested: Arc::new(requested.clone()),
            error: None,
            closed: None,
            omitted: 0,
        })
    }

    /// Where it is.
    pub fn path(&self) -> &str {
        &self.requested.path
    }
}

/// What happened to a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, Encode, Decode)]
#[serde(rename_all = "snake_case")]
pub enum FileOp {
    /// It was not there before.
    Created,
    /// It holds something else.
    Edited,
    /// It is gone.
    Deleted,
}

impl FileOp {
    /// Its name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Edited => "edited",
            Self::Deleted => "deleted",
        }
    }

    /// The op of this name; what is unknown is an edit.
    pub fn named(name: &str) -> Self {
        match name {
            "created" => Self::Created,
            "deleted" => Self::Deleted,
            _ => Self::Edited,
        }
    }

    /// What this and then `next` come to; `None` where nothing is left of it.
    const fn then(self, next: Self) -> Option<Self> {
        match (self, next) {
            (Self::Created, Self::Deleted) => None,
            (Self::Created, _) => Some(Self::Created),
            (_, Self::Deleted) => Some(Self::Deleted),
            _ => Some(Self::Edited),
        }
    }
}

/// A recorded edit of a file.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Edit {
    /// The position of its `file.changed`, which holds the diff.
    pub position: u64,
    /// The lines it replaced, as they were before it.
    pub replaced: Vec<Replaced>,
}

/// A file that a session has changed, and that was neither merged nor reverted.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct PendingChange {
    /// What became of it, all in all.
    pub op: FileOp,
    /// blake3 of what it held before the first change, where that is known.
    pub before_hash: Option<Hash>,
    /// blake3 of what it held after the last change that is known.
    pub after_hash: Option<Hash>,
    /// The position of the last event that told of it.
    pub position: u64,
    /// In a directory: the recorded edits, oldest first.
    pub edits: Vec<Edit>,
    /// Whether there were more edits than are remembered.
    pub edits_dropped: bool,
    /// In a worktree: the lines of the base that are changed, where they are known.
    pub lines: Option<Vec<Lines>>,
}

impl PendingChange {
    /// The change that begins with `changed`.
    pub(super) fn new(changed: &FileChanged, event: &Event, kind: WorkspaceKind) -> Self {
        let mut change = Self {
            op: FileOp::named(&changed.op),
            before_hash: changed.before_hash,
            after_hash: changed.after_hash,
            position: event.position,
            edits: Vec::new(),
            edits_dropped: false,
            lines: None,
        };
        change.remember(changed, event, kind);
        change
    }

    /// The change with another one on top. False where nothing is left of both.
    pub(super) fn and(&mut self, changed: &FileChanged, event: &Event, kind: WorkspaceKind) -> bool {
        let unchanged = changed.after_hash.is_some() && changed.after_hash == self.before_hash;
        let Some(op) = self.op.then(FileOp::named(&changed.op)).filter(|_| !unchanged) else { return false };
        self.op = op;
        self.after_hash = changed.after_hash;
        self.position = event.position;
        self.remember(changed, event, kind);
        true
    }

    fn remember(&mut self, changed: &FileChanged, event: &Event, kind: WorkspaceKind) {
        // A worktree is compared with its base: its edits are not needed one by one.
        if kind == WorkspaceKind::Directory {
            let replaced = crate::diff::replaced_lines(&changed.diff);
            self.edits.push(Edit { position: event.position, replaced });
            if self.edits.len() > EDITS_MAX {
                self.edits.remove(0);
                self.edits_dropped = true;
            }
        }
    }
}
