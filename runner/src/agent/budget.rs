//! Tokens: how many a job, a session and those above them may use, and have used. Children use up their parents' budgets,
//! and whatever runs in a session its session's.

use crate::inner::Inner;
use moonlog_core::{
    error_info::ErrorInfo,
    event::ChatUsage,
    id::{JobId, SessionId},
    projection::JobFilter,
};
use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

/// How deep children may stand: their nesting is limited further by the configuration.
const DEPTH_MAX: usize = 32;

/// How many jobs are looked at in one go when what they have used is added up.
const PAGE_JOBS: usize = 200;

/// Who has a budget.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Whose {
    /// A job with its children.
    Job(JobId),
    /// A session with all that runs in it.
    Session(SessionId),
}

/// What one of them has used.
#[derive(Debug)]
struct Meter {
    whose: Whose,
    /// Of a job; a session's may be changed.
    total: Option<u64>,
    spent: AtomicU64,
    above: Option<Arc<Self>>,
}

impl Meter {
    fn add(&self, tokens: u64) {
        self.spent.fetch_add(tokens, Ordering::Relaxed);
        if let Some(above) = &self.above {
            above.add(tokens);
        }
    }

    fn check(&self, total_of: &dyn Fn(&SessionId) -> Option<u64>) -> Result<(), ErrorInfo> {
        let (total, whose) = match &self.whose {
            Whose::Job(job) => (self.total, format!("job {job}")),
            Whose::Session(session) => (total_of(session), format!("session {session}")),
        };
        let spent = self.spent.load(Ordering::Relaxed);
        if let Some(total) = total.filter(|total| spent >= *total) {
            let why = format!("the budget of {total} tokens of {whose} is used up: {spent} were used");
            return Err(ErrorInfo::new("budget_exhausted", why));
        }
        self.above.as_ref().map_or(Ok(()), |above| above.check(total_of))
    }

    /// What is left of its budget and of those of the jobs above it; `None` where none of them has one.
    fn left(&self) -> Option<u64> {
        let own = self.total.map(|total| total.saturating_sub(self.spent.load(Ordering::Relaxed)));
        let above = self.above.as_ref().and_then(|above| above.left());
        own.into_iter().chain(above).min()
    }

    /// What is used up of its budget, also by those whom it shares it with; without one, what it has used.
    fn used_up(&self) -> u64 {
        let own = self.spent.load(Ordering::Relaxed);
        self.total.map_or(own, |total| own.max(total.saturating_sub(self.left().unwrap_or(0))))
    }

    fn stands_under(&self, whose: &Whose) -> bool {
        self.whose == *whose || self.above.as_ref().is_some_and(|above| above.stands_under(whose))
    }
}

/// The meters that an agent's requests are counted with.
#[derive(Debug)]
pub(super) struct Meters(Vec<Arc<Meter>>);

impl Meters {
    /// Counts what a request has used.
    pub(super) fn add(&self, usage: &ChatUsage) {
        self.0.iter().for_each(|meter| meter.add(usage.prompt_tokens + usage.completion_tokens));
    }

    /// Refuses where a budget is used up, the job's own or one above it.
    pub(super) fn check(&self, inner: &Inner) -> Result<(), ErrorInfo> {
        let total_of = |session: &SessionId| inner.views.session(session).ok().flatten()?.options.budget_tokens;
        self.0.iter().try_for_each(|meter| meter.check(&total_of))
    }
}

/// The meters of jobs and sessions that have agents.
pub(crate) struct Metered {
    meters: Mutex<HashMap<Whose, Arc<Meter>>>,
    /// What came about behind this position was counted as it did.
    since: u64,
}

impl Metered {
    /// None yet; the log ends at `head`.
    pub(crate) fn new(head: u64) -> Self {
        Self { meters: Mutex::default(), since: head }
    }

    fn all(&self) -> std::sync::MutexGuard<'_, HashMap<Whose, Arc<Meter>>> {
        self.meters.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets go of an ended job's.
    pub(crate) fn forget(&self, job: &JobId) {
        self.all().remove(&Whose::Job(*job));
    }

    /// Lets go of a closed session's.
    pub(crate) fn forget_session(&self, session: &SessionId) {
        self.all().remove(&Whose::Session(*session));
    }
}

/// A job's meters, where it speaks in `session`. New ones begin with what the log knows.
pub(super) fn meters(inner: &Inner, job: &JobId, session: Option<&SessionId>) -> Meters {
    let own = meter_of_job(inner, job, 0);
    let session = session.map(|session| Whose::Session(*session)).filter(|session| !own.stands_under(session));
    let named = session.and_then(|whose| match whose {
        Whose::Session(session) => Some(meter_of_session(inner, &session)),
        Whose::Job(_) => None,
    });
    Meters([Some(own), named].into_iter().flatten().collect())
}

/// What is used up of a job's budget, where anything may be.
pub(crate) fn spent_of_budget(inner: &Inner, job: &JobId) -> Option<u64> {
    if !inner.metered.all().contains_key(&Whose::Job(*job)) {
        // Whoever had used something of a job that is new would have made its meter.
        let state = inner.views.job(job).ok().flatten()?;
        if state.submitted_position > inner.metered.since {
            return None;
        }
    }
    Some(meter_of_job(inner, job, 0).used_up())
}

