//! The end of a job: everything it started is ended first, then its one terminal event stands last.

use super::{ActiveJob, Leave, Stop};
use moonlog_core::{
    error_info::ErrorInfo,
    event::{
        EventBody, JobCancelled, JobCompleted, JobFailed, JobRetryScheduled, JobTimedOut, NewEvent, StepFinished,
        StepOutcome,
    },
    json::Json,
};
use std::sync::Arc;

/// How a job ends.
#[derive(Debug)]
pub(super) enum End {
    Completed(Json),
    Failed(ErrorInfo),
    Cancelled(Option<String>),
    TimedOut,
}

impl ActiveJob {
    /// Ends what is open, and records the end. A failure may be the end of an attempt only.
    pub(super) async fn close(&mut self, end: End) -> Result<Leave, Stop> {
        self.performers.shutdown().await;
        let mut events = self.cancel_open_steps();
        self.inner.processes.end_job(&self.id).await;
        self.cancel_children().await;
        events.push(self.last_event(end).into());
        self.append_at_once(events).await?;
        Ok(Leave::Ended)
    }

    fn last_event(&self, end: End) -> EventBody {
        match end {
            End::Completed(result) => EventBody::JobCompleted(JobCompleted { result, usage: Default::default() }),
            End::Cancelled(reason) => EventBody::JobCancelled(JobCancelled { reason }),
            End::TimedOut => EventBody::JobTimedOut(JobTimedOut { limit: "timeout_ms".into() }),
            End::Failed(error) => {
                match self.submitted.retry.as_ref().and_then(|retry| retry.wait_ms_after(self.attempt)) {
                    Some(wait_ms) => EventBody::JobRetryScheduled(JobRetryScheduled {
                        attempt: self.attempt,
                        wait_ms,
                        error: ErrorInfo { retryable: true, ..error },
                    }),
                    None => EventBody::JobFailed(JobFailed { error }),
                }
            }
        }
    }

    /// A `step.finished` for each open step, the innermost first.
    pub(super) fn cancel_open_steps(&mut self) -> Vec<NewEvent> {
        let now = (self.inner.options.clock)();
        let events = self
            .open
            .in_order()
            .into_iter()
            .rev()
            .map(|open| {
                let path: Arc<str> = open.step.path.as_str().into();
                // The last attempt of a step that waits for its next one is closed already.
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
                };
                (
                    open.is_between_attempts(),
                    self.step_event(EventBody::StepFinished(finished), &path).cause(open.position),
                )
            })
            .filter_map(|(closed, event)| (!closed).then_some(event))
            .collect();
        self.open = Default::default();
        events
    }

    /// Asks the children that still run to end. Each is a job of its own, and records its end itself.
    async fn cancel_children(&mut self) {
        for child in std::mem::take(&mut self.children).into_values() {
            let reason = format!("its parent {} has ended", self.id);
            if let Err(error) = self.inner.cancel(&child, Some(reason)).await {
                tracing::debug!(%child, %error, "child was not cancelled");
            }
        }
    }
}
