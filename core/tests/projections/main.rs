//! Projections over random histories that a server could have written, and over small ones written by hand.

mod checkpoints;
mod decisions;
mod flow;
mod folds;
mod given;
mod history;
