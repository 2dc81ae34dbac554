//! The scheduler: what has ended goes in, what to do next comes out. Each step and each dependency is looked at a fixed
//! number of times, so a graph costs what its size is.

use super::{
    definition::{FlowDefinition, Join},
    graph::{FlowRefusal, Graph},
    ready::Ready,
    trigger::{SkipReason, Upstream},
};
use std::collections::VecDeque;

/// Where a step of a flow stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FlowStatus {
    /// It waits for its dependencies, or for room.
    Pending,
    /// It runs.
    Running,
    /// It ended as wanted.
    Completed,
    /// It failed.
    Failed,
    /// It did not run.
    Skipped(SkipReason),
    /// Its batch was cancelled.
    Cancelled,
    /// Its time was up, the last time that it was tried.
    TimedOut,
}

impl FlowStatus {
    /// As scripts and events name it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Running => "running",
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Skipped(_) => "skipped",
            Self::Cancelled => "cancelled",
            Self::TimedOut => "timed_out",
        }
    }

    /// Whether nothing is to come any more.
    pub const fn is_ended(self) -> bool {
        !matches!(self, Self::Pending | Self::Running)
    }
}

/// How a step that was started ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FlowEnd {
    /// As wanted.
    Completed,
    /// It is a switch, and chose this case; `None` where none fits and there is no default.
    Chose(Option<usize>),
    /// It failed.
    Failed,
    /// Its time was up.
    TimedOut,
    /// Its own condition said no.
    WhenFalse,
    /// It was cancelled, as was decided.
    Cancelled,
}

/// What is to be done. Steps are named by their index in the definition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FlowDecision {
    /// Evaluate the step's condition, where it has one, then run it; say how it ended.
    Start(usize),
    /// The step is over without having run.
    Skip(usize, SkipReason),
    /// The step, which has not run, is over because its batch failed.
    Drop(usize),
    /// The step runs, and its batch failed: cancel it, and say how it ended. It may have ended otherwise meanwhile.
    Cancel(usize),
}

/// How a flow stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FlowStanding {
    /// Every step has ended.
    Complete,
    /// Steps run, so many of them; or decisions are to be taken.
    Running(usize),
    /// Nothing runs or may start, and these have not ended. A graph without a cycle does not come to that: where it
    /// does, whoever drives the scheduler is told so instead of waiting for ever.
    Stuck(Vec<usize>),
}

/// A flow while it runs.
#[derive(Debug)]
pub struct FlowScheduler {
    graph: Graph,
    status: Vec<FlowStatus>,
    /// How many dependencies of each step have not ended.
    waits_for: Vec<usize>,
    /// Of each switch that has ended, the steps that it chose are marked here.
    chosen: Vec<bool>,
    ready: Ready,
    /// Decided and not taken yet.
    decisions: VecDeque<FlowDecision>,
    ended: usize,
}

impl FlowScheduler {
    /// A flow before its first step.
    ///
    /// # Errors
    /// Where it cannot run: unknown or duplicate ids, batches that let nothing run, steps that wait for each other.
    pub fn new(definition: &FlowDefinition) -> Result<Self, FlowRefusal> {
        let graph = Graph::new(definition)?;
        let steps = graph.nodes.len();
        // The last group is that of the steps without a batch.
        let limits = graph.batches.iter().map(|batch| batch.max_concurrent).chain([usize::MAX]);
        let ready = Ready::new(limits, definition.max_running.max(1));
        let mut scheduler = Self {
            status: vec![FlowStatus::Pending; steps],
            waits_for: graph.nodes.iter().map(|node| node.deps.len()).collect(),
            chosen: vec![false; steps],
            decisions: VecDeque::new(),
            ended: 0,
            graph,
            ready,
        };
        let first = (0..steps).filter(|step| scheduler.waits_for[*step] == 0).collect();
        scheduler.look_at(first);
        Ok(scheduler)
    }

    /// What is to be done next; `None` until something ends.
    pub fn next_decision(&mut self) -> Option<FlowDecision> {
        if let Some(decision) = self.decisions.pop_front() {
            return Some(decision);
        }
        let status = &self.status;
        let step = self.ready.start(|step| status[step].is_ended())?;
        self.status[step] = FlowStatus::Running;
        Some(FlowDecision::Start(step))
    }

