//! What keeps a queued job from starting, for whoever looks at it. Nothing of it is stored: it follows from where things
//! stand.

use crate::{inner::Inner, runner::Runner};
use moonlog_core::{
    event::{JobWaiting, WaitKind},
    projection::{JobState, JobStatus, JobView, Projection},
    time::Timestamp,
};
use std::sync::PoisonError;

/// By how much the time of day may be off the runner's clock before that matters, in milliseconds.
const CALENDAR_DIFFERS_MS: u64 = 10;
/// How often it is looked at where it is, in milliseconds.
const CALENDAR_LOOK_MS: u64 = 60_000;

impl Runner {
    /// A job as answers show it: a queued one with what keeps it from starting.
    pub fn shown(&self, job: &JobState) -> JobView {
        let mut view = job.view();
        if job.status == JobStatus::Queued {
            view.waiting = self.held(job);
        }
        view
    }

    /// The same for a job that was looked at already.
    pub fn explain(&self, view: &mut JobView) {
        if view.state == JobStatus::Queued
            && let Some(job) = self.inner().views.with(|all| all.job(&view.id).cloned())
        {
            view.waiting = self.held(&job);
        }
    }

    fn held(&self, job: &JobState) -> Option<JobWaiting> {
        let inner = self.inner();
        let now = (inner.options.clock)();
        if inner.not_before(job).is_some()
            && let Some(until) = job.not_before()
        {
            let name = if job.retry_at.is_some() { "backoff" } else { "run_at" };
            return Some(waiting(WaitKind::Sleep, name, None, Some(until)));
        }
        if let Some(held) = inner.views.with(|all| self.held_by_others(job, all)) {
            return Some(held);
        }
        let (queue, key) = (job.submitted.queue.as_str(), job.submitted.concurrency_key.as_deref());
        let mut rates = inner.start_rates.lock().unwrap_or_else(PoisonError::into_inner);
        let (of_queue, of_key) = rates.limits(queue);
        if let Some(key) = key
            && let Some(until) = rates.key_free_at(queue, key, now)
        {
            let title = format!("queue `{queue}` starts {of_key} jobs of the key `{key}` a minute");
            return Some(waiting(WaitKind::Capacity, "key_rate_per_minute", Some(title), Some(until)));
        }
        let until = rates.queue_free_at(queue, now)?;
        let title = format!("queue `{queue}` starts {of_queue} jobs a minute");
        Some(waiting(WaitKind::Capacity, "rate_per_minute", Some(title), Some(until)))
    }

    fn held_by_others(&self, job: &JobState, all: &Projection) -> Option<JobWaiting> {
        let options = &self.inner().options;
        let name = job.submitted.queue.as_str();
        let capacity = |name: &str, title: String| Some(waiting(WaitKind::Capacity, name, Some(title), None));
        let queue = all.queues().get(name);
        if queue.is_some_and(|queue| queue.paused) {
            return capacity("queue_paused", format!("queue `{name}` is paused"));
        }
        if let Some(key) = &job.submitted.concurrency_key
            && let counts = all.with_key(key)
            && counts.running + counts.waiting > 0
        {
            return capacity("concurrency_key", format!("another job of the key `{key}` has not ended"));
        }
        let limit = options.queues.get(name).cloned().unwrap_or_default().concurrency;
        if queue.is_some_and(|queue| queue.running >= limit as u64) {
            return capacity("queue_concurrency", format!("queue `{name}` runs {limit} jobs at once"));
        }
        let running: u64 = all.queues().iter().map(|(_, queue)| queue.running).sum();
        if running >= options.concurrency as u64 {
            return capacity("runner_concurrency", format!("the runner runs {} jobs at once", options.concurrency));
        }
        None
    }
}

impl Inner {
    /// The time of day.
    pub(crate) fn calendar_now(&self) -> Timestamp {
        self.options.calendar.as_ref().unwrap_or(&self.options.clock)()
    }

    /// Before when a queued job must not start, by the runner's clock; `None` where it may. `run_at` is a time of day: where that is
    /// not what the runner's clock shows, it is looked at again after a while.
    pub(crate) fn not_before(&self, job: &JobState) -> Option<Timestamp> {
        let now = (self.options.clock)();
        let (until, calendar) = match (job.retry_at, job.submitted.run_at) {
            (Some(retry_at), _) => return Some(retry_at).filter(|at| *at > now),
            (None, Some(run_at)) => (run_at, self.calendar_now()),
            (None, None) => return None,
        };
        let left_ms = until.ms_since(calendar).max(u64::from(until > calendar));
        let differ = now.ms_since(calendar).max(calendar.ms_since(now)) > CALENDAR_DIFFERS_MS;
        (left_ms > 0).then(|| match differ {
            true => now.plus_ms(left_ms.min(CALENDAR_LOOK_MS)),
            false => until.max(now.plus_ms(left_ms)),
        })
    }
}

fn waiting(reason: WaitKind, name: &str, title: Option<String>, until: Option<Timestamp>) -> JobWaiting {
    JobWaiting { reason, step: None, name: Some(name.to_owned()), title, until }
}
