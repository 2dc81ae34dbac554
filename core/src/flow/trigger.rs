//! Whether a step whose dependencies have all ended runs.

use super::{definition::Trigger, scheduler::FlowStatus};
use serde::{Deserialize, Serialize};

/// Why a step was skipped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SkipReason {
    /// No switch that names it chose it.
    NotChosen,
    /// Its own condition said no.
    WhenFalse,
    /// What it needs failed.
    UpstreamFailed,
}

impl SkipReason {
    /// As scripts and events name it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NotChosen => "not_chosen",
            Self::WhenFalse => "when_false",
            Self::UpstreamFailed => "upstream_failed",
        }
    }
}

/// What has become of a step's dependencies.
#[derive(Debug, Default)]
pub(super) struct Upstream {
    completed: usize,
    failed: usize,
    /// How many were left out though nothing failed, and why the first of them was.
    left_out: Option<SkipReason>,
}

impl Upstream {
    pub fn of(deps: impl Iterator<Item = FlowStatus>) -> Self {
        let mut upstream = Self::default();
        for status in deps {
            match status {
                FlowStatus::Completed => upstream.completed += 1,
                FlowStatus::Skipped(reason @ (SkipReason::NotChosen | SkipReason::WhenFalse)) => {
                    upstream.left_out.get_or_insert(reason);
                }
                _ => upstream.failed += 1,
            }
        }
        upstream
    }

    /// Why the step does not run, or `None` where it does.
    pub fn skips(&self, trigger: Trigger) -> Option<SkipReason> {
        match trigger {
            Trigger::AllDone => None,
            // A step without dependencies waits for nothing.
            _ if self.completed == 0 && self.failed == 0 && self.left_out.is_none() => None,
            Trigger::AllSuccess if self.failed > 0 => Some(SkipReason::UpstreamFailed),
            Trigger::OneSuccess if self.completed == 0 && self.failed > 0 => Some(SkipReason::UpstreamFailed),
            _ if self.completed == 0 => self.left_out,
            Trigger::AllSuccess | Trigger::OneSuccess => None,
        }
    }
}
