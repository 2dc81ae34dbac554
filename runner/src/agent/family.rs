//! A job with its children, however deep: how many agents they have begun together, and how many of these run at once. A
//! child has no limits of its own: it uses up those of the job at the top.

use super::subagents;
use crate::inner::Inner;
use moonlog_core::{
    error_info::ErrorInfo,
    event::{EventBody, StreamId},
    id::JobId,
    projection::{JobFilter, JobState},
};
use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, PoisonError},
};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// How deep children may stand: their nesting is limited further by the configuration.
const DEPTH_MAX: usize = 32;

/// More children of a job than this are not looked at after a restart.
const CHILDREN_MAX: usize = 1_000;

/// How many events one read takes.
const READ_EVENTS: usize = 1_024;

/// An agent's step: its job, run and call path.
type Begun = (JobId, u32, Arc<str>);

/// The families of jobs that have agents, by the job at the top.
#[derive(Default)]
pub(crate) struct Families(Mutex<HashMap<JobId, Arc<Family>>>);

struct Family {
    /// The run of the job at the top: the next one begins to count anew.
    run: u32,
    begun: Mutex<HashSet<Begun>>,
    seats: Arc<Semaphore>,
}

impl Families {
    /// Lets go of an ended job's.
    pub(crate) fn forget(&self, job: &JobId) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(job);
    }
}

/// Counts an agent, and comes when it may run. What it gives is held while it does; an agent that was spawned by another
/// has none, as the other one waits for it.
///
/// # Errors
/// `limit_agents`, where the family has had too many.
pub(super) async fn enter(
    inner: &Inner,
    job: &JobId,
    run: u32,
    path: &Arc<str>,
) -> Result<Option<OwnedSemaphorePermit>, ErrorInfo> {
    let Some(state) = inner.views.job(job).ok().flatten() else { return Ok(None) };
    let family = family(inner, &state, run);
    {
        let max = inner.options.limits.agents_max as usize;
        let mut begun = family.begun.lock().unwrap_or_else(PoisonError::into_inner);
        let agent = (*job, run, path.clone());
        if begun.len() >= max && !begun.contains(&agent) {
            let message = format!("the job and its children have begun more than {max} agents (limits.agents_per_job)");
            return Err(ErrorInfo::new("limit_agents", message));
        }
        begun.insert(agent);
    }
    if state.submitted.workflow == subagents::WORKFLOW {
        return Ok(None);
    }
    // It is never closed.
    Ok(family.seats.clone().acquire_owned().await.ok())
}

fn family(inner: &Inner, job: &Arc<JobState>, run: u32) -> Arc<Family> {
    let mut top = job.clone();
    for _ in 0..DEPTH_MAX {
        let parent = top.submitted.parent.as_ref().and_then(|parent| inner.views.job(&parent.job).ok().flatten());
        let Some(parent) = parent else { break };
        top = parent;
    }
    // That this very run has begun need not be folded yet.
    let run = if top.id == job.id { run } else { top.run };
    let known = |all: &HashMap<JobId, Arc<Family>>| all.get(&top.id).filter(|family| family.run == run).cloned();
    if let Some(family) = known(&inner.families.0.lock().unwrap_or_else(PoisonError::into_inner)) {
        return family;
    }
    // What an earlier server has begun stands in the log, and so does what stood beside this agent.
    let mut begun = HashSet::new();
    collect(inner, &top, run, 0, &mut begun);
    let seats = Arc::new(Semaphore::new(inner.options.agents.concurrency));
    let family = Arc::new(Family { run, begun: Mutex::new(begun), seats });
    let mut all = inner.families.0.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(family) = known(&all) {
        return family;
    }
    if top.ended_at.is_none() {
        all.insert(top.id, family.clone());
    }
    family
}

/// The agents that a job's current run and the children of it have begun, by the log.
fn collect(inner: &Inner, job: &JobState, run: u32, depth: usize, begun: &mut HashSet<Begun>) {
    let mut version = job.run_started_version;
    while let Ok(events) = inner.log.read_stream(&StreamId::Job(job.id), version, READ_EVENTS) {
        let Some(last) = events.last() else { break };
        version = last.version;
        for event in &events {
            if let EventBody::StepStarted(step) = &event.body
                && step.kind == "agent"
                && step.run == run
            {
                begun.insert((job.id, step.run, step.path.as_str().into()));
            }
        }
    }
    if depth >= DEPTH_MAX {
        return;
    }
    let filter = JobFilter { parent: Some(job.id), ..JobFilter::default() };
    let children = inner.views.jobs(&filter, None, CHILDREN_MAX).map(|page| page.items).unwrap_or_default();
    for child in children.iter().filter(|child| Some(child.submitted_at) >= job.run_started_at) {
        if let Ok(Some(child)) = inner.views.job(&child.id) {
            collect(inner, &child, child.run, depth + 1, begun);
        }
    }
}
