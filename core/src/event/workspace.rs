//! What the events of workspaces carry, beyond `workspace.created` and `file.changed`.

use crate::{
    codec::{Decode, Encode},
    error_info::ErrorInfo,
    id::{Hash, SessionId},
};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// `workspace.requested`: which workspace a session is bound to. Recorded before it is made, so that whoever asks again
/// gets the same.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, Encode, Decode)]
pub struct WorkspaceRequested {
    /// `worktree` or `directory`.
    pub kind: String,
    /// Where it will be.
    pub path: String,
    /// The git folder that all worktrees of the repository share.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repository: Option<String>,
    /// The reference that a worktree begins at, and is merged into where it is a branch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base: Option<String>,
    /// The commit that it begins at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base_commit: Option<String>,
    /// Its own branch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub branch: Option<String>,
    /// Whether it was there before, and was broken or deleted.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub recreated: bool,
    /// Where the files of a broken one were moved.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub set_aside: Option<String>,
}

/// `workspace.failed`: it could not be made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Encode, Decode)]
pub struct WorkspaceFailed {
    /// Why.
    pub error: ErrorInfo,
}

/// Lines of a file as it is in the base of a diff.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, Encode, Decode)]
pub struct Lines {
    /// The first of them, 1-based.
    pub start: u32,
    /// How many; 0 for the place behind line `start`, where lines were inserted.
    pub count: u32,
}

/// A file of a worktree that differs from the base.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Encode, Decode)]
pub struct ScannedFile {
    /// Relative to the workspace.
    pub path: String,
    /// `created`, `edited` or `deleted`.
    pub op: String,
    /// Which lines of the base were changed.
    pub lines: Vec<Lines>,
    /// blake3 of what it holds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after_hash: Option<Hash>,
}

/// `workspace.scanned`: how a worktree differs from its base, where that is not what was known. So what processes
/// changed is known too.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, Encode, Decode)]
pub struct WorkspaceScanned {
    /// The commit that it was compared with.
    pub base_commit: String,
    /// All files that differ.
    pub files: Vec<ScannedFile>,
    /// How many more there are than one event may name.
    #[serde(default)]
    pub omitted: u64,
}

/// `workspace.closed`: what became of it with its session.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, Encode, Decode)]
pub struct WorkspaceClosed {
    /// Where it is, or was.
    pub path: String,
    /// Whether it is gone.
    pub removed: bool,
    /// The branch that is kept, as it holds commits that were not merged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub branch: Option<String>,
    /// How many commits of it were not merged.
    #[serde(default)]
    pub unmerged_commits: u64,
    /// Files with changes that were not committed; it is kept because of them.
    #[serde(default)]
    pub uncommitted: Vec<String>,
    /// Why it is kept otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

/// `workspace.merged`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Encode, Decode)]
pub struct WorkspaceMerged {
    /// What was merged.
    pub branch: String,
    /// Into what.
    pub into: String,
    /// `fast_forward` or `merge_commit`.
    pub how: String,
    /// Where the branch that it was merged into stands now.
    pub commit: String,
    /// The session's last commit, which is its new base.
    pub head: String,
    /// The commit that was made of what was not committed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub saved: Option<String>,
    /// The files that changed.
    pub files: Vec<String>,
}

/// `workspace.reverted`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Encode, Decode)]
pub struct WorkspaceReverted {
    /// The files that are as they were before the session changed them.
    pub paths: Vec<String>,
}

/// `workspace.orphan_found`: a worktree in moonlog's folder that belongs to no open session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Encode, Decode)]
pub struct WorkspaceOrphanFound {
    /// Where.
    pub path: String,
    /// The session it was made for, by its name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<SessionId>,
    /// What was kept of it, and why.
    pub kept: WorkspaceClosed,
}

/// `session.described`
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, Encode, Decode)]
pub struct SessionDescribed {
    /// What it is called.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// Its owner's own marks.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
}
