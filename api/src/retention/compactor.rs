//! Takes ended jobs that are kept no longer out of the log, in batches, and has the store rewritten where that is worth it.

use super::{
    export,
    policy::{self, Ended, Limits},
};
use crate::config::RetentionConfig;
use moonlog_core::{
    error_info::ErrorInfo,
    event::DeleteReason,
    id::JobId,
    log::{ReadError, RemovedCounts},
    projection::{JobFilter, Views},
};
use moonlog_runner::{CommandError, Delete, Runner};
use serde::Serialize;
use std::{collections::BTreeSet, io, path::PathBuf, time::Duration};
use tokio::sync::{Mutex, watch};

/// How many jobs are deleted at once: appends go on between, and within.
const BATCH_JOBS: usize = 64;
/// How many jobs that could not be deleted are named.
const REFUSED_MAX: usize = 100;
/// How many jobs one look at a list gives.
const LIST_JOBS: usize = 200;
/// How often the store is rewritten at most to come below its size.
const ROUNDS_MAX: usize = 3;
/// A server that is often restarted looks too.
const FIRST_LOOK: Duration = Duration::from_secs(60);

/// What is to be done.
#[derive(Debug, Clone, Default)]
pub struct Compact {
    /// What is kept, in the place of what the configuration says.
    pub limits: Limits,
    /// Only say which jobs would be deleted.
    pub dry_run: bool,
    /// Rewrite the store whatever was removed.
    pub rewrite: bool,
}

/// What was done.
#[derive(Debug, Default, Serialize)]
pub struct Compacted {
    /// How many jobs were deleted, or would have been.
    pub deleted: u64,
    /// How many were written down before.
    pub exported: u64,
    /// How many were not deleted, since something needs them or they cannot be read.
    pub refused: u64,
    /// Some of those, and why.
    pub refusals: Vec<Refused>,
    /// What was removed.
    pub removed: RemovedCounts,
    /// What the store took of the disk before.
    pub disk_bytes_before: u64,
    /// What it takes now.
    pub disk_bytes_after: u64,
    /// Whether it was rewritten.
    pub rewritten: bool,
    /// Whether nothing was done.
    pub dry_run: bool,
}

/// A job that was not deleted.
#[derive(Debug, Serialize)]
pub struct Refused {
    /// The job.
    pub job: JobId,
    /// Why.
    pub error: ErrorInfo,
}

impl Compacted {
    fn refuse(&mut self, refused: Vec<(JobId, CommandError)>) {
        for (job, why) in refused {
            self.refused += 1;
            if self.refusals.len() < REFUSED_MAX {
                self.refusals.push(Refused { job, error: why.to_info() });
            }
        }
    }
}

