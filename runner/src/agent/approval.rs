//! Calls that a person has to approve, and questions: asked for in the job's stream, decided over HTTP or the command
//! line, by default where the time is up, which counts from when it was asked. What was asked before a restart is not asked
//! again, and what was decided counts.
//!
//! Whoever has nothing else to do does not wait here: the agent ends its task, and is begun again by its job.

use super::{
    at_work::AtWork,
    calls::denied,
    recorder::{Halt, Recorder},
};
use crate::inner::Inner;
use moonlog_core::{
    error_info::ErrorInfo,
    event::{Decision, EventBody, StreamId, ToolApprovalDecided, ToolApprovalRequested},
    json::Json,
    time::Timestamp,
};
use std::time::Duration;

/// What stands beside a decision that ends a turn instead: nobody's decision, but that of who interrupts it.
pub(crate) const INTERRUPTED: &str = "the turn was interrupted";

/// What came of asking.
#[derive(Debug)]
pub(super) enum Answer {
    /// It was decided; and when it was asked.
    Decided(ToolApprovalDecided, Timestamp),
    /// It was not, and nothing else is at work. By itself it is decided then.
    Waits(Timestamp),
}

/// What a decision means for a call.
pub(super) enum Verdict {
    Approved,
    Denied(ErrorInfo),
    Interrupted,
}

impl Verdict {
    pub(super) fn of(decided: &ToolApprovalDecided) -> Self {
        if decided.by.is_none() && decided.note.as_deref() == Some(INTERRUPTED) {
            return Self::Interrupted;
        }
        let by = decided.by.as_deref().map(|by| format!(" by {by}")).unwrap_or_default();
        let note = decided.note.as_deref().map(|note| format!(": {note}")).unwrap_or_default();
        match decided.decision {
            Decision::Approved => Self::Approved,
            Decision::Denied => Self::Denied(denied(&format!("{by}{note}"))),
        }
    }
}

/// A person's decision on what stands under `id`. Without `at_work` it is waited for.
pub(super) async fn ask(
    inner: &Inner,
    recorder: &Recorder,
    id: &str,
    name: &str,
    input: &Json,
    at_work: Option<&AtWork>,
) -> Result<Answer, Halt> {
    let failed = |error: &dyn std::fmt::Display| Halt::Log(error.to_string());
    let stream = StreamId::Job(recorder.job);
    // Watched before the look, so that nothing is missed in between.
    let mut changes = inner.log.watch_stream(&stream);
    inner.applied(inner.log.head()).await.map_err(|error| failed(&error))?;
    let job = inner.views.job(&recorder.job).map_err(|error| failed(&error))?.ok_or(Halt::Closed)?;
    let asked = job.approval(id);
    if let Some((decided, asked_at)) = asked.and_then(|asked| Some((asked.decided.clone()?, asked.requested_at))) {
        recorder.note_decision(&decided);
        return Ok(Answer::Decided(decided, asked_at));
    }
    let mut version = job.version;
    let asked_at = match asked {
        Some(asked) => asked.requested_at,
        None => {
            let request = ToolApprovalRequested { call_id: id.to_owned(), name: name.to_owned(), input: input.clone() };
            match recorder.append(vec![EventBody::ToolApprovalRequested(request)]).await? {
                Some(appended) => {
                    // Who interrupts an agent that waits finds it by what it asks.
                    inner.applied_at_once(appended.last_position).await.map_err(|error| failed(&error))?;
                    appended.time
                }
                None => (inner.options.clock)(),
            }
        }
    };
    let options = inner.options.agents.approvals;
    let due = asked_at.plus_ms(u64::try_from(options.timeout.as_millis()).unwrap_or(u64::MAX));
    loop {
        for event in inner.log.read_stream(&stream, version, 256).map_err(|error| failed(&error))? {
            version = event.version;
            if let EventBody::ToolApprovalDecided(decided) = &event.body
                && decided.call_id == id
            {
                recorder.note_decision(decided);
                return Ok(Answer::Decided(decided.clone(), asked_at));
            }
        }
        let left = due.as_micros().saturating_sub((inner.options.clock)().as_micros());
        if left <= 0 {
            let decided = by_default(id, options.default);
            recorder.append(vec![EventBody::ToolApprovalDecided(decided.clone())]).await?;
            return Ok(Answer::Decided(decided, asked_at));
        }
        tokio::select! {
            biased;
            changed = changes.changed() => if changed.is_err() { return Err(Halt::Closed) },
            () = tokio::time::sleep(Duration::from_micros(left as u64)) => {}
            () = quiet(at_work) => return Ok(Answer::Waits(due)),
        }
    }
}

async fn quiet(at_work: Option<&AtWork>) {
    match at_work {
        Some(at_work) => at_work.nobody().await,
        None => std::future::pending().await,
    }
}

/// What counts where nobody decides in time.
pub(crate) fn by_default(id: &str, approved: bool) -> ToolApprovalDecided {
    ToolApprovalDecided {
        call_id: id.to_owned(),
        decision: if approved { Decision::Approved } else { Decision::Denied },
        by: None,
        note: Some("decided by default: nobody did in time".into()),
    }
}
