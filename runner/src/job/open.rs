//! A job's open steps: those that have started and have no last result yet. Pure.

use super::tool_call::ToolCall;
use crate::agent::Asked;
use moonlog_core::{
    event::{RetryPolicy, StepStarted, WaitKind},
    id::{JobId, ProcessId},
    time::Timestamp,
};
use serde::Deserialize;
use std::{collections::BTreeMap, sync::Arc};
use tokio::task::AbortHandle;

/// What is going on with an open step.
#[derive(Debug)]
pub(super) enum Doing {
    /// The script is inside the step's function, until its time is up.
    Code {
        /// When its time is up.
        deadline: Option<Timestamp>,
    },
    /// A task of ours is at it.
    Performing,
    /// A task of a dead server was at it: its result says so, and is still to be delivered.
    Interrupted,
    /// A task of ours is at it, and will come to wait if there is something to wait for: a child that is there, a process
    /// that runs.
    Looking,
    /// It waits: a job whose open steps all wait holds no place.
    Waiting(Wait),
    /// An attempt failed; the next begins at this time.
    Backoff(Timestamp),
}

/// What a waiting step waits for.
#[derive(Debug, Clone)]
pub(super) struct Wait {
    pub(super) reason: WaitKind,
    pub(super) due: Option<Timestamp>,
    pub(super) name: Option<String>,
    pub(super) title: Option<String>,
}

impl Wait {
    /// For the end of a child job.
    pub(super) fn child(child: &JobId) -> Self {
        Self { reason: WaitKind::Child, due: None, name: Some(child.to_string()), title: None }
    }

    /// For the end of a process.
    pub(super) fn process(open: &Open, process: &ProcessId) -> Self {
        let due = StepInput::of(&open.step).timeout_ms.map(|ms| open.started_at.plus_ms(ms));
        Self { reason: WaitKind::Process, due, name: Some(process.to_string()), title: None }
    }
}

/// An open step.
#[derive(Debug)]
pub(super) struct Open {
    pub(super) step: StepStarted,
    pub(super) started_at: Timestamp,
    /// The position of its `step.started`.
    pub(super) position: u64,
    pub(super) doing: Doing,
    /// What must be durable before anything is done for it.
    pub(super) acts_behind: u64,
    /// Of a step of kind `agent` that waits for a person: the calls that were asked about.
    pub(super) asks: Vec<String>,
    /// Of a step of kind `tool`: its call, from when it stands in the log to when its end does.
    pub(super) call: Option<Box<ToolCall>>,
    /// Ends the task that performs it.
    pub(super) task: Option<AbortHandle>,
}

/// The part of a step's input that the runner itself reads.
#[derive(Debug, Default, Deserialize)]
pub(super) struct StepInput {
    pub(super) ms: Option<u64>,
    pub(super) timeout_ms: Option<u64>,
    pub(super) signal: Option<String>,
    pub(super) title: Option<String>,
    pub(super) default: Option<bool>,
    pub(super) process: Option<String>,
    pub(super) retry: Option<RetryPolicy>,
}

impl StepInput {
    /// Reads it. The script host has made it, so what does not fit is left out.
    pub(super) fn of(step: &StepStarted) -> Self {
        step.input.to().unwrap_or_default()
    }
}

impl Open {
    pub(super) fn new(step: StepStarted, position: u64, started_at: Timestamp) -> Self {
        let input = StepInput::of(&step);
        let due = input.timeout_ms.map(|ms| started_at.plus_ms(ms));
        let wait = |reason, due, name| Doing::Waiting(Wait { reason, due, name, title: input.title.clone() });
        let doing = match step.kind.as_str() {
            "step" => Doing::Code { deadline: due },
            "sleep" => wait(WaitKind::Sleep, Some(started_at.plus_ms(input.ms.unwrap_or(0))), None),
            "wait" => wait(WaitKind::Sleep, due, None),
            "wait_for" => wait(WaitKind::Signal, due, input.signal.clone()),
            "approve" => wait(WaitKind::Approval, due, None),
            "workflow" | "process_wait" => Doing::Looking,
            _ => Doing::Performing,
        };
        Self { step, started_at, position, doing, acts_behind: position, asks: Vec::new(), call: None, task: None }
    }

