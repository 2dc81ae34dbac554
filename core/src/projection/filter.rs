//! Which jobs a list shows, and its pages.

use super::{JobState, JobStatus};
use crate::{event::JobSubmitted, id::JobId, time::Timestamp};
use std::str::FromStr;

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
    /// When they were submitted, at the earliest.
    pub since: Option<Timestamp>,
}

impl JobFilter {
    /// Whether the job is wanted.
    pub fn fits(&self, job: &JobState) -> bool {
        self.fits_parts(job.status, job.submitted_at, &job.submitted)
    }

    /// The same, of the parts that a filter asks for.
    pub(super) fn fits_parts(&self, status: JobStatus, submitted_at: Timestamp, submitted: &JobSubmitted) -> bool {
        self.state.is_none_or(|state| state == status)
            && self.since.is_none_or(|since| submitted_at >= since)
            && self.workflow.as_ref().is_none_or(|workflow| *workflow == submitted.workflow)
            && self.parent.is_none_or(|parent| submitted.parent.as_ref().is_some_and(|p| p.job == parent))
            && self.label.as_ref().is_none_or(|label| match (submitted.labels.get(&label.key), &label.value) {
                (Some(is), Some(wanted)) => is == wanted,
                (is, _) => is.is_some(),
            })
    }
}

/// A part of a list, and where the next part begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page<T> {
    /// The items.
    pub items: Vec<T>,
    /// The cursor that gives the next page; `None` at the list's end.
    pub next: Option<JobId>,
}
