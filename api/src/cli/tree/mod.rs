//! A job as people watch it: `model` folds its events into a tree of phases, steps and processes; `describe` puts an
//! operation into words; `frame` lays the tree out for a terminal of a given size, `lines` tells it line by line; both
//! are pure. `watch` follows the feed and draws.

mod describe;
mod frame;
mod lines;
mod model;
mod watch;

#[cfg(test)]
mod tests;

pub use model::{End, JobTree};
pub use watch::{Show, watch};
