//! What is said in a session. Each message is answered by a job of its own, which bears the message's id; jobs of one
//! session take turns, in the order in which they came. So a message that waits is a job that waits, and both survive a
//! restart.

use crate::{
    agent::INTERRUPTED,
    inner::Inner,
    request::{CommandError, ScriptSource, Submit},
    runner::Runner,
};
use moonlog_core::{
    decide::{Busy, Refusal, decide_change_queued, decide_drop_queued, decide_edit, decide_message},
    event::{Decision, EventBody, NewEvent, StreamId},
    id::{JobId, SessionId},
    json::Json,
    log::{Append, AppendError, Expected},
    projection::SessionState,
};
use serde_json::{Map, Value, json};
use std::time::Duration;
use tokio::time::{Instant, timeout_at};

/// What of a session's `agent` is passed on.
const AGENT_OPTIONS: [&str; 9] =
    ["model", "backend", "system", "tools", "schema", "max_turns", "max_tool_calls", "timeout", "check"];

/// How long an interrupt waits for an agent that goes on with its turn.
const ON_ITS_WAY: Duration = Duration::from_secs(5);

/// Before what waits already.
const URGENT: i32 = 1;

impl Runner {
    /// Says something in a session. Gives the job that answers it.
    ///
    /// # Errors
    /// Where there is no such session, it is closed, or it is busy and `busy` says to refuse.
    pub async fn say(&self, session: &SessionId, parts: Json, busy: Busy) -> Result<JobId, CommandError> {
        let inner = self.inner();
        let (job, max): (JobId, _) = (inner.new_id().into(), inner.options.bounds.queued_messages);
        let state = inner
            .decide_session(session, |state| decide_message(state, job.to_string(), parts.clone(), busy, max))
            .await?;
        if busy == Busy::Interrupt {
            inner.interrupt(session).await;
        }
        let priority = if busy == Busy::Interrupt { URGENT } else { 0 };
        inner.answer(&state, job, priority).await
    }

    /// Says something else in the place of an earlier message.
    ///
    /// # Errors
    /// Where there is no such message of a user's, or the session is closed or busy.
    pub async fn edit(&self, session: &SessionId, message: &str, parts: Json) -> Result<JobId, CommandError> {
        let inner = self.inner();
        let job: JobId = inner.new_id().into();
        let state =
            inner.decide_session(session, |state| decide_edit(state, message, job.to_string(), parts.clone())).await?;
        inner.answer(&state, job, 0).await
    }

    /// Changes a message that waits.
    ///
    /// # Errors
    /// Where there is none.
    pub async fn change_queued(&self, session: &SessionId, message: &str, parts: Json) -> Result<(), CommandError> {
        let decide = |state: &SessionState| decide_change_queued(state, message, parts.clone());
        self.inner().decide_session(session, decide).await.map(drop)
    }

    /// Takes back a message that waits, and the job that would answer it.
    ///
    /// # Errors
    /// Where there is none.
    pub async fn drop_queued(&self, session: &SessionId, message: &str) -> Result<(), CommandError> {
        self.inner().decide_session(session, |state| decide_drop_queued(state, message)).await?;
        if let Ok(job) = message.parse::<JobId>() {
            self.inner().cancel_child(&job, Some(*session), "its message was taken back").await;
        }
        Ok(())
    }

    /// Ends the turn that is under way where it stands; what was said of the answer is kept.
    ///
    /// # Errors
    /// Where there is no such session, or no turn is under way in it.
    pub async fn interrupt(&self, session: &SessionId) -> Result<(), CommandError> {
        let inner = self.inner();
        let until = Instant::now() + ON_ITS_WAY;
        loop {
            // Whose turn is under way and who is not there is on its way back from a wait, or from a restart.
            let taken = inner.agents.taken();
            if inner.interrupt(session).await {
                return Ok(());
            }
            let state = inner.known_session(session)?;
            if state.chat.busy.is_none() || timeout_at(until, taken).await.is_err() {
                return Err(Refusal::SessionIdle { session: state.id }.into());
            }
        }
    }
}

impl Inner {
    /// Asks a session's agent to stop. Gives whether one is there. One that waits for a person is told in the place of
    /// the answer.
    pub(crate) async fn interrupt(&self, session: &SessionId) -> bool {
        if self.agents.interrupt(session) {
            return true;
        }
        let Some(state) = self.views.session(session).ok().flatten() else { return false };
        let mut told = false;
        for (call_id, job) in state.chat.approvals.values().filter_map(|asked| Some((&asked.call_id, asked.job?))) {
            let note = Some(INTERRUPTED.to_owned());
            let decided = self.decide(&job, call_id, Decision::Denied, None, note).await;
            told |= decided.is_ok();
        }
        told
    }

    /// Decides something on a session as it stands, and records it.
    async fn decide_session(
        &self,
        session: &SessionId,
        decide: impl Fn(&SessionState) -> Result<Vec<EventBody>, Refusal>,
    ) -> Result<std::sync::Arc<SessionState>, CommandError> {
        let _turn = self.commands.of(session.as_bytes()).lock().await;
        loop {
            // Whoever has read of something in a feed must find it.
            self.applied(self.log.head()).await?;
            let state = self.known_session(session)?;
            let events = decide(&state)?.into_iter().map(NewEvent::from).collect();
            self.log.ready().await;
            let append = Append::new(StreamId::Session(*session), Expected::Version(state.version), events);
            match self.log.append(append) {
                Ok(appended) => {
                    self.applied(appended.last_position).await?;
                    return Ok(state);
                }
                // A turn has begun or ended meanwhile: the next look tells.
                Err(AppendError::Conflict { .. }) => self.moves_on(self.waiters.position()).await,
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Submits the job that answers the message of the same id.
    async fn answer(&self, session: &SessionState, job: JobId, priority: i32) -> Result<JobId, CommandError> {
        let source = ScriptSource::Script { source: super::TURN.into(), name: Some("session-turn".into()) };
        let args = json!({ "session": session.id, "message": job, "agent": agent_options(&session.agent) });
        let submit = Submit {
            args: Some(Json::from(args)),
            session: Some(session.id),
            concurrency_key: Some(format!("session/{}", session.id)),
            priority,
            ..Submit::new(source)
        };
        match self.admit(submit, job, None, true).await {
            Ok(_) => Ok(job),
            Err(error) => {
                let message = job.to_string();
                let dropped = self.decide_session(&session.id, |state| decide_drop_queued(state, &message)).await;
                if let Err(error) = dropped {
                    tracing::warn!(session = %session.id, %error, "a message that no job answers was left queued");
                }
                Err(error.into())
            }
        }
    }
}

/// What a session's `agent` says, as `agent` takes it: a model's name, or options.
pub(super) fn agent_options(agent: &Json) -> Value {
    match agent.to_value() {
        Value::String(model) => json!({ "model": model }),
        Value::Object(fields) => {
            let known =
                fields.into_iter().filter(|(name, value)| AGENT_OPTIONS.contains(&name.as_str()) && !value.is_null());
            Value::Object(known.collect::<Map<_, _>>())
        }
        _ => json!({}),
    }
}
