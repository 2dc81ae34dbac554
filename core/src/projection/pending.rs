//! What a job has received, or started, and not yet used up: signals, decisions, children, processes. Most jobs have
//! none of it, so it is kept apart from the job's state and only where there is some.

use crate::{
    codec::{Decode, Encode},
    event::{ToolApprovalDecided, ToolApprovalRequested},
    id::{JobId, ProcessId},
    json::Json,
    time::Timestamp,
};
use std::collections::{BTreeSet, VecDeque};

/// A signal that no `wait_for` has consumed.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Signal {
    /// Its name.
    pub name: Box<str>,
    /// The position of its `job.signalled`, which holds the payload.
    pub position: u64,
}

/// An approval that was asked for and whose step or tool call is still open.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Approval {
    /// What is asked.
    pub request: ToolApprovalRequested,
    /// The call path of the step it belongs to.
    pub step: Option<Box<str>>,
    /// When it was asked for.
    pub requested_at: Timestamp,
    /// The position of the request.
    pub position: u64,
    /// The answer, until the step has taken it.
    pub decided: Option<ToolApprovalDecided>,
}

/// A job that a `workflow` step of this one started.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Child {
    /// The child.
    pub job: JobId,
    /// The call path of the step.
    pub step: Box<str>,
    /// Whether it has ended; then it stays here until its step has ended too.
    pub ended: bool,
}

/// All that waits to be used.
#[derive(Debug, Clone, Default, PartialEq, Eq, Encode, Decode)]
pub struct Pending {
    /// In the order of the log.
    pub signals: VecDeque<Signal>,
    /// Asked for, in the order of the log.
    pub approvals: Vec<Approval>,
    /// The ids of the approvals that are settled.
    pub settled: BTreeSet<Box<str>>,
    /// Living, or ended with an open step.
    pub children: Vec<Child>,
    /// Processes of the job's that run.
    pub processes: BTreeSet<ProcessId>,
}

impl Pending {
    /// The oldest signal called `name`: the one that the oldest open `wait_for` of that name gets.
    pub fn signal(&self, name: &str) -> Option<&Signal> {
        self.signals.iter().find(|signal| &*signal.name == name)
    }

    /// The open approval with this id.
    pub fn approval(&self, call_id: &str) -> Option<&Approval> {
        self.approvals.iter().find(|approval| approval.request.call_id == call_id)
    }

    /// The child that the open step at `path` started last.
    pub fn child_of(&self, path: &str) -> Option<&Child> {
        self.children.iter().rev().find(|child| &*child.step == path)
    }

    pub(super) fn consume_signal(&mut self, name: &str) {
        if let Some(index) = self.signals.iter().position(|signal| &*signal.name == name) {
            self.signals.remove(index);
        }
    }

    pub(super) fn request(
        &mut self,
        request: &ToolApprovalRequested,
        step: Option<&str>,
        time: Timestamp,
        position: u64,
    ) {
        self.settle(&request.call_id);
        self.settled.remove(request.call_id.as_str());
        self.approvals.push(Approval {
            request: request.clone(),
            step: step.map(Into::into),
            requested_at: time,
            position,
            decided: None,
        });
    }

    pub(super) fn decide(&mut self, decided: &ToolApprovalDecided) {
        if let Some(approval) = self.approvals.iter_mut().find(|a| a.request.call_id == decided.call_id) {
            approval.decided = Some(decided.clone());
        }
    }

    /// The step or tool call that asked has ended.
    pub(super) fn settle(&mut self, call_id: &str) {
        let before = self.approvals.len();
        self.approvals.retain(|approval| approval.request.call_id != call_id);
        if self.approvals.len() < before {
            self.settled.insert(call_id.into());
        }
    }

    /// A new run begins: its steps ask anew.
    pub(super) fn begin_run(&mut self) {
        self.approvals.clear();
        self.settled.clear();
        self.children.retain(|child| !child.ended);
    }

    pub(super) fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// The title of an approval, as its input gives it.
pub(super) fn title(input: &Json) -> Option<String> {
    #[derive(serde::Deserialize)]
    struct Titled {
        title: Option<String>,
    }
    input.to::<Titled>().ok().and_then(|input| input.title)
}
