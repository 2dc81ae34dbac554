//! Sessions as a runner's clients see them: created, closed, and entered by jobs.

mod left;
mod messages;
mod wake;

pub(crate) use wake::{SESSION_LABEL, Stirred, run as wake_sessions, want_wake};

use crate::{
    agent::made_for,
    inner::{Inner, stopping},
    request::{CommandError, SubmitError},
    runner::Runner,
    workspace::{WorkspaceSpec, no_such_session},
};
use moonlog_core::{
    decide::{
        ChangeSession, CreateSession, decide_change_session, decide_close_session, decide_create_session,
        decide_in_session,
    },
    error_info::ErrorInfo,
    event::{EventBody, NewEvent, StreamId},
    id::SessionId,
    json::Json,
    log::{Append, Expected, ReadError},
    projection::SessionState,
};
use std::sync::Arc;
use tokio::sync::MutexGuard;

/// The workflow that answers a message.
const TURN: &str = include_str!("turn.luau");

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
        inner.check_open_sessions()?;
        let session: SessionId = inner.new_id().into();
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

    /// Changes what a session is called, its marks, its status, whether it is woken, and what it may use.
    ///
    /// # Errors
    /// Where there is no such session, it is closed, or its status may not become what is wanted.
    pub async fn change_session(
        &self,
        session: &SessionId,
        change: ChangeSession,
    ) -> Result<Arc<SessionState>, CommandError> {
        let inner = self.inner();
        let closes = {
            let _turn = inner.commands.of(session.as_bytes()).lock().await;
            let bodies = decide_change_session(&*inner.known_session(session)?, change)?;
            let closes = bodies.iter().any(|body| matches!(body, EventBody::SessionClosed(_)));
            if !bodies.is_empty() {
                inner.append_to_session(session, Expected::Open, bodies).await?;
            }
            closes
        };
        if closes {
            inner.end_session(session).await?;
        }
        inner.known_session(session)
    }

    /// How many tokens a session has used, with all that runs in it.
    pub fn spent_in_session(&self, session: &SessionId) -> u64 {
        crate::agent::spent_in_session(self.inner(), session)
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
    /// Whether another session may be opened. Those that agents began for themselves, which alone name a job, are counted
    /// with their jobs.
    fn check_open_sessions(&self) -> Result<(), CommandError> {
        let max = self.options.bounds.open_sessions;
        let open = self.views.with(|all| all.sessions().open().filter(|session| made_for(session).is_none()).count());
        if open < max {
            return Ok(());
        }
        let message =
            format!("{open} sessions are open, and {max} may be: close one first, or raise limits.open_sessions");
        Err(CommandError::TooMany(ErrorInfo::new("too_many_sessions", message)))
    }

    /// Ends what a closed session has left: its processes, then its workspace.
    pub(crate) async fn end_session(&self, session: &SessionId) -> Result<(), CommandError> {
        self.metered.forget_session(session);
        let spawned = self.views.with(|all| {
            let is_its = |label: &String| *label == session.to_string();
            let live = all.live_jobs().filter(|job| job.submitted.labels.get(SESSION_LABEL).is_some_and(is_its));
            live.map(|job| job.id).collect::<Vec<_>>()
        });
        for job in spawned {
            self.cancel_child(&job, None, "its session was closed").await;
        }
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
