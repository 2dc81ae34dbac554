//! Projections over random histories that a server could have written, and over small ones written by hand.

#![expect(clippy::unwrap_used, reason = "what a test cannot go on without ends it")]

mod checkpoints;
mod decisions;
mod deletion;
mod flow;
mod folds;
mod given;
mod history;
mod session_history;
mod session_phases;
mod sessions;
mod webhooks;
