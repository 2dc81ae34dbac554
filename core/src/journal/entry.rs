//! The events of a run that its script can tell: each is something that it did, or something that it was given.

use crate::event::{Event, EventBody, StepFinished, StepOutcome};
use std::{collections::HashMap, sync::Arc};

/// What an event is to the script.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// The script did it: it must do it again, in this order.
    Intent,
    /// An operation's end, given by the runner.
    Delivery,
    /// A code step's end, written by the script: on replay it stands for all that is inside.
    CodeFinish {
        /// A `step.retry_scheduled` stands behind it.
        retry: bool,
    },
    /// The next attempt at a code step, begun by the runner.
    Attempt,
    /// An operation's end, written by the script: it has no more need of it.
    Close,
    /// An operation's end, written by the script as it began the operation: the result is an earlier run's.
    Reused,
    /// An operation's end that closes the job's history: nothing is given to the script any more.
    Closing,
}

/// What became of an entry while the script was replayed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Met {
    /// Nothing yet.
    Pending,
    /// The script did it again.
    Matched,
    /// It was given to the script.
    Delivered,
    /// It stands inside a recorded step that was not entered, or was settled by something else.
    Skipped,
}

/// One event of the journal.
#[derive(Debug, Clone)]
pub struct Entry {
    /// The event.
    pub event: Arc<Event>,
    /// What it is to the script.
    pub role: Role,
    /// What became of it.
    pub met: Met,
    /// Whether it is about a code step.
    pub(super) code: bool,
    /// The path that tells inside which steps it stands.
    pub(super) place: Arc<str>,
    /// The last entry up to here that gave the script something, so that its time went on.
    pub(super) last_delivery: Option<usize>,
}

/// A step that has begun and has not ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Open {
    pub path: Arc<str>,
    pub attempt: u32,
}

/// A run's events, sorted out.
#[derive(Debug, Default)]
pub(super) struct Sorted {
    pub entries: Vec<Entry>,
    /// What had begun and not ended where the history ends, in order.
    pub open: Vec<Open>,
}

/// Whether `body` ends a job's attempt, and if so whether the script had no say in it.
fn ends_run(body: &EventBody) -> Option<bool> {
    match body {
        EventBody::JobCancelled(_) | EventBody::JobTimedOut(_) => Some(true),
        EventBody::JobCompleted(_)
        | EventBody::JobFailed(_)
        | EventBody::JobRetryScheduled(_)
        | EventBody::JobContinued(_) => Some(false),
        _ => None,
    }
}

