//! Making a session's workspace once, however often and by however many it is asked for.

use super::{WorkspaceSpec, Workspaces, directory, worktree};
use moonlog_core::{
    error_info::ErrorInfo,
    event::{EventBody, WorkspaceCreated, WorkspaceFailed, WorkspaceRequested},
    id::SessionId,
    projection::{SessionState, WorkspaceKind, WorkspaceState, WorkspaceStatus},
};
use serde::Serialize;
use std::path::{Path, PathBuf};

/// A workspace that is there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Workspace {
    /// Where.
    pub path: PathBuf,
    /// What it is.
    pub kind: WorkspaceKind,
    /// Its own branch, where it is a worktree.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub branch: Option<String>,
    /// The reference that it began at, and is merged into.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub base: Option<String>,
    /// The commit that its changes are compared with.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub base_commit: Option<String>,
    /// Whether this call made it.
    pub created: bool,
    /// `created` or `already_exists`.
    pub status: &'static str,
    /// Whether it was there before, and was broken or deleted.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub recreated: bool,
    /// Where the files of the broken one are now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub set_aside: Option<String>,
}

impl Workspaces {
    /// A session's workspace, made where it is not there. Without a spec it is the one that the session is bound to,
    /// or a new directory. Whoever comes while it is being made waits for it.
    ///
    /// What is begun is brought to its end, also where the returned future is dropped.
    ///
    /// # Errors
    /// `no_such_session`, `session_closed`, `workspace_bound` where the session has another one already, what is wrong
    /// with the spec, or what git says.
    pub async fn ensure(&self, session: &SessionId, spec: Option<WorkspaceSpec>) -> Result<Workspace, ErrorInfo> {
        let (this, session) = (self.clone(), *session);
        let ensured = tokio::spawn(async move {
            let _turn = this.shared.sessions.of(session).await;
            this.ensure_in_turn(&session, spec).await
        });
        ensured.await.unwrap_or_else(|_| Err(ErrorInfo::new("stopping", "the server is stopping").retryable()))
    }

    /// The folder in which a session works; `None` where it has no workspace. One that was deleted is made anew.
    ///
    /// # Errors
    /// As for [`Self::ensure`].
    pub async fn root(&self, session: &SessionId) -> Result<Option<PathBuf>, ErrorInfo> {
        let state = self.open_session(session)?;
        let Some(workspace) = &state.workspace else { return Ok(None) };
        let path = Path::new(workspace.path());
        if workspace.status == WorkspaceStatus::Ready && path.is_dir() {
            return Ok(Some(path.to_owned()));
        }
        Ok(Some(self.ensure(session, None).await?.path))
    }

    async fn ensure_in_turn(&self, session: &SessionId, spec: Option<WorkspaceSpec>) -> Result<Workspace, ErrorInfo> {
        let state = self.open_session(session)?;
        let Some(bound) = &state.workspace else {
            let spec = spec.unwrap_or(WorkspaceSpec::Directory { path: None });
            let planned = self.plan(session, &spec).await?;
            self.record(session, vec![EventBody::WorkspaceRequested(planned.clone())]).await?;
            return self.make(session, planned).await;
        };
        if let Some(spec) = spec {
            self.check_is_bound(&state, bound, &spec).await?;
        }
        if was_made(bound) && self.is_healthy(bound).await? {
            // It could not be made anew, and has come back by itself: with its disk, say.
            if bound.status != WorkspaceStatus::Ready {
                self.created(session, &bound.requested, bound.base_commit.clone()).await?;
            }
            return Ok(present(&bound.requested, bound.base_commit.clone(), false));
        }
        let again = self.planned_again(bound);
        if again != *bound.requested {
            self.record(session, vec![EventBody::WorkspaceRequested(again.clone())]).await?;
        }
        self.make(session, again).await
    }

