//! Processes over HTTP: real ones, of a real server that is stopped, killed and started again.
//!
//! `MOONLOG_LONG=1` makes the largest output 1 GB.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod ends;
mod output;
mod recording;
mod scope;
mod starting;
mod support;
mod tokens;
