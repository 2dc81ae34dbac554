//! A script's `tool(name, input)`: a step whose call stands in the log inside it, from `tool.started` to `tool.finished`.
//!
//! Both stand in the appends of the step's own start and end, so there is never half a pair. A call that needs approval
//! begins when it was approved: until then `tool.approval_requested` stands in place of its start.

use super::{
    ActiveJob, Stop,
    open::{Doing, Open, Wait},
};
use crate::{
    process::Owner,
    step_result::StepResult,
    tool::{self, Decision, ToolContext, ToolOutput},
};
use moonlog_core::{
    error_info::ErrorInfo,
    event::{
        Decision as Decided, EventBody, NewEvent, StepOutcome, StepStarted, StreamId, ToolApprovalDecided,
        ToolApprovalRequested, WaitKind,
    },
    journal::idempotency_key,
    json::Json,
};
use serde::Deserialize;
use std::sync::Arc;

/// A call that stands in the log.
#[derive(Debug)]
pub(super) struct ToolCall {
    context: ToolContext,
    /// What came of it, once it is known.
    pub(super) output: Option<ToolOutput>,
}

/// What a step of kind `tool` is asked for, as the prelude writes it.
#[derive(Debug, Default, Deserialize)]
pub(super) struct ToolInput {
    pub(super) name: String,
    pub(super) input: Json,
}

impl ToolInput {
    /// Reads it. The script host has made it, so what does not fit is left out.
    pub(super) fn of(step: &StepStarted) -> Self {
        step.input.to().unwrap_or_default()
    }
}

impl ActiveJob {
    /// Who calls, and where.
    pub(super) fn tool_context(&self, step: &StepStarted) -> ToolContext {
        let owner = Owner {
            stream: StreamId::Job(self.id),
            job: Some(self.id),
            session: self.submitted.session,
            step: Some(step.path.as_str().into()),
        };
        ToolContext {
            owner,
            root: None,
            idempotency_key: idempotency_key(&self.id, step.run, &step.path),
            call_id: step.path.clone(),
        }
    }

    /// Whether a person has to approve the call first. A further attempt at what was approved needs no further one.
    pub(super) fn needs_approval(&self, step: &StepStarted) -> bool {
        let ToolInput { name, input } = ToolInput::of(step);
        step.attempt == 1 && self.inner.tools.decide(&self.tool_context(step), &name, &input) == Decision::Ask
    }

    /// What stands in the log right behind the start of a step of kind `tool`: its call, or the question whether it may be.
    pub(super) fn call_or_question(&self, step: &StepStarted) -> NewEvent {
        let ToolInput { name, input } = ToolInput::of(step);
        let context = self.tool_context(step);
        // The call itself is made with what the step holds.
        let input = self.inner.processes.secrets().scrub_json(&input);
        if !self.needs_approval(step) {
            return tool::started_event(&context, &name, &input, None).cause_before(1);
        }
        let request = ToolApprovalRequested { call_id: context.call_id, name, input };
        NewEvent { session: context.owner.session, ..NewEvent::new(EventBody::ToolApprovalRequested(request)) }
            .step(context.owner.step)
            .cause_before(1)
    }

    /// Sets a step of kind `tool` on its way that has just started.
    pub(super) fn begin_call(&self, open: &mut Open) {
        if self.needs_approval(&open.step) {
            open.doing = self.waits_for_approval(open);
        } else {
            open.call = Some(self.new_call(&open.step));
        }
    }

    /// The same for one that was open when the last task of this job ended: `started` and `asked` say how far it was.
    pub(super) fn reopen_call(&self, open: &mut Open, started: bool, asked: bool) {
        if started {
            open.call = Some(self.new_call(&open.step));
        } else if asked {
            open.doing = self.waits_for_approval(open);
        }
    }

    /// A call that stands in the log.
    pub(super) fn new_call(&self, step: &StepStarted) -> Box<ToolCall> {
        Box::new(ToolCall { context: self.tool_context(step), output: None })
    }

    /// It was asked for as the step began.
    fn waits_for_approval(&self, open: &Open) -> Doing {
        let name = Some(ToolInput::of(&open.step).name);
        let timeout = self.inner.options.agents.approvals.timeout;
        let due = open.started_at.plus_ms(u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX));
        Doing::Waiting(Wait { reason: WaitKind::Approval, due: Some(due), name, title: None })
    }

    /// An approved call begins.
    pub(super) async fn start_approved(&mut self, path: &Arc<str>) -> Result<(), Stop> {
        let Some(step) = self.open.get(path).map(|open| open.step.clone()) else { return Ok(()) };
        let ToolInput { name, input } = ToolInput::of(&step);
        let input = self.inner.processes.secrets().scrub_json(&input);
        let appended = self.append(vec![tool::started_event(&self.tool_context(&step), &name, &input, None)]).await?;
        let call = self.new_call(&step);
        if let Some(open) = self.open.get_mut(path) {
            open.acts_behind = appended.last_position;
            open.call = Some(call);
            open.doing = Doing::Performing;
        }
        self.perform(path);
        Ok(())
    }
}

/// The result of a call that a person has refused.
pub(super) fn refused(step: &StepStarted, decided: &ToolApprovalDecided) -> Option<StepResult> {
    if decided.decision == Decided::Approved {
        return None;
    }
    let name = ToolInput::of(step).name;
    let by = decided.by.as_deref().map(|by| format!(" by {by}")).unwrap_or_default();
    let note = decided.note.as_deref().map(|note| format!(": {note}")).unwrap_or_default();
    Some(StepResult::failed(ErrorInfo::new("denied", format!("the call of `{name}` was denied{by}{note}"))))
}

impl ToolCall {
    /// The call's end: what it changed, and `tool.finished`. They belong right before the step's own end, whose outcome and
    /// error are the call's too where nothing came of it.
    pub(super) fn end(self, outcome: StepOutcome, error: Option<&ErrorInfo>) -> Vec<NewEvent> {
        let output = self.output.unwrap_or_else(|| {
            let error = error.cloned().unwrap_or_else(|| ErrorInfo::new("cancelled", "the call was cancelled"));
            ToolOutput::ended(outcome, error)
        });
        tool::finished_events(&self.context, &output)
    }
}

impl Open {
    /// The end of the call that this step holds, where one stands in the log.
    pub(super) fn end_call(&mut self, outcome: StepOutcome, error: Option<&ErrorInfo>) -> Vec<NewEvent> {
        let events = self.call.take().map(|call| call.end(outcome, error)).unwrap_or_default();
        events.into_iter().map(|event| event.cause(self.position)).collect()
    }
}
