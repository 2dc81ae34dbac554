//! Many jobs at once: those that fit a filter are cancelled, or run again. Each is a command of its own: what is refused
//! for one keeps the others from nothing.

use crate::{
    request::{CommandError, Retry},
    runner::Runner,
};
use futures_util::{FutureExt, StreamExt, future::BoxFuture};
use moonlog_core::{
    id::JobId,
    log::ReadError,
    projection::{JobFilter, Views},
};
use serde::Serialize;

/// How many jobs are acted on at once.
const AT_ONCE: usize = 16;
/// How many jobs are read at a time.
const READ_JOBS: usize = 50;

/// Which jobs are meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bulk {
    /// They fit this.
    pub filter: JobFilter,
    /// No more than so many; the newest come first.
    pub limit: usize,
    /// Whether to say only which these are.
    pub dry_run: bool,
}

/// A job that the command was refused for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct BulkFailure {
    /// The job.
    pub id: JobId,
    /// The error's code.
    pub code: String,
    /// What it says.
    pub message: String,
}

/// What came of it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct BulkReport {
    /// How many jobs fit the filter, up to the limit.
    pub matched: usize,
    /// Whether more do.
    pub more: bool,
    /// How many it was done for; none in a dry run.
    pub done: usize,
    /// Those it was refused for.
    pub failed: Vec<BulkFailure>,
    /// The jobs that fit.
    pub jobs: Vec<JobId>,
    /// The new jobs, where jobs were run again.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub created: Vec<JobId>,
}

impl Runner {
    /// Cancels the jobs that fit and have not ended.
    ///
    /// # Errors
    /// Where the log cannot be read. What is refused for single jobs is in the report.
    pub async fn cancel_all(&self, bulk: Bulk, reason: Option<String>) -> Result<BulkReport, CommandError> {
        let filter = JobFilter { ended: Some(false), ..bulk.filter };
        let runner = self.clone();
        let cancel = move |job: JobId| {
            let (runner, reason) = (runner.clone(), reason.clone());
            async move { runner.cancel(&job, reason).await.map(|()| None) }.boxed()
        };
        self.all(Bulk { filter, ..bulk }, cancel).await
    }

    /// Runs the jobs that fit and have ended again. Under an idempotency key each is run again once.
    ///
    /// # Errors
    /// As [`Self::cancel_all`].
    pub async fn retry_all(&self, bulk: Bulk, retry: Retry) -> Result<BulkReport, CommandError> {
        let filter = JobFilter { ended: Some(true), ..bulk.filter };
        let runner = self.clone();
        let again = move |job: JobId| {
            let idempotency_key = retry.idempotency_key.as_ref().map(|key| format!("{key}/{job}"));
            let (runner, retry) = (runner.clone(), Retry { idempotency_key, ..retry.clone() });
            async move { runner.retry(&job, retry).await.map(Some) }.boxed()
        };
        self.all(Bulk { filter, ..bulk }, again).await
    }

    async fn all(
        &self,
        bulk: Bulk,
        act: impl Fn(JobId) -> BoxFuture<'static, Result<Option<JobId>, CommandError>>,
    ) -> Result<BulkReport, CommandError> {
        let (views, filter, limit) = (self.views().clone(), bulk.filter, bulk.limit);
        let found = self.options().threads.begin(move || matching(&views, &filter, limit.saturating_add(1)));
        let mut jobs = found.await.map_err(|_| CommandError::Unavailable(crate::inner::stopping()))??;
        let more = jobs.len() > limit;
        jobs.truncate(limit);
        let mut report = BulkReport { matched: jobs.len(), more, jobs, ..BulkReport::default() };
        if bulk.dry_run {
            return Ok(report);
        }
        // In the order of their submission, so that those that are run again come in it too.
        let oldest_first: Vec<JobId> = report.jobs.iter().rev().copied().collect();
        let acts: Vec<_> = oldest_first.into_iter().map(|job| act(job).map(move |acted| (job, acted))).collect();
        let mut acted = futures_util::stream::iter(acts).buffered(AT_ONCE);
        while let Some((id, result)) = acted.next().await {
            match result {
                Ok(created) => {
                    report.done += 1;
                    report.created.extend(created);
                }
                Err(error) => {
                    let (code, message) = (error.code().to_owned(), error.to_string());
                    report.failed.push(BulkFailure { id, code, message });
                }
            }
        }
        Ok(report)
    }
}

/// The jobs that fit, newest first.
fn matching(views: &Views, filter: &JobFilter, limit: usize) -> Result<Vec<JobId>, ReadError> {
    let (mut jobs, mut cursor) = (Vec::new(), None);
    loop {
        let page = views.jobs(filter, cursor, READ_JOBS.min(limit - jobs.len()))?;
        jobs.extend(page.items.iter().map(|job| job.id));
        cursor = page.next;
        if cursor.is_none() || jobs.len() >= limit {
            return Ok(jobs);
        }
    }
}
