//! The rules as they are written, evaluated by looking at every step again and again.

use moonlog_core::flow::{FlowDefinition, FlowEnd, FlowStatus, Join, SkipReason, Trigger};

pub struct Model<'a> {
    definition: &'a FlowDefinition,
    pub status: Vec<FlowStatus>,
    chose: Vec<Option<usize>>,
    broken: Vec<String>,
}

impl<'a> Model<'a> {
    pub fn new(definition: &'a FlowDefinition) -> Self {
        let steps = definition.steps.len();
        let mut model =
            Self { definition, status: vec![FlowStatus::Pending; steps], chose: vec![None; steps], broken: Vec::new() };
        model.skip_all();
        model
    }

    pub fn index(&self, id: &str) -> usize {
        self.definition.steps.iter().position(|step| step.id == id).unwrap()
    }

    /// What a step waits for: its dependencies, and the switches that name it.
    pub fn deps(&self, step: usize) -> Vec<usize> {
        let named = &self.definition.steps[step].id;
        let mut deps: Vec<usize> = self.definition.steps[step].deps.iter().map(|id| self.index(id)).collect();
        deps.extend(self.switches(named));
        deps.sort_unstable();
        deps.dedup();
        deps
    }

    fn switches(&self, named: &str) -> Vec<usize> {
        let names = |index: &usize| {
            let switch = self.definition.steps[*index].switch.as_ref();
            switch.is_some_and(|switch| switch.cases.iter().flatten().any(|id| id == named))
        };
        (0..self.definition.steps.len()).filter(names).collect()
    }

    /// Whether a step waits for nothing but room.
    pub fn may_start(&self, step: usize) -> bool {
        self.status[step] == FlowStatus::Pending && self.verdict(step) == Some(None)
    }

    pub fn started(&mut self, step: usize) {
        self.status[step] = FlowStatus::Running;
    }

    pub fn ended(&mut self, step: usize, end: FlowEnd) {
        self.status[step] = match end {
            FlowEnd::Completed => FlowStatus::Completed,
            FlowEnd::Chose(case) => {
                self.chose[step] = case;
                FlowStatus::Completed
            }
            FlowEnd::Failed => FlowStatus::Failed,
            FlowEnd::TimedOut => FlowStatus::TimedOut,
            FlowEnd::WhenFalse => FlowStatus::Skipped(SkipReason::WhenFalse),
            FlowEnd::Cancelled => FlowStatus::Cancelled,
        };
        if let (FlowStatus::Failed | FlowStatus::TimedOut, Some(name)) =
            (self.status[step], &self.definition.steps[step].batch)
        {
            let batch = self.definition.batches.iter().find(|batch| batch.name == *name).unwrap();
            if batch.join == Join::AllSuccess && !self.broken.contains(name) {
                self.broken.push(name.clone());
                for (index, other) in self.definition.steps.iter().enumerate() {
                    if other.batch.as_ref() == Some(name) && self.status[index] == FlowStatus::Pending {
                        self.status[index] = FlowStatus::Cancelled;
                    }
                }
            }
        }
        self.skip_all();
    }

    /// Whether the batch of a step has failed.
    pub fn is_broken(&self, step: usize) -> bool {
        self.definition.steps[step].batch.as_ref().is_some_and(|name| self.broken.contains(name))
    }

    fn skip_all(&mut self) {
        while let Some((step, reason)) = (0..self.status.len()).find_map(|step| {
            let pending = self.status[step] == FlowStatus::Pending;
            Some((step, pending.then(|| self.verdict(step)).flatten()??))
        }) {
            self.status[step] = FlowStatus::Skipped(reason);
        }
    }

    /// `None` while dependencies are open; then why it is skipped, if it is.
    fn verdict(&self, step: usize) -> Option<Option<SkipReason>> {
        let definition = &self.definition.steps[step];
        let deps = self.deps(step);
        if deps.iter().any(|dep| !self.status[*dep].is_ended()) {
            return None;
        }
        let chosen_by = |switch: &usize| {
            let cases = &self.definition.steps[*switch].switch.as_ref().unwrap().cases;
            self.chose[*switch].is_some_and(|case| cases[case].contains(&definition.id))
        };
        let switches = self.switches(&definition.id);
        let chose: Vec<usize> =
            switches.into_iter().filter(|switch| self.status[*switch] == FlowStatus::Completed).collect();
        if !chose.is_empty() && !chose.iter().any(chosen_by) {
            return Some(Some(SkipReason::NotChosen));
        }
        if definition.trigger == Trigger::AllDone || deps.is_empty() {
            return Some(None);
        }
        let is_left_out = |dep: &usize| {
            matches!(self.status[*dep], FlowStatus::Skipped(SkipReason::NotChosen | SkipReason::WhenFalse))
        };
        let relevant: Vec<FlowStatus> =
            deps.iter().filter(|dep| !is_left_out(dep)).map(|dep| self.status[*dep]).collect();
        if relevant.is_empty() {
            // Why the first that it names was left out; those that name it come behind.
            let first = definition.deps.first().map_or(deps[0], |id| self.index(id));
            let FlowStatus::Skipped(reason) = self.status[first] else { unreachable!() };
            return Some(Some(reason));
        }
        let success = |status: &FlowStatus| *status == FlowStatus::Completed;
        let runs = match definition.trigger {
            Trigger::AllSuccess => relevant.iter().all(success),
            _ => relevant.iter().any(success),
        };
        Some(if runs { None } else { Some(SkipReason::UpstreamFailed) })
    }
}
