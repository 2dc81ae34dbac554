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
    /// Their workflow.
    pub workflow: Option<String>,
    /// A label of theirs.
    pub label: Option<LabelFilter>,
    /// Their parent.
    pub parent: Option<JobId>,
    /// The session that they run in.
    pub session: Option<SessionId>,
    /// When they were submitted, at the earliest.
    pub since: Option<Timestamp>,
}

impl JobFilter {
    /// Whether the job is wanted.
    pub fn fits(&self, job: &JobState) -> bool {
        let parent = job.submitted.parent.as_ref().map(|parent| parent.job);
        self.session.is_none_or(|wanted| job.submitted.session == Some(wanted))
            && self.fits_facts(job.status, job.submitted_at, &job.submitted.workflow, parent, &job.submitted.labels)
    }

    pub(super) fn fits_stored(&self, job: &FilterParts) -> bool {
        self.session.is_none_or(|wanted| job.session == Some(wanted))
            && self.fits_facts(job.status, job.submitted_at, &job.workflow, job.parent, &job.labels)
    }

    fn fits_facts(
        &self,
        status: JobStatus,
        submitted_at: Timestamp,
        workflow: &str,
        parent: Option<JobId>,
        labels: &BTreeMap<String, String>,
    ) -> bool {
        self.state.is_none_or(|state| state == status)
            && self.since.is_none_or(|since| submitted_at >= since)
            && self.workflow.as_ref().is_none_or(|wanted| *wanted == *workflow)
            && self.parent.is_none_or(|wanted| parent == Some(wanted))
            && self.label.as_ref().is_none_or(|label| match (labels.get(&label.key), &label.value) {
                (Some(is), Some(wanted)) => is == wanted,
                (is, _) => is.is_some(),
            })
    }
}

/// What a filter asks of a job. Stored in front of an ended job's row, so that a list reads no more of those that it
/// leaves out.
#[derive(Encode, Decode)]
pub(super) struct FilterParts {
    status: JobStatus,
    submitted_at: Timestamp,
    workflow: String,
    parent: Option<JobId>,
    session: Option<SessionId>,
    labels: BTreeMap<String, String>,
}

impl FilterParts {
    pub(super) fn of(job: &JobState) -> Self {
        Self {
            status: job.status,
            submitted_at: job.submitted_at,
            workflow: job.submitted.workflow.clone(),
            parent: job.submitted.parent.as_ref().map(|parent| parent.job),
            session: job.submitted.session,
            labels: job.submitted.labels.clone(),
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
