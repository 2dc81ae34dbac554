//! Everything that a server keeps in memory of its log.

use super::{
    ClientTokens, IdempotencyKeys, JobFilter, JobState, KeyCounts, OpenApproval, ProcessPlaces, Processes, Queues,
    Schedules, Sessions, Webhooks,
    deleted::{Deleted, DeletedJob},
};
use crate::{
    event::{Event, EventBody, JobDeleted, StreamId},
    id::JobId,
};
use std::{collections::BTreeMap, ops::Bound, sync::Arc};

/// The fold of the log's events, in the order of their positions.
///
/// Jobs stay here until they have ended and a checkpoint has stored them. Cloning is cheap beside its size: what is
/// large is shared, and copied when it changes.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Projection {
    pub(super) applied: u64,
    pub(super) jobs: BTreeMap<JobId, Arc<JobState>>,
    pub(super) queues: Queues,
    pub(super) processes: Processes,
    pub(super) schedules: Schedules,
    pub(super) webhooks: Webhooks,
    pub(super) sessions: Sessions,
    pub(super) keys: IdempotencyKeys,
    pub(super) tokens: ClientTokens,
    pub(super) places: ProcessPlaces,
    pub(super) deleted: Deleted,
    /// About how much the ended jobs take up that are still here, in bytes.
    pub(super) ended_bytes: usize,
}

impl Projection {
    /// The state before the first event.
    pub fn new() -> Self {
        Self::default()
    }

    /// Folds the next event. An event that was folded before changes nothing.
    pub fn apply(&mut self, event: &Event) {
        if event.position <= self.applied {
            return;
        }
        self.applied = event.position;
        if event.process.is_some() {
            self.processes.apply(event);
            self.tokens.apply(event);
            self.places.apply(event);
        }
        self.sessions.apply(event);
        self.webhooks.apply(event);
        match (&event.stream, &event.body) {
            (StreamId::Job(_), EventBody::JobSubmitted(_)) => self.job_submitted(event),
            (StreamId::Job(id), _) => self.job_event(id, event),
            (_, EventBody::QueuePaused(change)) => self.queues.set_paused(&change.queue, true),
            (_, EventBody::QueueResumed(change)) => self.queues.set_paused(&change.queue, false),
            (StreamId::Schedule(_), _) => self.schedules.apply(event),
            (StreamId::System, EventBody::JobDeleted(deleted)) => self.job_deleted(event, deleted),
            _ => {}
        }
    }

    /// What came of the job's events, as if they had never been. What is left of sessions that it took part in cannot be
    /// told from here: who reads the log tells it.
    fn job_deleted(&mut self, event: &Event, deleted: &JobDeleted) {
        let Some(id) = event.job else { return };
        let mut key = None;
        // A snapshot may hold a state of a job that was imported under the same id later.
        if let Some(job) = self.jobs.get(&id).filter(|job| job.applied < event.position).cloned() {
            key.clone_from(&job.submitted.idempotency_key);
            self.queues.leave(&job);
            if job.status.is_ended() {
                self.ended_bytes = self.ended_bytes.saturating_sub(ended_bytes(&job));
            }
            self.jobs.remove(&id);
        }
        self.keys.remove(&id);
        let places = &self.places;
        self.tokens.remove(|process| places.get(process).is_some_and(|place| place.job == id));
        self.places.remove(&id);
        self.processes.remove(id);
        for session in &deleted.sessions {
            self.sessions.remove(session, event.position);
            self.deleted.sessions.insert(*session);
        }
        for session in &deleted.in_sessions {
            self.sessions.lost_part(session, event.position);
        }
        self.deleted.jobs.insert(id, DeletedJob { position: event.position, key });
    }

    fn job_submitted(&mut self, event: &Event) {
        let Some(job) = JobState::from_submitted(event) else { return };
        // An import brings it back.
        self.deleted.jobs.remove(&job.id);
        self.keys.submitted(job.id, &job.submitted);
        if let Some(parent) = &job.submitted.parent {
            self.change_parent(&parent.job, event.position, |state| {
                state.child_submitted(job.id, &parent.step, event.position);
            });
        }
        // A snapshot may hold a state of this job that is newer than the rest of it.
        if !self.jobs.contains_key(&job.id) {
            self.queues.enter(&job);
            self.jobs.insert(job.id, Arc::new(job));
        }
    }

    fn job_event(&mut self, id: &JobId, event: &Event) {
        let Some(job) = self.jobs.get_mut(id) else { return };
        if event.position <= job.applied || job.status.is_ended() {
            return;
        }
        if !moves(&event.body) {
            Arc::make_mut(job).apply(event);
            return;
        }
        self.queues.leave(job);
        Arc::make_mut(job).apply(event);
        self.queues.enter(job);
        if !job.status.is_ended() {
            return;
        }
        self.ended_bytes += ended_bytes(job);
        if let Some(parent) = job.submitted.parent.clone() {
            let child = job.id;
            self.change_parent(&parent.job, event.position, |state| state.child_ended(child, event.position));
        }
    }

