//! Deleting ended jobs. `job.deleted` says so first; then the jobs' events leave the log, with the sessions that their
//! agents had for themselves. A deletion that a crash has cut off is carried out at the next start, before anything is
//! folded.
//!
//! Invariant: nothing is removed before the event that says so is durable and folded.

use crate::{
    inner::{Inner, stopping},
    request::{CommandError, StartError},
    runner::Runner,
    threads::Threads,
};
use moonlog_core::{
    decide::{NeededJobs, decide_delete, decide_delete_in_session},
    error_info::ErrorInfo,
    event::{DeleteReason, EventBody, JobDeleted, NewEvent, StreamId},
    id::{Hash, JobId, SessionId},
    log::{Append, Expected, Hurry, Log, ReadError, Removal, RemovedCounts},
    projection::{JobState, SessionState},
};
use std::{collections::BTreeSet, sync::Arc};

/// How many events one read takes.
const READ_EVENTS: usize = 4_096;

/// A job to be deleted.
#[derive(Debug, Clone)]
pub struct Delete {
    /// The job.
    pub job: JobId,
    /// Why.
    pub reason: DeleteReason,
    /// The file that it was exported to, where it was.
    pub exported: Option<String>,
}

/// What became of several deletions.
#[derive(Debug, Default)]
pub struct Deletion {
    /// Those that are gone.
    pub deleted: Vec<JobId>,
    /// Those that are not, and why.
    pub refused: Vec<(JobId, CommandError)>,
    /// What went with them.
    pub removed: RemovedCounts,
}

/// A job that may be deleted, and what goes with it.
struct Planned {
    job: JobId,
    script: Hash,
    deleted: JobDeleted,
}

impl Runner {
    /// Deletes an ended job: its events leave the log, and all that came of them with it.
    ///
    /// # Errors
    /// Where there is no such job, it has not ended, or something needs it.
    pub async fn delete(&self, job: &JobId) -> Result<(), CommandError> {
        let delete = Delete { job: *job, reason: DeleteReason::Requested, exported: None };
        let mut deletion = self.delete_all(vec![delete]).await?;
        if !deletion.deleted.is_empty() {
            self.sweep().await?;
        }
        deletion.refused.pop().map_or(Ok(()), |(_, refused)| Err(refused))
    }

    /// Those of several jobs that could not be deleted now, and why, as far as that is known without reading their events.
    ///
    /// # Errors
    /// Where the log cannot be read.
    pub fn refused(&self, jobs: impl IntoIterator<Item = JobId>) -> Result<Vec<(JobId, CommandError)>, CommandError> {
        let needed = self.inner().views.with(NeededJobs::of);
        let mut refused = Vec::new();
        for job in jobs {
            match self.inner().deletable(&needed, &job) {
                Ok(_) => {}
                Err(CommandError::Unavailable(error)) => return Err(CommandError::Unavailable(error)),
                Err(why) => refused.push((job, why)),
            }
        }
        Ok(refused)
    }

    /// Deletes those of several jobs that may be deleted. Blobs that only they named stay until [`Self::sweep`], which
    /// reads the whole log and so is better done once for many.
    ///
    /// # Errors
    /// Where nothing can be deleted now, or the log cannot be read or written.
    pub async fn delete_all(&self, jobs: Vec<Delete>) -> Result<Deletion, CommandError> {
        // A task of its own: whoever asked may go away in the middle of it.
        let inner = self.shared_inner();
        let deletion = tokio::spawn(delete_all(inner, jobs));
        deletion.await.map_err(|_| CommandError::Unavailable(stopping()))?
    }
}

impl Runner {
    /// Deletes the blobs that deleted jobs have left, and that no event names.
    ///
    /// # Errors
    /// Where nothing can be deleted now, or the log cannot be read or written.
    pub async fn sweep(&self) -> Result<RemovedCounts, CommandError> {
        let removal = begin_removal(&self.inner().log).await?;
        let swept = self.options().threads.begin(move || removal.sweep()).await;
        Ok(swept.map_err(|_| CommandError::Unavailable(stopping()))??)
    }
}

