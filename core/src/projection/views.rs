//! The one read model of a server: the projection behind a lock, with what it has stored.

use super::{JobFilter, JobState, JobView, KeyUse, Page, Projection};
use crate::{
    event::Event,
    id::JobId,
    log::{Log, ReadError},
};
use std::sync::Arc;

/// How the read model is kept.
#[derive(Debug, Clone)]
pub struct ViewsOptions {
    /// After how many events a checkpoint is due.
    pub checkpoint_events: u64,
}

impl Default for ViewsOptions {
    fn default() -> Self {
        Self { checkpoint_events: 50_000 }
    }
}

/// The read model. Clones share it.
#[derive(Clone)]
pub struct Views {}

impl Views {
    /// Loads the last checkpoint and folds what came after it.
    ///
    /// # Errors
    /// Where the log cannot be read. A checkpoint that cannot be used is not an error: it is made anew.
    pub fn open(_log: &Log, _options: ViewsOptions) -> Result<Self, ReadError> {
        todo!()
    }

    /// Folds the next durable events; those that were folded before change nothing.
    pub fn advance(&self, _events: &[Arc<Event>]) {
        todo!()
    }

    /// The position of the last event that was folded.
    pub fn applied(&self) -> u64 {
        todo!()
    }

    /// A watch of [`Self::applied`], for those who wait for their own events.
    pub fn watch_applied(&self) -> tokio::sync::watch::Receiver<u64> {
        todo!()
    }

    /// The job, ended or not.
    ///
    /// # Errors
    /// Where the storage fails.
    pub fn job(&self, _id: &JobId) -> Result<Option<Arc<JobState>>, ReadError> {
        todo!()
    }

    /// The jobs that fit `filter`, newest first, from behind `cursor` on.
    ///
    /// # Errors
    /// Where the storage fails.
    pub fn jobs(&self, _filter: &JobFilter, _cursor: Option<JobId>, _limit: usize) -> Result<Page<JobView>, ReadError> {
        todo!()
    }

    /// Looks at the projection as it is now. Nothing can be folded meanwhile: keep it short.
    pub fn with<R>(&self, _f: impl FnOnce(&Projection) -> R) -> R {
        todo!()
    }

    /// The first use of an idempotency key.
    ///
    /// # Errors
    /// Where the storage fails.
    pub fn idempotent(&self, _key: &str) -> Result<Option<KeyUse>, ReadError> {
        todo!()
    }

    /// Whether so much was folded since the last checkpoint that the next is due.
    pub fn checkpoint_due(&self) -> bool {
        todo!()
    }

    /// Stores the projection as it is now, so that the next start folds only what comes after, and lets go of the
    /// jobs that have ended. Folding and reading go on meanwhile.
    ///
    /// # Errors
    /// Where the storage fails; then the last checkpoint stays.
    pub fn checkpoint(&self) -> Result<(), ReadError> {
        todo!()
    }
}
