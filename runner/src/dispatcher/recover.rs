//! What the dispatcher holds at a start: all of it follows from the projections.

use super::Dispatcher;
use crate::{agent::is_spawned, job, session::SESSION_LABEL};
use moonlog_core::{
    id::JobId,
    projection::{JobState, JobStatus},
};

impl Dispatcher {
    /// Builds what is held here from the projections, at a start.
    pub(super) fn recover(&mut self) {
        // A job that cannot record anything does nothing.
        let resume = self.inner.options.resume_jobs && self.inner.log.is_poisoned().is_none();
        let (paused, jobs) = self.inner.views.with(|all| {
            let paused = all.queues().iter().filter(|(_, queue)| queue.paused).map(|(name, _)| name.clone());
            let jobs = all.live_jobs().filter(|job| resume && !job.submitted.imported).cloned();
            (paused.collect::<Vec<_>>(), jobs.collect::<Vec<_>>())
        });
        paused.iter().for_each(|queue| self.turns.set_paused(queue, true));
        // Whoever has begun holds its key, whichever comes first below.
        for job in jobs.iter().filter(|job| job.status != JobStatus::Queued) {
            if let Some(key) = &job.submitted.concurrency_key {
                self.keys.take(key, job.id);
            }
        }
        let mut orphans = Vec::new();
        for job in &jobs {
            if let Some(parent) = &job.submitted.parent {
                self.parents.insert(job.id, parent.job);
                if self.is_orphan(job, &parent.job) {
                    orphans.push((job.id, job.submitted.session));
                }
            }
            match job.status {
                JobStatus::Queued => self.enqueue_start(job),
                _ => {
                    self.timers.set(job.id, job.next_due());
                    self.wake(&job.id);
                }
            }
        }
        if !orphans.is_empty() && self.inner.options.concurrency > 0 {
            let inner = self.inner.clone();
            tokio::spawn(async move {
                for (child, session) in orphans {
                    inner.cancel_child(&child, session, "the step that started it has ended").await;
                }
            });
        }
    }

    /// Whether no open step of the parent waits for this child: its parent was closed, and the server stopped before the
    /// child was told.
    fn is_orphan(&self, child: &JobState, parent: &JobId) -> bool {
        match self.inner.views.job(parent) {
            // A spawned agent is waited for by no step.
            Ok(Some(parent)) if is_spawned(child) => {
                parent.ended_at.is_some() && !child.submitted.labels.contains_key(SESSION_LABEL)
            }
            Ok(Some(parent)) if parent.ended_at.is_none() => !parent.open_steps.iter().any(|(path, step)| {
                job::child_id(&parent.id, step.run, path, step.attempt, step.started_at) == child.id
            }),
            Ok(_) => true,
            Err(_) => false,
        }
    }
}
