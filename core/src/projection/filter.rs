//! Which jobs a list shows, and its pages.

use super::{JobState, JobStatus};
use crate::{
    codec::{Decode, Encode},
    id::{JobId, SessionId},
    time::Timestamp,
};
use std::{collections::BTreeMap, str::FromStr};

/// A filter that makes no sense.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidFilter {
    /// No such state.
    #[error("`{0}` is no state of a job: expected queued, running, waiting, completed, failed, cancelled or timed_out")]
    State(String),
    /// A label without a name.
    #[error("`{0}` is no label filter: expected `key` or `key=value`")]
    Label(String),
}

impl InvalidFilter {
    pub(super) fn state(text: &str) -> Self {
        Self::State(text.chars().take(80).collect())
    }
}

/// A label that a job must have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LabelFilter {
    /// Its name.
    pub key: String,
    /// Its value; any where there is none.
    pub value: Option<String>,
}

impl FromStr for LabelFilter {
    type Err = InvalidFilter;

    fn from_str(text: &str) -> Result<Self, InvalidFilter> {
        let (key, value) = match text.split_once('=') {
            Some((key, value)) => (key, Some(value)),
            None => (text, None),
        };
        if key.is_empty() {
            return Err(InvalidFilter::Label(text.chars().take(80).collect()));
        }
        Ok(Self { key: key.to_owned(), value: value.map(str::to_owned) })
    }
}

/// Which jobs are wanted: those that fit all that is set.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct JobFilter {
    /// Where they stand.
    pub state: Option<JobStatus>,
    /// Whether they have ended.
    pub ended: Option<bool>,
    /// Their workflow.
    pub workflow: Option<String>,
    /// Their queue.
    pub queue: Option<String>,
    /// Labels of theirs, all of them.
    pub labels: Vec<LabelFilter>,
    /// Their parent.
    pub parent: Option<JobId>,
    /// The session that they run in.
    pub session: Option<SessionId>,
    /// When they were submitted, at the earliest.
    pub since: Option<Timestamp>,
    /// Whether they failed because they are out of attempts.
    pub exhausted: Option<bool>,
}

impl JobFilter {
    /// Whether the job is wanted.
    pub fn fits(&self, job: &JobState) -> bool {
        self.fits_facts(&Facts {
            status: job.status,
            submitted_at: job.submitted_at,
            workflow: &job.submitted.workflow,
            queue: &job.submitted.queue,
            session: job.submitted.session,
            parent: job.submitted.parent.as_ref().map(|parent| parent.job),
            labels: &job.submitted.labels,
            is_exhausted: job.is_exhausted(),
        })
    }

    /// Whether jobs that have ended can be wanted.
    pub(super) fn wants_ended(&self) -> bool {
        self.state.is_none_or(JobStatus::is_ended) && self.ended != Some(false)
    }

    pub(super) fn fits_stored(&self, job: &FilterParts) -> bool {
        self.fits_facts(&Facts {
            status: job.status,
            submitted_at: job.submitted_at,
            workflow: &job.workflow,
            queue: &job.queue,
            session: job.session,
            parent: job.parent,
            labels: &job.labels,
            is_exhausted: job.is_exhausted,
        })
    }

    fn fits_facts(&self, job: &Facts<'_>) -> bool {
        let has = |label: &LabelFilter| match (job.labels.get(&label.key), &label.value) {
            (Some(is), Some(wanted)) => is == wanted,
            (is, _) => is.is_some(),
        };
        self.state.is_none_or(|state| state == job.status)
            && self.ended.is_none_or(|wanted| wanted == job.status.is_ended())
            && self.since.is_none_or(|since| job.submitted_at >= since)
            && self.workflow.as_ref().is_none_or(|wanted| *wanted == *job.workflow)
            && self.queue.as_ref().is_none_or(|wanted| *wanted == *job.queue)
            && self.parent.is_none_or(|wanted| job.parent == Some(wanted))
            && self.session.is_none_or(|wanted| job.session == Some(wanted))
            && self.exhausted.is_none_or(|wanted| wanted == job.is_exhausted)
            && self.labels.iter().all(has)
    }
}

/// What a filter asks of a job.
struct Facts<'a> {
    status: JobStatus,
    submitted_at: Timestamp,
    workflow: &'a str,
    queue: &'a str,
    session: Option<SessionId>,
    parent: Option<JobId>,
    labels: &'a BTreeMap<String, String>,
    is_exhausted: bool,
}

/// What a filter asks of a job. Stored in front of an ended job's row, so that a list reads no more of those that it
/// leaves out.
#[derive(Encode, Decode)]
pub(super) struct FilterParts {
    pub(super) status: JobStatus,
    submitted_at: Timestamp,
    pub(super) workflow: String,
    pub(super) queue: String,
    pub(super) parent: Option<JobId>,
    pub(super) session: Option<SessionId>,
    pub(super) labels: BTreeMap<String, String>,
    is_exhausted: bool,
}

impl FilterParts {
    pub(super) fn of(job: &JobState) -> Self {
        Self {
            status: job.status,
            submitted_at: job.submitted_at,
            workflow: job.submitted.workflow.clone(),
            queue: job.submitted.queue.clone(),
            parent: job.submitted.parent.as_ref().map(|parent| parent.job),
            session: job.submitted.session,
            labels: job.submitted.labels.clone(),
            is_exhausted: job.is_exhausted(),
        }
    }
}

/// A part of a list, and where the next part begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page<T, Id = JobId> {
    /// The items.
    pub items: Vec<T>,
    /// The cursor that gives the next page; `None` at the list's end.
    pub next: Option<Id>,
}
