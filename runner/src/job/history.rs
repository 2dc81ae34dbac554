//! A job's history as its task needs it: the state, what came from outside and was not used, and the events of the run
//! that goes on. What only readers of the log care for, such as a command's output, is passed over.

use super::inbox::Inbox;
use moonlog_core::{
    event::{Event, EventBody, StepOutcome, StreamId},
    id::JobId,
    log::{Log, ReadError},
    projection::JobState,
    time::Timestamp,
};
use std::sync::Arc;

/// How many events one read takes.
const READ_EVENTS: usize = 4_096;

/// See the module.
#[derive(Debug)]
pub(super) struct History {
    pub(super) state: JobState,
    pub(super) inbox: Inbox,
    /// When the run began that goes on.
    pub(super) began_at: Timestamp,
    /// Its events, in order.
    pub(super) run: Vec<Arc<Event>>,
    /// The position of the event that queued its next attempt, where it is queued.
    pub(super) queued_by: u64,
    /// Whether the last event is a copy of another job's.
    shared: bool,
}

impl History {
    /// That of a job with nothing but its `job.submitted`.
    pub(super) fn of_submitted(state: JobState) -> Self {
        Self {
            inbox: Inbox::default(),
            began_at: state.submitted_at,
            run: Vec::new(),
            queued_by: state.submitted_position,
            shared: false,
            state,
        }
    }

    /// Reads it, which may take a while. `None` where there is no such job.
    pub(super) fn read(log: &Log, job: &JobId) -> Result<Option<Self>, ReadError> {
        let stream = StreamId::Job(*job);
        let mut history: Option<Self> = None;
        loop {
            let after = history.as_ref().map_or(0, |history| history.state.version);
            let events = log.read_stream(&stream, after, READ_EVENTS)?;
            if events.is_empty() {
                return Ok(history);
            }
            for event in events {
                match &mut history {
                    Some(history) => history.add(event),
                    None => history = JobState::from_submitted(&event).map(Self::of_submitted),
                }
            }
            if history.is_none() {
                return Ok(None);
            }
        }
    }

    fn add(&mut self, event: Arc<Event>) {
        self.inbox.note(&event);
        self.shared = event.origin.is_some();
        match &event.body {
            EventBody::JobStarted(_) | EventBody::JobContinued(_) => {
                self.began_at = event.happened_at();
                self.run.clear();
            }
            EventBody::StepFinished(step) => {
                // Signals are taken in order: the oldest of its name was this one's.
                if step.outcome == StepOutcome::Ok
                    && let Some(name) = self.state.open_steps.get(&*step.path).and_then(|open| open.signal())
                {
                    self.inbox.take_signal(&name);
                }
                self.run.push(event.clone());
            }
            EventBody::JobRetryScheduled(_) => self.queued_by = event.position,
            EventBody::ProcessOutput(_) | EventBody::ChatDelta(_) | EventBody::JobSignalled(_) => {}
            _ => self.run.push(event.clone()),
        }
        self.state.apply(&event);
    }

    /// Whether the call of a tool's step that began at this position was begun, and has not ended. In what a fork shares, it
    /// may have ended, and its step not.
    pub(super) fn has_call(&self, path: &str, position: u64) -> bool {
        let behind = self.run.iter().rev().take_while(|event| event.position > position);
        let mut own = behind.filter(|event| event.step.as_deref() == Some(path));
        let last = own.find(|event| matches!(event.body, EventBody::ToolStarted(_) | EventBody::ToolFinished(_)));
        last.is_some_and(|event| matches!(event.body, EventBody::ToolStarted(_)))
    }

    /// Whether all of it is shared with the job that this one is a fork of: nothing of it was done here.
    pub(super) const fn is_shared(&self) -> bool {
        self.shared
    }

    /// The event at this position, where it belongs to the run.
    pub(super) fn at(&self, position: u64) -> Option<&Arc<Event>> {
        let at = self.run.binary_search_by_key(&position, |event| event.position).ok()?;
        self.run.get(at)
    }
}
