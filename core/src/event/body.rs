//! The list of event types: name, stored code, and what each carries.

use super::*;
use crate::{
    codec::{self, CodecError},
    id::Hash,
};
use serde::{Serialize, ser::SerializeStruct};
use std::sync::Arc;

/// A name or a stored code that is no event type of this version.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown event type {0}")]
pub struct UnknownType(pub String);

/// The schema number that a type is written with: 1, unless its line in the list says otherwise.
macro_rules! schema_number {
    () => {
        1
    };
    ($number:literal) => {
        $number
    };
}

macro_rules! event_types {
    ($(
        $code:literal $name:literal $variant:ident($fields:ty)
        $(schema $schema:literal was { $($old:literal: $was:ty),+ })?
    ),+ $(,)?) => {
        /// What an event says: its type with its fields.
        ///
        /// Codes are stored: they are never reused and never change. New types go at the end with a code of their own.
        /// Where a type's fields grow, the old struct stays as what the type `was`, with a conversion.
        #[derive(Debug, Clone, PartialEq)]
        pub enum EventBody {
            $(#[doc = concat!("`", $name, "`")] $variant($fields),)+
        }

        impl EventBody {
            /// Every type's name, in the order of the codes.
            pub const NAMES: &'static [&'static str] = &[$($name),+];

            /// The type's name, such as `job.submitted`.
            pub const fn name(&self) -> &'static str {
                match self {
                    $(Self::$variant(_) => $name,)+
                }
            }

            /// The number under which the type is stored.
            pub const fn code(&self) -> u16 {
                match self {
                    $(Self::$variant(_) => $code,)+
                }
            }

            /// The schema number of the stored form of the fields.
            pub const fn schema(&self) -> u8 {
                match self {
                    $(Self::$variant(_) => schema_number!($($schema)?),)+
                }
            }

            /// The name of the type that is stored under `code`.
            pub const fn name_of(code: u16) -> Option<&'static str> {
                match code {
                    $($code => Some($name),)+
                    _ => None,
                }
            }

            /// The stored form of the fields.
            ///
            /// # Errors
            /// Where a field cannot be encoded.
            pub fn encode(&self) -> Result<Vec<u8>, CodecError> {
                let mut bytes = Vec::new();
                self.encode_behind(&mut bytes)?;
                Ok(bytes)
            }

            /// Writes the stored form of the fields behind what `out` holds.
            ///
            /// # Errors
            /// Where a field cannot be encoded.
            pub fn encode_behind(&self, out: &mut Vec<u8>) -> Result<(), CodecError> {
                match self {
                    $(Self::$variant(fields) => codec::encode_behind(out, fields),)+
                }
            }

            /// Reads the stored form back. `schema` is the number that stood beside it: what an older one says is
            /// converted to what it means now.
            ///
            /// # Errors
            /// Where the bytes are no such event.
            pub fn decode(code: u16, schema: u8, bytes: &[u8]) -> Result<Self, CodecError> {
                match (code, schema) {
                    $(
                        ($code, schema_number!($($schema)?)) => codec::decode::<$fields>(bytes).map(Self::$variant),
                        $($(($code, $old) => codec::decode::<$was>(bytes).map(|old| Self::$variant(old.into())),)+)?
                    )+
                    _ => Err(CodecError::UnknownType { code, schema }),
                }
            }

            /// The fields as JSON text: an event's `data`.
            pub fn data_json(&self) -> String {
                fn text<T: Serialize>(fields: &T) -> String {
                    serde_json::to_string(fields).unwrap_or_else(|_| "null".into())
                }
                match self {
                    $(Self::$variant(fields) => text(fields),)+
                }
            }

            /// Writes the fields as the field `data` of an envelope.
            pub(super) fn serialize_data<S: SerializeStruct>(&self, out: &mut S) -> Result<(), S::Error> {
                match self {
                    $(Self::$variant(fields) => out.serialize_field("data", fields),)+
                }
            }

            /// Reads an event's `data` back, as exports and blobs hold it.
            ///
            /// # Errors
            /// Where `data` is not what the type carries.
            pub fn from_data_json(name: &str, data: &str) -> Result<Self, CodecError> {
                match name {
                    $($name => serde_json::from_str::<$fields>(data)
                        .map(Self::$variant)
                        .map_err(|error| CodecError::Json { name: $name, message: error.to_string() }),)+
                    _ => Err(CodecError::UnknownName(name.chars().take(80).collect())),
                }
            }
        }
    };
}

