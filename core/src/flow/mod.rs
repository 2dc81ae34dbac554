//! A dependency graph of steps, and what to do about it next. Pure: what has happened goes in, decisions come out; the
//! same happenings in the same order give the same decisions.
//!
//! `definition` says what a flow is, `graph` checks it (names, cycles), `trigger` is the rule of one step's dependencies,
//! `ready` keeps what may start within its batch's limit, `scheduler` puts them together. Whoever drives it starts
//! steps, evaluates conditions and cancels; none of that happens here.

mod definition;
mod graph;
mod ready;
mod scheduler;
mod trigger;

pub use definition::{Batch, FlowDefinition, FlowStepDefinition, Join, SwitchDefinition, Trigger};
pub use graph::FlowRefusal;
pub use scheduler::{FlowDecision, FlowEnd, FlowScheduler, FlowStanding, FlowStatus};
pub use trigger::SkipReason;
