//! The one read model of a server: the projection behind a lock, with what it has stored.

use super::{
    JobFilter, JobState, JobView, KeyUse, Page, ProcessPlace, Projection, SessionState, TokenUse, job_index, job_row,
    rows::{RowError, beginning},
    snapshot::{self, SaveError, Stored},
    sweep::{self, Sweep},
};
use crate::{
    event::{Event, StreamId},
    id::{JobId, ProcessId},
    log::{Log, ReadError},
    storage::{Storage, StorageError},
};
use std::{
    sync::{
        Arc, Mutex, PoisonError, RwLock,
        atomic::{AtomicU64, Ordering},
        mpsc,
    },
    thread,
};
use tokio::sync::watch;

/// How many events are read at a time.
const READ_EVENTS: usize = 4_096;
/// How many stored jobs are read at a time.
const READ_JOBS: usize = 64;

/// How the read model is kept.
#[derive(Debug, Clone)]
pub struct ViewsOptions {
    /// After how many events a checkpoint is due.
    pub checkpoint_events: u64,
    /// Or when the ended jobs since the last one take up this much, in bytes.
    pub checkpoint_ended_bytes: usize,
    /// How many stored jobs a page of a list looks at.
    pub page_rows: usize,
}

impl Default for ViewsOptions {
    fn default() -> Self {
        Self { checkpoint_events: 50_000, checkpoint_ended_bytes: 16 << 20, page_rows: 50_000 }
    }
}

/// The read model. Clones share it.
#[derive(Clone)]
pub struct Views {
    shared: Arc<Shared>,
}

struct Shared {
    log: Log,
    options: ViewsOptions,
    projection: RwLock<Projection>,
    applied: watch::Sender<u64>,
    /// Held while a checkpoint is made: there is one at a time.
    stored: Mutex<Stored>,
    stored_position: AtomicU64,
    /// Whether what is stored counts. Else all is in memory, and none of it is stored.
    has_rows: bool,
}

impl Views {
    /// Loads the last checkpoint and folds what came after it.
    ///
    /// # Errors
    /// Where the log cannot be read. A checkpoint that cannot be used is not an error: it is made anew, or done without.
    pub fn open(log: &Log, options: ViewsOptions) -> Result<Self, ReadError> {
        let head = log.head();
        let loaded = snapshot::load(storage_of(log)).filter(|(projection, _)| projection.is_within(head));
        let mut has_rows = true;
        let (projection, stored) = loaded.unwrap_or_else(|| {
            if let Err(error) = snapshot::clear(storage_of(log)) {
                tracing::warn!(%error, "a checkpoint that cannot be used cannot be deleted: everything stays in memory");
                has_rows = false;
            }
            Default::default()
        });
        let views = Self {
            shared: Arc::new(Shared {
                log: log.clone(),
                options,
                applied: watch::Sender::new(projection.applied()),
                projection: RwLock::new(projection),
                stored_position: AtomicU64::new(stored.position),
                stored: Mutex::new(stored),
                has_rows,
            }),
        };
        views.catch_up()?;
        Ok(views)
    }

    /// Reads and folds all that is durable and was not folded yet. Of many events the next ones are read while the last ones
    /// are folded: a start waits for it.
    ///
    /// # Errors
    /// Where the log cannot be read.
    pub fn catch_up(&self) -> Result<(), ReadError> {
        let log = &self.shared.log;
        let (first, behind) = (self.applied(), log.head().saturating_sub(self.applied()));
        if behind > READ_EVENTS as u64 {
            thread::scope(|scope| {
                let (pages, read) = mpsc::sync_channel(1);
                scope.spawn(move || {
                    let mut after = first;
                    loop {
                        let page = log.read(after, READ_EVENTS);
                        let last = page.as_ref().ok().and_then(|events| Some(events.last()?.position));
                        // Who does not receive it has failed, or is through.
                        if pages.send(page).is_err() {
                            return;
                        }
                        let Some(last) = last else { return };
                        after = last;
                    }
                });
                for page in read {
                    self.fold(&page?);
                }
                Ok::<_, ReadError>(())
            })?;
        }
        // What has come meanwhile, or was all there is.
        loop {
            let events = log.read(self.applied(), READ_EVENTS)?;
            if events.is_empty() {
                return Ok(());
            }
            self.fold(&events);
        }
    }

