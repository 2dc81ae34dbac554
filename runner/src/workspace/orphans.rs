//! What a dead server, or a lost log, has left in the folder of worktrees.

use super::{Workspaces, plan::common_folder, worktree};
use moonlog_core::{
    error_info::ErrorInfo,
    event::{EventBody, StreamId, WorkspaceClosed, WorkspaceOrphanFound, WorkspaceRequested},
    id::SessionId,
    projection::{SessionState, SessionStatus},
};
use std::{path::Path, sync::Arc};

impl Workspaces {
    /// Closes the workspaces of sessions that were being closed, and looks for worktrees that belong to no open session.
    pub(super) async fn tidy_up(&self) {
        let half_closed =
            |session: &&Arc<SessionState>| session.status == SessionStatus::Closed && !session.is_settled();
        let half_closed: Vec<_> =
            self.shared.views.with(|all| all.sessions().iter().filter(half_closed).map(|session| session.id).collect());
        for session in half_closed {
            if let Err(error) = self.close(&session).await {
                tracing::warn!(%session, %error, "the closed session's workspace stays as it is");
            }
        }
        let Ok(entries) = self.shared.options.folder.read_dir() else { return };
        for entry in entries.flatten().filter(|entry| entry.path().is_dir()) {
            if let Err(error) = self.look_at_entry(&entry.path()).await {
                tracing::warn!(path = %entry.path().display(), %error, "the folder stays as it is");
            }
        }
    }

    async fn look_at_entry(&self, path: &Path) -> Result<(), ErrorInfo> {
        let Some(name) = path.file_name().and_then(|name| name.to_str()) else { return Ok(()) };
        let Ok(owner) = name.parse::<SessionId>() else {
            tracing::info!(path = %path.display(), "this is no session's workspace; it stays");
            return Ok(());
        };
        // Whoever makes one now has its turn.
        let _turn = self.shared.sessions.of(owner).await;
        let state = self.session(&owner).ok();
        let bound = state.as_ref().and_then(|state| state.workspace.as_ref());
        let is_its_own = bound.is_some_and(|workspace| Path::new(workspace.path()).file_name() == path.file_name());
        if is_its_own && state.as_ref().is_some_and(|state| !state.is_settled()) {
            return Ok(());
        }
        let kept = self.remove_orphan(path, &owner, bound.map(|workspace| &*workspace.requested)).await?;
        tracing::warn!(path = %path.display(), removed = kept.removed, note = kept.note, "a workspace of no open session");
        // What was kept when its session was closed was told then.
        if is_its_own && !kept.removed {
            return Ok(());
        }
        let found = WorkspaceOrphanFound { path: path.to_string_lossy().into_owned(), owner: Some(owner), kept };
        self.append(StreamId::System, vec![EventBody::WorkspaceOrphanFound(found).into()]).await
    }

    /// Removes what nobody misses: an empty folder, or a worktree with nothing that is not committed and merged.
    async fn remove_orphan(
        &self,
        path: &Path,
        owner: &SessionId,
        requested: Option<&WorkspaceRequested>,
    ) -> Result<WorkspaceClosed, ErrorInfo> {
        let text = path.to_string_lossy().into_owned();
        if !path.join(".git").is_file() {
            let removed = std::fs::remove_dir(path).is_ok();
            let note = (!removed).then(|| "it holds files, and is no worktree".to_owned());
            return Ok(WorkspaceClosed { path: text, removed, note, ..WorkspaceClosed::default() });
        }
        let shared = common_folder(&self.git(path)).await?;
        let requested = match requested {
            Some(requested) if requested.repository.as_deref() == shared.to_str() => requested.clone(),
            _ => Self::as_if_requested(&text, owner, &shared),
        };
        let requested = WorkspaceRequested { path: text, ..requested };
        let is_healthy = worktree::is_healthy(self, &requested).await?;
        let git = self.git(&shared);
        let _turn = self.shared.repositories.of(shared).await;
        self.remove_worktree(&git, &requested, is_healthy, true).await
    }
}
