//! The command line: parses what was typed, finds or starts a server, and is an HTTP client of it. Shows jobs while
//! they run and prints what they return. Nothing here reads or writes the log itself, but `verify` on a log that does
//! not open.

mod agent_args;
mod agent_options;
mod args;
mod arguments;
mod assemble;
mod bulk_args;
mod chat;
mod client;
mod commands;
mod connect;
mod context;
mod dispatch;
mod doctor;
mod duration;
mod failure;
mod feed;
mod interrupts;
mod log_args;
mod log_lines;
mod markdown;
mod output;
mod own_environment;
mod paint;
mod problem;
mod process_args;
mod runner_options;
mod schedule_args;
#[doc(hidden)]
pub mod sse;
mod table;
mod tree;
mod webhook_options;

pub use dispatch::main;
