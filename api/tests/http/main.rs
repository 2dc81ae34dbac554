//! HTTP through real sockets: a real runner over a log in memory, served in this process.

mod bad_input;
mod described;
mod feeds;
mod guarded;
mod jobs;
mod limits;
mod place;
mod raw;
