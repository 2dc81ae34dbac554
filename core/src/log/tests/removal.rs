//! Removing streams: what is left, what is read over the gaps, and that a removal which is cut off is finished or was
//! never begun.

use super::*;
use crate::{
    event::{JobLimits, JobSubmitted, QueueChanged},
    id::Hash,
    json::Json,
    log::waiters::wait_blocking,
    storage::{Fault, Space, Write},
};
use std::collections::BTreeSet;

const BIG: usize = 40_000;

fn submitted(script: Hash) -> NewEvent {
    EventBody::JobSubmitted(Arc::new(JobSubmitted {
        workflow: "w".into(),
        script_hash: script,
        args: Json::null(),
        idempotency_key: None,
        request_hash: None,
        queue: "default".into(),
        priority: 0,
        run_at: None,
        limits: JobLimits { timeout_ms: None, budget_tokens: None, nesting: 0 },
        seed: 0,
        parent: None,
        resume_from: None,
        forked_from: None,
        concurrency_key: None,
        retry: None,
        labels: Default::default(),
        session: None,
        imported: false,
    }))
    .into()
}

fn paused() -> Append {
    let body = EventBody::QueuePaused(QueueChanged { queue: "q".into() });
    Append::new(StreamId::System, Expected::Any, vec![body.into()])
}

fn remove(log: &Log, streams: &[StreamId], through: u64) -> Result<RemovedCounts, ReadError> {
    wait_blocking(log.begin_removal()).unwrap().remove(streams, through)
}

/// Jobs 1 to 4, interleaved and some of them in one frame, each with a script, a large event of its own, and one that all
/// share; jobs 1 and 2 have the same script.
fn filled(storage: &Arc<MemoryStorage>, options: LogOptions) -> Log {
    let (log, _) = open(storage, options);
    for n in 1..=4u8 {
        let script = log.put_blob(vec![b's', n.max(2)]).unwrap();
        put(&log, Append::new(job(n), Expected::NoStream, vec![submitted(script)]));
    }
    for round in 0..5 {
        let all = (1..=4u8).map(|n| saying(&job(n), &[&format!("{n} says {round}")])).collect();
        let appended = log.append_all(all).unwrap();
        log.durable_blocking(appended[3].last_position).unwrap();
        put(&log, paused());
    }
    for n in 1..=4u8 {
        put(&log, saying(&job(n), &[&n.to_string().repeat(BIG), &"shared".repeat(BIG)]));
        put(&log, Append::new(job(n), Expected::Open, vec![ended()]));
    }
    log
}

const EVENTS_OF_A_JOB: u64 = 1 + 5 + 2 + 1;
const EVENTS: u64 = 4 * EVENTS_OF_A_JOB + 5;

fn of(events: &[Arc<Event>], stream: &StreamId) -> usize {
    events.iter().filter(|event| event.stream == *stream).count()
}

/// What holds of a log that jobs 1 and 3 were removed from.
fn check_removed(log: &Log, storage: &MemoryStorage) {
    let report = log.verify().unwrap();
    assert!(report.is_sound(), "{report:?}");
    assert_eq!((report.events, report.removed), (EVENTS - 2 * EVENTS_OF_A_JOB, 2 * EVENTS_OF_A_JOB));
    let all = log.read(0, 1_000).unwrap();
    assert_eq!(all.len() as u64, EVENTS - 2 * EVENTS_OF_A_JOB);
    assert_eq!(positions(&log.read_back(u64::MAX, 1_000).unwrap()), {
        let mut back = positions(&all);
        back.reverse();
        back
    });
    for (n, there) in [(1, false), (2, true), (3, false), (4, true)] {
        let stream = job(n);
        let events = if there { EVENTS_OF_A_JOB } else { 0 };
        assert_eq!(of(&all, &stream) as u64, events);
        assert_eq!(log.read_stream(&stream, 0, 1_000).unwrap().len() as u64, events);
        assert_eq!(log.read_stream_back(&stream, u64::MAX, 1_000).unwrap().len() as u64, events);
        assert_eq!(log.stream_head(&stream).unwrap().is_some_and(|head| head.closed), there);
    }
    // Pages are as long as they can be, whatever is missing between their events.
    for limit in [1, 3, 7] {
        let (mut after, mut paged) = (0, Vec::new());
        loop {
            let page = log.read(after, limit).unwrap();
            let Some(last) = page.last() else { break };
            after = last.position;
            assert!(page.len() == limit || after == log.head());
            paged.extend(positions(&page));
        }
        assert_eq!(paged, positions(&all));
    }
    // The script that job 2 has as well, its text, and what all have said; nothing else.
    let mut blobs: BTreeSet<&[u8]> = BTreeSet::new();
    let keys = storage.keys(Space::Blobs);
    blobs.extend(keys.iter().map(|key| &key[..32]));
    assert_eq!(blobs.len(), 2 + 2 + 1, "two scripts, two texts, one that is shared");
    assert!(log.blob(&Hash::of(b"s\x02")).unwrap().is_some() && log.blob(&Hash::of(b"s\x03")).unwrap().is_none());
}

