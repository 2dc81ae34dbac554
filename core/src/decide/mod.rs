//! Commands: what they lead to, given where things stand. Each is a pure function from state and command to events,
//! or to a refusal; an event that says nothing new is left out, so that sending a command twice does it once.

mod approval;
mod cancel;
mod delete;
mod fork;
mod message;
mod queue;
mod refusal;
mod retry;
mod schedule;
mod session;
mod signal;

pub use approval::decide_approval;
pub use cancel::{close_steps, decide_cancel};
pub use delete::{NeededJobs, decide_delete, decide_delete_in_session};
pub use fork::decide_fork;
pub use message::{Busy, decide_change_queued, decide_drop_queued, decide_edit, decide_message};
pub use queue::{decide_pause, decide_resume};
pub use refusal::Refusal;
pub use retry::decide_retry;
pub use schedule::{decide_remove_schedule, decide_set_schedule};
pub use session::{
    ChangeSession, CreateSession, decide_change_session, decide_close_session, decide_create_session, decide_in_session,
};
pub use signal::{SignalLimits, decide_signal};
