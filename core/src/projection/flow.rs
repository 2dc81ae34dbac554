//! The steps of one job as a tree by call path.

use crate::{
    error_info::ErrorInfo,
    event::{Event, EventBody, JobWaiting, StepOutcome},
    projection::OpenStep,
    time::Timestamp,
};
use serde::{Serialize, Serializer, ser::SerializeStruct};
use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

/// Where a step stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
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
            EventBody::JobPhaseEntered(entered) => self.phases.push(entered.title.as_str().into()),
            EventBody::StepStarted(started) => {
                let index = self.node(&started.path, event.happened_at());
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
                step.open = Some(OpenStep::new(started, event.happened_at(), event.position));
                step.attempts.push(StepAttempt {
                    attempt: started.attempt,
                    started_at: event.happened_at(),
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
                    attempt.ended_at = Some(event.happened_at());
                    attempt.outcome = Some(finished.outcome);
                    attempt.latency_ms = Some(finished.latency_ms);
                    attempt.error = finished.error.clone();
                }
            }
            EventBody::StepRetryScheduled(retry) => {
                let Some(step) = self.step(&retry.path) else { return };
                step.status = StepStatus::Pending;
                if let Some(open) = &mut step.open {
                    open.retry_at = Some(event.happened_at().plus_ms(retry.wait_ms));
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

    /// The phases that were entered, in order.
    pub fn phases(&self) -> &[Arc<str>] {
        &self.phases
    }

    /// How many steps stand at each status, groups not counted.
    pub fn counts(&self) -> BTreeMap<StepStatus, u64> {
        let mut counts = BTreeMap::new();
        for step in self.nodes.iter().filter_map(|node| node.step.as_ref()) {
            *counts.entry(step.status).or_insert(0) += 1;
        }
        counts
    }

    fn begin_run(&mut self, run: u32) {
        *self = Self { run, ..Self::default() };
    }

    fn step(&mut self, path: &str) -> Option<&mut Step> {
        let index = *self.by_path.get(path)?;
        self.nodes[index].step.as_mut()
    }

    /// The node at `path`, made where there is none, with the groups above it.
    fn node(&mut self, path: &str, time: Timestamp) -> usize {
        if let Some(index) = self.by_path.get(path) {
            return *index;
        }
        let parent = path.rsplit_once('/').map(|(above, _)| match self.by_path.get(above) {
            Some(index) => *index,
            None => self.node(without_attempt(above), time),
        });
        let index = self.nodes.len();
        let path: Arc<str> = path.into();
        self.by_path.insert(path.clone(), index);
        let phase = self.phases.last().cloned();
        self.nodes.push(Node { path, parent, children: Vec::new(), step: None, phase, started_at: time });
        if let Some(parent) = parent {
            self.nodes[parent].children.push(index);
        }
        index
    }

    fn shown(&self, index: usize) -> FlowStep {
        let node = &self.nodes[index];
        let steps: Vec<_> = node.children.iter().map(|child| self.shown(*child)).collect();
        let mut shown = FlowStep {
            path: node.path.clone(),
            name: String::new(),
            kind: None,
            status: StepStatus::Running,
            phase: node.phase.clone(),
            started_at: node.started_at,
            ended_at: None,
            attempts: Vec::new(),
            cached: false,
            waiting: None,
            steps,
        };
        match &node.step {
            Some(step) => {
                shown.name = step.name.clone();
                shown.kind = Some(step.kind.clone());
                shown.status = step.status;
                shown.attempts = step.attempts.clone();
                shown.cached = step.cached;
                if step.is_open() {
                    shown.waiting = step.open.as_ref().and_then(|open| open.waits_for(&node.path));
                } else {
                    shown.ended_at = step.attempts.last().and_then(|attempt| attempt.ended_at);
                }
            }
            None => {
                shown.name = node.path.rsplit('/').next().unwrap_or_default().to_owned();
                shown.status = group_status(&shown.steps);
                if !shown.status.is_open() {
                    shown.ended_at = shown.steps.iter().filter_map(|step| step.ended_at).max();
                }
            }
        }
        shown
    }
}

impl Step {
    fn is_open(&self) -> bool {
        self.status.is_open()
    }
}

impl StepStatus {
    /// Whether something is still to come.
    pub const fn is_open(self) -> bool {
        matches!(self, Self::Pending | Self::Running)
    }
}

/// `review@2` is what the second attempt at `review` holds: it stands under `review`.
fn without_attempt(path: &str) -> &str {
    match path.rsplit_once('@') {
        Some((step, attempt)) if !attempt.is_empty() && attempt.bytes().all(|b| b.is_ascii_digit()) => step,
        _ => path,
    }
}

/// Where a group stands. The log does not say it, so it follows from what is in the group: a branch ends as its last
/// step did, since what fails before that was handled; a combinator has done its work where any of its branches has.
fn group_status(steps: &[FlowStep]) -> StepStatus {
    if steps.iter().any(|step| step.status.is_open()) {
        return StepStatus::Running;
    }
    let last = |steps: &mut dyn Iterator<Item = &FlowStep>| {
        steps.max_by_key(|step| (step.ended_at, step.started_at)).map(|step| step.status)
    };
    match last(&mut steps.iter().filter(|step| step.kind.is_some())) {
        Some(status) => status,
        None if steps.iter().any(|step| step.status == StepStatus::Completed) => StepStatus::Completed,
        None => last(&mut steps.iter()).unwrap_or(StepStatus::Running),
    }
}

impl Serialize for FlowState {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut out = serializer.serialize_struct("FlowState", 4)?;
        out.serialize_field("run", &self.run)?;
        out.serialize_field("phase", &self.phases.last())?;
        out.serialize_field("phases", &self.phases)?;
        out.serialize_field("steps", &self.steps())?;
        out.end()
    }
}