/// Deletes what blobs a deletion has left that a crash has cut off. Nothing waits for it.
pub(crate) async fn sweep_rest(runner: Runner) {
    let swept = match runner.inner().log.is_unswept() {
        Ok(false) => return,
        Ok(true) => runner.sweep().await.map(drop),
        Err(error) => Err(error.into()),
    };
    if let Err(error) = swept {
        tracing::warn!(error = %error.to_info(), "blobs of deleted jobs stay until more are deleted");
    }
}

async fn begin_removal(log: &Log) -> Result<Removal, CommandError> {
    let removal = log.begin_removal().await;
    removal.map_err(|error| CommandError::Conflict(ErrorInfo::new("backup_under_way", error.to_string()).retryable()))
}

async fn delete_all(inner: Arc<Inner>, jobs: Vec<Delete>) -> Result<Deletion, CommandError> {
    let removal = begin_removal(&inner.log).await?;
    let alone = inner.histories.write().await;
    // A job's events are read to tell what goes with it, which may take a while.
    let planning = inner.clone();
    let planned = inner.options.threads.begin(move || planning.plan(jobs)).await;
    let (mut planned, refused) = planned.map_err(|_| CommandError::Unavailable(stopping()))??;
    if planned.is_empty() {
        return Ok(Deletion { refused, ..Deletion::default() });
    }
    let event = |planned: &mut Planned| {
        NewEvent::new(EventBody::JobDeleted(std::mem::take(&mut planned.deleted))).job(planned.job)
    };
    let mut streams = Vec::new();
    for planned in &planned {
        streams.push(StreamId::Job(planned.job));
        streams.extend(planned.deleted.sessions.iter().copied().map(StreamId::Session));
    }
    let events = planned.iter_mut().map(event).collect();
    let append = Append::new(StreamId::System, Expected::Any, events);
    let position = inner.log.append_when_ready(append, Hurry::AtOnce).await?.last_position;
    inner.applied(position).await?;
    drop(alone);
    // Whoever submits one of them from here on stores it anew.
    planned.iter().for_each(|planned| inner.sources.forget(&planned.script));
    let removed = remove(inner.options.threads, removal, streams, position).await?;
    Ok(Deletion { deleted: planned.into_iter().map(|planned| planned.job).collect(), refused, removed })
}

type Refused = Vec<(JobId, CommandError)>;

impl Inner {
    /// Which of the jobs may be deleted, with what goes with each, and which may not.
    fn plan(&self, jobs: Vec<Delete>) -> Result<(Vec<Planned>, Refused), CommandError> {
        let needed = self.views.with(NeededJobs::of);
        let (mut planned, mut refused) = (Vec::with_capacity(jobs.len()), Vec::new());
        let mut seen = BTreeSet::new();
        for delete in jobs.into_iter().filter(|delete| seen.insert(delete.job)) {
            let job = delete.job;
            match self.plan_one(&needed, delete) {
                Ok(one) => planned.push(one),
                Err(CommandError::Unavailable(error)) => return Err(CommandError::Unavailable(error)),
                Err(why) => refused.push((job, why)),
            }
        }
        Ok((planned, refused))
    }

    /// The job, where it has ended and no other needs it.
    fn deletable(&self, needed: &NeededJobs, job: &JobId) -> Result<Arc<JobState>, CommandError> {
        let state = self.views.job(job)?.ok_or(CommandError::NoSuchJob)?;
        let parent = match &state.submitted.parent {
            Some(parent) => self.views.job(&parent.job)?,
            None => None,
        };
        decide_delete(needed, &state, parent.as_deref())?;
        Ok(state)
    }

