//! Scripts through the public seam: a small runner performs their operations from a table and keeps the log; every log
//! is then replayed, whole and cut off at every event.

#![expect(clippy::unwrap_used, reason = "helpers of tests may panic")]

mod world;

mod branches;
mod chance;
mod coroutines;
mod escapes;
mod flow;
mod hostile;
mod library;
mod modules;
mod operations;
mod replay;
mod resume;
mod speed;
mod steps;
