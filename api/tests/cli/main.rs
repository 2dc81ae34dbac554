//! The command line from outside: the real binary, real folders, real processes, real repositories.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod chat;
mod doctor;
mod followed;
mod place;
mod processes;
mod replayed;
mod report;
mod served;
mod statuses;
