//! What all requests of a server share.

use super::{ServeOptions, guard::Guard, metrics::Metrics, problem::Problem, ticket::Tickets};
use crate::{feed::FeedHub, retention::Compactor};
use moonlog_core::{
    id::JobId,
    projection::{JobState, JobView},
};
use moonlog_runner::{Runner, Submit, SubmitError, Submitted};
use std::{sync::Arc, time::Duration};
use tokio::sync::{Semaphore, watch};

/// What all requests of a server share.
pub struct App {
    pub runner: Runner,
    pub options: ServeOptions,
    pub guard: Guard,
    pub tickets: Tickets,
    pub feeds: Arc<FeedHub>,
    pub metrics: Metrics,
    /// True from when the server stops.
    pub stop: watch::Receiver<bool>,
    /// Takes ended jobs out of the log.
    pub compactor: Arc<Compactor>,
    /// One backup at a time.
    pub backups: Arc<Semaphore>,
    /// One walk through the whole log at a time.
    pub verifying: Semaphore,
}

impl App {
    /// A job as it stands.
    ///
    /// # Errors
    /// 404; 503 where the disk does not let it be read.
    pub fn job(&self, id: &JobId) -> Result<Arc<JobState>, Problem> {
        match self.runner.job(id) {
            Ok(Some(job)) => Ok(job),
            Ok(None) => Err(no_such_job(id)),
            Err(error) => Err(error.into()),
        }
    }

    /// A job as answers show it.
    ///
    /// # Errors
    /// As [`Self::job`].
    pub fn view(&self, id: &JobId) -> Result<JobView, Problem> {
        Ok(self.runner.shown(&*self.job(id)?))
    }

    /// The problem, or another in its place where one of these is a job that is not there because it was deleted.
    pub fn tell_deleted(&self, problem: Problem, jobs: &[String]) -> Problem {
        if problem.code() != "no_such_job" {
            return problem;
        }
        for id in jobs.iter().filter_map(|id| id.parse::<JobId>().ok()) {
            if let Ok(Some(position)) = self.runner.views().deleted(&id) {
                let text = format!("job {id} was deleted: the event at position {position} says why");
                return Problem::not_found("job_deleted", text).with("position", position);
            }
        }
        problem
    }

    /// Takes a job, and waits as [`Self::wait`] does.
    ///
    /// # Errors
    /// Why it was refused.
    pub async fn submit_and_wait(&self, submit: Submit, at_most: Duration) -> Result<Submitted, SubmitError> {
        self.runner.submit_and_wait(submit, self.enough(at_most)).await
    }

    /// Comes when a client has waited for so long, or the server stops.
    async fn enough(&self, at_most: Duration) {
        let mut stop = self.stop.clone();
        let _ = tokio::time::timeout(at_most, super::serve::stopped(&mut stop)).await;
    }

    /// A job when it has ended, or as it stands when the time is up or the server stops.
    ///
    /// # Errors
    /// As [`Self::job`].
    pub async fn wait(&self, id: &JobId, at_most: Duration) -> Result<JobView, Problem> {
        self.runner.wait(id, self.enough(at_most)).await?;
        self.view(id)
    }
}

/// 404 for a job.
pub fn no_such_job(id: &dyn std::fmt::Display) -> Problem {
    Problem::not_found("no_such_job", format!("there is no job {id}"))
}
