//! HTTP through real sockets: a real runner over a log in memory, served in this process.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod bad_input;
mod bulk;
mod deleted;
mod described;
mod discovery;
mod errors;
mod feeds;
mod guarded;
mod jobs;
mod limits;
mod place;
mod raw;
mod removed;
mod schedules;
mod session_options;
mod sessions;
mod webhooks;
