//! What was recorded of a directory's files: their diffs, and what they held before the session changed them.

use super::{Workspaces, content::hash_of};
use moonlog_core::{
    diff,
    error_info::ErrorInfo,
    event::EventBody,
    id::Hash,
    projection::{FileOp, PendingChange},
};
use std::path::Path;

/// What a file holds and held.
pub(super) struct Before {
    /// Before the first change; `None` where it was not there.
    pub(super) content: Option<String>,
    /// Now; `None` where it is not there.
    pub(super) now: Option<String>,
}

/// Why what a file held cannot be told.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Untold {
    /// It does not hold what was recorded last.
    Changed,
    /// The diffs are not all there, or do not fit.
    NoDiffs,
}

impl Workspaces {
    /// The recorded diffs of a file, oldest first.
    pub(super) fn recorded_diffs(&self, change: &PendingChange) -> Result<Vec<String>, ErrorInfo> {
        let unavailable = |error| ErrorInfo::new("log_unavailable", format!("{error}")).retryable();
        let mut diffs = Vec::new();
        for edit in &change.edits {
            let event = self.shared.log.event(edit.position).map_err(unavailable)?;
            if let Some(EventBody::FileChanged(changed)) = event.as_ref().map(|event| &event.body) {
                diffs.push(changed.diff.clone());
            }
        }
        Ok(diffs)
    }

    /// What a file held before the session changed it: what it holds now, with the recorded diffs taken back.
    pub(super) fn recorded_before(
        &self,
        path: &Path,
        change: &PendingChange,
    ) -> Result<Result<Before, Untold>, ErrorInfo> {
        if hash_of(path) != change.after_hash {
            return Ok(Err(Untold::Changed));
        }
        let now = match change.op {
            FileOp::Deleted => None,
            _ => std::fs::read_to_string(path).ok(),
        };
        let diffs = self.recorded_diffs(change)?;
        if change.edits_dropped || diffs.len() != change.edits.len() {
            return Ok(Err(Untold::NoDiffs));
        }
        let content = diffs.iter().rev().try_fold(now.clone().unwrap_or_default(), |after, d| diff::before(&after, d));
        let content = match change.op {
            FileOp::Created => content.filter(String::is_empty).map(|_| None),
            _ => content
                .filter(|content| change.before_hash.is_some_and(|hash| hash == Hash::of(content.as_bytes())))
                .map(Some),
        };
        Ok(content.map(|content| Before { content, now }).ok_or(Untold::NoDiffs))
    }
}