event_types! {
    1 "job.submitted" JobSubmitted(Arc<JobSubmitted>) schema 2 was { 1: job::JobSubmittedV1 },
    2 "job.started" JobStarted(JobStarted),
    3 "job.retry_scheduled" JobRetryScheduled(JobRetryScheduled),
    4 "job.continued" JobContinued(JobContinued),
    5 "job.waiting" JobWaiting(JobWaiting),
    6 "job.resumed" JobResumed(JobResumed),
    7 "job.phase_entered" JobPhaseEntered(JobPhaseEntered),
    8 "job.logged" JobLogged(JobLogged),
    9 "job.emitted" JobEmitted(JobEmitted),
    10 "job.signalled" JobSignalled(JobSignalled),
    11 "job.cancel_requested" JobCancelRequested(JobCancelRequested),
    12 "job.completed" JobCompleted(JobCompleted) schema 2 was { 1: job::JobCompletedV1 },
    13 "job.failed" JobFailed(JobFailed),
    14 "job.cancelled" JobCancelled(JobCancelled),
    15 "job.timed_out" JobTimedOut(JobTimedOut),
    16 "step.started" StepStarted(StepStarted),
    17 "step.finished" StepFinished(StepFinished) schema 3 was { 1: step::StepFinishedV1, 2: step::StepFinishedV2 },
    18 "step.retry_scheduled" StepRetryScheduled(StepRetryScheduled),
    19 "session.created" SessionCreated(SessionCreated),
    20 "session.turn_started" SessionTurnStarted(SessionTurn),
    21 "session.turn_ended" SessionTurnEnded(SessionTurn),
    22 "session.closed" SessionClosed(SessionClosed),
    23 "chat.message_added" ChatMessageAdded(ChatMessageAdded),
    24 "chat.message_queued" ChatMessageQueued(ChatMessageQueued),
    25 "chat.message_dropped" ChatMessageDropped(ChatMessageDropped),
    26 "chat.started" ChatStarted(ChatStarted),
    27 "chat.retry_scheduled" ChatRetryScheduled(ChatRetryScheduled),
    28 "chat.delta" ChatDelta(ChatDelta),
    29 "chat.finished" ChatFinished(ChatFinished) schema 2 was { 1: chat::ChatFinishedV1 },
    30 "chat.compacted" ChatCompacted(ChatCompacted),
    31 "tool.started" ToolStarted(ToolStarted),
    32 "tool.finished" ToolFinished(ToolFinished),
    33 "tool.approval_requested" ToolApprovalRequested(ToolApprovalRequested),
    34 "tool.approval_decided" ToolApprovalDecided(ToolApprovalDecided),
    35 "process.started" ProcessStarted(ProcessStarted),
    36 "process.output" ProcessOutput(ProcessOutput),
    37 "process.backgrounded" ProcessBackgrounded(ProcessBackgrounded),
    38 "process.exited" ProcessExited(ProcessExited),
    39 "workspace.created" WorkspaceCreated(WorkspaceCreated),
    40 "workspace.collision_detected" WorkspaceCollisionDetected(WorkspaceCollisionDetected),
    41 "file.changed" FileChanged(FileChanged),
    42 "schedule.set" ScheduleSet(ScheduleSet) schema 2 was { 1: system::ScheduleSetV1 },
    43 "schedule.fired" ScheduleFired(ScheduleFired) schema 2 was { 1: system::ScheduleFiredV1 },
    44 "schedule.removed" ScheduleRemoved(ScheduleRemoved),
    45 "runner.started" RunnerStarted(RunnerStarted),
    46 "runner.stopped" RunnerStopped(RunnerStopped),
    47 "queue.paused" QueuePaused(QueueChanged),
    48 "queue.resumed" QueueResumed(QueueChanged),
    49 "process.stalled" ProcessStalled(ProcessStalled),
    80 "process.token_claimed" ProcessTokenClaimed(ProcessTokenClaimed),
    50 "workspace.requested" WorkspaceRequested(WorkspaceRequested),
    51 "workspace.scanned" WorkspaceScanned(WorkspaceScanned),
    52 "workspace.closed" WorkspaceClosed(WorkspaceClosed),
    53 "workspace.merged" WorkspaceMerged(WorkspaceMerged),
    54 "workspace.reverted" WorkspaceReverted(WorkspaceReverted),
    83 "workspace.failed" WorkspaceFailed(WorkspaceFailed),
    81 "workspace.orphan_found" WorkspaceOrphanFound(WorkspaceOrphanFound),
    82 "session.described" SessionDescribed(SessionDescribed),
    70 "webhook.configured" WebhookConfigured(WebhookConfigured),
    71 "webhook.delivered" WebhookDelivered(WebhookDelivered),
    72 "webhook.retry_scheduled" WebhookRetryScheduled(WebhookRetryScheduled),
    73 "webhook.failed" WebhookFailed(WebhookFailed),
    74 "chat.waiting" ChatWaiting(ChatWaiting),
    65 "job.deleted" JobDeleted(JobDeleted),
    75 "session.configured" SessionConfigured(SessionConfigured),
    76 "session.status_changed" SessionStatusChanged(SessionStatusChanged),
    77 "session.wake_requested" SessionWakeRequested(SessionWakeRequested),
    78 "session.woken" SessionWoken(SessionWoken),
}

const JOB_SUBMITTED: u16 = 1;

impl EventBody {
    /// The blob that the fields name by its hash and that belongs to the log, where there is one: it stays as long as the
    /// event does.
    pub fn named_blob(&self) -> Option<Hash> {
        match self {
            Self::JobSubmitted(submitted) => Some(submitted.script_hash),
            _ => None,
        }
    }

    /// Whether events of the type with this stored code may name blobs.
    pub const fn names_blobs(code: u16) -> bool {
        code == JOB_SUBMITTED
    }

    /// Whether this ends its stream: nothing may be appended behind it.
    pub const fn is_terminal(&self) -> bool {
        matches!(self, Self::JobCompleted(_) | Self::JobFailed(_) | Self::JobCancelled(_) | Self::JobTimedOut(_))
    }
}
