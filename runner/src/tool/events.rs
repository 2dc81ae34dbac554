//! What of a call stands in the log: `tool.started` before it acts; behind it, in one append, `file.changed` for each
//! file and `tool.finished`.

use super::{ToolContext, ToolOutput};
use moonlog_core::{
    event::{EventBody, NewEvent, ToolFinished, ToolStarted},
    json::Json,
};

/// `tool.started`. It must be durable before the call is performed.
pub fn started_event(context: &ToolContext, name: &str, input: &Json, turn: Option<u32>) -> NewEvent {
    let started = ToolStarted { call_id: context.call_id.clone(), name: name.to_owned(), input: input.clone(), turn };
    event(context, EventBody::ToolStarted(started))
}

/// The files that the call changed, then its end: for one append.
pub fn finished_events(context: &ToolContext, output: &ToolOutput) -> Vec<NewEvent> {
    let changes = output.changes.iter().map(|change| event(context, EventBody::FileChanged(change.clone())));
    let finished = ToolFinished {
        call_id: context.call_id.clone(),
        outcome: output.outcome,
        output: output.output.clone(),
        truncated: output.truncated.clone(),
        diff: output.diff.clone(),
        latency_ms: output.latency_ms,
    };
    changes.chain([event(context, EventBody::ToolFinished(finished))]).collect()
}

fn event(context: &ToolContext, body: EventBody) -> NewEvent {
    let owner = &context.owner;
    NewEvent { job: owner.job, session: owner.session, step: owner.step.clone(), ..NewEvent::new(body) }
}