#[test]
fn a_removed_stream_leaves_its_places_and_nothing_else() {
    for options in [options(), cramped()] {
        let storage = Arc::new(MemoryStorage::new());
        let log = filled(&storage, options);
        let before = log.read(0, 1_000).unwrap();
        let chain = log.verify().unwrap().chain;
        let counts = remove(&log, &[job(1), job(3)], 77).unwrap();
        assert_eq!((counts.events, counts.blobs), (2 * EVENTS_OF_A_JOB, 3), "{counts:?}");
        assert!(counts.blob_bytes > 2 * BIG as u64);
        check_removed(&log, &storage);
        assert_eq!((log.verify().unwrap().chain, log.head()), (chain, EVENTS), "the chain is what it was");
        assert_eq!((log.removed_through().unwrap(), log.removed_bytes().unwrap() > 0), (77, true));
        let places = log.places(0, usize::MAX).unwrap();
        assert_eq!(places.len() as u64, EVENTS);
        for (was, is) in before.iter().zip(&places) {
            match is {
                Place::Event(event) => assert_eq!(event, was),
                Place::Removed(removed) => {
                    assert_eq!(
                        (removed.position, &removed.stream, removed.version),
                        (was.position, &was.stream, was.version)
                    );
                    assert_eq!((removed.name, removed.job), (Some(was.body.name()), was.job));
                    assert_eq!(log.event(removed.position).unwrap(), None);
                }
            }
        }
        // Once more removes nothing.
        assert_eq!(remove(&log, &[job(1)], 78).unwrap(), RemovedCounts::default());
        log.close();
        drop(log);
        for without_index in [false, true] {
            let copy = Arc::new(storage.after_power_cut(0));
            if without_index {
                let deletes = copy.keys(Space::Index).into_iter().map(|key| Write::delete(Space::Index, key));
                copy.write(deletes.collect()).unwrap();
            }
            let (log, report) = open(&copy, self::options());
            assert!(!report.is_repaired(), "{report:?}");
            check_removed(&log, &copy);
        }
    }
}

#[test]
fn a_removed_stream_begins_anew_for_whoever_knows_that_it_is_gone() {
    let storage = Arc::new(MemoryStorage::new());
    let log = filled(&storage, cramped());
    remove(&log, &[job(1)], 0).unwrap();
    for expected in [Expected::Any, Expected::Open, Expected::Version(EVENTS_OF_A_JOB)] {
        let refused = log.append(Append::new(job(1), expected, vec![said("late")]));
        assert!(matches!(refused, Err(AppendError::Closed { .. } | AppendError::Conflict { .. })), "{refused:?}");
    }
    let script = log.put_blob(b"s\x02".to_vec()).unwrap();
    let again = put(&log, Append::new(job(1), Expected::NoStream, vec![submitted(script), said("again")]));
    assert_eq!((again.first_position, again.last_version), (EVENTS + 1, 2));
    put(&log, Append::new(job(1), Expected::Version(2), vec![ended()]));
    assert!(log.verify().unwrap().is_sound());
    log.close();
    drop(log);
    storage
        .write(storage.keys(Space::Index).into_iter().map(|key| Write::delete(Space::Index, key)).collect())
        .unwrap();
    let (log, _) = open(&storage, options());
    assert_eq!(positions(&log.read_stream(&job(1), 0, 99).unwrap()), [EVENTS + 1, EVENTS + 2, EVENTS + 3]);
    // And is removed again.
    assert_eq!(remove(&log, &[job(1)], 0).unwrap().events, 3);
    let report = log.verify().unwrap();
    assert!(report.is_sound() && report.removed == EVENTS_OF_A_JOB + 3, "{report:?}");
}

