//! The journal: what a job's events of one run say its script asked for and was given, in order. A script that is run
//! again is matched against it. Nothing here runs a script, and nothing here reads a log: events come as arguments.

mod cursor;
mod entry;
mod key;
mod mismatch;
#[cfg(test)]
mod tests;

pub use cursor::{Close, Delivery, Journal, Offer, RecordedFinish};
pub use entry::{BRANCH_CANCELLED, Entry, Met, Role};
pub use key::{idempotency_key, operation_key};
pub use mismatch::{Mismatch, describe};
