//! What becomes of a workspace when its session is closed: it goes where nothing is lost by that. What is not
//! committed, or not merged, is kept and named.

use super::{
    Workspaces,
    git::Git,
    plan::{branch_of, commit_of},
    worktree::{self, repository},
};
use moonlog_core::{
    error_info::ErrorInfo,
    event::{EventBody, WorkspaceClosed, WorkspaceRequested},
    id::SessionId,
    projection::{WorkspaceKind, WorkspaceState, WorkspaceStatus},
};
use std::path::Path;

/// How many files with changes are named.
const NAMED_MAX: usize = 100;

impl Workspaces {
    /// Closes the workspace of a closed session, and records what was kept. Without effect where that was done.
    ///
    /// # Errors
    /// Where that cannot be recorded.
    pub(crate) async fn close(&self, session: &SessionId) -> Result<(), ErrorInfo> {
        let _turn = self.shared.sessions.of(*session).await;
        let state = self.session(session)?;
        let Some(workspace) = state.workspace.as_ref().filter(|w| w.status != WorkspaceStatus::Closed) else {
            return Ok(());
        };
        let closed = match workspace.kind {
            WorkspaceKind::Worktree => self.close_worktree(workspace).await,
            WorkspaceKind::Directory => Ok(self.close_directory(session, workspace)),
        };
        // What cannot be told is kept.
        let closed = closed.unwrap_or_else(|error| WorkspaceClosed {
            path: workspace.path().to_owned(),
            branch: workspace.requested.branch.clone(),
            note: Some(error.message),
            ..WorkspaceClosed::default()
        });
        self.record(session, vec![EventBody::WorkspaceClosed(closed)]).await
    }

    /// A directory is removed where it was made for the session and is empty.
    fn close_directory(&self, session: &SessionId, workspace: &WorkspaceState) -> WorkspaceClosed {
        let path = Path::new(workspace.path());
        let is_ours = path.file_name().is_some_and(|name| *name == *session.to_string());
        let removed = is_ours && (!path.exists() || std::fs::remove_dir(path).is_ok());
        WorkspaceClosed {
            path: workspace.path().to_owned(),
            removed,
            note: (!removed).then(|| "a directory stays as it is".to_owned()),
            ..WorkspaceClosed::default()
        }
    }

    async fn close_worktree(&self, workspace: &WorkspaceState) -> Result<WorkspaceClosed, ErrorInfo> {
        let requested = &workspace.requested;
        let is_healthy = worktree::is_healthy(self, requested).await?;
        let shared = repository(requested)?;
        let git = self.git(&shared);
        let _turn = self.shared.repositories.of(shared).await;
        self.remove_worktree(&git, requested, is_healthy, false).await
    }

    /// Removes a worktree and its branch, as far as nothing is lost by that; `only_merged` leaves it where its commits
    /// are not merged, too. The repository's turn must be held.
    pub(super) async fn remove_worktree(
        &self,
        git: &Git,
        requested: &WorkspaceRequested,
        is_healthy: bool,
        only_merged: bool,
    ) -> Result<WorkspaceClosed, ErrorInfo> {
        let path = Path::new(&requested.path);
        let mut closed = WorkspaceClosed { path: requested.path.clone(), ..WorkspaceClosed::default() };
        let own = own_branch(git, requested).await?;
        closed.unmerged_commits = match &own {
            Some((name, _)) => unmerged(git, requested, name).await?,
            None => 0,
        };
        if is_healthy {
            let tree = self.git(path);
            closed.uncommitted = uncommitted(&tree).await?;
            // Commits that no branch leads to, left by a rebase or a detached head.
            let stray =
                count(&tree, &["rev-list", "--count", "HEAD", "--not", "--branches", "--remotes", "--tags"]).await?;
            if stray > 0 {
                closed.note = Some(format!("{stray} commits are on no branch"));
            } else if !closed.uncommitted.is_empty() {
                closed.note = Some("it has changes that are not committed".into());
            } else if only_merged && closed.unmerged_commits > 0 {
                closed.note = Some("it has commits that are not merged".into());
            }
        } else if path.read_dir().is_ok_and(|mut entries| entries.next().is_some()) {
            closed.note = Some("it is no worktree any more, and holds files".into());
        }
        if closed.note.is_none() {
            // Checked above, and with more care than git does it: a second `--force` overrides the lock alone.
            let known = git.run(&["worktree", "remove", "--force", "--force", &requested.path]).await;
            closed.removed = !path.exists() || std::fs::remove_dir(path).is_ok();
            if let (false, Err(error)) = (closed.removed, known) {
                closed.note = Some(error.message);
            }
        }
        let Some((name, head)) = own else { return Ok(closed) };
        // Deleted only as it was looked at.
        let is_needed = closed.unmerged_commits > 0 || !closed.removed;
        if is_needed || git.run(&["update-ref", "-d", &name, &head]).await.is_err() {
            closed.branch.clone_from(&requested.branch);
        }
        Ok(closed)
    }

    /// What a worktree was made from that is known by its place alone.
    pub(super) fn as_if_requested(path: &str, session: &SessionId, shared: &Path) -> WorkspaceRequested {
        WorkspaceRequested {
            kind: WorkspaceKind::Worktree.to_string(),
            path: path.to_owned(),
            repository: Some(shared.to_string_lossy().into_owned()),
            base: Some("HEAD".into()),
            branch: Some(branch_of(session)),
            ..WorkspaceRequested::default()
        }
    }
}

/// The session's own branch and where it stands, where it is there.
async fn own_branch(git: &Git, requested: &WorkspaceRequested) -> Result<Option<(String, String)>, ErrorInfo> {
    let Some(branch) = &requested.branch else { return Ok(None) };
    let name = format!("refs/heads/{branch}");
    Ok(commit_of(git, &name).await?.map(|head| (name, head)))
}

/// How many commits of a branch were not merged into what it began at.
async fn unmerged(git: &Git, requested: &WorkspaceRequested, branch: &str) -> Result<u64, ErrorInfo> {
    let base = match &requested.base {
        Some(base) if commit_of(git, base).await?.is_some() => Some(base),
        _ => requested.base_commit.as_ref(),
    };
    match base {
        Some(base) => count(git, &["rev-list", "--count", branch, &format!("^{base}")]).await,
        None => count(git, &["rev-list", "--count", branch]).await,
    }
}

/// The files with changes that are not committed, untracked ones included.
async fn uncommitted(tree: &Git) -> Result<Vec<String>, ErrorInfo> {
    let status = tree.run(&["status", "--porcelain=v1", "-z", "--no-renames", "--untracked-files=normal"]).await?;
    let lines = status.split(|byte| *byte == 0).filter(|line| line.len() > 3);
    Ok(lines.take(NAMED_MAX).map(|line| String::from_utf8_lossy(&line[3..]).into_owned()).collect())
}

async fn count(git: &Git, arguments: &[&str]) -> Result<u64, ErrorInfo> {
    Ok(git.line(arguments).await?.parse().unwrap_or(u64::MAX))
}