    /// Folds a page of a long history, and stores a checkpoint where it is time for one.
    fn fold(&self, events: &[Arc<Event>]) {
        self.advance(events);
        // Near the head, whoever goes on folding stores the next checkpoint: nobody waits for that one.
        let left = self.shared.log.head().saturating_sub(self.applied());
        let options = &self.shared.options;
        let is_large = || self.with(|all| all.ended_bytes) >= options.checkpoint_ended_bytes;
        if (left >= options.checkpoint_events || is_large())
            && self.checkpoint_due()
            && let Err(error) = self.checkpoint()
        {
            // The next start takes longer; nothing else depends on it.
            tracing::warn!(%error, "no checkpoint could be stored");
        }
    }

    /// Folds the next durable events; those that were folded before change nothing.
    pub fn advance(&self, events: &[Arc<Event>]) {
        let applied = {
            let mut projection = self.shared.projection.write().unwrap_or_else(PoisonError::into_inner);
            for event in events {
                projection.apply(event);
            }
            projection.applied()
        };
        self.retell_sessions(events);
        self.shared.applied.send_if_modified(|seen| {
            let newer = *seen < applied;
            *seen = applied.max(*seen);
            newer
        });
    }

    /// The position of the last event that was folded.
    pub fn applied(&self) -> u64 {
        *self.shared.applied.borrow()
    }

    /// A watch of [`Self::applied`], for those who wait for their own events.
    pub fn watch_applied(&self) -> watch::Receiver<u64> {
        self.shared.applied.subscribe()
    }

