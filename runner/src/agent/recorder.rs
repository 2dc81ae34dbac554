//! What an agent appends: events of its job's stream that name its session and its step.

use super::open_work::OpenWork;
use crate::secret::Secrets;
use moonlog_core::{
    event::{EventBody, NewEvent, StreamId, ToolApprovalDecided},
    id::{JobId, SessionId},
    log::{Append, AppendError, Appended, Expected, Log},
};
use std::sync::{Arc, Mutex, PoisonError};

/// Why an agent stops without a result: nothing it would record could be read by anybody.
#[derive(Debug, thiserror::Error)]
pub(super) enum Halt {
    /// Its job has ended.
    #[error("the job has ended")]
    Closed,
    /// The log takes nothing more.
    #[error("the log refuses: {0}")]
    Log(String),
    /// What is to be recorded is larger than the log takes.
    #[error("{0}")]
    TooLarge(String),
}

impl From<AppendError> for Halt {
    fn from(error: AppendError) -> Self {
        match error {
            AppendError::Closed { .. } => Self::Closed,
            AppendError::TooLarge { .. } => Self::TooLarge(error.to_string()),
            other => Self::Log(other.to_string()),
        }
    }
}

/// Appends for one agent.
#[derive(Clone)]
pub(super) struct Recorder {
    pub(super) log: Log,
    pub(super) job: JobId,
    pub(super) session: SessionId,
    pub(super) step: Arc<str>,
    /// What was begun and is still to be ended: for whoever ends the agent from outside.
    pub(super) open: Arc<Mutex<OpenWork>>,
    /// Whose values no event may hold.
    pub(super) secrets: Arc<Secrets>,
}

impl Recorder {
    /// An event of the agent's.
    pub(super) fn event(&self, body: EventBody) -> NewEvent {
        NewEvent { session: Some(self.session), step: Some(self.step.clone()), ..NewEvent::new(body) }
    }

    /// Appends events.
    pub(super) async fn append(&self, bodies: Vec<EventBody>) -> Result<Option<Appended>, Halt> {
        let events: Vec<NewEvent> = bodies.into_iter().map(|body| self.event(body)).collect();
        self.append_events(events).await
    }

    /// Appends events that are made already.
    pub(super) async fn append_events(&self, events: Vec<NewEvent>) -> Result<Option<Appended>, Halt> {
        if events.is_empty() {
            return Ok(None);
        }
        let events: Vec<NewEvent> = events.into_iter().map(|event| self.without_secrets(event)).collect();
        // Not between the append and the note of it may anybody end the agent, so there is no await.
        self.log.ready().await;
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if open.is_over() {
            return Err(Halt::Closed);
        }
        let append = Append::new(StreamId::Job(self.job), Expected::Open, events.clone());
        let appended = self.log.append_long(append)?;
        events.iter().for_each(|event| open.note(event.session, &event.body));
        open.reach(appended.last_position);
        Ok(Some(appended))
    }

    /// What was decided elsewhere needs no decision any more.
    pub(super) fn note_decision(&self, decided: &ToolApprovalDecided) {
        let body = EventBody::ToolApprovalDecided(decided.clone());
        self.open.lock().unwrap_or_else(PoisonError::into_inner).note(None, &body);
    }

    /// Ends what is open of a call whose agent is interrupted.
    pub(super) async fn cut_short(&self, call_id: &str) -> Result<(), Halt> {
        let ends = self.open.lock().unwrap_or_else(PoisonError::into_inner).cut_short(call_id);
        self.append(ends).await.map(drop)
    }

    /// Ends all calls that are open: what an earlier attempt has asked a person waits for this one.
    pub(super) async fn cut_all_short(&self) -> Result<(), Halt> {
        let open = self.open.lock().unwrap_or_else(PoisonError::into_inner).open_calls();
        for call_id in open {
            self.cut_short(&call_id).await?;
        }
        Ok(())
    }

    /// What models say and are told may repeat a secret's value: it is recorded without. Pieces of an answer come clean
    /// already, as a value may be cut between two of them, and so do outputs.
    fn without_secrets(&self, mut event: NewEvent) -> NewEvent {
        let secrets = &self.secrets;
        if !secrets.any_value() {
            return event;
        }
        match &mut event.body {
            EventBody::ChatMessageAdded(added) => added.parts = secrets.scrub_json(&added.parts),
            EventBody::ChatCompacted(compacted) => compacted.summary = secrets.scrub(&compacted.summary),
            EventBody::ChatFinished(finished) => {
                finished.error = finished.error.take().map(|error| secrets.scrub_error(error));
            }
            EventBody::ToolStarted(started) => {
                started.name = secrets.scrub(&started.name);
                started.input = secrets.scrub_json(&started.input);
            }
            EventBody::ToolApprovalRequested(asked) => {
                asked.name = secrets.scrub(&asked.name);
                asked.input = secrets.scrub_json(&asked.input);
            }
            _ => {}
        }
        event
    }

    /// Appends events, and comes when they are durable: the next act depends on them.
    pub(super) async fn append_durably(&self, events: Vec<NewEvent>) -> Result<Option<Appended>, Halt> {
        let appended = self.append_events(events).await?;
        if let Some(appended) = &appended {
            self.log.durable(appended.last_position).await.map_err(|error| Halt::Log(error.to_string()))?;
        }
        Ok(appended)
    }
}
