//! Calls that a person has to approve: asked for in the job's stream, decided over HTTP or the command line, by default
//! where the time is up. What was asked before a restart is not asked again, and what was decided counts.

use super::{
    calls::denied,
    recorder::{Halt, Recorder},
};
use crate::runner::Inner;
use moonlog_core::{
    error_info::ErrorInfo,
    event::{Decision, EventBody, StreamId, ToolApprovalDecided, ToolApprovalRequested},
    json::Json,
    message::ToolCall,
};
use tokio::time::Instant;

/// What was decided.
pub(super) enum Verdict {
    Approved,
    Denied(ErrorInfo),
}

/// Asks, and waits for the answer.
pub(super) async fn ask(inner: &Inner, recorder: &Recorder, call: &ToolCall, input: &Json) -> Result<Verdict, Halt> {
    let decided = decision(inner, recorder, &call.call_id, &call.name, input).await?;
    let by = decided.by.as_deref().map(|by| format!(" by {by}")).unwrap_or_default();
    let note = decided.note.as_deref().map(|note| format!(": {note}")).unwrap_or_default();
    Ok(match decided.decision {
        Decision::Approved => Verdict::Approved,
        Decision::Denied => Verdict::Denied(denied(&format!("{by}{note}"))),
    })
}

/// A person's decision on what stands under `id`.
pub(super) async fn decision(
    inner: &Inner,
    recorder: &Recorder,
    id: &str,
    name: &str,
    input: &Json,
) -> Result<ToolApprovalDecided, Halt> {
    let failed = |error: &dyn std::fmt::Display| Halt::Log(error.to_string());
    let stream = StreamId::Job(recorder.job);
    // Watched before the look, so that nothing is missed in between.
    let mut changes = inner.log.watch_stream(&stream);
    inner.applied(inner.log.head()).await.map_err(|error| failed(&error))?;
    let job = inner.views.job(&recorder.job).map_err(|error| failed(&error))?.ok_or(Halt::Closed)?;
    let asked = job.approval(id);
    if let Some(decided) = asked.and_then(|asked| asked.decided.clone()) {
        return Ok(decided);
    }
    let mut version = job.version;
    if asked.is_none() {
        let request = ToolApprovalRequested { call_id: id.to_owned(), name: name.to_owned(), input: input.clone() };
        recorder.append(vec![EventBody::ToolApprovalRequested(request)]).await?;
    }
    let options = inner.options.agents.approvals;
    let deadline = Instant::now() + options.timeout;
    loop {
        for event in inner.log.read_stream(&stream, version, 256).map_err(|error| failed(&error))? {
            version = event.version;
            if let EventBody::ToolApprovalDecided(decided) = &event.body
                && decided.call_id == id
            {
                return Ok(decided.clone());
            }
        }
        tokio::select! {
            changed = changes.changed() => if changed.is_err() { return Err(Halt::Closed) },
            () = tokio::time::sleep_until(deadline) => {
                let decided = ToolApprovalDecided {
                    call_id: id.to_owned(),
                    decision: if options.default { Decision::Approved } else { Decision::Denied },
                    by: None,
                    note: Some("decided by default: nobody did in time".into()),
                };
                recorder.append(vec![EventBody::ToolApprovalDecided(decided.clone())]).await?;
                return Ok(decided);
            }
        }
    }
}
