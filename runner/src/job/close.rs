//! The end of a job: everything it started is ended first, then its one terminal event stands last.

use super::{ActiveJob, Leave, Stop, inbox::CancelRequest};
use futures_util::future::join_all;
use moonlog_core::{
    error_info::ErrorInfo,
    event::{
        EventBody, JobCancelled, JobCompleted, JobFailed, JobLogged, JobRetryScheduled, JobTimedOut, NewEvent,
        StepFinished, StepOutcome,
    },
    json::Json,
    projection::StepCounts,
};
use std::sync::Arc;

/// How a job ends.
#[derive(Debug)]
pub(super) enum End {
    Completed(Json),
    Failed(ErrorInfo),
    Cancelled(CancelRequest),
    TimedOut,
}

impl ActiveJob {
    /// Ends what is open, and records the end. A failure may be the end of an attempt only.
    pub(super) async fn close(&mut self, end: End) -> Result<Leave, Stop> {
        self.performers.shutdown().await;
        // What was done just now is recorded as done.
        while let Ok(report) = self.results.try_recv() {
            self.performed(report);
        }
        let closing = self.cancel_open_steps();
        // They are asked first, so that they can put away what they have begun.
        self.inner.processes.cancel_job(&self.id).await;
        self.inner.processes.end_job(&self.id).await;
        self.cancel_children(matches!(end, End::Completed(_))).await;
        self.settle_agents().await?;
        self.end_own_sessions().await;
        match self.append_end(closing.clone(), end).await {
            // The result, or the error.
            Err(Stop::TooLarge(error)) => self.append_end(closing, End::Failed(error)).await,
            left => left,
        }
    }

    async fn append_end(&mut self, closing: Vec<NewEvent>, end: End) -> Result<Leave, Stop> {
        let mut events = std::mem::take(&mut self.held);
        events.extend(closing);
        events.extend(self.reuse_report());
        let last = self.last_event(end);
        let is_over = last.body.is_terminal();
        events.push(last);
        self.append_at_once(events).await?;
        self.end_turns();
        if is_over {
            self.inner.metered.forget(&self.id);
            self.inner.call_ids.forget(&self.id);
            self.inner.families.forget(&self.id);
            self.close_sessions();
            return Ok(Leave::Ended);
        }
        self.settle().await?;
        Ok(Leave::AttemptEnded)
    }

    /// How much of a job that could take results over was taken over.
    fn reuse_report(&self) -> Option<NewEvent> {
        let StepCounts { total, cached, .. } = self.steps;
        if cached == 0 && self.submitted.resume_from.is_none() {
            return None;
        }
        let message = format!("{cached} of {total} steps reused");
        let body = EventBody::JobLogged(JobLogged { level: "info".into(), message });
        Some(NewEvent::new(body).cause(self.submitted_position))
    }

    fn last_event(&mut self, end: End) -> NewEvent {
        let cancelled = |CancelRequest { reason, position }| {
            NewEvent::new(EventBody::JobCancelled(JobCancelled { reason })).cause(position)
        };
        let body = match end {
            // A job that was asked to end meanwhile is not tried again.
            End::Failed(_)
                if self.look().is_ok()
                    && let Some(request) = self.inbox.cancel.take() =>
            {
                return cancelled(request);
            }
            End::Completed(result) => EventBody::JobCompleted(JobCompleted { result, usage: self.usage() }),
            End::Cancelled(request) => return cancelled(request),
            End::TimedOut => EventBody::JobTimedOut(JobTimedOut { limit: "timeout_ms".into() }),
            End::Failed(error) => {
                let retry = self.submitted.retry.as_ref();
                match retry.and_then(|retry| retry.wait_ms_after(self.attempt, &error.code)) {
                    Some(wait_ms) => EventBody::JobRetryScheduled(JobRetryScheduled {
                        attempt: self.attempt,
                        wait_ms,
                        error: ErrorInfo { retryable: true, ..error },
                    }),
                    None => EventBody::JobFailed(JobFailed { error }),
                }
            }
        };
        body.into()
    }

    /// A `step.finished` for each open step, the innermost first.
    pub(super) fn cancel_open_steps(&mut self) -> Vec<NewEvent> {
        let now = (self.inner.options.clock)();
        let mut events: Vec<NewEvent> = Vec::new();
        let agents = self.open.in_order().into_iter().filter(|open| open.step.kind == "agent");
        for path in agents.map(|open| open.step.path.clone()).collect::<Vec<_>>() {
            events.extend(self.cancel_agent(&path));
        }
        let mut open = std::mem::take(&mut self.open).into_in_order();
        let finished = open
            .iter_mut()
            .rev()
            // The last attempt of a step that waits for its next one is closed already.
            .filter(|open| !open.is_between_attempts())
            .flat_map(|open| {
                let path: Arc<str> = open.step.path.as_str().into();
                let mut events = open.end_call(StepOutcome::Cancelled, None);
                let finished = StepFinished {
                    run: self.run,
                    path: open.step.path.clone(),
                    attempt: open.step.attempt,
                    outcome: StepOutcome::Cancelled,
                    output: None,
                    error: None,
                    latency_ms: now.ms_since(open.started_at),
                    cached: false,
                    cached_from: None,
                    tokens_spent: None,
                };
                events.push(self.step_event(EventBody::StepFinished(finished), &path).cause(open.position));
                events
            });
        events.extend(finished);
        events
    }

    /// Asks the children that still run to end. Each is a job of its own, and records its end itself. Where the job is done
    /// with what it wanted, those go on that its session waits for.
    pub(super) async fn cancel_children(&mut self, done: bool) {
        let mut children: Vec<_> = std::mem::take(&mut self.children).into_values().collect();
        children.extend(self.spawned(done));
        let (session, reason) = (self.submitted.session, format!("its parent {} has ended", self.id));
        join_all(children.iter().map(|child| self.inner.cancel_child(child, session, &reason))).await;
    }
}
