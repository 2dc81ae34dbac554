//! Flows: what their scheduler decides, done to branches and to the journal. Each step of a flow is a branch at its own
//! call path, and a code step in it at the same path.

use super::{
    Answer, FiberKind, Halt, Job,
    operation::{Begin, spec_hash},
};
use mlua::Lua;
use moonlog_core::{
    error_info::ErrorInfo,
    event::StepOutcome,
    flow::{FlowDecision, FlowDefinition, FlowEnd, FlowScheduler, FlowStanding, FlowStatus, SkipReason},
    journal::BRANCH_CANCELLED,
    json::Json,
};
use std::{collections::HashMap, sync::Arc};

/// A flow that runs.
pub(crate) struct Flow {
    scheduler: FlowScheduler,
    ids: Vec<String>,
    /// How the code steps of its steps ended, and which attempts were their last.
    ends: HashMap<Arc<str>, (StepOutcome, u32)>,
    /// Which steps were not, with all that they depend on, an earlier run's.
    fresh: Vec<bool>,
}

impl Flow {
    pub fn note_end(&mut self, path: &Arc<str>, outcome: StepOutcome, attempt: u32) {
        self.ends.insert(Arc::clone(path), (outcome, attempt));
    }

    pub fn note_fresh(&mut self, step: usize) {
        if let Some(fresh) = self.fresh.get_mut(step) {
            *fresh = true;
        }
    }

    /// Whether something that the step depends on was done anew.
    pub fn depends_on_fresh(&self, step: usize) -> bool {
        self.scheduler.deps(step).iter().any(|dep| self.fresh[*dep])
    }
}

/// What the script's side has to do next. Steps are named by their index.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FlowTask {
    /// Start the step.
    Start(usize),
    /// Cancel the step, which runs.
    Cancel(usize),
    /// The step is over without having run.
    Over(usize),
    /// Wait until a step ends.
    Wait,
    /// All have ended.
    Complete,
}

impl Job {
    /// The script calls `flow`: it is checked before anything starts, and its steps get their call paths.
    pub fn flow_open(&mut self, definition: &FlowDefinition) -> Result<Answer, Halt> {
        self.check_allowed("flow")?;
        let scheduler = FlowScheduler::new(definition)
            .map_err(|refusal| Halt::error(refusal.code(), format!("flow: {refusal}")))?;
        let ids: Vec<String> = definition.steps.iter().map(|step| step.id.clone()).collect();
        let answer = self.open_branches(&ids, definition.max_running)?;
        self.flows.insert(self.current, Flow { scheduler, fresh: vec![false; ids.len()], ids, ends: HashMap::new() });
        Ok(answer)
    }

    fn flow(&mut self) -> Result<&mut Flow, Halt> {
        self.flows.get_mut(&self.current).ok_or_else(|| Halt::fault("no flow is open"))
    }

    fn flow_path(&mut self, step: usize) -> Result<Arc<str>, Halt> {
        self.fiber()?.branches.get(step).cloned().ok_or_else(|| Halt::fault("no such step of the flow"))
    }

    /// What comes next. Steps that are over without having run are recorded here.
    pub fn flow_next(&mut self) -> Result<FlowTask, Halt> {
        let flow = self.flow()?;
        Ok(match flow.scheduler.next_decision() {
            Some(FlowDecision::Start(step)) => FlowTask::Start(step),
            Some(FlowDecision::Cancel(step)) => FlowTask::Cancel(step),
            Some(FlowDecision::Skip(step, reason)) => {
                self.flow_skipped(step, reason)?;
                FlowTask::Over(step)
            }
            Some(FlowDecision::Drop(step)) => {
                self.flow_cancelled(step)?;
                FlowTask::Over(step)
            }
            None => match flow.scheduler.standing() {
                FlowStanding::Running(_) => FlowTask::Wait,
                FlowStanding::Complete => {
                    self.flows.remove(&self.current);
                    self.close_branches()?;
                    FlowTask::Complete
                }
                FlowStanding::Stuck(steps) => {
                    let names: Vec<&str> = steps.iter().map(|step| flow.ids[*step].as_str()).collect();
                    return Err(Halt::fault(&format!("a flow is stuck before {}", names.join(", "))));
                }
            },
        })
    }

