//! Results of earlier runs. `resumed` are those of the job that a job resumes, by call path; `shared` are those that
//! scripts have given a `cache`, by spec hash alone. Both are read off the log; nothing here is stored.

mod resumed;
mod shared;

pub use shared::CacheOptions;
pub(crate) use shared::SharedResults;

use crate::inner::Inner;
use moonlog_core::{
    event::{CachedFrom, EventBody},
    id::JobId,
    log::{Log, ReadError},
};
use moonlog_scripts::{Earlier, Found, Wanted};
use resumed::ResumedResults;
use std::{
    fmt,
    sync::{Arc, OnceLock},
};

/// What one job may take over.
pub(crate) struct EarlierResults {
    inner: Arc<Inner>,
    resume_from: Option<JobId>,
    /// Read when it is asked for first: a job that only replays never asks.
    resumed: OnceLock<ResumedResults>,
}

impl fmt::Debug for EarlierResults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EarlierResults").field("resume_from", &self.resume_from).finish_non_exhaustive()
    }
}

impl EarlierResults {
    pub(crate) const fn new(inner: Arc<Inner>, resume_from: Option<JobId>) -> Self {
        Self { inner, resume_from, resumed: OnceLock::new() }
    }

    /// The child job that stood at `path` in the job that is resumed: the one that stands there now resumes it.
    pub(crate) fn child(&self, path: &str) -> Option<JobId> {
        let child = self.results()?.child(path)?;
        self.inner.views.job(&child).ok()?.map(|_| child)
    }

    fn resumed(&self, wanted: &Wanted<'_>) -> Option<u64> {
        self.results().filter(|_| wanted.resumes)?.position(wanted.path, wanted.spec_hash)
    }

    fn results(&self) -> Option<&ResumedResults> {
        let from = self.resume_from?;
        Some(self.resumed.get_or_init(|| match ResumedResults::read(&self.inner.log, &from) {
            Ok(resumed) => resumed,
            Err(error) => {
                tracing::warn!(%error, job = %from, "its results cannot be read: all is done again");
                ResumedResults::default()
            }
        }))
    }

    fn shared(&self, wanted: &Wanted<'_>) -> Option<u64> {
        let now = (self.inner.options.clock)();
        self.inner.shared.position(&self.inner.log, wanted.spec_hash, wanted.cache_ms?, now)
    }
}

impl Earlier for EarlierResults {
    fn find(&self, wanted: &Wanted<'_>) -> Option<Found> {
        let position = self.resumed(wanted).or_else(|| self.shared(wanted))?;
        // What cannot be read, or was removed meanwhile, is done again.
        result_at(&self.inner.log, position).ok()?
    }
}

/// The result that stands at `position`.
fn result_at(log: &Log, position: u64) -> Result<Option<Found>, ReadError> {
    let Some(event) = log.event(position)? else { return Ok(None) };
    Ok(match (&event.body, event.job) {
        (EventBody::StepFinished(end), Some(job)) => {
            end.output.clone().map(|output| Found { output, from: CachedFrom { job, position } })
        }
        _ => None,
    })
}
