//! The log, tested through its handle on storage whose faults are chosen.

mod append;
mod backup;
mod blobs;
mod damage;
mod disk_full;
mod durability;
mod model;
mod open;
mod reads;
mod removal;
mod stored_form;

use super::*;
use crate::{
    event::{Event, EventBody, JobCancelled, JobLogged, NewEvent, StreamId},
    id::JobId,
    storage::{MemoryStorage, Storage},
    time::Timestamp,
};
use std::sync::{
    Arc,
    atomic::{AtomicI64, Ordering},
};

/// A clock that goes on by one microsecond at each look.
fn options() -> LogOptions {
    let now = AtomicI64::new(1_795_000_000_000_000);
    LogOptions::new(move || Timestamp::from_micros(now.fetch_add(1, Ordering::Relaxed)))
}

/// As [`options`], so small that everything has to be read from storage and the index is written all the time.
fn cramped() -> LogOptions {
    LogOptions {
        tail_cache_bytes: 0,
        frame_cache_bytes: 300,
        index_flush_events: 5,
        verify_at_open_max_bytes: 0,
        ..options()
    }
}

fn open(storage: &Arc<MemoryStorage>, options: LogOptions) -> (Log, OpenReport) {
    Log::open(storage.clone() as Arc<dyn Storage>, options).unwrap()
}

fn empty() -> (Log, Arc<MemoryStorage>) {
    let storage = Arc::new(MemoryStorage::new());
    (open(&storage, options()).0, storage)
}

fn job(n: u8) -> StreamId {
    StreamId::Job(JobId::from_bytes([n; 16]))
}

fn said(message: impl Into<String>) -> NewEvent {
    EventBody::JobLogged(JobLogged { level: "info".into(), message: message.into() }).into()
}

fn ended() -> NewEvent {
    EventBody::JobCancelled(JobCancelled { reason: None }).into()
}

fn saying(stream: &StreamId, messages: &[&str]) -> Append {
    Append::new(stream.clone(), Expected::Any, messages.iter().map(|message| said(*message)).collect())
}

/// Appends, and waits until that is durable.
fn put(log: &Log, append: Append) -> Appended {
    let appended = log.append(append).unwrap();
    log.durable_blocking(appended.last_position).unwrap();
    appended
}

fn message(event: &Event) -> &str {
    match &event.body {
        EventBody::JobLogged(logged) => &logged.message,
        other => other.name(),
    }
}

fn messages(events: &[Arc<Event>]) -> Vec<&str> {
    events.iter().map(|event| message(event)).collect()
}

fn positions(events: &[Arc<Event>]) -> Vec<u64> {
    events.iter().map(|event| event.position).collect()
}