#[test]
fn a_removal_that_is_cut_off_is_finished_or_was_never_begun() {
    let mut ends = [0, 0];
    for fault in [Fault::Write, Fault::DiskFull, Fault::Sync] {
        for after in 0.. {
            let storage = Arc::new(MemoryStorage::new());
            let log = filled(&storage, LogOptions { index_flush_events: 7, ..options() });
            storage.inject(fault, after);
            let removed = remove(&log, &[job(1), job(3)], 77);
            let is_done = removed.is_ok();
            if !is_done {
                assert!(log.is_poisoned().is_some() && log.append(saying(&job(9), &["more"])).is_err());
                assert!(log.verify().unwrap().is_sound(), "{fault:?} after {after}");
                assert_eq!(log.read_stream(&job(2), 0, 99).unwrap().len() as u64, EVENTS_OF_A_JOB);
            }
            // What of the unsynced writes a power cut leaves is any beginning of them.
            let unsynced = storage.unsynced();
            for kept in BTreeSet::from([0, 1, unsynced / 3, unsynced / 2, unsynced.saturating_sub(1), unsynced]) {
                for without_index in [false, true] {
                    let copy = Arc::new(storage.after_power_cut(kept));
                    if without_index {
                        let deletes = copy.keys(Space::Index).into_iter().map(|key| Write::delete(Space::Index, key));
                        copy.write(deletes.collect()).unwrap();
                    }
                    let (log, _) = open(&copy, options());
                    let begun = log.event(1).unwrap().is_none();
                    ends[usize::from(begun)] += 1;
                    assert!(begun || !is_done, "a removal that was told of is lost");
                    if begun {
                        check_removed(&log, &copy);
                    } else {
                        let report = log.verify().unwrap();
                        assert!(report.is_sound() && report.removed == 0, "{fault:?} {after} {kept}: {report:?}");
                        assert_eq!(log.read(0, 999).unwrap().len() as u64, EVENTS);
                    }
                    assert!(!copy.keys(Space::Meta).iter().any(|key| key.starts_with(b"removing")));
                    put(&log, saying(&job(9), &["goes on"]));
                }
            }
            log.close();
            if is_done {
                break;
            }
        }
    }
    assert!(ends[0] > 10 && ends[1] > 10, "{ends:?}");
}

#[test]
fn blobs_are_swept_once_for_many_removals() {
    let storage = Arc::new(MemoryStorage::new());
    let log = filled(&storage, cramped());
    let blobs = storage.keys(Space::Blobs).len();
    let removal = wait_blocking(log.begin_removal()).unwrap();
    let first = removal.remove_unswept(&[job(1)], 70).unwrap();
    let second = removal.remove_unswept(&[job(3)], 77).unwrap();
    assert_eq!((first.events, second.events), (EVENTS_OF_A_JOB, EVENTS_OF_A_JOB));
    assert_eq!((first.blobs + second.blobs, storage.keys(Space::Blobs).len()), (0, blobs));
    assert!(first.unswept_bytes > BIG as u64 && log.is_unswept().unwrap() && log.removed_through().unwrap() == 77);
    drop(removal);
    log.close();
    drop(log);
    for at_once in [false, true] {
        let copy = Arc::new(storage.after_power_cut(0));
        let (log, _) = open(&copy, options());
        let removal = wait_blocking(log.begin_removal()).unwrap();
        // Another removal sweeps for all.
        let swept = if at_once { removal.remove(&[], 77) } else { removal.sweep() }.unwrap();
        assert_eq!((swept.blobs, swept.unswept_bytes, log.is_unswept().unwrap()), (3, 0, false));
        assert!(log.removed_bytes().unwrap() >= first.bytes + second.bytes + swept.blob_bytes);
        assert_eq!(removal.sweep().unwrap(), RemovedCounts::default());
        check_removed(&log, &copy);
    }
}

