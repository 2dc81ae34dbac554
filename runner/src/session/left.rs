//! What ended jobs have left in their sessions. The job that answers a message takes it, and ends the turn that it begins;
//! where it was cancelled before, or its server died at the wrong moment, nobody else would: the message would wait, and the
//! session be busy, for ever.

use crate::{agent::made_for, inner::Inner};
use moonlog_core::{
    event::{ChatMessageDropped, EventBody, NewEvent, SessionClosed, SessionTurn, StreamId},
    id::{JobId, SessionId},
    log::{Append, AppendError, Expected},
    projection::{JobStatus, SessionState, SessionStatus},
};

impl Inner {
    /// Ends what ended jobs have left in the sessions that are open. For the start, while nobody says anything yet: a message
    /// that no job was submitted for was not acknowledged, and none will come.
    pub(crate) async fn settle_sessions(&self) {
        let open = self.views.with(|all| all.sessions().open().cloned().collect::<Vec<_>>());
        for state in open {
            let mut left = self.left_in(&state);
            let unanswered = state.chat.queue.iter().filter(|queued| {
                queued.message.parse::<JobId>().is_ok_and(|job| matches!(self.views.job(&job), Ok(None)))
            });
            left.extend(unanswered.map(|queued| dropped(&queued.message)));
            // Its job ended, and the server died before it was closed.
            let was_made = made_for(&state).and_then(|job| self.views.job(&job).ok());
            if was_made.is_some_and(|job| job.is_none_or(|job| job.ended_at.is_some())) {
                left.push(EventBody::SessionClosed(SessionClosed {}));
            }
            self.end_left(&state.id, left).await;
        }
    }

    /// The same for one session, as it stands.
    pub(super) async fn settle(&self, session: &SessionId) {
        let _turn = self.commands.of(session.as_bytes()).lock().await;
        // A closed one takes nothing more.
        if let Ok(state) = self.known_session(session)
            && state.status != SessionStatus::Closed
        {
            self.end_left(session, self.left_in(&state)).await;
        }
    }

    fn left_in(&self, state: &SessionState) -> Vec<EventBody> {
        let job = |id: &JobId| self.views.job(id).ok();
        // One that failed may be tried again, and answers its message then.
        let was_cancelled = |id: &JobId| job(id).flatten().is_some_and(|job| job.status == JobStatus::Cancelled);
        let is_over = |id: &JobId| job(id).is_some_and(|job| job.is_none_or(|job| job.ended_at.is_some()));
        let queue = state.chat.queue.iter();
        let dead = queue.filter(|queued| queued.message.parse::<JobId>().is_ok_and(|id| was_cancelled(&id)));
        let mut left: Vec<EventBody> = dead.map(|queued| dropped(&queued.message)).collect();
        if let Some((job, turn)) = state.chat.busy.filter(|(job, _)| is_over(job)) {
            left.push(EventBody::SessionTurnEnded(SessionTurn { job, turn }));
        }
        left
    }

    async fn end_left(&self, session: &SessionId, left: Vec<EventBody>) {
        if left.is_empty() {
            return;
        }
        let events = left.into_iter().map(|body| NewEvent::from(body).session(Some(*session))).collect();
        self.log.ready().await;
        match self.log.append(Append::new(StreamId::Session(*session), Expected::Open, events)) {
            Ok(_) | Err(AppendError::Poisoned(_)) => {}
            Err(error) => tracing::warn!(%session, %error, "what an ended job left in a session was not ended"),
        }
    }
}

fn dropped(message: &str) -> EventBody {
    EventBody::ChatMessageDropped(ChatMessageDropped { message: message.to_owned() })
}
