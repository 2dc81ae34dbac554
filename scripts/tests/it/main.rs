//! Scripts through the public seam: a small runner performs their operations from a table and keeps the log; every log
//! is then replayed, whole and cut off at every event.

mod world;

mod branches;
mod coroutines;
mod hostile;
mod operations;
mod steps;