/// Why a compaction stopped. What it had done by then is done.
#[derive(Debug, thiserror::Error)]
pub enum CompactError {
    /// Another one is under way.
    #[error("a compaction is under way: try again when it is done")]
    Busy,
    /// Nothing can be deleted now.
    #[error(transparent)]
    Command(#[from] CommandError),
    /// The log cannot be read or rewritten.
    #[error(transparent)]
    Log(#[from] ReadError),
    /// A job could not be written down.
    #[error("job {job} cannot be exported to {}, and stays: {source}", .folder.display())]
    Export {
        /// The job.
        job: JobId,
        /// Where to.
        folder: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The server stops.
    #[error("the server stops")]
    Stopped,
}

/// See the module.
pub struct Compactor {
    runner: Runner,
    config: RetentionConfig,
    turn: Mutex<()>,
}

impl Compactor {
    /// One for `runner`'s log.
    pub fn new(runner: Runner, config: RetentionConfig) -> Self {
        Self { runner, config, turn: Mutex::default() }
    }

    /// What the configuration says is kept.
    pub fn configured(&self) -> Limits {
        let ms = |age: Duration| u64::try_from(age.as_millis()).unwrap_or(u64::MAX);
        Limits {
            max_age_ms: self.config.max_age.map(ms),
            max_ended_jobs: self.config.max_ended_jobs,
            max_bytes: self.config.max_bytes,
        }
    }

    /// Does it on and on, as often as configured, until the server stops; nothing where nothing is configured.
    pub async fn run_on_schedule(&self, mut stop: watch::Receiver<bool>) {
        let limits = self.configured();
        if limits == Limits::default() {
            return;
        }
        let mut wait = self.config.every.min(FIRST_LOOK);
        loop {
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                _ = stop.wait_for(|stop| *stop) => return,
            }
            wait = self.config.every;
            match self.run(Compact { limits, ..Compact::default() }).await {
                Ok(done) if done.deleted > 0 => {
                    tracing::info!(deleted = done.deleted, exported = done.exported, "ended jobs were deleted");
                }
                Ok(_) | Err(CompactError::Busy | CompactError::Stopped) => {}
                Err(error) => tracing::warn!(%error, "not all jobs were deleted that are kept no longer"),
            }
        }
    }

    /// Does it once.
    ///
    /// # Errors
    /// Where another one is under way, or it had to stop.
    pub async fn run(&self, compact: Compact) -> Result<Compacted, CompactError> {
        let Ok(_turn) = self.turn.try_lock() else { return Err(CompactError::Busy) };
        let mut done = Compacted { dry_run: compact.dry_run, ..Compacted::default() };
        done.disk_bytes_before = self.disk_bytes()?;
        let mut ended = self.ended().await?;
        let chosen = policy::too_old_or_many(&ended, compact.limits, (self.runner.options().clock)());
        if compact.dry_run {
            done.deleted = chosen.len() as u64;
            done.disk_bytes_after = done.disk_bytes_before;
            return Ok(done);
        }
        ended.drain(..chosen.len());
        for batch in chosen.chunks(BATCH_JOBS) {
            self.delete(batch, &mut done).await?;
        }
        if let Some(max_bytes) = compact.limits.max_bytes {
            self.shrink(max_bytes, ended, &mut done).await?;
        }
        self.sweep(&mut done).await?;
        let removed_bytes = self.runner.log().removed_bytes()?;
        if compact.rewrite || (removed_bytes > 0 && removed_bytes >= self.config.rewrite_min_bytes) {
            self.rewrite(&mut done).await?;
        }
        done.disk_bytes_after = self.disk_bytes()?;
        Ok(done)
    }

    /// Deletes jobs, oldest ends first, until the store is small enough. What it takes of the disk is only known when it was
    /// rewritten: before that it has room that was used once.
    async fn shrink(&self, max_bytes: u64, ended: Vec<Ended>, done: &mut Compacted) -> Result<(), CompactError> {
        let mut left = ended.iter().map(|ended| (ended.job, DeleteReason::Bytes));
        for _ in 0..ROUNDS_MAX {
            if self.disk_bytes()? <= max_bytes {
                return Ok(());
            }
            self.sweep(done).await?;
            if self.runner.log().removed_bytes()? > 0 {
                self.rewrite(done).await?;
            }
            let too_many = self.disk_bytes()?.saturating_sub(max_bytes);
            let freed = |done: &Compacted| done.removed.bytes + done.removed.blob_bytes;
            let before = freed(done);
            while freed(done) - before < too_many {
                let batch: Vec<_> = left.by_ref().take(BATCH_JOBS).collect();
                if batch.is_empty() {
                    return Ok(());
                }
                self.delete(&batch, done).await?;
                // Whether it is enough with their blobs is known when it is known which of these are still named.
                if freed(done) + done.removed.unswept_bytes - before >= too_many {
                    self.sweep(done).await?;
                }
            }
        }
        Ok(())
    }

    /// Deletes the blobs that nothing names any more. It reads the log, so it is done once for many jobs.
    async fn sweep(&self, done: &mut Compacted) -> Result<(), CompactError> {
        done.removed.unswept_bytes = 0;
        done.removed += self.runner.sweep().await?;
        Ok(())
    }

    async fn delete(&self, batch: &[(JobId, DeleteReason)], done: &mut Compacted) -> Result<(), CompactError> {
        let (runner, jobs) = (self.runner.clone(), batch.iter().map(|(job, _)| *job).collect::<Vec<_>>());
        let refused = blocking(move || runner.refused(jobs)).await??;
        // They would be written for nothing.
        let mut left = batch.to_vec();
        left.retain(|(job, _)| refused.iter().all(|(other, _)| other != job));
        done.refuse(refused);
        if left.is_empty() {
            return Ok(());
        }
        let mut deletes = Vec::with_capacity(left.len());
        for (job, reason) in &left {
            let exported = self.export(*job).await?;
            deletes.push(Delete { job: *job, reason: *reason, exported });
        }
        let exported: Vec<(JobId, String)> =
            deletes.iter().filter_map(|delete| Some((delete.job, delete.exported.clone()?))).collect();
        let deletion = self.runner.delete_all(deletes).await;
        let deleted: BTreeSet<JobId> = deletion.iter().flat_map(|deletion| &deletion.deleted).copied().collect();
        for (job, name) in &exported {
            match (&self.config.export_folder, deleted.contains(job)) {
                (Some(folder), false) => export::take_back(folder, name),
                _ => done.exported += 1,
            }
        }
        let deletion = deletion?;
        done.deleted += deletion.deleted.len() as u64;
        done.removed += deletion.removed;
        done.refuse(deletion.refused);
        Ok(())
    }

    async fn export(&self, job: JobId) -> Result<Option<String>, CompactError> {
        let Some(folder) = self.config.export_folder.clone() else { return Ok(None) };
        let Some(state) = self.runner.job(&job)? else { return Ok(None) };
        let (log, to) = (self.runner.log().clone(), folder.clone());
        let exported = blocking(move || export::export(&log, &state, &to)).await?;
        exported.map(Some).map_err(|source| CompactError::Export { job, folder, source })
    }

    async fn rewrite(&self, done: &mut Compacted) -> Result<(), CompactError> {
        let (log, views) = (self.runner.log().clone(), self.runner.views().clone());
        blocking(move || {
            // What is derived of deleted jobs takes room too.
            views.sweep()?;
            log.rewrite()
        })
        .await??;
        done.rewritten = true;
        Ok(())
    }

    async fn ended(&self) -> Result<Vec<Ended>, CompactError> {
        let views = self.runner.views().clone();
        Ok(blocking(move || ended(&views)).await??)
    }

    fn disk_bytes(&self) -> Result<u64, CompactError> {
        Ok(self.runner.log().storage().bytes_on_disk().map_err(ReadError::from)?)
    }
}

/// All ended jobs, oldest ends first.
fn ended(views: &Views) -> Result<Vec<Ended>, ReadError> {
    let (mut ended, mut cursor) = (Vec::new(), None);
    loop {
        let page = views.jobs(&JobFilter::default(), cursor, LIST_JOBS)?;
        ended.extend(page.items.iter().filter_map(|job| Some(Ended { job: job.id, at: job.ended_at? })));
        cursor = page.next;
        if cursor.is_none() {
            policy::sort(&mut ended);
            return Ok(ended);
        }
    }
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, CompactError> {
    tokio::task::spawn_blocking(work).await.map_err(|_| CompactError::Stopped)
}