#[test]
fn a_sweep_that_is_cut_off_can_be_made_up_for() {
    let mut ends = [0, 0];
    for after in 0.. {
        let storage = Arc::new(MemoryStorage::new());
        let log = filled(&storage, cramped());
        storage.inject(Fault::Write, after);
        let removal = wait_blocking(log.begin_removal()).unwrap();
        let is_done = removal.remove_unswept(&[job(1), job(3)], 77).and_then(|_| removal.sweep()).is_ok();
        for kept in [0, storage.unsynced()] {
            let copy = Arc::new(storage.after_power_cut(kept));
            let (log, _) = open(&copy, options());
            let begun = log.event(1).unwrap().is_none();
            ends[usize::from(begun)] += 1;
            assert!(begun || !is_done, "a removal that was told of is lost");
            let removal = wait_blocking(log.begin_removal()).unwrap();
            removal.sweep().unwrap();
            assert!(!log.is_unswept().unwrap());
            if begun {
                check_removed(&log, &copy);
            } else {
                assert_eq!(log.read(0, 999).unwrap().len() as u64, EVENTS);
            }
            assert!(log.verify().unwrap().is_sound());
        }
        if is_done {
            break;
        }
    }
    assert!(ends[0] > 0 && ends[1] > 0, "{ends:?}");
}

#[test]
fn a_blob_that_is_about_to_be_named_is_left_alone() {
    let (log, storage) = empty();
    let script = log.put_blob(b"script".to_vec()).unwrap();
    put(&log, Append::new(job(1), Expected::NoStream, vec![submitted(script), ended()]));
    // Whoever knows that the script is stored says so before it is relied upon.
    log.hold_blob(script);
    assert_eq!(remove(&log, &[job(1)], 0).unwrap().blobs, 0);
    put(&log, Append::new(job(2), Expected::NoStream, vec![submitted(script), ended()]));
    assert!(log.blob(&script).unwrap().is_some() && log.verify().unwrap().is_sound());
    assert_eq!(remove(&log, &[job(2)], 0).unwrap().blobs, 1);
    assert!(log.blob(&script).unwrap().is_none() && storage.keys(Space::Blobs).is_empty());
}

#[test]
fn jobs_that_share_a_script_come_and_go_at_the_same_time() {
    let storage = Arc::new(MemoryStorage::new());
    let (log, _) = open(&storage, cramped());
    let submitting = {
        let log = log.clone();
        std::thread::spawn(move || {
            for n in 0..200u8 {
                let script = log.put_blob(vec![n % 3]).unwrap();
                put(&log, Append::new(job(n), Expected::NoStream, vec![submitted(script), said("x"), ended()]));
            }
        })
    };
    let mut gone = 0;
    while gone < 200 {
        let done: Vec<StreamId> = (gone..200)
            .map(job)
            .take_while(|stream| log.stream_head(stream).unwrap().is_some_and(|head| head.closed))
            .collect();
        if !done.is_empty() {
            remove(&log, &done, 0).unwrap();
        }
        gone += done.len() as u8;
        std::thread::yield_now();
    }
    submitting.join().unwrap();
    let report = log.verify().unwrap();
    assert!(report.is_sound() && report.events == 0 && report.removed == 600, "{report:?}");
    assert!(storage.keys(Space::Blobs).is_empty() && log.read(0, 10).unwrap().is_empty());
}

#[test]
fn nothing_is_removed_while_a_backup_is_read() {
    let (log, _) = empty();
    put(&log, Append::new(job(1), Expected::NoStream, vec![said("a"), ended()]));
    let still = wait_blocking(log.hold_still());
    assert_eq!(wait_blocking(log.begin_removal()).err(), Some(BackupUnderWay));
    drop(still);
    assert_eq!(remove(&log, &[job(1)], 0).unwrap().events, 2);
}

#[test]
fn damage_to_what_is_left_is_found_and_located() {
    let storage = Arc::new(MemoryStorage::new());
    let log = filled(&storage, options());
    remove(&log, &[job(1), job(3)], 0).unwrap();
    log.close();
    for key in storage.keys(Space::Frames).into_iter().take(3) {
        let first = u64::from_be_bytes(key.as_slice().try_into().unwrap());
        for byte in 0..storage.get(Space::Frames, &key).unwrap().unwrap().len() {
            let copy = Arc::new(storage.after_power_cut(0));
            copy.tamper(Space::Frames, &key, |value| value[byte] ^= 1 << (byte % 8));
            let report = verify(&*copy).unwrap();
            assert!(
                report.damage.iter().any(|damage| damage.position.abs_diff(first) <= 4),
                "{first} {byte}: {report:?}"
            );
        }
    }
}
