//! The session that an agent speaks in: one that it is given, or one of its own that follows from its step.

use super::{input::AgentInput, recorder::Halt};
use crate::inner::Inner;
use moonlog_core::{
    error_info::ErrorInfo,
    event::{EventBody, NewEvent, SessionCreated, SessionTurn, StreamId},
    id::{Hash, JobId, SessionId},
    json::Json,
    log::{Append, AppendError, Expected},
    projection::{Conversation, SessionState, SessionStatus},
};
use serde::Deserialize;
use serde_json::json;
use std::sync::Arc;

/// The session of an agent step that names none. It does not depend on the attempt: a later one goes on where the earlier
/// stopped.
pub(crate) fn own_session(job: &JobId, run: u32, path: &str) -> SessionId {
    let hash = Hash::of(format!("agent/{job}/{run}/{path}").as_bytes());
    let mut bytes = *job.as_bytes();
    // The time, and the version's digit, stay the job's.
    bytes[6] = 0x70 | (hash.as_bytes()[0] & 0x0f);
    bytes[7] = hash.as_bytes()[1];
    bytes[8] = 0x80 | (hash.as_bytes()[2] & 0x3f);
    bytes[9..].copy_from_slice(&hash.as_bytes()[3..10]);
    SessionId::from_bytes(bytes)
}

/// Who made a session for an agent of its own.
#[derive(Deserialize)]
struct MadeFor {
    job: JobId,
}

/// The job whose agent this session was made for, where it is one's own.
pub(crate) fn made_for(session: &SessionState) -> Option<JobId> {
    // Most are others', and need not be parsed to know it.
    let text = session.agent.as_str();
    text.starts_with("{\"job\":").then(|| session.agent.to::<MadeFor>().ok()).flatten().map(|made| made.job)
}

/// How often a session is looked at again that others write to.
const TRIES_MAX: u32 = 100;

/// A session that an agent has to itself for a while.
pub(super) struct Taken {
    pub(super) id: SessionId,
    pub(super) conversation: Conversation,
    /// What the message says that the agent was asked to answer.
    pub(super) queued: Option<Json>,
    /// The number that its turn there began with.
    pub(super) began_with: u32,
    /// The last that is known to be written of it, which need not be durable yet.
    pub(super) position: u64,
}

/// Why an agent does not get its session.
pub(super) enum Refused {
    Error(ErrorInfo),
    Halt(Halt),
}

impl From<Halt> for Refused {
    fn from(halt: Halt) -> Self {
        Self::Halt(halt)
    }
}

/// Takes the session, and records the beginning of a turn in it. `fresh` says that it cannot be there yet.
pub(super) async fn take(
    inner: &Inner,
    job: &JobId,
    own: SessionId,
    input: &AgentInput,
    fresh: bool,
) -> Result<Taken, Refused> {
    let id = input.session.unwrap_or(own);
    let mut tries = 0;
    loop {
        let known = if fresh && tries == 0 && input.session.is_none() { None } else { look(inner, &id).await? };
        let (expected, mut events, conversation) = match &known {
            None if input.session.is_some() => {
                return Err(Refused::Error(ErrorInfo::new("no_such_session", format!("there is no session {id}"))));
            }
            None => {
                let agent = json!({ "job": job, "model": input.model, "system": input.system, "tools": input.tools });
                let created =
                    SessionCreated { workspace: input.workspace.clone().unwrap_or_default(), agent: Json::from(agent) };
                (Expected::NoStream, vec![event(id, job, EventBody::SessionCreated(created))], Conversation::default())
            }
            Some(state) => {
                check(state, job).map_err(Refused::Error)?;
                (Expected::Version(state.version), Vec::new(), state.chat.conversation.clone())
            }
        };
        let queued = known.as_ref().zip(input.queued()).and_then(|(state, message)| {
            state.chat.queue.iter().find(|queued| queued.message == message).map(|queued| queued.parts.clone())
        });
        let mine = known.as_ref().and_then(|state| state.chat.busy).filter(|(other, _)| other == job);
        let began_with = mine.map_or(conversation.turns() + 1, |(_, turn)| turn);
        if mine.is_none() {
            let turn = SessionTurn { job: *job, turn: began_with };
            events.push(event(id, job, EventBody::SessionTurnStarted(turn)));
        }
        if events.is_empty() {
            return Ok(Taken { id, conversation, queued, began_with, position: 0 });
        }
        match inner.log.append(Append::new(StreamId::Session(id), expected, events)) {
            Ok(appended) => {
                return Ok(Taken { id, conversation, queued, began_with, position: appended.last_position });
            }
            // Somebody has said something meanwhile, or taken the session: the next look tells.
            Err(AppendError::Conflict { .. }) if tries < TRIES_MAX => {
                inner.moves_on(inner.waiters.position()).await;
            }
            Err(AppendError::Conflict { .. }) => return Err(Refused::Error(busy(&id))),
            Err(error) => return Err(Refused::Halt(error.into())),
        }
        tries += 1;
    }
}

/// The session as it stands now.
async fn look(inner: &Inner, id: &SessionId) -> Result<Option<Arc<SessionState>>, Refused> {
    let unreadable = |error: &dyn std::fmt::Display| Refused::Halt(Halt::Log(error.to_string()));
    inner.applied(inner.log.head()).await.map_err(|error| unreadable(&error))?;
    inner.views.session(id).map_err(|error| unreadable(&error))
}

fn check(state: &SessionState, job: &JobId) -> Result<(), ErrorInfo> {
    match state.status {
        SessionStatus::Open => {}
        SessionStatus::Closed => {
            return Err(ErrorInfo::new("session_closed", format!("the session {} is closed", state.id)));
        }
        SessionStatus::Archived => {
            return Err(ErrorInfo::new("session_archived", format!("the session {} is archived", state.id)));
        }
    }
    match state.chat.busy {
        Some((other, _)) if other != *job => Err(busy(&state.id)),
        _ => Ok(()),
    }
}

pub(super) fn busy(id: &SessionId) -> ErrorInfo {
    ErrorInfo::new("session_busy", format!("another turn is under way in session {id}")).retryable()
}

fn event(session: SessionId, job: &JobId, body: EventBody) -> NewEvent {
    NewEvent { session: Some(session), ..NewEvent::new(body) }.job(*job)
}

/// Records the end of a turn.
pub(crate) fn release(inner: &Inner, job: &JobId, id: SessionId, turn: u32) {
    let ended = event(id, job, EventBody::SessionTurnEnded(SessionTurn { job: *job, turn }));
    let append = Append::new(StreamId::Session(id), Expected::Open, vec![ended]);
    if let Err(error) = inner.log.append(append) {
        tracing::debug!(session = %id, %error, "the end of a session's turn was not recorded");
    }
}