    /// Refuses a spec that comes to something else than what the session is bound to.
    async fn check_is_bound(
        &self,
        state: &SessionState,
        bound: &WorkspaceState,
        spec: &WorkspaceSpec,
    ) -> Result<(), ErrorInfo> {
        let is = &bound.requested;
        let same = match spec {
            _ if spec.kind() != bound.kind => false,
            WorkspaceSpec::Directory { path: None } => true,
            // One that was deleted is still the same.
            WorkspaceSpec::Directory { path: Some(path) } if *path == Path::new(&is.path) => true,
            WorkspaceSpec::Directory { .. } => self.plan(&state.id, spec).await?.path == is.path,
            WorkspaceSpec::Worktree { base, .. } => {
                let planned = self.plan(&state.id, spec).await?;
                planned.repository == is.repository && (base.is_none() || planned.base == is.base)
            }
        };
        if same {
            return Ok(());
        }
        let message = format!(
            "session {} has a workspace already: the {} {}; another one needs another session",
            state.id, bound.kind, is.path
        );
        Err(ErrorInfo::new("workspace_bound", message))
    }

    /// Whether a workspace that was made is still what it was.
    pub(super) async fn is_healthy(&self, workspace: &WorkspaceState) -> Result<bool, ErrorInfo> {
        match workspace.kind {
            WorkspaceKind::Worktree => worktree::is_healthy(self, &workspace.requested).await,
            WorkspaceKind::Directory => Ok(Path::new(workspace.path()).is_dir()),
        }
    }

    /// What is made in the place of a workspace that is not as it should be.
    fn planned_again(&self, bound: &WorkspaceState) -> WorkspaceRequested {
        let (was_made, path) = (was_made(bound), Path::new(bound.path()));
        // Something of the session's may be in it. What never was ready holds nothing but what git has put there.
        let holds_files = was_made && path.read_dir().is_ok_and(|mut entries| entries.next().is_some());
        WorkspaceRequested {
            recreated: was_made,
            base_commit: bound.base_commit.clone(),
            set_aside: (holds_files && bound.kind == WorkspaceKind::Worktree).then(|| free_name(path)),
            ..WorkspaceRequested::clone(&bound.requested)
        }
    }

    /// Makes what was recorded as requested, and records how that ended.
    async fn make(&self, session: &SessionId, requested: WorkspaceRequested) -> Result<Workspace, ErrorInfo> {
        let made = match requested.kind.parse() {
            Ok(WorkspaceKind::Worktree) => worktree::make(self, session, &requested).await,
            _ => directory::make(&requested),
        };
        match made {
            Ok(()) => {
                self.created(session, &requested, requested.base_commit.clone()).await?;
                Ok(present(&requested, requested.base_commit.clone(), true))
            }
            Err(error) => {
                let failed = WorkspaceFailed { error: error.clone() };
                self.record(session, vec![EventBody::WorkspaceFailed(failed)]).await?;
                Err(error)
            }
        }
    }

    async fn created(
        &self,
        session: &SessionId,
        requested: &WorkspaceRequested,
        base_commit: Option<String>,
    ) -> Result<(), ErrorInfo> {
        let (path, kind) = (requested.path.clone(), requested.kind.clone());
        let created = WorkspaceCreated { path, kind, base_commit };
        self.record(session, vec![EventBody::WorkspaceCreated(created)]).await
    }
}

/// Whether a workspace was ready once: something of the session's may be in it.
fn was_made(bound: &WorkspaceState) -> bool {
    bound.status == WorkspaceStatus::Ready || bound.requested.recreated
}

fn present(requested: &WorkspaceRequested, base_commit: Option<String>, created: bool) -> Workspace {
    Workspace {
        path: PathBuf::from(&requested.path),
        kind: requested.kind.parse().unwrap_or(WorkspaceKind::Directory),
        branch: requested.branch.clone(),
        base: requested.base.clone(),
        base_commit,
        created,
        status: if created { "created" } else { "already_exists" },
        recreated: created && requested.recreated,
        set_aside: requested.set_aside.clone().filter(|_| created),
    }
}

/// A name beside `path` that is not taken.
fn free_name(path: &Path) -> String {
    let name = |n: u32| format!("{}.broken-{n}", path.display());
    let taken = |name: &String| Path::new(name).symlink_metadata().is_ok();
    (1..=u32::MAX).map(name).find(|name| !taken(name)).unwrap_or_else(|| name(0))
}
