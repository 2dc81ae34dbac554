//! Waking idle sessions: where something has ended that an agent of a session has left running, and the session or that
//! call asked for it, a turn begins that hears of it. What has ended is told by the turn itself, right before its request:
//! until then it counts as not told. A session is woken so often, and no more, until somebody says something in it.

use super::messages::agent_options;
use crate::{
    agent::{made_for, unheard},
    inner::Inner,
    request::{ScriptSource, Submit},
};
use moonlog_core::{
    error_info::ErrorInfo,
    event::{Event, EventBody, NewEvent, SessionWakeRequested, SessionWoken, StreamId},
    id::{JobId, SessionId},
    json::Json,
    log::{Append, Expected, Log},
    projection::{SessionPhase, SessionState},
};
use serde_json::json;
use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, PoisonError},
};
use tokio::sync::{Notify, watch};

/// The label that an agent's job bears which a session has spawned to outlive the turn.
pub(crate) const SESSION_LABEL: &str = "session";

/// Sessions that something has happened in which may wake them.
#[derive(Debug, Default)]
pub(crate) struct Stirred {
    sessions: Mutex<BTreeSet<SessionId>>,
    more: Notify,
}

impl Stirred {
    fn add(&self, session: SessionId) {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner).insert(session);
        self.more.notify_one();
    }

    fn take(&self) -> Option<SessionId> {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner).pop_first()
    }
}

/// Records that a session is to be woken at the end of this.
pub(crate) fn want_wake(log: &Log, session: &SessionId, of: String) -> Result<(), ErrorInfo> {
    let event = NewEvent::from(EventBody::SessionWakeRequested(SessionWakeRequested { of })).session(Some(*session));
    let append = Append::new(StreamId::Session(*session), Expected::Open, vec![event]);
    log.append(append).map(drop).map_err(|error| ErrorInfo::new("no_such_session", error.to_string()))
}

impl Inner {
    /// Looks through events that are durable and folded.
    pub(crate) fn stir(&self, events: &[Arc<Event>]) {
        for event in events.iter().filter(|event| event.origin.is_none()) {
            let (session, spawner) = match &event.body {
                EventBody::ProcessExited(_) | EventBody::SessionTurnEnded(_) | EventBody::SessionConfigured(_) => {
                    (event.session, None)
                }
                body if body.is_terminal() => (event.session, event.job.and_then(|job| self.session_of_spawned(&job))),
                _ => (None, None),
            };
            session.into_iter().chain(spawner).for_each(|session| self.stirred.add(session));
        }
    }

    /// The session that has spawned the agent of this job.
    fn session_of_spawned(&self, job: &JobId) -> Option<SessionId> {
        let state = self.views.job(job).ok().flatten()?;
        state.submitted.labels.get(SESSION_LABEL)?.parse().ok()
    }

    /// Wakes the session where there is something to tell it.
    async fn wake(&self, session: &SessionId) -> Option<JobId> {
        let _turn = self.commands.of(session.as_bytes()).lock().await;
        let state = self.known_session(session).ok().filter(|state| may_wake(state))?;
        let of = unheard(self, &state);
        let max = self.options.agents.wakes_max;
        if of.is_empty() {
            return None;
        }
        if state.chat.woken >= max {
            tracing::warn!(%session, max, "a session is not woken again before somebody speaks: agents.wakes_max");
            return None;
        }
        let job: JobId = self.new_id().into();
        let source = ScriptSource::Script { source: super::TURN.into(), name: Some("session-turn".into()) };
        let args = json!({ "session": session, "woken": true, "agent": agent_options(&state.agent) });
        let submit = Submit {
            args: Some(Json::from(args)),
            concurrency_key: Some(format!("session/{session}")),
            ..Submit::new(source)
        };
        let woken = EventBody::SessionWoken(SessionWoken { job, of });
        self.append_to_session(session, Expected::Open, vec![woken]).await.ok()?;
        // Not within the session's lock, which entering it takes.
        drop(_turn);
        let submit = Submit { session: Some(*session), ..submit };
        match self.admit(submit, job, None, false).await {
            Ok(_) => Some(job),
            Err(error) => {
                tracing::warn!(%session, %error, "a session could not be woken");
                None
            }
        }
    }
}

fn may_wake(state: &SessionState) -> bool {
    // One that an agent has to itself ends with that.
    made_for(state).is_none()
        && state.phase() == SessionPhase::Idle
        && state.chat.queue.is_empty()
        && (state.options.wake || !state.chat.wakes.is_empty())
}

/// Wakes sessions until the runner stops; first those that had something to hear when the last one did.
pub(crate) async fn run(inner: Arc<Inner>, mut stop: watch::Receiver<bool>) {
    let open: Vec<SessionId> =
        inner.views.with(|all| all.sessions().open().filter(|state| may_wake(state)).map(|state| state.id).collect());
    open.into_iter().for_each(|session| inner.stirred.add(session));
    loop {
        while let Some(session) = inner.stirred.take() {
            inner.settle(&session).await;
            inner.wake(&session).await;
        }
        tokio::select! {
            biased;
            () = inner.stirred.more.notified() => {}
            _ = stop.wait_for(|stop| *stop) => return,
        }
    }
}