/// What is left for a child of `job`; `None` where there is no limit.
pub(crate) fn left_of_budget(inner: &Inner, job: &JobId) -> Option<u64> {
    let state = inner.views.job(job).ok().flatten()?;
    state.submitted.limits.budget_tokens?;
    meter_of_job(inner, job, 0).left()
}

/// What a session with all that runs in it has used.
pub(crate) fn spent_in_session(inner: &Inner, session: &SessionId) -> u64 {
    meter_of_session(inner, session).spent.load(Ordering::Relaxed)
}

fn meter_of_job(inner: &Inner, job: &JobId, depth: usize) -> Arc<Meter> {
    let whose = Whose::Job(*job);
    if let Some(meter) = inner.metered.all().get(&whose) {
        return meter.clone();
    }
    let state = inner.views.job(job).ok().flatten();
    let submitted = state.as_ref().map(|state| &state.submitted);
    let parent = submitted.and_then(|submitted| submitted.parent.as_ref()).filter(|_| depth < DEPTH_MAX);
    let above = match parent {
        Some(parent) => Some(meter_of_job(inner, &parent.job, depth + 1)),
        None => submitted.and_then(|submitted| submitted.session).map(|session| meter_of_session(inner, &session)),
    };
    let total = submitted.and_then(|submitted| submitted.limits.budget_tokens);
    let meter = Meter { whose, total, spent: AtomicU64::new(spent(inner, job, depth)), above };
    inner.metered.all().entry(whose).or_insert_with(|| Arc::new(meter)).clone()
}

fn meter_of_session(inner: &Inner, session: &SessionId) -> Arc<Meter> {
    let whose = Whose::Session(*session);
    if let Some(meter) = inner.metered.all().get(&whose) {
        return meter.clone();
    }
    let state = inner.views.session(session).ok().flatten();
    let is_new = state.as_ref().is_some_and(|state| state.created_position > inner.metered.since);
    let filter = JobFilter { session: Some(*session), ..JobFilter::default() };
    let jobs = if is_new { 0 } else { used_by(inner, &filter, 0, |parent| parent.is_none()) };
    // Whoever else speaks there does not run in it.
    let said = state.map_or(0, |state| state.chat.usage.tokens());
    let meter = Meter { whose, total: None, spent: AtomicU64::new(jobs.max(said)), above: None };
    inner.metered.all().entry(whose).or_insert_with(|| Arc::new(meter)).clone()
}

/// What a job and its children have used, by the log.
fn spent(inner: &Inner, job: &JobId, depth: usize) -> u64 {
    let Some(state) = inner.views.job(job).ok().flatten() else { return 0 };
    let own = state.usage.tokens();
    // What its children have used since this server runs was counted for it, had there been any.
    if depth >= DEPTH_MAX || state.submitted_position > inner.metered.since {
        return own;
    }
    let filter = JobFilter { parent: Some(*job), ..JobFilter::default() };
    own + used_by(inner, &filter, depth + 1, |_| true)
}

/// What the jobs of a filter have used, with their children.
fn used_by(inner: &Inner, filter: &JobFilter, depth: usize, counts: impl Fn(Option<&JobId>) -> bool) -> u64 {
    let (mut sum, mut cursor) = (0, None);
    while let Ok(page) = inner.views.jobs(filter, cursor, PAGE_JOBS) {
        let wanted = page.items.iter().filter(|job| counts(job.parent.as_ref().map(|parent| &parent.job)));
        sum += wanted.map(|job| spent(inner, &job.id, depth)).sum::<u64>();
        cursor = page.next;
        if cursor.is_none() {
            break;
        }
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    fn meter(whose: Whose, total: Option<u64>, spent: u64, above: Option<Arc<Meter>>) -> Arc<Meter> {
        Arc::new(Meter { whose, total, spent: AtomicU64::new(spent), above })
    }

    #[test]
    fn a_child_uses_up_what_its_parent_and_its_session_may_use() {
        let (job, child) = (JobId::from_bytes([1; 16]), JobId::from_bytes([2; 16]));
        let session = SessionId::from_bytes([3; 16]);
        let of_session = meter(Whose::Session(session), None, 0, None);
        let parent = meter(Whose::Job(job), Some(10), 4, Some(of_session.clone()));
        let child = meter(Whose::Job(child), None, 0, Some(parent.clone()));
        let unlimited = |_: &SessionId| None;
        assert!(child.check(&unlimited).is_ok());
        child.add(6);
        assert_eq!(child.check(&unlimited).unwrap_err().code, "budget_exhausted");
        assert_eq!(parent.check(&unlimited).unwrap_err().code, "budget_exhausted");
        assert!(of_session.check(&unlimited).is_ok());
        assert!(of_session.check(&|_: &SessionId| Some(6)).unwrap_err().message.contains("session"));
        // A child without a budget of its own tells what it used, one with a part of its parent's what is used of that.
        assert_eq!((parent.left(), parent.used_up(), child.left(), child.used_up()), (Some(0), 10, Some(0), 6));
        let part = meter(Whose::Job(JobId::from_bytes([4; 16])), Some(7), 1, Some(parent.clone()));
        assert_eq!((part.left(), part.used_up()), (Some(0), 7));
        assert!(child.stands_under(&Whose::Session(session)) && !of_session.stands_under(&Whose::Job(job)));
    }
}
