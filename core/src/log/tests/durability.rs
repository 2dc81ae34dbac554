//! Nothing is published before it is durable; after a failure nothing is appended, and what was durable is served.

use super::*;
use crate::storage::Fault;
use std::{collections::HashMap, time::Duration};
use tokio::time::timeout;

/// Whether a future is not done yet.
async fn is_pending<F: Future + Unpin>(future: &mut F) -> bool {
    tokio::select! {
        biased;
        _ = future => false,
        () = tokio::task::yield_now() => true,
    }
}

#[tokio::test]
async fn nothing_is_read_or_heard_of_before_it_is_durable() {
    let (log, storage) = empty();
    let mut head = log.watch_head();
    let mut stream = log.watch_stream(&job(1));
    storage.hold_syncs();
    let appended = log.append(saying(&job(1), &["a", "b"])).unwrap();
    storage.wait_for_held_sync();
    // It is written by now, and only the sync is missing.
    assert!(storage.unsynced() > 0);
    let mut durable = Box::pin(log.durable(appended.last_position));
    assert!(is_pending(&mut durable).await);
    assert!(is_pending(&mut Box::pin(head.changed())).await);
    assert!(is_pending(&mut Box::pin(stream.changed())).await);
    assert_eq!(log.head(), 0);
    assert!(log.read(0, 10).unwrap().is_empty());
    assert!(log.read_back(u64::MAX, 10).unwrap().is_empty());
    assert!(log.read_stream(&job(1), 0, 10).unwrap().is_empty());
    assert!(log.read_stream_back(&job(1), u64::MAX, 10).unwrap().is_empty());
    assert_eq!(log.event(1).unwrap(), None);
    assert_eq!(log.stream_head(&job(1)).unwrap(), None);
    assert_eq!(log.position_of(&job(1), 1).unwrap(), None);
    let (after, _) = open(&Arc::new(storage.after_power_cut(0)), options());
    assert_eq!(after.head(), 0);

    storage.release_syncs();
    durable.await.unwrap();
    head.changed().await.unwrap();
    assert_eq!(*head.borrow_and_update(), 2);
    stream.changed().await.unwrap();
    assert_eq!(messages(&log.read(0, 10).unwrap()), ["a", "b"]);
    let (after, _) = open(&Arc::new(storage.after_power_cut(0)), options());
    assert_eq!(messages(&after.read(0, 10).unwrap()), ["a", "b"]);
}

#[test]
fn appends_that_wait_are_written_as_one_group() {
    let (log, storage) = empty();
    let before = storage.syncs();
    storage.hold_syncs();
    log.append(saying(&job(1), &["first"])).unwrap();
    storage.wait_for_held_sync();
    for n in 0..100 {
        log.append(saying(&job(n % 7), &["more"])).unwrap();
    }
    storage.release_syncs();
    log.durable_blocking(101).unwrap();
    assert_eq!(storage.syncs() - before, 2);
}

#[test]
fn the_frames_of_a_long_append_share_a_sync() {
    let (log, storage) = empty();
    for n in 0..20u64 {
        let before = storage.syncs();
        let long = Append::new(job(1), Expected::Version(400 * n), vec![said("x".repeat(1000)); 400]);
        let appended = log.append_long(long).unwrap();
        log.durable_blocking(appended.last_position).unwrap();
        assert_eq!((storage.syncs() - before, appended.last_version), (1, 400 * (n + 1)));
    }
    assert!(log.verify().unwrap().is_sound());
}

#[tokio::test]
async fn what_is_in_no_hurry_is_written_with_what_comes_next_or_when_somebody_waits() {
    let storage = Arc::new(MemoryStorage::new());
    let (log, _) = open(&storage, LogOptions { patience: Duration::from_secs(3600), ..options() });
    let before = storage.syncs();
    for text in ["a", "b"] {
        log.append_unhurried(saying(&job(1), &[text])).unwrap();
    }
    let last = log.append(saying(&job(2), &["c"])).unwrap();
    log.durable(last.last_position).await.unwrap();
    assert_eq!(storage.syncs() - before, 1);
    let unhurried = log.append_unhurried(saying(&job(1), &["d"])).unwrap();
    log.durable(unhurried.last_position).await.unwrap();
    assert_eq!(messages(&log.read(0, 10).unwrap()), ["a", "b", "c", "d"]);
    log.append_unhurried(saying(&job(1), &["e"])).unwrap();
    log.close();
    assert_eq!(log.head(), 5);
}

#[tokio::test]
async fn what_is_in_no_hurry_is_written_after_a_while() {
    let (log, _) =
        open(&Arc::new(MemoryStorage::new()), LogOptions { patience: Duration::from_millis(1), ..options() });
    let mut head = log.watch_head();
    log.append_unhurried(saying(&job(1), &["a"])).unwrap();
    timeout(Duration::from_secs(60), head.wait_for(|head| *head == 1)).await.unwrap().unwrap();
}

#[test]
fn many_threads_append_at_once() {
    let (log, _) = empty();
    std::thread::scope(|scope| {
        for n in 0..8 {
            let log = &log;
            scope.spawn(move || {
                for version in 0..200u64 {
                    let appended =
                        log.append(Append::new(job(n), Expected::Version(version), vec![said("x")])).unwrap();
                    log.durable_blocking(appended.last_position).unwrap();
                    assert!(log.head() >= appended.last_position);
                }
            });
        }
    });
    assert_eq!(positions(&log.read(0, 5000).unwrap()), (1..=1600).collect::<Vec<_>>());
    assert!(log.verify().unwrap().is_sound());
}

