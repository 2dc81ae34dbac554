//! What must hold of agents and of webhooks: what was begun is ended once, what is told was taken.

use crate::{oracle::Check, world::World};
use moonlog_core::{
    event::{Event, EventBody, StreamId},
    id::{JobId, SessionId},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// Chats, calls and questions begin and end in pairs; turns of a session do not overlap.
pub fn check_chats(events: &[Arc<Event>]) -> Check {
    let mut open: BTreeSet<(StreamId, Option<JobId>, String)> = BTreeSet::new();
    // What a fork shares of another job's past may begin in it, and go on in the fork or begin there anew.
    let mut shared = BTreeSet::new();
    let mut asked = BTreeSet::new();
    let mut turns: BTreeMap<SessionId, JobId> = BTreeMap::new();
    for event in events {
        let begun = match &event.body {
            EventBody::ChatStarted(chat) => Some((format!("turn {} of {:?}", chat.turn, event.step), true)),
            EventBody::ChatFinished(chat) => Some((format!("turn {} of {:?}", chat.turn, event.step), false)),
            EventBody::ToolStarted(tool) => Some((format!("call {}", tool.call_id), true)),
            EventBody::ToolFinished(tool) => Some((format!("call {}", tool.call_id), false)),
            _ => None,
        };
        if let Some((what, begins)) = begun {
            let key = (event.stream.clone(), event.job, what);
            let fits = match (event.origin.is_some(), begins) {
                (true, begins) => {
                    if begins {
                        shared.insert(key.clone());
                    } else {
                        shared.remove(&key);
                    }
                    true
                }
                (false, true) => open.insert(key.clone()),
                (false, false) => open.remove(&key) || shared.remove(&key),
            };
            if !fits {
                let how = if begins { "begins twice" } else { "ends unbegun, or twice" };
                return Err(format!("at {}: {key:?} {how}", event.position));
            }
        }
        match (&event.body, event.job, &event.stream) {
            (EventBody::ToolApprovalRequested(request), Some(job), _) => {
                asked.insert((job, request.call_id.clone()));
            }
            (EventBody::ToolApprovalDecided(decided), Some(job), _)
                if !asked.contains(&(job, decided.call_id.clone())) =>
            {
                return Err(format!("at {}: {} was decided and not asked", event.position, decided.call_id));
            }
            (EventBody::SessionTurnStarted(turn), _, StreamId::Session(session)) => {
                if let Some(other) = turns.insert(*session, turn.job) {
                    return Err(format!("at {}: a turn of {} begins in that of {other}", event.position, turn.job));
                }
            }
            (EventBody::SessionTurnEnded(turn), _, StreamId::Session(session))
                if turns.remove(session) != Some(turn.job) =>
            {
                return Err(format!("at {}: a turn of {} ends that has not begun", event.position, turn.job));
            }
            _ => {}
        }
    }
    if open.is_empty() && turns.is_empty() {
        return Ok(());
    }
    Err(format!("all jobs have ended, and these have not: {open:?} {turns:?}"))
}

/// What is said to be delivered was taken, and each end has come to its own end: delivered, or given up.
pub fn check_webhooks(world: &World, events: &[Arc<Event>]) -> Check {
    let memory = world.memory();
    let (mut wanted_from, mut recorded) = (None, BTreeSet::new());
    for event in events {
        match &event.body {
            EventBody::WebhookConfigured(_) => wanted_from = wanted_from.or(Some(event.position)),
            EventBody::WebhookDelivered(delivered) => {
                if !memory.posted.contains(&delivered.id) {
                    return Err(format!("at {}: {} was not taken by anybody", event.position, delivered.id));
                }
                recorded.insert(delivered.event);
            }
            EventBody::WebhookFailed(failed) => {
                recorded.insert(failed.event);
            }
            _ => {}
        }
    }
    let Some(from) = wanted_from else { return Ok(()) };
    let ends = events.iter().filter(|event| event.position > from && event.origin.is_none());
    let missed = ends.filter(|event| event.body.is_terminal()).find(|event| !recorded.contains(&event.position));
    missed.map_or(Ok(()), |event| Err(format!("the webhook was never told of {}", event.position)))
}
