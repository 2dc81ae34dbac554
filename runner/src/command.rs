//! What can be told a job or a queue from outside. Each command is decided on the state as it is folded, and appended
//! only if nothing has changed meanwhile.

use crate::{inner::Inner, request::CommandError, runner::Runner};
use moonlog_core::{
    decide::{Refusal, SignalLimits, decide_approval, decide_cancel, decide_pause, decide_resume, decide_signal},
    error_info::ErrorInfo,
    event::{Decision, EventBody, JobCancelRequested, JobCancelled, NewEvent, StreamId},
    id::{JobId, SessionId},
    json::Json,
    log::{Append, AppendError, Expected},
    projection::{JobState, JobStatus},
};
use std::time::Duration;

impl Runner {
    /// Asks a job to end. It is recorded when this returns; the job ends soon after.
    ///
    /// # Errors
    /// Where there is no such job, or it has ended.
    pub async fn cancel(&self, job: &JobId, reason: Option<String>) -> Result<(), CommandError> {
        self.inner().cancel(job, reason).await
    }

    /// Sends a signal to a job, which may still be queued.
    ///
    /// # Errors
    /// Where there is no such job, it has ended, or the key was used with another payload.
    pub async fn signal(
        &self,
        job: &JobId,
        name: &str,
        payload: Json,
        idempotency_key: Option<String>,
    ) -> Result<(), CommandError> {
        let bounds = &self.inner().options.bounds;
        let limits = SignalLimits { signals: bounds.signals_per_job, name_max_bytes: bounds.name_max_bytes };
        let decide = |state: &JobState| decide_signal(state, name, payload.clone(), idempotency_key.clone(), limits);
        self.inner().command(job, decide).await
    }

    /// Decides an open approval.
    ///
    /// # Errors
    /// Where there is no such job or approval, or it was decided.
    pub async fn decide(
        &self,
        job: &JobId,
        call_id: &str,
        decision: Decision,
        by: Option<String>,
        note: Option<String>,
    ) -> Result<(), CommandError> {
        self.inner().decide(job, call_id, decision, by, note).await
    }

    /// Starts no jobs of a queue any more.
    ///
    /// # Errors
    /// Where there is no such queue.
    pub async fn pause_queue(&self, name: &str) -> Result<(), CommandError> {
        self.inner().change_queue(name, true).await
    }

    /// Starts jobs of a queue again.
    ///
    /// # Errors
    /// Where there is no such queue.
    pub async fn resume_queue(&self, name: &str) -> Result<(), CommandError> {
        self.inner().change_queue(name, false).await
    }
}

/// The longest wait before a command is decided again on a job that has moved on.
const DECIDE_AGAIN: Duration = Duration::from_millis(100);

/// How often a command insists on the state that it was decided on.
const STRICT_TRIES: u32 = 8;

impl Inner {
    pub(crate) async fn decide(
        &self,
        job: &JobId,
        call_id: &str,
        decision: Decision,
        by: Option<String>,
        note: Option<String>,
    ) -> Result<(), CommandError> {
        // Whoever has read in a feed that it is asked for must find it.
        self.applied(self.log.head()).await?;
        self.command(job, |state| decide_approval(state, call_id, decision, by.clone(), note.clone())).await
    }

    pub(crate) async fn cancel(&self, job: &JobId, reason: Option<String>) -> Result<(), CommandError> {
        self.command(job, |state| decide_cancel(state, reason.clone())).await
    }

    /// Cancels a child of a job, also where it was submitted a moment ago and nobody knows of it yet. A child that is
    /// not there, or has ended, is left alone.
    pub(crate) async fn cancel_child(&self, child: &JobId, session: Option<SessionId>, reason: &str) {
        loop {
            match self.cancel(child, Some(reason.to_owned())).await {
                Err(CommandError::NoSuchJob) => {}
                Ok(()) | Err(CommandError::Conflict(_)) => return,
                Err(error) => return tracing::warn!(%child, %error, "a child was not cancelled"),
            }
            let request = EventBody::JobCancelRequested(JobCancelRequested { reason: Some(reason.to_owned()) });
            let cancelled = EventBody::JobCancelled(JobCancelled { reason: Some(reason.to_owned()) });
            let events = vec![
                NewEvent::new(request).session(session),
                NewEvent::new(cancelled).session(session).cause_before(1),
            ];
            match self.log.append(Append::new(StreamId::Job(*child), Expected::Version(1), events)) {
                // It has moved on, and will be known in a moment.
                Err(AppendError::Conflict { actual: 1.., .. }) => {
                    self.moves_on(self.waiters.position()).await;
                }
                Ok(_) | Err(AppendError::Conflict { .. } | AppendError::Closed { .. }) => return,
                Err(error) => return tracing::warn!(%child, %error, "a child was not cancelled"),
            }
        }
    }

    /// Comes when something behind `position` has been folded, or after a moment. Those who wait go on in the order in which they came.
    pub(crate) async fn moves_on(&self, position: u64) {
        let folded = tokio::time::timeout(DECIDE_AGAIN, self.waiters.applied(position + 1)).await;
        if folded == Ok(false) {
            // Nothing will be: what is asked for next says why.
            tokio::time::sleep(DECIDE_AGAIN).await;
        }
    }

    /// Decides on a job's state, and appends what follows. Where the job has moved on meanwhile, decides again.
    async fn command<E: Into<NewEvent>>(
        &self,
        job: &JobId,
        decide: impl Fn(&JobState) -> Result<Vec<E>, Refusal>,
    ) -> Result<(), CommandError> {
        let _turn = self.commands.of(job.as_bytes()).lock().await;
        let mut tries = 0;
        loop {
            let Some(state) = self.views.job(job)? else { return Err(CommandError::NoSuchJob) };
            let events = decide(&state)?;
            if events.is_empty() {
                return Ok(());
            }
            // A job that appends all the time is ahead of its state all the time. Nothing it does there changes what is
            // decided, but for its start and its end, and commands wait for each other.
            let strict = state.status == JobStatus::Queued || tries < STRICT_TRIES;
            let expected = if strict { Expected::Version(state.version) } else { Expected::Open };
            tries += 1;
            let in_session = |event: E| event.into().session(state.submitted.session);
            let events = events.into_iter().map(in_session).collect();
            self.log.ready().await;
            match self.log.append(Append::new(StreamId::Job(*job), expected, events)) {
                Ok(appended) => {
                    self.applied(appended.last_position).await?;
                    return Ok(());
                }
                Err(AppendError::Conflict { .. } | AppendError::Closed { .. }) => {
                    // What was appended meanwhile is not folded yet.
                    let folded = self.waiters.position();
                    if self.views.job(job)?.is_some_and(|now| now.version == state.version) {
                        self.moves_on(folded).await;
                    }
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    async fn change_queue(&self, name: &str, pause: bool) -> Result<(), CommandError> {
        if !self.has_queue(name) {
            let message = format!("no queue is named `{name}`: add [queues.{name}] to the configuration");
            return Err(CommandError::NotFound(ErrorInfo::new("no_such_queue", message)));
        }
        let decide = if pause { decide_pause } else { decide_resume };
        let events: Vec<NewEvent> =
            self.views.with(|all| decide(all.queues(), name)).into_iter().map(NewEvent::from).collect();
        if events.is_empty() {
            return Ok(());
        }
        let appended = self.log.append(Append::new(StreamId::System, Expected::Any, events))?;
        self.applied(appended.last_position).await?;
        Ok(())
    }
}
