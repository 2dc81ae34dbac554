//! Stored rows that nobody will ask for again: keys, tokens and processes of deleted jobs, which can only be found by looking at all of
//! them, and chunks that no row has. They are looked for a piece at a time, so that nothing waits for it.

use super::{
    KeyUse, ProcessPlace, TokenUse,
    rows::{self, RowError},
    snapshot,
};
use crate::{
    codec::{self, Decode},
    id::{JobId, ProcessId},
    log::ReadError,
    storage::{Direction, Space, Storage, Write},
};
use std::ops::Bound;

/// How many rows one piece looks at.
pub(super) const PIECE_ROWS: usize = 4_096;

/// What is looked at, in this order: that a token is of a deleted job is known by its process's place.
const STEPS: [&[u8]; 4] = [snapshot::KEY, rows::MORE, snapshot::TOKEN, snapshot::PLACE];

/// A way through all rows.
#[derive(Debug)]
pub(super) struct Sweep {
    /// Jobs that were deleted after this position are left for the next one: their tokens may have been passed.
    through: u64,
    step: usize,
    from: Bound<Vec<u8>>,
}

/// What is known of jobs.
pub(super) trait Deleted {
    /// Where the job was deleted, if it was and did not come back.
    fn position(&self, job: &JobId) -> Result<Option<u64>, ReadError>;
}

impl Sweep {
    /// One that has everything that was deleted up to the position `through`.
    pub(super) fn new(through: u64) -> Self {
        Self { through, step: 0, from: Bound::Included(STEPS[0].to_vec()) }
    }

    /// Goes on by one piece. Whether there is more.
    ///
    /// # Errors
    /// Where the storage fails.
    pub(super) fn go_on(&mut self, storage: &dyn Storage, deleted: &impl Deleted) -> Result<bool, ReadError> {
        let Some(prefix) = STEPS.get(self.step) else { return Ok(false) };
        let to = Bound::Excluded(snapshot::after(prefix));
        let entries = storage.scan(Space::Snapshots, self.from.clone(), to, Direction::Forward, PIECE_ROWS)?;
        let Some((last, _)) = entries.last() else {
            self.step += 1;
            if let Some(prefix) = STEPS.get(self.step) {
                self.from = Bound::Included(prefix.to_vec());
            }
            return Ok(self.step < STEPS.len());
        };
        self.from = Bound::Excluded(last.clone());
        let mut gone = Vec::new();
        for (key, first) in entries {
            let is_gone = match self.step {
                0 => self.is_of_deleted::<KeyUse>(deleted, &first, |first| Ok(Some(first.job)))?,
                1 => !rows::has_chunk(storage, &key)?,
                2 => self.is_of_deleted::<TokenUse>(deleted, &first, |first| job_of(storage, &first.process))?,
                _ => self.is_of_deleted::<ProcessPlace>(deleted, &first, |place| Ok(Some(place.job)))?,
            };
            if is_gone {
                gone.push(Write::delete(Space::Snapshots, key));
            }
        }
        if !gone.is_empty() {
            storage.write(gone)?;
        }
        Ok(true)
    }

    /// Whether a row belongs to a job that was deleted. One that cannot be read stays.
    fn is_of_deleted<T: Decode<()>>(
        &self,
        deleted: &impl Deleted,
        first: &[u8],
        job: impl FnOnce(&T) -> Result<Option<JobId>, ReadError>,
    ) -> Result<bool, ReadError> {
        let Ok(value) = codec::decode::<T>(rows::beginning(first)) else { return Ok(false) };
        let Some(job) = job(&value)? else { return Ok(false) };
        Ok(deleted.position(&job)?.is_some_and(|position| position <= self.through))
    }
}

fn job_of(storage: &dyn Storage, process: &ProcessId) -> Result<Option<JobId>, ReadError> {
    match snapshot::process_place(storage, process) {
        Ok(place) => Ok(place.map(|place| place.job)),
        Err(RowError::Storage(error)) => Err(error.into()),
        Err(RowError::Damaged) => Ok(None),
    }
}
