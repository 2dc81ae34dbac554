//! Messages of a session: said, queued, changed, taken back.

use super::{Refusal, decide_in_session};
use crate::{
    event::{ChatMessageDropped, ChatMessageQueued, EventBody},
    id::SessionId,
    json::Json,
    message::Role,
    projection::SessionState,
};

/// What is to become of a message that comes while the session is busy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Busy {
    /// It waits for its turn.
    #[default]
    Queue,
    /// The turn that is under way is ended where it stands.
    Interrupt,
    /// It is refused.
    Reject,
}

/// Says something in a session. `message` is also the id of the job that will answer it.
///
/// # Errors
/// Where the session is closed, as many wait as may, or it is busy and the message is not to wait.
pub fn decide_message(
    session: &SessionState,
    message: String,
    parts: Json,
    busy: Busy,
    queued_max: usize,
) -> Result<Vec<EventBody>, Refusal> {
    decide_in_session(session)?;
    if session.chat.queue.len() >= queued_max {
        return Err(Refusal::TooManyMessages { session: session.id, max: queued_max });
    }
    if busy == Busy::Reject {
        refuse_busy(session)?;
    }
    Ok(vec![EventBody::ChatMessageQueued(ChatMessageQueued { message, parts })])
}

/// Changes a message that waits.
///
/// # Errors
/// Where there is none, or its turn has begun.
pub fn decide_change_queued(session: &SessionState, message: &str, parts: Json) -> Result<Vec<EventBody>, Refusal> {
    check_queued(session, message)?;
    Ok(vec![EventBody::ChatMessageQueued(ChatMessageQueued { message: message.to_owned(), parts })])
}

/// Takes back a message that waits.
///
/// # Errors
/// Where there is none, or its turn has begun.
pub fn decide_drop_queued(session: &SessionState, message: &str) -> Result<Vec<EventBody>, Refusal> {
    check_queued(session, message)?;
    Ok(vec![EventBody::ChatMessageDropped(ChatMessageDropped { message: message.to_owned() })])
}

/// Says something else in the place of an earlier message: what follows that one is taken back with it.
///
/// # Errors
/// Where the session is closed or busy, or there is no such message of a user's.
pub fn decide_edit(
    session: &SessionState,
    edited: &str,
    message: String,
    parts: Json,
) -> Result<Vec<EventBody>, Refusal> {
    decide_in_session(session)?;
    refuse_busy(session)?;
    let messages = session.chat.conversation.messages();
    let at = messages.iter().position(|known| known.id == edited && known.role == Role::User);
    let at = at.ok_or_else(|| no_such_message(session.id, edited))?;
    let dropped = messages[at..].iter().map(|known| ChatMessageDropped { message: known.id.clone() });
    let mut events: Vec<EventBody> = dropped.map(EventBody::ChatMessageDropped).collect();
    events.push(EventBody::ChatMessageQueued(ChatMessageQueued { message, parts }));
    Ok(events)
}

fn refuse_busy(session: &SessionState) -> Result<(), Refusal> {
    let under_way = session.chat.busy.map(|(job, _)| job).or_else(|| session.jobs.first().copied());
    under_way
        .map_or(Ok(()), |job| Err(Refusal::SessionBusy { session: session.id, jobs: session.jobs.len().max(1), job }))
}

fn check_queued(session: &SessionState, message: &str) -> Result<(), Refusal> {
    // The turn that answers it takes it as it stands when it begins.
    let is_begun = session.chat.busy.is_some_and(|(job, _)| job.to_string() == message);
    if !is_begun && session.chat.queue.iter().any(|queued| queued.message == message) {
        return Ok(());
    }
    if is_begun || session.chat.conversation.messages().iter().any(|known| known.id == message) {
        return Err(Refusal::MessageSaid { session: session.id, message: message.to_owned() });
    }
    Err(no_such_message(session.id, message))
}

fn no_such_message(session: SessionId, message: &str) -> Refusal {
    Refusal::NoSuchMessage { session, message: message.to_owned() }
}