    /// Its agent has nothing to do but to wait for a person.
    pub(super) fn waits_for_person(&mut self, asked: Asked) {
        let Asked { call_ids, name, due } = asked;
        self.asks = call_ids;
        self.doing = Doing::Waiting(Wait { reason: WaitKind::Approval, due: Some(due), name: Some(name), title: None });
    }

    /// Whether a task has to be at it, though the job may count as waiting meanwhile.
    pub(super) fn needs_task(&self) -> bool {
        match &self.doing {
            Doing::Performing | Doing::Looking => true,
            Doing::Waiting(wait) => wait.reason == WaitKind::Process,
            Doing::Code { .. } | Doing::Interrupted | Doing::Backoff(_) => false,
        }
    }

    /// Whether its last attempt is closed and the next has not begun.
    pub(super) const fn is_between_attempts(&self) -> bool {
        matches!(self.doing, Doing::Backoff(_))
    }

    fn due(&self) -> Option<Timestamp> {
        match &self.doing {
            Doing::Code { deadline } => *deadline,
            Doing::Waiting(wait) => wait.due,
            Doing::Backoff(due) => Some(*due),
            Doing::Performing | Doing::Interrupted | Doing::Looking => None,
        }
    }
}

/// A job's open steps, by call path.
#[derive(Debug, Default)]
pub(super) struct OpenSteps(BTreeMap<Arc<str>, Open>);

impl OpenSteps {
    pub(super) fn insert(&mut self, open: Open) {
        self.0.insert(open.step.path.as_str().into(), open);
    }

    pub(super) fn get(&self, path: &str) -> Option<&Open> {
        self.0.get(path)
    }

    pub(super) fn get_mut(&mut self, path: &str) -> Option<&mut Open> {
        self.0.get_mut(path)
    }

    /// Takes a step out, and ends the task that performs it.
    pub(super) fn close(&mut self, path: &str) -> Option<Open> {
        let open = self.0.remove(path)?;
        if let Some(task) = &open.task {
            task.abort();
        }
        Some(open)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// All of them, in the order in which they were started.
    pub(super) fn in_order(&self) -> Vec<&Open> {
        let mut all: Vec<_> = self.0.values().collect();
        all.sort_by_key(|open| open.position);
        all
    }

    /// The same, taken out.
    pub(super) fn into_in_order(self) -> Vec<Open> {
        let mut all: Vec<_> = self.0.into_values().collect();
        all.sort_by_key(|open| open.position);
        all
    }

    /// The steps that wait for `reason`, oldest first: where each was started, and its path.
    pub(super) fn waiting_for(&self, reason: WaitKind) -> Vec<(u64, Arc<str>, Wait)> {
        let mut all: Vec<_> = self
            .0
            .iter()
            .filter_map(|(path, open)| match &open.doing {
                Doing::Waiting(wait) if wait.reason == reason => Some((open.position, path.clone(), wait.clone())),
                _ => None,
            })
            .collect();
        all.sort_by_key(|(position, ..)| *position);
        all
    }

    /// What the job waits for, where everything that is open waits: the step that was begun first.
    pub(super) fn all_waiting(&self) -> Option<(Arc<str>, Wait)> {
        let mut first: Option<(u64, Arc<str>, Wait)> = None;
        for (path, open) in &self.0 {
            let wait = match &open.doing {
                Doing::Performing | Doing::Interrupted | Doing::Looking => return None,
                Doing::Code { .. } => continue,
                Doing::Waiting(wait) => wait.clone(),
                Doing::Backoff(due) => Wait { reason: WaitKind::Sleep, due: Some(*due), name: None, title: None },
            };
            if first.as_ref().is_none_or(|(position, ..)| open.position < *position) {
                first = Some((open.position, path.clone(), wait));
            }
        }
        first.map(|(_, path, wait)| (path, wait))
    }

    /// The next time at which something is due by itself.
    pub(super) fn next_due(&self) -> Option<Timestamp> {
        self.0.values().filter_map(Open::due).min()
    }

    /// A step that is due at `now`: of several, the one whose time was up first.
    pub(super) fn due_at(&self, now: Timestamp) -> Option<Arc<str>> {
        self.0
            .iter()
            .filter_map(|(path, open)| Some((open.due()?, open.position, path)))
            .filter(|(due, ..)| *due <= now)
            .min()
            .map(|(.., path)| path.clone())
    }
}