    fn change_parent(&mut self, parent: &JobId, position: u64, change: impl FnOnce(&mut JobState)) {
        match self.jobs.get_mut(parent) {
            Some(state) if !state.status.is_ended() && state.applied < position => change(Arc::make_mut(state)),
            _ => {}
        }
    }

    /// Lets go of the ended jobs, the settled sessions, and the keys, tokens and places that a checkpoint of `stored` has
    /// stored.
    pub(super) fn forget(&mut self, stored: &Self) {
        for job in stored.jobs.values().filter(|job| job.status.is_ended()) {
            self.jobs.remove(&job.id);
        }
        self.keys.forget(&stored.keys);
        self.tokens.forget(&stored.tokens);
        self.places.forget(&stored.places);
        self.sessions.forget(&stored.sessions);
        self.deleted.forget(&stored.deleted);
        self.ended_bytes = self.ended_bytes.saturating_sub(stored.ended_bytes);
    }

    /// Whether all of this comes from events up to `head`; a log that lost its end has less than was folded.
    pub(super) fn is_within(&self, head: u64) -> bool {
        self.applied <= head
            && self.jobs.values().all(|job| job.applied <= head)
            && self.sessions.iter().all(|session| session.position <= head)
    }

    /// At most `limit` of the jobs here that fit, newest first, from behind `cursor` on.
    pub(super) fn jobs_before(&self, cursor: Option<JobId>, filter: &JobFilter, limit: usize) -> Vec<Arc<JobState>> {
        let to = cursor.map_or(Bound::Unbounded, Bound::Excluded);
        let jobs = self.jobs.range((Bound::Unbounded, to)).rev().map(|(_, job)| job);
        jobs.filter(|job| filter.fits(job)).take(limit).cloned().collect()
    }

    /// The position of the last event that was folded.
    pub const fn applied(&self) -> u64 {
        self.applied
    }

    /// The job, unless it ended before the last checkpoint.
    pub fn job(&self, id: &JobId) -> Option<&Arc<JobState>> {
        self.jobs.get(id)
    }

    /// The jobs that are here, oldest first: those that have not ended, and those that have since the last checkpoint.
    pub fn jobs(&self) -> impl DoubleEndedIterator<Item = &Arc<JobState>> {
        self.jobs.values()
    }

    /// The jobs that have not ended, oldest first.
    pub fn live_jobs(&self) -> impl DoubleEndedIterator<Item = &Arc<JobState>> {
        self.jobs.values().filter(|job| !job.status.is_ended())
    }

    /// The queued jobs of a queue, in the order in which they should start. Some may not start yet: see
    /// [`JobState::not_before`].
    pub fn queued<'a>(&'a self, queue: &str) -> impl Iterator<Item = &'a Arc<JobState>> + use<'a> {
        self.queues.get(queue).into_iter().flat_map(|queue| queue.queued()).filter_map(|id| self.jobs.get(&id))
    }

    /// The queues that are paused or have jobs.
    pub const fn queues(&self) -> &Queues {
        &self.queues
    }

    /// How many jobs with this concurrency key have begun and not ended.
    pub fn with_key(&self, key: &str) -> KeyCounts {
        self.queues.with_key(key)
    }

    /// The processes that run, and the last that ended.
    pub const fn processes(&self) -> &Processes {
        &self.processes
    }

    /// The schedules that are set.
    pub const fn schedules(&self) -> &Schedules {
        &self.schedules
    }

    /// The webhooks that are or were configured.
    pub const fn webhooks(&self) -> &Webhooks {
        &self.webhooks
    }

    /// The sessions that are open, and those that were closed since the last checkpoint.
    pub const fn sessions(&self) -> &Sessions {
        &self.sessions
    }

    /// The idempotency keys that were used since the last checkpoint.
    pub const fn keys(&self) -> &IdempotencyKeys {
        &self.keys
    }

    /// The tokens under which clients have started processes since the last checkpoint.
    pub const fn tokens(&self) -> &ClientTokens {
        &self.tokens
    }

    /// Where the jobs' processes begin that were started since the last checkpoint.
    pub const fn places(&self) -> &ProcessPlaces {
        &self.places
    }

    /// The approvals that wait for a decision, oldest first.
    pub fn approvals(&self) -> Vec<OpenApproval> {
        let mut approvals: Vec<_> = self.live_jobs().flat_map(|job| job.open_approvals()).collect();
        approvals.sort_by_key(|approval| approval.position);
        approvals
    }
}

/// About how much an ended job takes up.
fn ended_bytes(job: &JobState) -> usize {
    size_of::<JobState>() + job.args().as_str().len() + job.result.as_ref().map_or(0, |result| result.as_str().len())
}

/// Whether the event changes where its job stands, and so what its queue counts.
const fn moves(body: &EventBody) -> bool {
    body.is_terminal()
        || matches!(
            body,
            EventBody::JobStarted(_)
                | EventBody::JobContinued(_)
                | EventBody::JobRetryScheduled(_)
                | EventBody::JobWaiting(_)
                | EventBody::JobResumed(_)
        )
}
