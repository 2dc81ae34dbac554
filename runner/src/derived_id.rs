//! Ids that follow from what a job is for, so that what is submitted again after a crash is found.

use moonlog_core::{
    id::{Hash, JobId},
    time::Timestamp,
};

/// The job of `what`, which came about `at` this time.
pub(crate) fn derived_id(what: &str, at: Timestamp) -> JobId {
    let hash = Hash::of(what.as_bytes());
    let mut random = [0; 10];
    random.copy_from_slice(&hash.as_bytes()[..10]);
    let ms = u64::try_from(at.as_micros() / 1000).unwrap_or(0);
    uuid::Builder::from_unix_timestamp_millis(ms, &random).into_uuid().into()
}
