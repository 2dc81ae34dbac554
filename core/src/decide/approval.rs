//! Deciding an approval.

use super::Refusal;
use crate::{
    event::{Decision, EventBody, NewEvent, ToolApprovalDecided},
    projection::JobState,
};

/// Answers an approval, once.
///
/// # Errors
/// Where the job has ended, never asked, or has its answer.
pub fn decide_approval(
    job: &JobState,
    id: &str,
    decision: Decision,
    by: Option<String>,
    note: Option<String>,
) -> Result<Vec<NewEvent>, Refusal> {
    if job.status.is_ended() {
        return Err(Refusal::Ended { job: job.id, status: job.status });
    }
    let settled = job.pending.as_ref().is_some_and(|pending| pending.settled.contains(id));
    match job.approval(id) {
        Some(approval) if approval.decided.is_none() => {
            let decided = ToolApprovalDecided { call_id: id.to_owned(), decision, by, note };
            let event = NewEvent::new(EventBody::ToolApprovalDecided(decided));
            Ok(vec![event.step(approval.step.as_deref().map(Into::into)).cause(approval.position)])
        }
        Some(_) => Err(Refusal::AlreadyDecided { job: job.id, id: id.to_owned() }),
        None if settled => Err(Refusal::AlreadyDecided { job: job.id, id: id.to_owned() }),
        None => Err(Refusal::NoSuchApproval { job: job.id, id: id.to_owned() }),
    }
}
