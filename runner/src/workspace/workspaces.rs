//! All workspaces of a server.

use super::{WorkspaceOptions, WorkspaceSpec, git::Git, observe::Observed, plan::plan, turns::Turns};
use crate::waiters::Waiters;
use moonlog_core::{
    decide::decide_in_session,
    error_info::ErrorInfo,
    event::{EventBody, NewEvent, StreamId, WorkspaceRequested},
    id::SessionId,
    log::{Append, Expected, Log},
    projection::{SessionState, Views, WorkspaceState},
};
use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

/// Makes workspaces, and knows what was changed in them. Cheap to clone.
#[derive(Clone)]
pub struct Workspaces {
    pub(super) shared: Arc<Shared>,
}

pub(super) struct Shared {
    pub(super) log: Log,
    pub(super) views: Views,
    pub(super) waiters: Arc<Waiters>,
    pub(super) options: WorkspaceOptions,
    /// What is done to a session's workspace takes turns.
    pub(super) sessions: Turns<SessionId>,
    pub(super) observed: Observed,
    /// And so does what moves a repository's branches.
    pub(super) repositories: Turns<PathBuf>,
}

impl Workspaces {
    pub(crate) fn new(log: Log, views: Views, waiters: Arc<Waiters>, options: WorkspaceOptions) -> Self {
        let shared = Shared {
            log,
            views,
            waiters,
            options,
            sessions: Turns::default(),
            observed: Observed::default(),
            repositories: Turns::default(),
        };
        Self { shared: Arc::new(shared) }
    }

    /// The options.
    pub fn options(&self) -> &WorkspaceOptions {
        &self.shared.options
    }

    /// What a spec comes to for a session: everything that can be refused is refused here.
    pub(crate) async fn plan(
        &self,
        session: &SessionId,
        spec: &WorkspaceSpec,
    ) -> Result<WorkspaceRequested, ErrorInfo> {
        plan(session, spec, &self.shared.options).await
    }

    pub(super) fn git(&self, folder: &Path) -> Git {
        Git::at(folder, &self.shared.options)
    }

    /// A session as it stands.
    pub(super) fn session(&self, id: &SessionId) -> Result<Arc<SessionState>, ErrorInfo> {
        match self.shared.views.session(id) {
            Ok(Some(session)) => Ok(session),
            Ok(None) => Err(no_such_session(id)),
            Err(error) => Err(ErrorInfo::new("log_unavailable", error.to_string()).retryable()),
        }
    }

    /// Where a session's workspace is said to be, whether or not it is there.
    pub(crate) fn known_path(&self, session: &SessionId) -> Option<PathBuf> {
        Some(self.session(session).ok()?.workspace.as_ref()?.path().into())
    }

    /// A session that is open.
    pub(super) fn open_session(&self, id: &SessionId) -> Result<Arc<SessionState>, ErrorInfo> {
        let session = self.session(id)?;
        decide_in_session(&session)?;
        Ok(session)
    }

    /// The workspace that a session is bound to.
    pub(super) fn bound(session: &SessionState) -> Result<&Arc<WorkspaceState>, ErrorInfo> {
        session.workspace.as_ref().ok_or_else(|| {
            let message = format!("session {} has no workspace: create one with create_workspace", session.id);
            ErrorInfo::new("no_workspace", message)
        })
    }

    /// Records what happened in a session's stream. It is durable and folded when this returns.
    pub(super) async fn record(&self, session: &SessionId, bodies: Vec<EventBody>) -> Result<(), ErrorInfo> {
        let events = bodies.into_iter().map(NewEvent::from).collect();
        self.append(StreamId::Session(*session), events).await
    }

    pub(super) async fn append(&self, stream: StreamId, events: Vec<NewEvent>) -> Result<(), ErrorInfo> {
        let unavailable = |why: String| ErrorInfo::new("log_unavailable", why).retryable();
        let shared = &self.shared;
        shared.log.ready().await;
        let appended = shared.log.append(Append::new(stream, Expected::Any, events));
        let position = appended.map_err(|error| unavailable(error.to_string()))?.last_position;
        if shared.waiters.applied(position).await {
            return Ok(());
        }
        shared.log.durable(position).await.map_err(|error| unavailable(error.to_string()))
    }
}

/// The error for a session that is not there.
pub(crate) fn no_such_session(id: &SessionId) -> ErrorInfo {
    ErrorInfo::new("no_such_session", format!("there is no session {id}"))
}
