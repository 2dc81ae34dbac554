//! Sessions as a runner's clients see them: created, closed, and entered by jobs.

mod messages;

use crate::{
    request::{CommandError, SubmitError},
    runner::{Inner, Runner, stopping},
    workspace::{WorkspaceSpec, no_such_session},
};
use moonlog_core::{
    decide::{CreateSession, decide_close_session, decide_create_session, decide_in_session},
    event::{EventBody, NewEvent, StreamId},
    id::SessionId,
    json::Json,
    log::{Append, Expected, ReadError},
    projection::SessionState,
};
use std::sync::Arc;
use tokio::sync::MutexGuard;

impl Runner {
    /// A session as it stands.
    ///
    /// # Errors
    /// Where the log cannot be read.
    pub fn session(&self, session: &SessionId) -> Result<Option<Arc<SessionState>>, ReadError> {
        self.inner().views.session(session)
    }

    /// Creates a session, and its workspace where it is to have one. A workspace that could not be made is told of in
    /// the session's state; what can be known to fail is refused before anything is recorded.
    ///
    /// # Errors
    /// Where the workspace cannot be.
    pub async fn create_session(
        &self,
        create: CreateSession,
        workspace: Option<WorkspaceSpec>,
    ) -> Result<Arc<SessionState>, CommandError> {
        let inner = self.inner();
        if inner.admission.is_closed() {
            return Err(CommandError::Unavailable(stopping()));
        }
        let session: SessionId = uuid::Uuid::now_v7().into();
        let create = CreateSession { workspace: workspace.as_ref().map_or_else(Json::null, Json::of), ..create };
        let mut bodies = decide_create_session(create);
        if let Some(spec) = &workspace {
            let planned = inner.workspaces.plan(&session, spec).await.map_err(CommandError::Invalid)?;
            bodies.push(EventBody::WorkspaceRequested(planned));
        }
        inner.append_to_session(&session, Expected::NoStream, bodies).await?;
        if workspace.is_some()
            && let Err(error) = inner.workspaces.ensure(&session, None).await
        {
            tracing::warn!(%session, %error, "the session's workspace could not be made");
        }
        inner.known_session(&session)
    }

    /// Closes a session: ends its processes, and removes its workspace as far as nothing is lost by that. What is kept
    /// is told of in its state.
    ///
    /// # Errors
    /// Where there is no such session, it is closed, or has jobs that have not ended.
    pub async fn close_session(&self, session: &SessionId) -> Result<Arc<SessionState>, CommandError> {
        let inner = self.inner();
        {
            let _turn = inner.commands.of(session.as_bytes()).lock().await;
            let bodies = decide_close_session(&*inner.known_session(session)?)?;
            inner.append_to_session(session, Expected::Open, bodies).await?;
        }
        inner.end_session(session).await?;
        inner.known_session(session)
    }
}

impl Inner {
    /// Ends what a closed session has left: its processes, then its workspace.
    pub(crate) async fn end_session(&self, session: &SessionId) -> Result<(), CommandError> {
        for process in self.processes.running().iter().filter(|process| process.owner().session == Some(*session)) {
            process.cancel().await;
        }
        self.workspaces.close(session).await.map_err(CommandError::Unavailable)
    }

    /// Holds a session open while a job enters it.
    pub(crate) async fn enter_session(&self, session: &SessionId) -> Result<MutexGuard<'_, ()>, SubmitError> {
        let turn = self.commands.of(session.as_bytes()).lock().await;
        match self.views.session(session)? {
            None => Err(SubmitError::NoSuchSession { session: *session }),
            Some(state) => match decide_in_session(&state) {
                Ok(()) => Ok(turn),
                Err(refusal) => Err(SubmitError::SessionClosed(refusal.into())),
            },
        }
    }

    pub(crate) fn known_session(&self, session: &SessionId) -> Result<Arc<SessionState>, CommandError> {
        self.views.session(session)?.ok_or_else(|| CommandError::NotFound(no_such_session(session)))
    }

    pub(crate) async fn append_to_session(
        &self,
        session: &SessionId,
        expected: Expected,
        bodies: Vec<EventBody>,
    ) -> Result<(), CommandError> {
        let events = bodies.into_iter().map(NewEvent::from).collect();
        self.log.ready().await;
        let appended = self.log.append(Append::new(StreamId::Session(*session), expected, events))?;
        Ok(self.applied(appended.last_position).await?)
    }
}