/// Sorts the events of run `run` out of a job's stream.
pub(super) fn sort(run: u32, events: &[Arc<Event>]) -> Sorted {
    let mut sorted = Sorted::default();
    let mut kinds: HashMap<String, &str> = HashMap::new();
    let mut code_attempts: HashMap<String, u32> = HashMap::new();
    // Which run an event of the script's own (`job.logged` and the like, which carry no run) belongs to.
    let mut current = run;
    let mut last_delivery = None;
    for (index, event) in events.iter().enumerate() {
        let mut is_code = false;
        let (role, place) = match &event.body {
            EventBody::JobStarted(started) => {
                current = started.run;
                continue;
            }
            EventBody::JobContinued(continued) => {
                current = continued.run;
                continue;
            }
            EventBody::StepStarted(started) if started.run == run => {
                let code = started.kind == "step";
                is_code = code;
                kinds.insert(started.path.clone(), started.kind.as_str());
                if code {
                    code_attempts.insert(started.path.clone(), started.attempt);
                }
                sorted.open.push(Open { path: started.path.as_str().into(), attempt: started.attempt });
                match (started.attempt, code) {
                    (1, _) => (Role::Intent, started.path.as_str().into()),
                    (_, true) => (Role::Attempt, started.path.as_str().into()),
                    // The runner tried again: nothing that the script can tell.
                    (_, false) => continue,
                }
            }
            EventBody::StepFinished(finished) if finished.run == run => {
                sorted.open.retain(|open| *open.path != *finished.path || open.attempt != finished.attempt);
                let retry = has_retry(events.get(index + 1..).unwrap_or_default(), finished);
                let kind = kinds.get(finished.path.as_str()).copied().unwrap_or_default();
                let code = kind == "step";
                is_code = code;
                let role = match (code, finished.outcome) {
                    (_, StepOutcome::Ok) if finished.cached => Role::Reused,
                    (true, StepOutcome::Ok | StepOutcome::Error) => Role::CodeFinish { retry },
                    (true, StepOutcome::TimedOut) => Role::CodeFinish { retry },
                    (false, _) if retry => continue,
                    (_, StepOutcome::Cancelled) if is_branch_cancelled(finished) => Role::Close,
                    (_, StepOutcome::Ok) if kind == "wait" => Role::Close,
                    // A step of a flow that is over without having run.
                    (_, StepOutcome::Skipped) => Role::Close,
                    (_, StepOutcome::Cancelled) if closes(run, &events[index..]) => Role::Closing,
                    _ => Role::Delivery,
                };
                if code {
                    code_attempts.remove(finished.path.as_str());
                }
                if role == Role::Delivery || finished.outcome == StepOutcome::TimedOut {
                    last_delivery = Some(sorted.entries.len());
                }
                (role, finished.path.as_str().into())
            }
            // A line that names what led to it was written by the runner.
            EventBody::JobLogged(_) if event.cause.is_some() => continue,
            EventBody::JobPhaseEntered(_) | EventBody::JobLogged(_) | EventBody::JobEmitted(_) if current == run => {
                (Role::Intent, place_of(event.step.as_ref(), &code_attempts))
            }
            _ => continue,
        };
        if role == Role::Attempt {
            last_delivery = Some(sorted.entries.len());
        }
        let met = Met::Pending;
        sorted.entries.push(Entry { event: Arc::clone(event), role, met, code: is_code, place, last_delivery });
    }
    sorted
}

/// The code of the error with which a script closes the operations of a branch that it cancels. The runner uses others.
pub const BRANCH_CANCELLED: &str = "branch_cancelled";

fn is_branch_cancelled(finished: &StepFinished) -> bool {
    finished.error.as_ref().is_some_and(|error| error.code == BRANCH_CANCELLED)
}

/// Directly inside a code step's function, an event names the step itself; its place is the step's running attempt.
fn place_of(step: Option<&Arc<str>>, code_attempts: &HashMap<String, u32>) -> Arc<str> {
    match step {
        None => "".into(),
        Some(step) => match code_attempts.get(&**step) {
            Some(attempt) => format!("{step}@{attempt}/.").into(),
            None => Arc::clone(step),
        },
    }
}

/// Whether the retry of `finished` is scheduled: right behind it, or behind what else stands in the same append.
fn has_retry(behind: &[Arc<Event>], finished: &StepFinished) -> bool {
    if matches!(finished.outcome, StepOutcome::Ok | StepOutcome::Cancelled | StepOutcome::Skipped) {
        return false;
    }
    behind
        .iter()
        .take_while(|event| match &event.body {
            EventBody::StepStarted(started) => started.path != finished.path,
            _ => true,
        })
        .take(64)
        .any(|event| match &event.body {
            EventBody::StepRetryScheduled(retry) => {
                retry.run == finished.run && retry.path == finished.path && retry.attempt == finished.attempt
            }
            _ => false,
        })
}

/// Whether only the closing of steps and processes stands between here and an end that the script had no say in.
fn closes(run: u32, from: &[Arc<Event>]) -> bool {
    for event in from {
        match &event.body {
            EventBody::StepStarted(started) if started.run == run => return false,
            EventBody::StepFinished(finished) if finished.outcome != StepOutcome::Cancelled => return false,
            EventBody::JobLogged(_) if event.cause.is_some() => {}
            EventBody::JobPhaseEntered(_) | EventBody::JobLogged(_) | EventBody::JobEmitted(_) => return false,
            body => {
                if let Some(without_script) = ends_run(body) {
                    return without_script;
                }
            }
        }
    }
    false
}