    fn plan_one(&self, needed: &NeededJobs, delete: Delete) -> Result<Planned, CommandError> {
        let Delete { job, reason, exported } = delete;
        let state = self.deletable(needed, &job)?;
        let mut deleted = JobDeleted { reason, exported, ..JobDeleted::default() };
        for session in read_job(&self.log, &job, &mut deleted)? {
            let Some(session) = self.views.session(&session)? else { continue };
            if is_own(&self.log, &job, &session)? {
                deleted.sessions.push(session.id);
            } else {
                decide_delete_in_session(job, &session)?;
                deleted.in_sessions.push(session.id);
            }
        }
        Ok(Planned { job, script: state.submitted.script_hash, deleted })
    }
}

/// Reads a job's events: how many there are and where, and the sessions that they name.
fn read_job(log: &Log, job: &JobId, deleted: &mut JobDeleted) -> Result<BTreeSet<SessionId>, ReadError> {
    let (stream, mut after, mut sessions) = (StreamId::Job(*job), 0, BTreeSet::new());
    loop {
        let events = log.read_stream(&stream, after, READ_EVENTS)?;
        let (Some(first), Some(last)) = (events.first(), events.last()) else { return Ok(sessions) };
        if after == 0 {
            deleted.first_position = first.position;
        }
        (after, deleted.last_position) = (last.version, last.position);
        deleted.events += events.len() as u64;
        sessions.extend(events.iter().filter_map(|event| event.session));
    }
}

/// Whether an agent of the job made the session for itself, and nobody else has used it, nor works in it.
fn is_own(log: &Log, job: &JobId, session: &SessionState) -> Result<bool, ReadError> {
    let made_by = session.agent.to_value()["job"] == job.to_string();
    let at_rest = session.jobs.is_empty() && session.processes.is_empty() && session.chat.queue.is_empty();
    let has_workspace = session.workspace.is_some() && !session.is_settled();
    if !made_by || !at_rest || has_workspace {
        return Ok(false);
    }
    let (stream, mut after) = (StreamId::Session(session.id), 0);
    loop {
        let events = log.read_stream(&stream, after, READ_EVENTS)?;
        let Some(last) = events.last() else { return Ok(true) };
        after = last.version;
        let of_others = |body: &EventBody| match body {
            EventBody::SessionTurnStarted(turn) | EventBody::SessionTurnEnded(turn) => turn.job != *job,
            EventBody::ChatMessageAdded(_) | EventBody::ChatMessageQueued(_) => true,
            _ => false,
        };
        if events.iter().any(|event| of_others(&event.body)) {
            return Ok(false);
        }
    }
}

async fn remove(
    threads: Threads,
    removal: Removal,
    streams: Vec<StreamId>,
    through: u64,
) -> Result<RemovedCounts, ReadError> {
    let removed = threads.begin(move || removal.remove_unswept(&streams, through));
    removed.await.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()))
}

/// Carries out the deletions that were recorded and not carried out.
pub(crate) async fn finish(log: &Log, threads: Threads) -> Result<(), StartError> {
    if log.is_poisoned().is_some() {
        return Ok(());
    }
    let through = log.removed_through()?;
    let (mut before, mut last, mut streams) = (u64::MAX, 0, Vec::new());
    'pages: loop {
        let events = log.read_stream_back(&StreamId::System, before, READ_EVENTS)?;
        let Some(oldest) = events.last() else { break };
        before = oldest.version;
        for event in &events {
            if event.position <= through {
                break 'pages;
            }
            if let (EventBody::JobDeleted(deleted), Some(job)) = (&event.body, event.job) {
                last = event.position.max(last);
                streams.push(StreamId::Job(job));
                streams.extend(deleted.sessions.iter().copied().map(StreamId::Session));
            }
        }
    }
    if !streams.is_empty() {
        tracing::info!(streams = streams.len(), "a deletion that was cut off is carried out");
        let Ok(removal) = log.begin_removal().await else { return Ok(()) };
        remove(threads, removal, streams, last).await?;
    }
    Ok(())
}
