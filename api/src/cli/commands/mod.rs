//! A file for each command. Each says what it did by its exit status, or why it did not.

pub mod approve;
pub mod backup;
pub mod bulk;
pub mod cancel;
pub mod chat;
pub mod check;
pub mod compact;
pub mod completions;
pub mod config;
pub mod delete;
pub mod diff;
pub mod doctor;
pub mod errors;
pub mod events;
pub mod export;
pub mod fork;
pub mod import;
pub mod jobs;
pub mod kill;
pub mod process_output;
pub mod ps;
pub mod redeliver;
pub mod replay;
pub mod restore;
pub mod retry;
pub mod run;
pub mod schedule;
pub mod schedules;
pub mod serve;
pub mod show;
pub mod signal;
pub mod trace;
pub mod unschedule;
pub mod verify;
pub mod webhooks;
pub mod workflows;

mod job_ref;
mod process_ref;
mod result;
mod script_file;
mod usage;

pub use job_ref::meant;
