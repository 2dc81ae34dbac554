//! A session's chat: its conversation, the turn that is under way, and what waits to be said.

use super::{Conversation, NOTICE};
use crate::{
    codec::{Decode, Encode},
    event::{Event, EventBody, JobUsage},
    id::JobId,
    json::Json,
    time::Timestamp,
};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};

/// A turn whose answer is arriving.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Encode, Decode)]
pub struct TurnUnderWay {
    /// Which.
    pub turn: u32,
    /// The model's configured name.
    pub model: String,
    /// What serves it.
    pub backend: String,
    /// When it was asked.
    pub started_at: Timestamp,
    /// What has arrived of the answer.
    pub text: String,
    /// What has arrived of the reasoning before it.
    pub reasoning: String,
    /// What has arrived of its tool calls.
    pub tool_call: String,
    /// How many tries have failed.
    pub failed_attempts: u32,
}

/// A message that waits until the session is idle.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Encode, Decode)]
pub struct QueuedMessage {
    /// Its id.
    pub message: String,
    /// Its parts.
    pub parts: Json,
}

/// A tool call that waits for a person.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Encode, Decode)]
pub struct PendingApproval {
    /// The job that asks.
    pub job: Option<JobId>,
    /// The call.
    pub call_id: String,
    /// The tool.
    pub name: String,
    /// Its input.
    pub input: Json,
}

/// A session's chat.
#[derive(Debug, Clone, Default, PartialEq, Encode, Decode)]
pub struct ChatState {
    /// What was said.
    pub conversation: Conversation,
    /// The turn that is under way.
    pub under_way: Option<Box<TurnUnderWay>>,
    /// Messages that wait, oldest first.
    pub queue: Vec<QueuedMessage>,
    /// Tool calls that wait for a person, by id.
    pub approvals: BTreeMap<String, PendingApproval>,
    /// The job that runs the session's turn, and the turn that it began with.
    pub busy: Option<(JobId, u32)>,
    /// The model that was asked last.
    pub model: Option<String>,
    /// What all its turns have used.
    pub usage: JobUsage,
    /// What an agent of its wants it to be woken for, by id.
    pub wakes: BTreeSet<String>,
    /// How often it was woken since somebody said something.
    pub woken: u32,
}

impl ChatState {
    /// Folds the next event that names the session.
    pub fn apply(&mut self, event: &Event) {
        match &event.body {
            EventBody::ChatStarted(started) => {
                self.model = Some(started.model.clone());
                self.under_way = Some(Box::new(TurnUnderWay {
                    turn: started.turn,
                    model: started.model.clone(),
                    backend: started.backend.clone(),
                    started_at: event.happened_at(),
                    text: String::new(),
                    reasoning: String::new(),
                    tool_call: String::new(),
                    failed_attempts: 0,
                }));
            }
            EventBody::ChatDelta(delta) => {
                if let Some(turn) = &mut self.under_way {
                    match delta.channel.as_str() {
                        "text" => turn.text.push_str(&delta.text),
                        "reasoning" => turn.reasoning.push_str(&delta.text),
                        _ => turn.tool_call.push_str(&delta.text),
                    }
                }
            }
            // The answer begins anew.
            EventBody::ChatRetryScheduled(_) => {
                if let Some(turn) = &mut self.under_way {
                    turn.failed_attempts += 1;
                    turn.text.clear();
                    turn.reasoning.clear();
                    turn.tool_call.clear();
                }
            }
            EventBody::ChatFinished(finished) => {
                self.under_way = None;
                self.usage.add(&finished.usage);
            }
            EventBody::ChatMessageQueued(queued) => {
                // What a person says is answered by the job of the same id.
                if queued.message.parse::<JobId>().is_ok() {
                    self.woken = 0;
                }
                match self.queue.iter_mut().find(|other| other.message == queued.message) {
                    // Edited while it waits.
                    Some(other) => other.parts = queued.parts.clone(),
                    None => {
                        self.queue.push(QueuedMessage { message: queued.message.clone(), parts: queued.parts.clone() })
                    }
                }
            }
            EventBody::SessionWakeRequested(wanted) => drop(self.wakes.insert(wanted.of.clone())),
            EventBody::SessionWoken(_) => self.woken += 1,
            EventBody::ChatMessageAdded(added) if added.message.starts_with(NOTICE) => {
                self.wakes.remove(&added.message[NOTICE.len()..]);
            }
            EventBody::ChatMessageAdded(added) => self.queue.retain(|queued| queued.message != added.message),
            EventBody::ChatMessageDropped(dropped) => self.queue.retain(|queued| queued.message != dropped.message),
            EventBody::ToolApprovalRequested(asked) => {
                let (call_id, name, input) = (asked.call_id.clone(), asked.name.clone(), asked.input.clone());
                let pending = PendingApproval { job: event.job, call_id: call_id.clone(), name, input };
                self.approvals.insert(call_id, pending);
            }
            EventBody::ToolApprovalDecided(decided) => drop(self.approvals.remove(&decided.call_id)),
            EventBody::ToolFinished(finished) => drop(self.approvals.remove(&finished.call_id)),
            // What nobody answers any more.
            EventBody::SessionClosed(_) => {
                self.queue.clear();
                self.busy = None;
            }
            EventBody::SessionTurnStarted(turn) => self.busy = Some((turn.job, turn.turn)),
            EventBody::SessionTurnEnded(turn) => {
                self.busy = self.busy.filter(|(job, _)| *job != turn.job);
            }
            _ => {}
        }
        self.conversation.apply(event);
    }
}