    /// A step that was started has ended. Gives whether it was running: no step ends twice.
    pub fn ended(&mut self, step: usize, end: FlowEnd) -> bool {
        if self.status.get(step) != Some(&FlowStatus::Running) {
            return false;
        }
        self.ready.ended(self.group(step));
        let status = match end {
            FlowEnd::Completed => FlowStatus::Completed,
            FlowEnd::Chose(case) => {
                for named in case.and_then(|case| self.graph.nodes[step].cases.get(case)).into_iter().flatten() {
                    self.chosen[*named] = true;
                }
                FlowStatus::Completed
            }
            FlowEnd::Failed => FlowStatus::Failed,
            FlowEnd::TimedOut => FlowStatus::TimedOut,
            FlowEnd::WhenFalse => FlowStatus::Skipped(SkipReason::WhenFalse),
            FlowEnd::Cancelled => FlowStatus::Cancelled,
        };
        let mut over = vec![step];
        self.settle(step, status);
        if matches!(status, FlowStatus::Failed | FlowStatus::TimedOut) {
            over.extend(self.cancel_batch(step));
        }
        let free = over.into_iter().flat_map(|step| self.release(step)).collect();
        self.look_at(free);
        true
    }

    /// Where a step stands.
    pub fn status(&self, step: usize) -> FlowStatus {
        self.status.get(step).copied().unwrap_or(FlowStatus::Pending)
    }

    /// The steps that a step waits for: its dependencies, and the switches that name it.
    pub fn deps(&self, step: usize) -> &[usize] {
        self.graph.nodes.get(step).map_or(&[], |node| &node.deps)
    }

    /// How the flow stands.
    pub fn standing(&self) -> FlowStanding {
        let running = self.ready.running();
        let is_decided = !self.decisions.is_empty() || self.ready.may_start();
        if self.ended == self.status.len() && self.decisions.is_empty() {
            FlowStanding::Complete
        } else if running > 0 || is_decided {
            FlowStanding::Running(running)
        } else {
            FlowStanding::Stuck((0..self.status.len()).filter(|step| !self.status[*step].is_ended()).collect())
        }
    }

    fn group(&self, step: usize) -> usize {
        self.graph.nodes[step].batch.unwrap_or(self.graph.batches.len())
    }

    fn settle(&mut self, step: usize, status: FlowStatus) {
        self.status[step] = status;
        self.ended += 1;
    }

    /// Decides on steps whose dependencies have all ended, and on those that are reached by what is skipped.
    fn look_at(&mut self, free: Vec<usize>) {
        let mut free = VecDeque::from(free);
        while let Some(step) = free.pop_front() {
            if self.status[step] != FlowStatus::Pending {
                continue;
            }
            match self.skips(step) {
                None => self.ready.push(self.group(step), step),
                Some(reason) => {
                    self.settle(step, FlowStatus::Skipped(reason));
                    self.decisions.push_back(FlowDecision::Skip(step, reason));
                    free.extend(self.release(step));
                }
            }
        }
    }

    /// Why a step whose dependencies have all ended does not run.
    fn skips(&self, step: usize) -> Option<SkipReason> {
        let node = &self.graph.nodes[step];
        // Whoever chose it has the say; of the switches that did not, those count that chose at all.
        let chose = |switch: &usize| self.status[*switch] == FlowStatus::Completed;
        if !self.chosen[step] && node.switches.iter().any(chose) {
            return Some(SkipReason::NotChosen);
        }
        Upstream::of(node.deps.iter().map(|dep| self.status[*dep])).skips(node.trigger)
    }

    /// The steps that waited for nothing but `step`.
    fn release(&mut self, step: usize) -> Vec<usize> {
        let waits_for = &mut self.waits_for;
        let dependants = self.graph.nodes[step].dependants.iter().copied();
        dependants
            .filter(|dependant| {
                waits_for[*dependant] -= 1;
                waits_for[*dependant] == 0
            })
            .collect()
    }

    /// A step failed: where its batch says so, the rest of the batch is cancelled. Gives those that are over by that.
    fn cancel_batch(&mut self, failed: usize) -> Vec<usize> {
        let Some(batch) = self.graph.nodes[failed].batch else { return Vec::new() };
        if self.graph.batches[batch].join != Join::AllSuccess {
            return Vec::new();
        }
        let mut over = Vec::new();
        // Once is enough: nothing of the batch starts any more.
        for member in std::mem::take(&mut self.graph.batches[batch].members) {
            match self.status[member] {
                FlowStatus::Running => self.decisions.push_back(FlowDecision::Cancel(member)),
                FlowStatus::Pending => {
                    self.settle(member, FlowStatus::Cancelled);
                    self.decisions.push_back(FlowDecision::Drop(member));
                    over.push(member);
                }
                _ => {}
            }
        }
        over
    }
}
