//! What a job waits for, and whether it is there.

use super::{Approval, JobState, JobStatus, OpenStep, Projection, Signal};
use crate::{
    event::{JobWaiting, WaitKind},
    id::{JobId, ProcessId},
    time::Timestamp,
};

impl JobState {
    /// When the job has to end by its own limit: `timeout_ms` after its first start. A fork shares that start with a job
    /// whose time may be long up: its own time begins when it is submitted.
    pub fn deadline(&self) -> Option<Timestamp> {
        Some(self.started_at?.max(self.submitted_at).plus_ms(self.submitted.limits.timeout_ms?))
    }

    /// Before when a queued job must not start: its `run_at`, then the time of its next attempt.
    pub fn not_before(&self) -> Option<Timestamp> {
        self.retry_at.or(self.submitted.run_at)
    }

    /// The first time at which something is due although nothing happens: a start, the end of a sleep, a timeout.
    pub fn next_due(&self) -> Option<Timestamp> {
        match self.status {
            JobStatus::Queued => self.not_before().into_iter().chain(self.deadline()).min(),
            JobStatus::Running | JobStatus::Waiting => {
                let until = self.waiting.as_ref().and_then(|waiting| waiting.until);
                self.open_steps.values().filter_map(|step| step.due()).chain(self.deadline()).chain(until).min()
            }
            _ => None,
        }
    }

    /// What the job waits for: of its waiting operations the one that began first. `None` where an operation is being
    /// performed, or none is open. Steps that hold others, and waits on the script's own branches, wait for those.
    pub fn waits_for(&self) -> Option<JobWaiting> {
        let mut first: Option<(u64, JobWaiting)> = None;
        for (path, step) in &self.open_steps {
            if matches!(&*step.kind, "step" | "wait") && step.retry_at.is_none() {
                continue;
            }
            let waiting = step.waits_for(path).or_else(|| self.tool_waits_for(path, step))?;
            if first.as_ref().is_none_or(|(position, _)| step.position < *position) {
                first = Some((step.position, waiting));
            }
        }
        first.map(|(_, waiting)| waiting)
    }

    /// What a tool call waits for that was not approved yet.
    fn tool_waits_for(&self, path: &str, step: &OpenStep) -> Option<JobWaiting> {
        let approval = match &*step.kind {
            "tool" => self.approval(path),
            // It has other work too: only the job knows when it has none.
            "agent" if self.status == JobStatus::Waiting => self.approvals_of(path).next(),
            _ => None,
        };
        let approval = approval.filter(|approval| approval.decided.is_none())?;
        Some(JobWaiting {
            reason: WaitKind::Approval,
            step: Some(path.to_owned()),
            name: Some(approval.request.name.clone()),
            title: None,
            until: None,
        })
    }

    /// Whether something that the waiting job waits for is there: a time has come, a signal, a decision, a child's or
    /// a process's end, or a request to cancel it.
    pub fn has_work(&self, now: Timestamp, all: &Projection) -> bool {
        self.cancel_requested.is_some()
            || self.deadline().is_some_and(|deadline| deadline <= now)
            || self.waiting.as_ref().and_then(|waiting| waiting.until).is_some_and(|until| until <= now)
            || self.open_steps.iter().any(|(path, step)| self.step_has_work(path, step, now, all))
    }

    /// The same of one of its open steps.
    pub fn step_has_work(&self, path: &str, step: &OpenStep, now: Timestamp, all: &Projection) -> bool {
        if step.due().is_some_and(|due| due <= now) {
            return true;
        }
        if step.retry_at.is_some() {
            return false;
        }
        match &*step.kind {
            "wait_for" => match (&self.pending, step.signal()) {
                (Some(pending), Some(name)) => pending.signal(&name).is_some(),
                _ => false,
            },
            "tool" => self.approval(path).is_none_or(|approval| approval.decided.is_some()),
            "agent" => {
                let mut asked = self.approvals_of(path).peekable();
                asked.peek().is_none() || asked.any(|approval| approval.decided.is_some())
            }
            "approve" => self.approval(path).is_some_and(|approval| approval.decided.is_some()),
            // Where there is no child, a crash came before it was submitted.
            "workflow" => self.pending.as_ref().and_then(|p| p.child_of(path)).is_none_or(|child| child.ended),
            "process_wait" => match step.process().and_then(|id| id.parse::<ProcessId>().ok()) {
                Some(process) => !all.processes().is_running(&process),
                None => true,
            },
            "sleep" | "step" | "wait" => false,
            // What is performed rather than waited for is work by itself.
            _ => true,
        }
    }

    /// The oldest signal called `name` that was not consumed.
    pub fn pending_signal(&self, name: &str) -> Option<&Signal> {
        self.pending.as_ref()?.signal(name)
    }

    /// The approval with this id whose step is open.
    pub fn approval(&self, call_id: &str) -> Option<&Approval> {
        self.pending.as_ref()?.approval(call_id)
    }

    /// The approvals that calls of the agent at `path` have asked for and that are still open, decided or not.
    pub fn approvals_of(&self, path: &str) -> impl Iterator<Item = &Approval> {
        let all = self.pending.iter().flat_map(|pending| &pending.approvals);
        all.filter(move |approval| approval.step.as_deref() == Some(path))
    }

    /// Children that have not ended.
    pub fn live_children(&self) -> impl Iterator<Item = JobId> + '_ {
        self.pending.iter().flat_map(|p| &p.children).filter(|child| !child.ended).map(|child| child.job)
    }

    /// Processes of the job's own that run.
    pub fn running_processes(&self) -> impl Iterator<Item = ProcessId> + '_ {
        self.pending.iter().flat_map(|p| p.processes.iter().copied())
    }
}
