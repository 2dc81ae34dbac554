//! The steps of one job as a tree by call path.

use crate::{
    error_info::ErrorInfo,
    event::{Event, EventBody, JobWaiting, StepOutcome},
    projection::OpenStep,
    time::Timestamp,
};
use serde::Serialize;
use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

/// Where a step stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum StepStatus {
    /// Its next attempt is still to begin.
    Pending,
    /// It is open.
    Running,
    /// It ended as wanted.
    Completed,
    /// It failed, or the server died meanwhile and it was not tried again.
    Failed,
    /// It was not wanted.
    Skipped,
    /// Its branch or its job was cancelled.
    Cancelled,
    /// It took too long.
    TimedOut,
}

impl From<StepOutcome> for StepStatus {
    fn from(outcome: StepOutcome) -> Self {
        match outcome {
            StepOutcome::Ok => Self::Completed,
            StepOutcome::Error | StepOutcome::Interrupted => Self::Failed,
            StepOutcome::TimedOut => Self::TimedOut,
            StepOutcome::Cancelled => Self::Cancelled,
            StepOutcome::Skipped => Self::Skipped,
        }
    }
}

/// One attempt at a step.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct StepAttempt {
    /// 1-based.
    pub attempt: u32,
    /// When it began.
    pub started_at: Timestamp,
    /// When it ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<Timestamp>,
    /// How it ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub outcome: Option<StepOutcome>,
    /// From start to end, as the event says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub latency_ms: Option<u64>,
    /// Why it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<ErrorInfo>,
}

/// A step, or a group of steps such as a combinator and its branches.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct FlowStep {
    /// Its call path.
    pub path: Arc<str>,
    /// The step's name; a group's is its last segment.
    pub name: String,
    /// What kind of operation; none for a group, of which the log says nothing by itself.
    pub kind: Option<String>,
    /// Where it stands; a group's follows from what is in it.
    pub status: StepStatus,
    /// The phase it began in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub phase: Option<Arc<str>>,
    /// When it began.
    pub started_at: Timestamp,
    /// When it ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<Timestamp>,
    /// Its attempts; none for a group.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub attempts: Vec<StepAttempt>,
    /// Whether its result is an earlier job's.
    pub cached: bool,
    /// What it waits for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub waiting: Option<JobWaiting>,
    /// What began within it, in that order.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub steps: Vec<FlowStep>,
}

/// The flow state of a job: the steps of its current run.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct FlowState {
    run: u32,
    phase: Option<Arc<str>>,
    phases: Vec<Arc<str>>,
    nodes: Vec<Node>,
    by_path: HashMap<Arc<str>, usize>,
}

/// A node in the order in which nodes began; groups come into being with the first step in them.
#[derive(Debug, Clone, PartialEq)]
struct Node {
    path: Arc<str>,
    parent: Option<usize>,
    children: Vec<usize>,
    step: Option<Step>,
    phase: Option<Arc<str>>,
    started_at: Timestamp,
}

#[derive(Debug, Clone, PartialEq)]
struct Step {
    open: Option<OpenStep>,
    name: String,
    kind: String,
    status: StepStatus,
    attempts: Vec<StepAttempt>,
    cached: bool,
}

impl FlowState {
    /// The state after these events of a job's stream.
    pub fn fold<E: AsRef<Event>>(events: impl IntoIterator<Item = E>) -> Self {
        let mut state = Self::default();
        for event in events {
            state.apply(event.as_ref());
        }
        state
    }

    /// Folds the next event of the job's stream.
    pub fn apply(&mut self, event: &Event) {
        match &event.body {
            EventBody::JobStarted(started) => self.begin_run(started.run),
            EventBody::JobContinued(continued) => self.begin_run(continued.run),
            EventBody::JobPhaseEntered(entered) => {
                let phase: Arc<str> = entered.title.as_str().into();
                self.phases.push(phase.clone());
                self.phase = Some(phase);
            }
            EventBody::StepStarted(started) => {
                let index = self.node(&started.path, event.time);
                let node = &mut self.nodes[index];
                let step = node.step.get_or_insert_with(|| Step {
                    open: None,
                    name: started.name.clone(),
                    kind: started.kind.clone(),
                    status: StepStatus::Running,
                    attempts: Vec::new(),
                    cached: false,
                });
                step.status = StepStatus::Running;
                step.open = Some(OpenStep::new(started, event.time, event.position));
                step.attempts.push(StepAttempt {
                    attempt: started.attempt,
                    started_at: event.time,
                    ended_at: None,
                    outcome: None,
                    latency_ms: None,
                    error: None,
                });
            }
            EventBody::StepFinished(finished) => {
                let Some(step) = self.step(&finished.path) else { return };
                step.status = finished.outcome.into();
                step.cached |= finished.cached;
                if let Some(attempt) = step.attempts.iter_mut().rev().find(|a| a.attempt == finished.attempt) {
                    attempt.ended_at = Some(event.time);
                    attempt.outcome = Some(finished.outcome);
                    attempt.latency_ms = Some(finished.latency_ms);
                    attempt.error = finished.error.clone();
                }
            }
            EventBody::StepRetryScheduled(retry) => {
                let Some(step) = self.step(&retry.path) else { return };
                step.status = StepStatus::Pending;
                if let Some(open) = &mut step.open {
                    open.retry_at = Some(event.time.plus_ms(retry.wait_ms));
                }
            }
            _ => {}
        }
    }

    /// The run whose steps these are.
    pub const fn run(&self) -> u32 {
        self.run
    }

    /// The tree.
    pub fn steps(&self) -> Vec<FlowStep> {
        (0..self.nodes.len()).filter(|index| self.nodes[*index].parent.is_none()).map(|i| self.shown(i)).collect()
    }

    /// How many steps stand at each status, groups not counted.
    pub fn counts(&self) -> BTreeMap<&'static str, u64> {
        todo!()
    }

    fn begin_run(&mut self, run: u32) {
        *self = Self { run, ..Self::default() };
    }

    fn step(&mut self, path: &str) -> Option<&mut Step> {
        let index = *self.by_path.get(path)?;
        self.nodes[index].step.as_mut()
    }

    fn node(&mut self, _path: &str, _time: Timestamp) -> usize {
        todo!()
    }

    fn shown(&self, _index: usize) -> FlowStep {
        todo!()
    }
}