    /// Looks at the projection as it is now. Nothing can be folded meanwhile: keep it short.
    pub fn with<R>(&self, f: impl FnOnce(&Projection) -> R) -> R {
        f(&self.shared.projection.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// The job, ended or not.
    ///
    /// # Errors
    /// Where the storage fails.
    pub fn job(&self, id: &JobId) -> Result<Option<Arc<JobState>>, ReadError> {
        // In this order: a checkpoint stores a job before it leaves memory.
        match self.with(|all| all.job(id).cloned().ok_or_else(|| all.deleted.position(id))) {
            Ok(job) => return Ok(Some(job)),
            // Its row may still be there.
            Err(Some(_)) => return Ok(None),
            Err(None) => {}
        }
        let Some(rows) = self.rows() else { return Ok(None) };
        match snapshot::ended_job(rows, id) {
            Ok(job) => Ok(job.map(Arc::new)),
            Err(RowError::Storage(error @ StorageError::Io { .. })) => Err(error.into()),
            Err(_) => self.job_from_log(id),
        }
    }

    /// The position of the event that says that a job was deleted, where it was and did not come back.
    ///
    /// # Errors
    /// Where the storage fails.
    pub fn deleted(&self, id: &JobId) -> Result<Option<u64>, ReadError> {
        if let Some(position) = self.with(|all| all.deleted.position(id)) {
            return Ok(Some(position));
        }
        let position = self.stored(|storage| snapshot::deleted_job(storage, id), "a deleted job")?;
        // Asked for last: it is rarely there.
        Ok(if position.is_some() && self.job(id)?.is_some() { None } else { position })
    }

    /// The jobs that fit `filter`, newest first, from behind `cursor` on. A page ends early where it has looked at many
    /// that do not fit.
    ///
    /// # Errors
    /// Where the storage fails.
    pub fn jobs(&self, filter: &JobFilter, cursor: Option<JobId>, limit: usize) -> Result<Page<JobView>, ReadError> {
        // One more than asked for tells whether there is a next page. Memory first, as in `job`.
        let wanted = limit.max(1).saturating_add(1);
        let mut found = self.with(|all| all.jobs_before(cursor, filter, wanted));
        // Those that have ended are stored.
        let looked = if filter.wants_ended() { self.add_stored(&mut found, filter, cursor, wanted)? } else { None };
        let more = found.len() == wanted;
        found.truncate(wanted - 1);
        let next = if more { found.last().map(|job| job.id) } else { looked };
        Ok(Page { items: found.iter().map(|job| job.view()).collect(), next })
    }

    /// Merges stored jobs into `found`, newest first, and keeps the `wanted` newest of both. Gives where it has stopped to
    /// look, where it has seen enough rows: then only those before it are in `found`.
    fn add_stored(
        &self,
        found: &mut Vec<Arc<JobState>>,
        filter: &JobFilter,
        cursor: Option<JobId>,
        wanted: usize,
    ) -> Result<Option<JobId>, ReadError> {
        let oldest_wanted = if found.len() == wanted { found.last().map(|job| job.id) } else { None };
        let Some(rows) = self.rows() else { return Ok(None) };
        let facet = job_index::facet_of(filter);
        let mut stored = Vec::new();
        let mut before = cursor;
        let mut left = self.shared.options.page_rows;
        'pages: loop {
            if left == 0 {
                break;
            }
            let at_once = left.min(READ_JOBS);
            let entries = match &facet {
                Some(facet) => snapshot::entries_with(rows, facet, before, at_once)?,
                None => snapshot::ended_entries(rows, before, at_once)?,
            };
            left -= entries.len();
            let Some((last, _)) = entries.last() else { break };
            before = Some(*last);
            for (id, first) in entries {
                if stored.len() == wanted || oldest_wanted.is_some_and(|oldest| id <= oldest) {
                    break 'pages;
                }
                // What cannot be told from the beginning of a row is told from all of it.
                if job_row::filter_parts(beginning(&first)).is_ok_and(|parts| !filter.fits_stored(&parts)) {
                    continue;
                }
                stored.extend(self.job(&id)?.filter(|job| filter.fits(job)));
            }
        }
        found.extend(stored);
        found.sort_by_key(|job| std::cmp::Reverse(job.id));
        found.dedup_by_key(|job| job.id);
        let looked = before.filter(|_| left == 0);
        found.retain(|job| looked.is_none_or(|looked| job.id >= looked));
        found.truncate(wanted);
        Ok(looked)
    }

    /// The first use of an idempotency key.
    ///
    /// # Errors
    /// Where the storage fails.
    pub fn idempotent(&self, key: &str) -> Result<Option<KeyUse>, ReadError> {
        if let Some(first_use) = self.with(|all| all.keys().get(key).cloned()) {
            return Ok(Some(first_use));
        }
        let first_use = self.stored(|storage| snapshot::key_use(storage, key), "an idempotency key")?;
        match first_use {
            Some(first_use) if self.deleted(&first_use.job)?.is_some() => Ok(None),
            first_use => Ok(first_use),
        }
    }

    /// The first use of a client's token for processes.
    ///
    /// # Errors
    /// Where the storage fails.
    pub fn token_use(&self, token: &str) -> Result<Option<TokenUse>, ReadError> {
        if let Some(first_use) = self.with(|all| all.tokens().get(token).copied()) {
            return Ok(Some(first_use));
        }
        let first_use = self.stored(|storage| snapshot::token_use(storage, token), "a client's token")?;
        match first_use {
            Some(first_use) if self.is_of_deleted(&first_use.process)? => Ok(None),
            first_use => Ok(first_use),
        }
    }

    /// Where a job's process begins.
    ///
    /// # Errors
    /// Where the storage fails.
    pub fn process_place(&self, process: &ProcessId) -> Result<Option<ProcessPlace>, ReadError> {
        if let Some(place) = self.with(|all| all.places().get(process)) {
            return Ok(Some(place));
        }
        match self.stored_place(process)? {
            Some(place) if self.deleted(&place.job)?.is_some() => Ok(None),
            place => Ok(place),
        }
    }

    fn stored_place(&self, process: &ProcessId) -> Result<Option<ProcessPlace>, ReadError> {
        self.stored(|storage| snapshot::process_place(storage, process), "a process's place")
    }

    fn is_of_deleted(&self, process: &ProcessId) -> Result<bool, ReadError> {
        let here = self.with(|all| all.places().get(process));
        let Some(place) = here.map_or_else(|| self.stored_place(process), |here| Ok(Some(here)))? else {
            return Ok(false);
        };
        Ok(self.deleted(&place.job)?.is_some())
    }

    /// Whether so much was folded since the last checkpoint that the next is due.
    pub fn checkpoint_due(&self) -> bool {
        let events = self.applied().saturating_sub(self.shared.stored_position.load(Ordering::Relaxed));
        let options = &self.shared.options;
        let is_due = || {
            events >= options.checkpoint_events || self.with(|all| all.ended_bytes) >= options.checkpoint_ended_bytes
        };
        self.rows().is_some() && is_due()
    }

    /// Stores the projection as it is now, so that the next start folds only what comes after, and lets go of the
    /// jobs that have ended. Folding and reading go on meanwhile.
    ///
    /// # Errors
    /// Where the storage fails; then the last checkpoint stays.
    pub fn checkpoint(&self) -> Result<(), ReadError> {
        let Some(rows) = self.rows() else { return Ok(()) };
        let mut stored = self.shared.stored.lock().unwrap_or_else(PoisonError::into_inner);
        self.save(rows, &mut stored)?;
        self.sweep_on(rows, &mut stored).map(drop)
    }

    /// Stores the projection as it is now, and drops every row that deleted jobs have left: to be done before the disk shall get
    /// its room back.
    ///
    /// # Errors
    /// As [`Self::checkpoint`].
    pub fn sweep(&self) -> Result<(), ReadError> {
        let Some(rows) = self.rows() else { return Ok(()) };
        let mut stored = self.shared.stored.lock().unwrap_or_else(PoisonError::into_inner);
        self.save(rows, &mut stored)?;
        while self.sweep_on(rows, &mut stored)? {}
        Ok(())
    }

    /// Looks at some more rows, where there is reason to. Whether there is more to look at.
    fn sweep_on(&self, rows: &dyn Storage, stored: &mut Stored) -> Result<bool, ReadError> {
        if stored.sweep.is_none() && stored.sweep_again {
            (stored.sweep, stored.sweep_again) = (Some(Sweep::new(stored.position)), false);
        }
        let Some(sweep) = &mut stored.sweep else { return Ok(false) };
        if !sweep.go_on(rows, self)? {
            stored.sweep = None;
        }
        Ok(stored.sweep.is_some() || stored.sweep_again)
    }

    fn save(&self, rows: &dyn Storage, stored: &mut Stored) -> Result<(), ReadError> {
        let now = self.with(Projection::clone);
        if now.applied() == stored.position {
            return Ok(());
        }
        snapshot::save(rows, &now, stored).map_err(|error| match error {
            SaveError::Storage(error) => ReadError::Storage(error),
            SaveError::Codec(source) => ReadError::Event { position: now.applied(), source },
        })?;
        self.shared.stored_position.store(stored.position, Ordering::Relaxed);
        self.shared.projection.write().unwrap_or_else(PoisonError::into_inner).forget(&now);
        Ok(())
    }

    /// The job as its stream tells it, for when its row is no good.
    fn job_from_log(&self, id: &JobId) -> Result<Option<Arc<JobState>>, ReadError> {
        let stream = StreamId::Job(*id);
        let mut job: Option<JobState> = None;
        loop {
            let after = job.as_ref().map_or(0, |job| job.version);
            let events = self.shared.log.read_stream(&stream, after, READ_EVENTS)?;
            if events.is_empty() {
                return Ok(job.map(Arc::new));
            }
            for event in events {
                match &mut job {
                    Some(job) => job.apply(&event),
                    None => job = JobState::from_submitted(&event),
                }
            }
            if job.is_none() {
                return Ok(None);
            }
        }
    }

    /// A stored value. A damaged one is not to be answered as if there were none.
    fn stored<T>(
        &self,
        read: impl FnOnce(&dyn Storage) -> Result<Option<T>, RowError>,
        what: &str,
    ) -> Result<Option<T>, ReadError> {
        let Some(rows) = self.rows() else { return Ok(None) };
        read(rows).map_err(|error| match error {
            RowError::Storage(error) => error.into(),
            error @ RowError::Damaged => StorageError::Damaged(format!("{what}: {error}")).into(),
        })
    }

    pub(super) fn replace_session(&self, session: SessionState) {
        self.shared.projection.write().unwrap_or_else(PoisonError::into_inner).sessions.restore(session);
    }

    pub(super) fn log(&self) -> &Log {
        &self.shared.log
    }

    /// What is stored, where it counts.
    pub(super) fn rows(&self) -> Option<&dyn Storage> {
        self.shared.has_rows.then(|| storage_of(&self.shared.log))
    }
}

impl sweep::Deleted for Views {
    fn position(&self, job: &JobId) -> Result<Option<u64>, ReadError> {
        self.deleted(job)
    }
}

fn storage_of(log: &Log) -> &dyn Storage {
    &**log.storage()
}
