//! A job's agents as their job sees them: what they leave open is ended before their step is, their sessions are given
//! back, and what they used is counted.

use super::{
    ActiveJob, Stop,
    open::{Open, StepInput},
};
use crate::{
    agent::{Asked, OpenWork, made_for, own_session, release},
    inner::Inner,
    session::SESSION_LABEL,
};
use futures_util::future::join_all;
use moonlog_core::{
    error_info::ErrorInfo,
    event::{EventBody, JobUsage, NewEvent, SessionClosed, StepOutcome, StepStarted, StreamId},
    id::{JobId, SessionId},
    log::{Append, Expected},
    projection::{JobState, SessionState},
};
use serde::Deserialize;
use std::sync::{Arc, Mutex, PoisonError};

/// How many events one read takes.
const READ_EVENTS: usize = 1_024;

#[derive(Deserialize)]
struct NamedSession {
    session: Option<SessionId>,
}

impl ActiveJob {
    /// An agent is about to be performed.
    pub(super) fn begin_agent(&mut self, path: &Arc<str>) -> Arc<Mutex<OpenWork>> {
        self.had_agents = true;
        // One that waited for a person has something open still.
        self.agents.entry(path.clone()).or_default().clone()
    }

    /// Ends what an agent has open, because its branch or its job ends. It can record nothing any more.
    pub(super) fn cancel_agent(&mut self, path: &str) -> Vec<NewEvent> {
        let Some(open) = self.agents.remove(path) else { return Vec::new() };
        let mut open = open.lock().unwrap_or_else(PoisonError::into_inner);
        self.turns_left.extend(open.take(None));
        self.last_position = self.last_position.max(open.position());
        let error = ErrorInfo::new("cancelled", "the agent was cancelled");
        let events = open.close(StepOutcome::Cancelled, &error);
        events.into_iter().map(|event| event.step(Some(path.into()))).collect()
    }

    /// Ends what nobody is at any more of an agent that a dead server left, and the turn of its session, unless it goes on.
    pub(super) fn break_off_agent(&mut self, path: &Arc<str>, goes_on: bool) -> Vec<NewEvent> {
        let Some(open) = self.agents.get(path) else { return Vec::new() };
        let mut open = open.lock().unwrap_or_else(PoisonError::into_inner);
        if !goes_on {
            self.turns_left.extend(open.take(None));
        }
        let error = ErrorInfo::new("interrupted", "the server stopped while the model answered").retryable();
        let outcome = StepOutcome::Interrupted;
        let events = if goes_on { open.break_off(outcome, &error) } else { open.close(outcome, &error) };
        events.into_iter().map(|event| event.step(Some(path.clone()))).collect()
    }

    /// Ends the turns of agents whose end is appended now: had it been refused, somebody else would have ended them.
    pub(super) fn end_turns(&mut self) {
        for (session, turn) in self.turns_left.drain(..) {
            release(&self.inner, &self.id, session, turn);
        }
    }

    /// What an agent has open, by what the log holds of all its attempts.
    fn open_work(&self, path: &Arc<str>) -> Result<OpenWork, Stop> {
        let stream = StreamId::Job(self.id);
        let (mut version, mut open) = (0, OpenWork::default());
        loop {
            let events = self.inner.log.read_stream(&stream, version, READ_EVENTS)?;
            let Some(last) = events.last() else { return Ok(open) };
            version = last.version;
            for event in events.iter().filter(|event| event.step.as_ref() == Some(path)) {
                open.note(event.session, &event.body);
            }
        }
    }

