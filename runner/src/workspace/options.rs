//! What workspaces can be told, with the defaults.

use std::path::PathBuf;

/// What workspaces can be told.
#[derive(Debug, Clone)]
pub struct WorkspaceOptions {
    /// Where worktrees, and directories that name no path, are made: a folder of its own for each session.
    pub folder: PathBuf,
    /// How long one command of git's may take, in milliseconds.
    pub git_timeout_ms: u64,
    /// How much one command of git's may write.
    pub git_output_max_bytes: usize,
    /// How many changed files of a workspace are known and listed.
    pub files_max: usize,
    /// How large a file may be whose changes are shown as a diff.
    pub diff_max_bytes: u64,
}

impl WorkspaceOptions {
    /// The defaults, with worktrees in `folder`.
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Self {
            folder: folder.into(),
            git_timeout_ms: 120_000,
            git_output_max_bytes: 64 << 20,
            files_max: 2_000,
            diff_max_bytes: 1 << 20,
        }
    }
}
