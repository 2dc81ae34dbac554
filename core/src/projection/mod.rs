//! What is derived from events alone. Each projection is a pure fold: it cannot fail, has no clock and does no I/O.
//! `job` folds one job, `flow` its steps as a tree, `trace` what took how long in it, `session` one session with its `workspace` and its `chat` (the
//! `conversation` in it), `queues`, `processes`, `process_places`, `schedules`, `webhooks`, `idempotency`, `client_tokens` and
//! `approvals` what their names say, `deleted` what was removed; `all` is the fold of everything a server keeps. `views` holds that for readers, and
//! with `rows`, `job_row`, `job_index`, `session_row`, `snapshot` and `sweep` it is the one part here that stores anything: derived data, which
//! can be deleted.

mod all;
mod approvals;
mod chat;
mod chat_view;
mod client_tokens;
mod conversation;
#[doc(hidden)]
pub mod decoders;
mod deleted;
mod filter;
mod flow;
mod idempotency;
mod job;
mod job_index;
mod job_row;
mod job_status;
mod job_view;
mod job_waits;
mod open_step;
mod pending;
mod process_places;
mod process_view;
mod processes;
mod queues;
mod rows;
mod schedules;
mod session;
mod session_phase;
mod session_row;
mod session_view;
mod session_views;
mod sessions;
mod signal_keys;
mod snapshot;
mod sweep;
mod trace;
mod views;
mod webhooks;
mod workspace;

pub use all::Projection;
pub use approvals::OpenApproval;
pub use chat::{ChatState, PendingApproval, QueuedMessage, TurnUnderWay};
pub use chat_view::{ChatStatus, ChatView, PendingCall};
pub use client_tokens::{ClientTokens, TokenUse};
pub use conversation::{BegunCall, Conversation, MAIL, NOTICE, interrupted_output};
pub use filter::{InvalidFilter, JobFilter, LabelFilter, Page};
pub use flow::{FlowState, FlowStep, StepAttempt, StepStatus};
pub use idempotency::{IdempotencyKeys, KeyUse};
pub use job::{JobState, StepCounts};
pub use job_status::JobStatus;
pub use job_view::JobView;
pub use open_step::OpenStep;
pub use pending::{Approval, Child, Pending, Signal};
pub use process_places::{ProcessPlace, ProcessPlaces};
pub use process_view::ProcessView;
pub use processes::{ProcessState, Processes};
pub use queues::{KeyCounts, QueueState, Queues};
pub use schedules::{ScheduleState, Schedules};
pub use session::{InvalidSessionStatus, SessionState, SessionStatus};
pub use session_phase::SessionPhase;
pub use session_view::{ChangeView, CollisionView, SessionView, WorkspaceView};
pub use sessions::Sessions;
pub use signal_keys::SignalKeys;
pub use trace::{Span, SpanKind, Trace};
pub use views::{Views, ViewsOptions};
pub use webhooks::{FAILED_KEPT, FailedDelivery, OpenDelivery, WebhookState, Webhooks};
pub use workspace::{Edit, FileOp, PendingChange, WorkspaceKind, WorkspaceState, WorkspaceStatus};