#[tokio::test]
async fn after_a_failure_nothing_is_appended_and_what_was_durable_is_served() {
    for (fault, disk_full) in [(Fault::Write, false), (Fault::DiskFull, true), (Fault::Sync, false)] {
        let (log, storage) = empty();
        let first = log.append(saying(&job(1), &["kept"])).unwrap();
        log.durable(first.last_position).await.unwrap();
        storage.inject(fault, 0);
        let lost = log.append(saying(&job(1), &["lost"])).unwrap();
        let poisoned = log.durable(lost.last_position).await.unwrap_err();
        assert_eq!(poisoned.disk_full, disk_full, "{fault:?}");
        assert_eq!(poisoned.to_string().contains("free disk space"), disk_full, "{poisoned}");
        assert_eq!(log.is_poisoned(), Some(poisoned.clone()));
        assert_eq!(log.durable(lost.last_position + 5).await, Err(poisoned.clone()));
        assert_eq!(log.durable(first.last_position).await, Ok(()));
        assert_eq!(log.append(saying(&job(1), &["x"])), Err(AppendError::Poisoned(poisoned.clone())));
        assert_eq!(log.put_blob(vec![1]), Err(AppendError::Poisoned(poisoned)));
        log.ready().await;
        assert_eq!(log.head(), 1);
        assert_eq!(messages(&log.read(0, 10).unwrap()), ["kept"]);
        assert_eq!(messages(&log.read_stream(&job(1), 0, 10).unwrap()), ["kept"]);
        log.close();

        // Restarted on what a power cut left, it goes on.
        let (log, report) = open(&Arc::new(storage.after_power_cut(0)), options());
        assert!(!report.is_repaired());
        put(&log, saying(&job(1), &["again"]));
        assert_eq!(messages(&log.read(0, 10).unwrap()), ["kept", "again"]);
    }
}

#[test]
fn a_batch_that_fails_in_its_middle_leaves_a_sound_log() {
    for after in 0..6 {
        let (log, storage) = empty();
        put(&log, saying(&job(1), &["kept"]));
        storage.hold_syncs();
        log.append(saying(&job(1), &["held"])).unwrap();
        storage.wait_for_held_sync();
        let large = "x".repeat(20_000);
        let last = (0..8).map(|_| log.append(saying(&job(2), &[&large])).unwrap().last_position).max().unwrap();
        storage.inject(Fault::Write, after);
        storage.release_syncs();
        let outcome = log.durable_blocking(last);
        for kept in 0..=storage.unsynced() {
            let (log, _) = open(&Arc::new(storage.after_power_cut(kept)), options());
            let found = log.read(0, 100).unwrap();
            assert_eq!(messages(&found[..2]), ["kept", "held"], "{after} {kept}");
            assert!(outcome.is_err() || found.len() == 10);
            assert!(log.verify().unwrap().is_sound());
            put(&log, saying(&job(2), &["goes on"]));
        }
    }
}

#[test]
fn whatever_a_power_cut_keeps_is_a_prefix_with_all_that_was_acknowledged() {
    let storage = Arc::new(MemoryStorage::new());
    let (log, _) = open(&storage, cramped());
    let mut acknowledged = 0;
    for n in 0..60u8 {
        let large = "y".repeat(if n % 9 == 0 { 50_000 } else { 10 });
        let appended = log.append(saying(&job(n % 4), &["x", &large])).unwrap();
        if n % 3 == 0 {
            log.durable_blocking(appended.last_position).unwrap();
            acknowledged = appended.last_position;
        }
        for kept in [0, 1, 2, usize::MAX] {
            let (after, report) = open(&Arc::new(storage.after_power_cut(kept)), cramped());
            assert!(after.head() >= acknowledged && !report.is_repaired());
            assert!(after.verify().unwrap().is_sound());
            let whole = after.read(0, 1000).unwrap();
            assert_eq!(whole.len() as u64, after.head());
            let mut streams: HashMap<_, Vec<_>> = HashMap::new();
            whole.iter().for_each(|event| streams.entry(event.stream.clone()).or_default().push(event.clone()));
            for (stream, events) in streams {
                assert_eq!(after.read_stream(&stream, 0, 1000).unwrap(), events);
            }
        }
    }
}

#[tokio::test]
async fn a_stream_watch_wakes_for_its_stream_alone_and_unregisters() {
    let (log, _) = empty();
    let mut one = log.watch_stream(&job(1));
    let again = log.watch_stream(&job(1));
    let mut other = log.watch_stream(&job(2));
    put(&log, saying(&job(1), &["a"]));
    one.changed().await.unwrap();
    assert!(timeout(Duration::from_millis(20), other.changed()).await.is_err());
    put(&log, saying(&job(2), &["b"]));
    other.changed().await.unwrap();
    assert_eq!(log.watched_streams(), 2);
    drop(one);
    assert_eq!(log.watched_streams(), 2);
    drop(again);
    assert_eq!(log.watched_streams(), 1);
    log.close();
    assert_eq!(other.changed().await, Err(Stopped));
    assert_eq!(log.watch_stream(&job(1)).changed().await, Err(Stopped));
    drop(other);
    assert_eq!(log.watched_streams(), 0);
}

#[tokio::test]
async fn closing_writes_what_waits_and_takes_no_more() {
    let (log, storage) = empty();
    storage.hold_syncs();
    log.append(saying(&job(1), &["a"])).unwrap();
    storage.wait_for_held_sync();
    let last = log.append(saying(&job(1), &["b"])).unwrap().last_position;
    storage.release_syncs();
    log.close();
    assert_eq!(log.head(), last);
    assert_eq!(log.append(saying(&job(1), &["c"])), Err(AppendError::Stopped));
    assert!(log.durable(last).await.is_ok());
    assert!(log.durable(last + 1).await.is_err());
    assert_eq!(messages(&log.read(0, 10).unwrap()), ["a", "b"]);
    log.close();
    assert_eq!(storage.unsynced(), 0);
}
