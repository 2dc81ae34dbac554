//! Tokens: how many a job and those above it may use, and have used. Children use up their parents' budget.

use crate::runner::Inner;
use moonlog_core::{error_info::ErrorInfo, event::ChatUsage, id::JobId, projection::JobFilter};
use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

/// How deep children may stand: their nesting is limited further by the configuration.
const DEPTH_MAX: usize = 32;

/// What one job, with its children, has used.
#[derive(Debug)]
pub(crate) struct Meter {
    total: Option<u64>,
    spent: AtomicU64,
    parent: Option<Arc<Self>>,
}

impl Meter {
    /// Counts what a request has used.
    pub(super) fn add(&self, usage: &ChatUsage) {
        let tokens = usage.prompt_tokens + usage.completion_tokens;
        self.spent.fetch_add(tokens, Ordering::Relaxed);
        if let Some(parent) = &self.parent {
            parent.add(usage);
        }
    }

    /// Refuses where a budget is used up, the job's own or one above it.
    pub(super) fn check(&self) -> Result<(), ErrorInfo> {
        let spent = self.spent.load(Ordering::Relaxed);
        if let Some(total) = self.total.filter(|total| spent >= *total) {
            let why = format!("the budget of {total} tokens is used up: {spent} were used");
            return Err(ErrorInfo::new("budget_exhausted", why));
        }
        self.parent.as_ref().map_or(Ok(()), |parent| parent.check())
    }
}

/// The meters of jobs that have agents.
#[derive(Default)]
pub(crate) struct Meters(Mutex<HashMap<JobId, Arc<Meter>>>);

impl Meters {
    fn all(&self) -> std::sync::MutexGuard<'_, HashMap<JobId, Arc<Meter>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets go of an ended job's.
    pub(crate) fn forget(&self, job: &JobId) {
        self.all().remove(job);
    }
}

/// A job's meter. A new one begins with what the log knows.
pub(super) fn meter(inner: &Inner, job: &JobId) -> Arc<Meter> {
    meter_at(inner, job, 0)
}

fn meter_at(inner: &Inner, job: &JobId, depth: usize) -> Arc<Meter> {
    if let Some(meter) = inner.meters.all().get(job) {
        return meter.clone();
    }
    let state = inner.views.job(job).ok().flatten();
    let parent = state.as_ref().and_then(|state| state.submitted.parent.as_ref()).filter(|_| depth < DEPTH_MAX);
    let parent = parent.map(|parent| meter_at(inner, &parent.job, depth + 1));
    let meter = Meter {
        total: state.as_ref().and_then(|state| state.submitted.limits.budget_tokens),
        spent: AtomicU64::new(spent(inner, job, depth)),
        parent,
    };
    inner.meters.all().entry(*job).or_insert_with(|| Arc::new(meter)).clone()
}

/// What a job and its children have used, by the log.
fn spent(inner: &Inner, job: &JobId, depth: usize) -> u64 {
    let Some(state) = inner.views.job(job).ok().flatten() else { return 0 };
    let own = state.usage.prompt_tokens + state.usage.completion_tokens;
    if depth >= DEPTH_MAX {
        return own;
    }
    let filter = JobFilter { parent: Some(*job), ..JobFilter::default() };
    let children = inner.views.jobs(&filter, None, CHILDREN_MAX).map(|page| page.items).unwrap_or_default();
    own + children.iter().map(|child| spent(inner, &child.id, depth + 1)).sum::<u64>()
}

/// More children than this are not counted after a restart.
const CHILDREN_MAX: usize = 1_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_child_uses_up_its_parent_s_budget() {
        let parent = Arc::new(Meter { total: Some(10), spent: AtomicU64::new(4), parent: None });
        let child = Meter { total: None, spent: AtomicU64::new(0), parent: Some(parent.clone()) };
        assert!(child.check().is_ok());
        child.add(&ChatUsage { prompt_tokens: 5, completion_tokens: 1, ..ChatUsage::default() });
        assert_eq!(child.check().unwrap_err().code, "budget_exhausted");
        assert_eq!(parent.check().unwrap_err().code, "budget_exhausted");
    }
}
