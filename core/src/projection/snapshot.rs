//! A projection as rows: what a checkpoint stores and a start loads. Derived data: whatever cannot be used is made
//! anew from the log.
//!
//! ```text
//! v/h           the head: schema number, position, paused queues, processes, schedules, webhooks
//! v/l/<job id>  a job that has not ended
//! v/e/<job id>  a job that has ended
//! v/s/<id>      a session that is open, or whose workspace is still to be closed
//! v/c/<id>      a session that is closed
//! v/k/<hash>    the first use of an idempotency key, by the key's hash
//! v/t/<hash>    the first use of a client's token for processes, by the token's hash
//! v/p/<id>      in which job's stream a process stands
//! v/d/<job id>  where a job was deleted
//! v/i/...       which ended jobs have what lists filter by: see `job_index`
//! v/m/...       further chunks of long rows
//! ```
//! A checkpoint writes only what has changed since the one before, so its rows come in two steps. First the changed
//! jobs, sessions, keys, tokens and places are put, then the live rows of what has ended are deleted and the head is put. A
//! crash in between leaves the old head with states that are ahead of it, which does no harm: a state skips the events that it
//! holds already, and one that has ended skips all. What else is left of deleted jobs is found by `sweep`.

use super::{
    JobState, Projection, SessionState,
    filter::FilterParts,
    job_index,
    job_row::{self, Parts},
    rows::{self, RowError},
    session_row,
    sweep::Sweep,
};
use crate::{
    codec::{self, CodecError, Decode, Encode},
    id::{Hash, JobId, ProcessId, SessionId},
    storage::{Direction, Space, Storage, StorageError, Write},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Bound,
    sync::Arc,
};

/// The number of the rows' form. It rises with every change to what is stored here or folded into it; other numbers
/// are not read.
pub(super) const SCHEMA: u32 = 11;

/// How many bytes, and how many keys, go into one write: a storage may let nothing else pass meanwhile, and the log's
/// appends should not wait long.
const BATCH_BYTES: usize = 256 << 10;
const BATCH_KEYS: usize = 256;

pub(super) const HEAD_KEY: &[u8] = b"v/h";
const LIVE: &[u8] = b"v/l/";
const ENDED: &[u8] = b"v/e/";
pub(super) const KEY: &[u8] = b"v/k/";
pub(super) const TOKEN: &[u8] = b"v/t/";
pub(super) const PLACE: &[u8] = b"v/p/";
const DELETED: &[u8] = b"v/d/";
const OPEN_SESSION: &[u8] = b"v/s/";
const CLOSED_SESSION: &[u8] = b"v/c/";

#[derive(Encode, Decode)]
struct Head {
    position: u64,
    paused: Vec<String>,
    processes: u64,
    schedules: u64,
    webhooks: u64,
}

/// What is known of the rows besides what is in them.
#[derive(Debug, Default)]
pub(super) struct Stored {
    /// The position of the last checkpoint; 0 where there is none.
    pub(super) position: u64,
    /// The jobs with a live row, one that a failed checkpoint put included, with the longest it ever was, in bytes.
    live: BTreeMap<JobId, usize>,
    /// The same for sessions.
    open_sessions: BTreeMap<SessionId, usize>,
    /// What looks for rows of deleted jobs now.
    pub(super) sweep: Option<Sweep>,
    /// Whether it has to look again behind that.
    pub(super) sweep_again: bool,
}

