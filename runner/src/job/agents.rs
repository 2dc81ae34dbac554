//! A job's agents as their job sees them: what they leave open is ended before their step is, their sessions are given
//! back, and what they used is counted.

use super::{
    ActiveJob, Stop,
    open::{Open, StepInput},
};
use crate::{
    agent::{Asked, OpenWork, own_session, release},
    session::SESSION_LABEL,
};
use moonlog_core::{
    error_info::ErrorInfo,
    event::{EventBody, JobUsage, NewEvent, SessionClosed, StepOutcome, StepStarted, StreamId},
    id::{JobId, SessionId},
    log::{Append, Expected},
    projection::JobState,
};
use serde::Deserialize;
use std::sync::{Arc, Mutex, PoisonError};

/// How many events one read takes.
const READ_EVENTS: usize = 1_024;

#[derive(Deserialize)]
struct NamedSession {
    session: Option<SessionId>,
}

/// Who made a session for an agent of its own.
#[derive(Deserialize)]
struct MadeFor {
    job: String,
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
        if let Some((session, turn)) = open.take(None) {
            release(&self.inner, &self.id, session, turn);
        }
        let error = ErrorInfo::new("cancelled", "the agent was cancelled");
        let events = open.close(StepOutcome::Cancelled, &error);
        events.into_iter().map(|event| event.step(Some(path.into()))).collect()
    }

    /// Ends what an agent had open when the last server died, by what the log holds of it.
    pub(super) fn close_interrupted(&self, path: &Arc<str>) -> Result<Vec<NewEvent>, Stop> {
        let Some(step) = self.open.get(path).filter(|open| open.step.kind == "agent") else { return Ok(Vec::new()) };
        let mut open = self.open_work(path, step.position)?;
        let error = ErrorInfo::new("interrupted", "the server stopped while the model answered").retryable();
        let events = open.close(StepOutcome::Interrupted, &error);
        Ok(events.into_iter().map(|event| event.step(Some(path.clone()))).collect())
    }

    /// What the agent that began at this position has open, by what the log holds of it.
    fn open_work(&self, path: &Arc<str>, position: u64) -> Result<OpenWork, Stop> {
        let stream = StreamId::Job(self.id);
        let mut version = self.inner.log.version_at(&stream, position)?;
        let mut open = OpenWork::default();
        loop {
            let events = self.inner.log.read_stream(&stream, version, READ_EVENTS)?;
            let Some(last) = events.last() else { return Ok(open) };
            version = last.version;
            for event in events.iter().filter(|event| event.step.as_ref() == Some(path)) {
                open.note(event.session, &event.body);
            }
        }
    }

    /// An agent that was open when the last task of this job ended: where it only waits for a person, it waits on.
    pub(super) fn reopen_agent(&mut self, open: &mut Open, state: &JobState) -> Result<(), Stop> {
        let path: Arc<str> = open.step.path.as_str().into();
        if state.approvals_of(&path).next().is_none() {
            return Ok(());
        }
        let mut work = self.open_work(&path, open.position)?;
        let Some(call_ids) = work.only_asks() else { return Ok(()) };
        let session = session_of(&self.id, &open.step);
        let busy = self.inner.views.session(&session)?.and_then(|state| state.chat.busy);
        if let Some((_, turn)) = busy.filter(|(job, _)| *job == self.id) {
            work.take(Some((session, turn)));
        }
        self.had_agents = true;
        self.agents.insert(path.clone(), Arc::new(Mutex::new(work)));
        let asked = state.approvals_of(&path).filter(|approval| call_ids.contains(&approval.request.call_id));
        let first = asked.min_by_key(|approval| approval.requested_at);
        let timeout_ms = u64::try_from(self.inner.options.agents.approvals.timeout.as_millis()).unwrap_or(u64::MAX);
        let due = first.map_or(open.started_at, |approval| approval.requested_at).plus_ms(timeout_ms);
        let by_step = StepInput::of(&open.step).timeout_ms.map(|ms| open.started_at.plus_ms(ms));
        let name = first.map(|approval| approval.request.name.clone()).unwrap_or_default();
        open.waits_for_person(Asked { call_ids, name, due: by_step.map_or(due, |by_step| by_step.min(due)) });
        Ok(())
    }

    /// Gives back the session of an agent that a dead server left and that is not tried again.
    pub(super) fn release_session(&self, path: &str) {
        let Some(step) = self.open.get(path).map(|open| &open.step).filter(|step| step.kind == "agent") else { return };
        let session = session_of(&self.id, step);
        let busy = self.inner.views.session(&session).ok().flatten().and_then(|state| state.chat.busy);
        if let Some((_, turn)) = busy.filter(|(job, _)| *job == self.id) {
            release(&self.inner, &self.id, session, turn);
        }
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
            self.inner.applied(self.inner.log.head()).await?;
        }
        Ok(())
    }

    /// What its agents used.
    pub(super) fn usage(&self) -> JobUsage {
        let state = if self.had_agents { self.inner.views.job(&self.id).ok().flatten() } else { None };
        state.map(|state| state.usage.clone()).unwrap_or_default()
    }

    /// Closes the sessions that its agents had to themselves.
    pub(super) fn close_sessions(&self) {
        if !self.had_agents {
            return;
        }
        let id = self.id.to_string();
        let own = self.inner.views.with(|all| {
            let own = all.sessions().open().filter(|session| {
                // Most are others', and need not be parsed to know it.
                let text = session.agent.as_str();
                text.contains(&id) && session.agent.to::<MadeFor>().is_ok_and(|made| made.job == id)
            });
            own.map(|session| session.id).collect::<Vec<_>>()
        });
        for session in own {
            let closed =
                NewEvent { session: Some(session), ..NewEvent::new(EventBody::SessionClosed(SessionClosed {})) };
            let append = Append::new(StreamId::Session(session), Expected::Open, vec![closed.job(self.id)]);
            if let Err(error) = self.inner.log.append(append) {
                tracing::debug!(%session, %error, "a session was not closed");
            }
        }
    }
}

/// The session that an agent step speaks in.
fn session_of(job: &JobId, step: &StepStarted) -> SessionId {
    let named = step.input.to::<NamedSession>().ok().and_then(|input| input.session);
    named.unwrap_or_else(|| own_session(job, step.run, &step.path))
}
