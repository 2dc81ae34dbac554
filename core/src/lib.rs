//! Events, the log that holds them, and everything that is derived from them alone: pure state machines. No tasks, no
//! clock, no network, no randomness: time and seeds are arguments.

pub mod codec;
pub mod collision;
pub mod compare;
pub mod cost;
pub mod decide;
pub mod diff;
pub mod error_info;
pub mod event;
pub mod flow;
pub mod id;
pub mod journal;
pub mod json;
pub mod log;
pub mod message;
pub mod projection;
pub mod schedule;
pub mod storage;
pub mod time;
