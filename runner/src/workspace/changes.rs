//! The files that a session has changed, with diffs.

use super::{Workspaces, recorded::Before};
use moonlog_core::{
    error_info::ErrorInfo,
    id::{Hash, SessionId},
    projection::{FileOp, PendingChange, SessionState, WorkspaceKind, WorkspaceState, WorkspaceStatus},
};
use serde::Serialize;
use similar::TextDiff;
use std::{path::Path, sync::Arc};

/// A file that a session has changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Change {
    /// Relative to the workspace.
    pub path: String,
    /// What became of it, all in all.
    pub op: FileOp,
    /// A unified diff against the base; absent where the file is too large, or is gone with its workspace.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub diff: Option<String>,
    /// blake3 of what it held before the first change, where that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub before_hash: Option<Hash>,
    /// blake3 of what it held when it was last looked at.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after_hash: Option<Hash>,
    /// The position of the last event that told of it.
    pub position: u64,
}

/// All that a session has changed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Changes {
    /// The files, by path.
    pub items: Vec<Change>,
    /// How many more there are than are listed.
    pub omitted: u64,
    /// The commit that they are compared with.
    pub base_commit: Option<String>,
}

impl Workspaces {
    /// Lists what a session has changed and what was neither merged nor reverted. A worktree is looked at, so that what
    /// processes changed is there too; in a directory it is what tools recorded.
    ///
    /// # Errors
    /// `no_such_session`, or what git says.
    pub async fn changes(&self, session: &SessionId) -> Result<Changes, ErrorInfo> {
        let _turn = self.shared.sessions.of(*session).await;
        let state = self.session(session)?;
        match &state.workspace {
            Some(workspace)
                if workspace.kind == WorkspaceKind::Worktree
                    && workspace.status == WorkspaceStatus::Ready
                    && self.is_healthy(workspace).await? =>
            {
                self.changes_of_worktree(&state, workspace).await
            }
            _ => {
                let this = self.clone();
                let listed = tokio::task::spawn_blocking(move || this.recorded_changes(&state)).await;
                listed.unwrap_or_else(|_| Err(ErrorInfo::new("stopping", "the server is stopping").retryable()))
            }
        }
    }

    async fn changes_of_worktree(
        &self,
        state: &SessionState,
        workspace: &WorkspaceState,
    ) -> Result<Changes, ErrorInfo> {
        let scan = self.scan(state, workspace).await?;
        let state = self.session(&state.id)?;
        let known = |path: &str| state.changes.get(path);
        let items = scan.files.into_iter().map(|(path, file)| Change {
            op: file.op,
            diff: file.diff,
            before_hash: known(&path).and_then(|change| change.before_hash),
            after_hash: file.seen.after_hash,
            position: known(&path).map_or(state.position, |change| change.position),
            path,
        });
        Ok(Changes { items: items.collect(), omitted: scan.omitted, base_commit: Some(scan.base) })
    }

    fn recorded_changes(&self, state: &Arc<SessionState>) -> Result<Changes, ErrorInfo> {
        let root = state.workspace.as_ref().filter(|workspace| workspace.status == WorkspaceStatus::Ready);
        let mut changes = Changes::default();
        for (path, change) in &state.changes {
            let at = root.map(|workspace| Path::new(workspace.path()).join(&**path));
            changes.items.push(Change {
                path: path.to_string(),
                op: change.op,
                diff: self.recorded_diff(path, at.as_deref(), change)?,
                before_hash: change.before_hash,
                after_hash: change.after_hash,
                position: change.position,
            });
        }
        Ok(changes)
    }

    /// The one diff that a file's recorded edits come to; where that cannot be told, one behind the other.
    fn recorded_diff(
        &self,
        path: &str,
        at: Option<&Path>,
        change: &PendingChange,
    ) -> Result<Option<String>, ErrorInfo> {
        let diffs = self.recorded_diffs(change)?;
        if diffs.len() <= 1 {
            return Ok(diffs.into_iter().next());
        }
        if let Some(at) = at
            && let Ok(Before { content, now }) = self.recorded_before(at, change)?
        {
            let side = |there: bool, side: &str| if there { format!("{side}/{path}") } else { "/dev/null".into() };
            let (old, new) = (side(content.is_some(), "a"), side(now.is_some(), "b"));
            let (content, now) = (content.unwrap_or_default(), now.unwrap_or_default());
            let diff = TextDiff::from_lines(content.as_str(), now.as_str());
            return Ok(Some(diff.unified_diff().context_radius(3).header(&old, &new).to_string()));
        }
        Ok(Some(diffs.concat()))
    }
}