/// Why a checkpoint could not be stored.
#[derive(Debug, thiserror::Error)]
pub(super) enum SaveError {
    #[error(transparent)]
    Storage(#[from] StorageError),
    #[error(transparent)]
    Codec(#[from] CodecError),
}

/// Stores what has changed in `all` since the checkpoint that `stored` tells of.
pub(super) fn save(storage: &dyn Storage, all: &Projection, stored: &mut Stored) -> Result<(), SaveError> {
    let mut batch = Batch { storage, writes: Vec::new(), bytes: 0 };
    // First, since what was deleted may have come back since.
    delete_rows(&mut batch, all, stored)?;
    let (mut gone, mut ended) = (Vec::new(), BTreeSet::new());
    let changed = all.jobs.values().filter(|job| job.applied > stored.position);
    for job in changed {
        let row = job_row::encode(job)?;
        if job.status.is_ended() {
            batch.put(ended_key(&job.id), &row)?;
            let index = job_index::keys(&job.id, &FilterParts::of(job)).into_iter();
            batch.writes.extend(index.map(|key| Write::put(Space::Snapshots, key, [])));
            if let Some(len) = stored.live.get(&job.id) {
                rows::delete(live_key(&job.id), *len, &mut gone);
                ended.insert(job.id);
            }
            continue;
        }
        let longest = stored.live.entry(job.id).or_default();
        *longest = row.len().max(*longest);
        batch.put(live_key(&job.id), &row)?;
    }
    let mut settled = BTreeSet::new();
    let changed = all.sessions.iter().filter(|session| session.position > stored.position);
    for session in changed {
        let row = session_row::encode(session)?;
        if session.is_settled() {
            batch.put(key_of(CLOSED_SESSION, session.id.as_bytes()), &row)?;
            if let Some(len) = stored.open_sessions.get(&session.id) {
                rows::delete(key_of(OPEN_SESSION, session.id.as_bytes()), *len, &mut gone);
                settled.insert(session.id);
            }
            continue;
        }
        let longest = stored.open_sessions.entry(session.id).or_default();
        *longest = row.len().max(*longest);
        batch.put(key_of(OPEN_SESSION, session.id.as_bytes()), &row)?;
    }
    for (key, first_use) in all.keys.iter() {
        batch.put(hashed(KEY, key), &codec::encode(first_use)?)?;
    }
    for (token, first_use) in all.tokens.iter() {
        batch.put(hashed(TOKEN, token), &codec::encode(first_use)?)?;
    }
    for (process, place) in all.places.iter() {
        batch.put(place_key(process), &codec::encode(place)?)?;
    }
    batch.flush()?;
    for writes in gone.chunks(BATCH_KEYS) {
        storage.write(writes.to_vec())?;
    }
    storage.write(head_writes(all)?)?;
    stored.position = all.applied;
    stored.live.retain(|job, _| !ended.contains(job));
    stored.open_sessions.retain(|session, _| !settled.contains(session));
    Ok(())
}

/// Deletes the rows of deleted jobs and of the sessions that went with them, and notes the jobs.
fn delete_rows(batch: &mut Batch<'_>, all: &Projection, stored: &mut Stored) -> Result<(), SaveError> {
    let storage = batch.storage;
    stored.sweep_again |= !all.deleted.jobs.is_empty();
    for (id, deleted) in &all.deleted.jobs {
        let mut key = deleted.key.clone();
        if let Ok(Some(job)) = ended_job(storage, id) {
            let index = job_index::keys(id, &FilterParts::of(&job)).into_iter();
            batch.writes.extend(index.map(|key| Write::delete(Space::Snapshots, key)));
            key = key.or_else(|| job.submitted.idempotency_key.clone());
        }
        if let Some(key) = key
            && matches!(key_use(storage, &key), Ok(Some(first)) if first.job == *id)
        {
            rows::delete_stored(storage, hashed(KEY, &key), &mut batch.writes)?;
        }
        rows::delete_stored(storage, ended_key(id), &mut batch.writes)?;
        rows::delete_stored(storage, live_key(id), &mut batch.writes)?;
        stored.live.remove(id);
        batch.put(key_of(DELETED, id.as_bytes()), &codec::encode(&deleted.position)?)?;
    }
    for id in &all.deleted.sessions {
        rows::delete_stored(storage, key_of(CLOSED_SESSION, id.as_bytes()), &mut batch.writes)?;
        rows::delete_stored(storage, key_of(OPEN_SESSION, id.as_bytes()), &mut batch.writes)?;
        stored.open_sessions.remove(id);
    }
    batch.flush()?;
    Ok(())
}

fn head_writes(all: &Projection) -> Result<Vec<Write>, CodecError> {
    let paused = all.queues.iter().filter(|(_, queue)| queue.paused).map(|(name, _)| name.to_string()).collect();
    let processes: Vec<_> = all.processes.iter().collect();
    let mut row = codec::encode(&SCHEMA)?;
    let (schedules, webhooks) = (all.schedules.iter(), all.webhooks.iter());
    row.extend(codec::encode(&Head {
        position: all.applied,
        paused,
        processes: processes.len() as u64,
        schedules: schedules.len() as u64,
        webhooks: webhooks.len() as u64,
    })?);
    for process in processes {
        row.extend(codec::encode(&**process)?);
    }
    for schedule in schedules {
        row.extend(codec::encode(schedule)?);
    }
    for webhook in webhooks {
        row.extend(codec::encode(webhook)?);
    }
    let mut writes = Vec::new();
    rows::put(HEAD_KEY.to_vec(), &row, &mut writes);
    Ok(writes)
}

/// The projection as of the last checkpoint, or `None` where there is none that can be used.
pub(super) fn load(storage: &dyn Storage) -> Option<(Projection, Stored)> {
    try_load(storage).unwrap_or_else(|error| {
        tracing::warn!(%error, "the last checkpoint cannot be used; it is made anew from the log");
        None
    })
}

#[derive(Debug, thiserror::Error)]
enum LoadError {
    #[error(transparent)]
    Row(#[from] RowError),
    #[error(transparent)]
    Codec(#[from] CodecError),
    #[error("it has schema {0}, not {SCHEMA}")]
    Schema(u32),
}

fn try_load(storage: &dyn Storage) -> Result<Option<(Projection, Stored)>, LoadError> {
    let Some(row) = rows::get(storage, HEAD_KEY)? else { return Ok(None) };
    let mut parts = Parts { rest: &row };
    let schema = parts.next()?;
    if schema != SCHEMA {
        return Err(LoadError::Schema(schema));
    }
    let head: Head = parts.next()?;
    let mut all = Projection { applied: head.position, ..Projection::default() };
    for _ in 0..head.processes {
        all.processes.restore(parts.next()?);
    }
    for _ in 0..head.schedules {
        all.schedules.restore(parts.next()?);
    }
    for _ in 0..head.webhooks {
        all.webhooks.restore(parts.next()?);
    }
    for queue in &head.paused {
        all.queues.set_paused(queue, true);
    }
    let mut stored = Stored { position: head.position, ..Stored::default() };
    each_row(storage, LIVE, |row| {
        let job = job_row::decode(row)?;
        stored.live.insert(job.id, row.len());
        all.queues.enter(&job);
        all.jobs.insert(job.id, Arc::new(job));
        Ok(())
    })?;
    each_row(storage, OPEN_SESSION, |row| {
        let session = session_row::decode(row)?;
        stored.open_sessions.insert(session.id, row.len());
        all.sessions.restore(session);
        Ok(())
    })?;
    // The last server may not have come to the end of it.
    let (from, to) = (Bound::Included(DELETED.to_vec()), Bound::Excluded(after(DELETED)));
    let deleted = storage.scan(Space::Snapshots, from, to, Direction::Forward, 1).map_err(RowError::Storage)?;
    stored.sweep_again = !deleted.is_empty();
    Ok(Some((all, stored)))
}

/// Reads the rows whose keys begin with `prefix`, in the order of their keys.
fn each_row(
    storage: &dyn Storage,
    prefix: &[u8],
    mut take: impl FnMut(&[u8]) -> Result<(), LoadError>,
) -> Result<(), LoadError> {
    let mut from = Bound::Included(prefix.to_vec());
    loop {
        let entries = storage
            .scan(Space::Snapshots, from, Bound::Excluded(after(prefix)), Direction::Forward, 256)
            .map_err(RowError::Storage)?;
        let Some((last, _)) = entries.last() else { return Ok(()) };
        from = Bound::Excluded(last.clone());
        for (key, first) in entries {
            take(&rows::whole(storage, &key, first)?)?;
        }
    }
}

/// Deletes every row.
pub(super) fn clear(storage: &dyn Storage) -> Result<(), StorageError> {
    // The head first: without it the rest is nothing.
    storage.write(vec![Write::delete(Space::Snapshots, HEAD_KEY)])?;
    loop {
        let (from, to) = (Bound::Included(b"v/".to_vec()), Bound::Excluded(after(b"v/")));
        let entries = storage.scan(Space::Snapshots, from, to, Direction::Forward, 256)?;
        if entries.is_empty() {
            return Ok(());
        }
        storage.write(entries.into_iter().map(|(key, _)| Write::delete(Space::Snapshots, key)).collect())?;
    }
}

/// The job, where it has ended and is stored.
pub(super) fn ended_job(storage: &dyn Storage, id: &JobId) -> Result<Option<JobState>, RowError> {
    match rows::get(storage, &ended_key(id))? {
        Some(row) => job_row::decode(&row).map(Some).map_err(|_| RowError::Damaged),
        None => Ok(None),
    }
}

/// The first entries of at most `limit` ended jobs' rows, newest job first, from behind `before` on.
pub(super) fn ended_entries(
    storage: &dyn Storage,
    before: Option<JobId>,
    limit: usize,
) -> Result<Vec<(JobId, Vec<u8>)>, StorageError> {
    let to = Bound::Excluded(before.map_or_else(|| after(ENDED), |id| ended_key(&id)));
    let entries = storage.scan(Space::Snapshots, Bound::Included(ENDED.to_vec()), to, Direction::Backward, limit)?;
    let id = |key: &[u8]| key.strip_prefix(ENDED).and_then(|id| id.try_into().ok()).map(JobId::from_bytes);
    Ok(entries.into_iter().filter_map(|(key, value)| Some((id(&key)?, value))).collect())
}

/// The same for those that have a facet. They may have been stored anew since with another.
pub(super) fn entries_with(
    storage: &dyn Storage,
    facet: &job_index::FacetKey,
    before: Option<JobId>,
    limit: usize,
) -> Result<Vec<(JobId, Vec<u8>)>, StorageError> {
    let jobs = job_index::jobs_before(storage, facet, before, limit)?.into_iter();
    // A row that is gone still moves the cursor on.
    let row = |id: JobId| Ok((id, storage.get(Space::Snapshots, &ended_key(&id))?.unwrap_or_default()));
    jobs.map(row).collect()
}

/// The session, where it is settled and stored.
pub(super) fn closed_session(storage: &dyn Storage, id: &SessionId) -> Result<Option<SessionState>, RowError> {
    match rows::get(storage, &key_of(CLOSED_SESSION, id.as_bytes()))? {
        Some(row) => session_row::decode(&row).map(Some).map_err(|_| RowError::Damaged),
        None => Ok(None),
    }
}

/// At most `limit` settled sessions that are stored, newest first, from behind `before` on.
pub(super) fn closed_sessions(
    storage: &dyn Storage,
    before: Option<SessionId>,
    limit: usize,
) -> Result<Vec<SessionId>, StorageError> {
    let to = before.map_or_else(|| after(CLOSED_SESSION), |id| key_of(CLOSED_SESSION, id.as_bytes()));
    let from = Bound::Included(CLOSED_SESSION.to_vec());
    let entries = storage.scan(Space::Snapshots, from, Bound::Excluded(to), Direction::Backward, limit)?;
    let id = |key: &[u8]| key.strip_prefix(CLOSED_SESSION).and_then(|id| id.try_into().ok()).map(SessionId::from_bytes);
    Ok(entries.into_iter().filter_map(|(key, _)| id(&key)).collect())
}

/// Where the job was deleted, where it was.
pub(super) fn deleted_job(storage: &dyn Storage, id: &JobId) -> Result<Option<u64>, RowError> {
    decoded(storage, &key_of(DELETED, id.as_bytes()))
}

/// The stored first use of an idempotency key.
pub(super) fn key_use(storage: &dyn Storage, key: &str) -> Result<Option<super::KeyUse>, RowError> {
    decoded(storage, &hashed(KEY, key))
}

/// The stored first use of a client's token.
pub(super) fn token_use(storage: &dyn Storage, token: &str) -> Result<Option<super::TokenUse>, RowError> {
    decoded(storage, &hashed(TOKEN, token))
}

/// The stored place of a job's process.
pub(super) fn process_place(
    storage: &dyn Storage,
    process: &ProcessId,
) -> Result<Option<super::ProcessPlace>, RowError> {
    decoded(storage, &place_key(process))
}

fn decoded<T: Decode<()>>(storage: &dyn Storage, key: &[u8]) -> Result<Option<T>, RowError> {
    match rows::get(storage, key)? {
        Some(row) => codec::decode(&row).map(Some).map_err(|_| RowError::Damaged),
        None => Ok(None),
    }
}

fn key_of(prefix: &[u8], id: &[u8]) -> Vec<u8> {
    [prefix, id].concat()
}

fn live_key(id: &JobId) -> Vec<u8> {
    key_of(LIVE, id.as_bytes())
}

fn ended_key(id: &JobId) -> Vec<u8> {
    key_of(ENDED, id.as_bytes())
}

fn place_key(process: &ProcessId) -> Vec<u8> {
    [PLACE, process.as_bytes()].concat()
}

/// The key of something that has a name of any length.
fn hashed(prefix: &[u8], name: &str) -> Vec<u8> {
    [prefix, Hash::of(name.as_bytes()).as_bytes()].concat()
}

/// The first key behind all that begin with `prefix`.
pub(super) fn after(prefix: &[u8]) -> Vec<u8> {
    let mut after = prefix.to_vec();
    if let Some(last) = after.last_mut() {
        *last += 1;
    }
    after
}

/// Rows on their way to the storage.
struct Batch<'a> {
    storage: &'a dyn Storage,
    writes: Vec<Write>,
    bytes: usize,
}

impl Batch<'_> {
    fn put(&mut self, key: Vec<u8>, row: &[u8]) -> Result<(), StorageError> {
        rows::put(key, row, &mut self.writes);
        self.bytes += row.len();
        if self.bytes >= BATCH_BYTES || self.writes.len() >= BATCH_KEYS { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> Result<(), StorageError> {
        self.bytes = 0;
        if self.writes.is_empty() { Ok(()) } else { self.storage.write(std::mem::take(&mut self.writes)) }
    }
}