    /// An agent that was open when the last task of this job ended. Gives what it waits for, where that is a person and
    /// nothing else.
    pub(super) fn reopen_agent(&mut self, open: &Open, state: &JobState) -> Result<Option<Asked>, Stop> {
        let path: Arc<str> = open.step.path.as_str().into();
        let mut work = self.open_work(&path)?;
        let session = session_of(&self.id, &open.step);
        let busy = self.inner.views.session(&session)?.and_then(|state| state.chat.busy);
        if let Some((_, turn)) = busy.filter(|(job, _)| *job == self.id) {
            work.take(Some((session, turn)));
        }
        let only_asks = work.only_asks();
        self.had_agents = true;
        self.agents.insert(path.clone(), Arc::new(Mutex::new(work)));
        let Some(call_ids) = only_asks else { return Ok(None) };
        let asked = state.approvals_of(&path).filter(|approval| call_ids.contains(&approval.request.call_id));
        let Some(first) = asked.min_by_key(|approval| approval.requested_at) else { return Ok(None) };
        let timeout_ms = u64::try_from(self.inner.options.agents.approvals.timeout.as_millis()).unwrap_or(u64::MAX);
        let due = first.requested_at.plus_ms(timeout_ms);
        let by_step = StepInput::of(&open.step).timeout_ms.map(|ms| open.started_at.plus_ms(ms));
        let (name, due) = (first.request.name.clone(), by_step.map_or(due, |by_step| by_step.min(due)));
        Ok(Some(Asked { call_ids, name, due }))
    }

    /// The jobs of agents that its agents have spawned and that have not ended. Where it is done, those go on that its
    /// session waits for.
    pub(super) fn spawned(&self, done: bool) -> Vec<JobId> {
        let state = if self.had_agents { self.inner.views.job(&self.id).ok().flatten() } else { None };
        let all = state.map(|state| state.live_children().collect::<Vec<_>>()).unwrap_or_default();
        let outlives = |child: &JobId| {
            let state = self.inner.views.job(child).ok().flatten();
            done && state.is_some_and(|state| state.submitted.labels.contains_key(SESSION_LABEL))
        };
        all.into_iter().filter(|child| !outlives(child)).collect()
    }

    /// Comes when what the job's agents used can be read.
    pub(super) async fn settle_agents(&self) -> Result<(), Stop> {
        if self.had_agents {
            self.inner.applied(self.last_position).await?;
        }
        Ok(())
    }

    /// What its agents used.
    pub(super) fn usage(&self) -> JobUsage {
        let state = if self.had_agents { self.inner.views.job(&self.id).ok().flatten() } else { None };
        state.map(|state| state.usage.clone()).unwrap_or_default()
    }

    /// Ends what runs in the sessions that its agents had to themselves: nobody could ask for it any more.
    pub(super) async fn end_own_sessions(&self) {
        if self.had_agents {
            let own = own_sessions(&self.inner, &self.id);
            join_all(own.iter().map(|session| self.inner.processes.end_session(session))).await;
        }
    }

    /// Closes the sessions that its agents had to themselves.
    pub(super) fn close_sessions(&self) {
        if !self.had_agents {
            return;
        }
        for session in own_sessions(&self.inner, &self.id) {
            let closed =
                NewEvent { session: Some(session), ..NewEvent::new(EventBody::SessionClosed(SessionClosed {})) };
            let append = Append::new(StreamId::Session(session), Expected::Open, vec![closed.job(self.id)]);
            if let Err(error) = self.inner.log.append(append) {
                tracing::debug!(%session, %error, "a session was not closed");
            }
        }
    }
}

/// The sessions that were made for a job's agents and are open.
pub(super) fn own_sessions(inner: &Inner, job: &JobId) -> Vec<SessionId> {
    let is_own = |session: &&Arc<SessionState>| made_for(session) == Some(*job);
    inner.views.with(|all| all.sessions().open_as_old_as(job).filter(is_own).map(|session| session.id).collect())
}

/// The session that an agent step speaks in.
fn session_of(job: &JobId, step: &StepStarted) -> SessionId {
    let named = step.input.to::<NamedSession>().ok().and_then(|input| input.session);
    named.unwrap_or_else(|| own_session(job, step.run, &step.path))
}