    /// Where a step stands, why it was skipped, and how often it was tried.
    pub fn flow_status(&mut self, step: usize) -> Result<(&'static str, Option<&'static str>, u32), Halt> {
        let path = self.flow_path(step)?;
        let flow = self.flow()?;
        let status = flow.scheduler.status(step);
        let reason = match status {
            FlowStatus::Skipped(reason) => Some(reason.as_str()),
            _ => None,
        };
        Ok((status.as_str(), reason, flow.ends.get(&path).map_or(0, |(_, attempts)| *attempts)))
    }

    /// A step's branch has ended. `end` is what the branch says: whether it was a failure or a timeout stands in the
    /// journal.
    pub fn flow_ended(
        &mut self,
        step: usize,
        end: FlowEnd,
        error: impl FnOnce(&Self) -> ErrorInfo,
    ) -> Result<(), Halt> {
        let path = self.flow_path(step)?;
        let recorded = self.flow()?.ends.get(&path).map(|(outcome, _)| *outcome);
        let end = match (end, recorded) {
            (FlowEnd::Failed, Some(StepOutcome::TimedOut)) => FlowEnd::TimedOut,
            (FlowEnd::Failed, None) => {
                // It could not even begin.
                let error = error(self);
                self.flow_over(step, StepOutcome::Error, error)?;
                end
            }
            (FlowEnd::WhenFalse, _) => {
                self.flow_skipped(step, SkipReason::WhenFalse)?;
                end
            }
            (end, _) => end,
        };
        self.flow()?.scheduler.ended(step, end);
        Ok(())
    }

    /// Cancels a step that runs. Gives whether it was there to be cancelled: it may have ended a moment ago, which is
    /// still to be heard.
    pub fn flow_cancel(&mut self, lua: &Lua, step: usize) -> Result<bool, Halt> {
        let (current, path) = (self.current, self.flow_path(step)?);
        let branch = FiberKind::Branch(step as u32 + 1);
        let runs = self.fibers.iter().find(|(_, fiber)| fiber.parent == Some(current) && fiber.kind == branch);
        let Some(id) = runs.map(|(id, _)| *id) else { return Ok(false) };
        let open = self.open.get(&path).map(|open| open.attempt);
        self.cancel(lua, &[id])?;
        match open {
            Some(attempt) => {
                let flow = self.flow()?;
                flow.note_end(&path, StepOutcome::Cancelled, attempt);
                flow.note_fresh(step);
            }
            // It was still at its condition.
            None => self.flow_cancelled(step)?,
        }
        self.fiber()?.branches_fresh = true;
        self.flow()?.scheduler.ended(step, FlowEnd::Cancelled);
        Ok(true)
    }

    fn flow_skipped(&mut self, step: usize, reason: SkipReason) -> Result<(), Halt> {
        let message = match reason {
            SkipReason::NotChosen => "no switch chose it",
            SkipReason::WhenFalse => "its condition said no",
            SkipReason::UpstreamFailed => "a step that it needs failed",
        };
        self.flow_over(step, StepOutcome::Skipped, ErrorInfo::new(reason.as_str(), message))
    }

    fn flow_cancelled(&mut self, step: usize) -> Result<(), Halt> {
        self.flow_over(step, StepOutcome::Cancelled, ErrorInfo::new(BRANCH_CANCELLED, "its batch failed"))
    }

    /// Records a step that is over without having run, so that whoever looks at the job sees it with the reason.
    fn flow_over(&mut self, step: usize, outcome: StepOutcome, error: ErrorInfo) -> Result<(), Halt> {
        let path = self.flow_path(step)?;
        let name = self.flow()?.ids.get(step).cloned().unwrap_or_default();
        let input = Json::from(serde_json::json!({ "name": name }));
        let spec_hash = spec_hash("step", input.as_str(), None);
        let flow = self.flow()?;
        if outcome != StepOutcome::Skipped || flow.depends_on_fresh(step) {
            flow.note_fresh(step);
        }
        let begin = Begin { kind: "step", name: &name, path: Some(path), input, spec_hash, check: false, retry: None };
        let path = self.start(begin)?.path;
        self.open.remove(&path);
        let finish = self.finish(&path, 1, outcome, Some(error));
        self.close(&path, 1, finish)
    }
}
