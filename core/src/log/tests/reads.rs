//! Reads by position and by stream, both ways, from memory and from storage.

use super::*;
use crate::storage::Space;
use std::sync::atomic::AtomicU64;

/// Three jobs' events, interleaved; some in one frame, some in their own.
fn filled(options: LogOptions) -> (Log, Arc<MemoryStorage>) {
    let storage = Arc::new(MemoryStorage::new());
    let (log, _) = open(&storage, options);
    for n in 0..90u8 {
        let appended = log.append(saying(&job(n % 3), &[&n.to_string()])).unwrap();
        if n % 4 == 0 {
            log.durable_blocking(appended.last_position).unwrap();
        }
    }
    log.durable_blocking(90).unwrap();
    (log, storage)
}

#[test]
fn reads_by_position() {
    for options in [options(), cramped(), LogOptions { tail_cache_bytes: 6000, ..options() }] {
        let (log, _) = filled(options);
        let forward = |after, limit| positions(&log.read(after, limit).unwrap());
        let back = |before, limit| positions(&log.read_back(before, limit).unwrap());
        assert_eq!(forward(0, 1000), (1..=90).collect::<Vec<_>>());
        assert_eq!(forward(0, 3), [1, 2, 3]);
        assert_eq!(forward(87, 1000), [88, 89, 90]);
        assert!(forward(90, 10).is_empty() && forward(u64::MAX, usize::MAX).is_empty() && forward(0, 0).is_empty());
        assert_eq!(back(u64::MAX, 1000), (1..=90).rev().collect::<Vec<_>>());
        assert_eq!(back(91, 2), [90, 89]);
        assert_eq!(back(3, 10), [2, 1]);
        assert!(back(1, 10).is_empty() && back(0, 10).is_empty() && back(50, 0).is_empty());
        assert_eq!(log.event(42).unwrap().map(|event| event.position), Some(42));
        assert_eq!((log.event(0).unwrap(), log.event(91).unwrap()), (None, None));
    }
}

#[test]
fn reads_of_what_is_wanted() {
    for options in [options(), cramped(), LogOptions { tail_cache_bytes: 6000, ..options() }] {
        let (log, _) = filled(options);
        let StreamId::Job(id) = job(1) else { unreachable!() };
        let wanted = |traits: &Traits| traits.job == Some(id) && traits.name == Some("job.logged");
        let all: Vec<u64> = (0..30).map(|version| 3 * version + 2).collect();
        for (scan, limit) in [(1, 1), (5, 1), (7, 100), (1000, 4), (usize::MAX, usize::MAX)] {
            let (mut found, mut after) = (Vec::new(), 0);
            while after < log.head() {
                let selected = log.select(after, scan, limit, Kinds::ALL, &wanted).unwrap();
                assert!(selected.places.len() <= limit && selected.through > after);
                assert!(
                    selected.places.len() == limit || selected.through == 90.min(after.saturating_add(scan as u64))
                );
                after = selected.through;
                found.extend(selected.places.into_iter().map(|place| match place {
                    Place::Event(event) => event.position,
                    Place::Removed(removed) => unreachable!("{removed:?}"),
                }));
            }
            assert_eq!(found, all, "{scan} {limit}");
        }
        let none = log.select(90, 10, 10, Kinds::ALL, &wanted).unwrap();
        assert_eq!((none.places.len(), none.through), (0, 90));
        assert_eq!(log.select(10, 10, 0, Kinds::ALL, &wanted).unwrap().through, 10);
    }
}

/// Looks at the whole log for ends of jobs: their positions, and at how many events it looked.
fn ends(log: &Log, scan: usize, limit: usize) -> (Vec<u64>, u64) {
    let (looks, ended) = (AtomicU64::new(0), ["job.cancelled"]);
    let wanted = |traits: &Traits| {
        looks.fetch_add(1, Ordering::Relaxed);
        traits.name.is_none_or(|name| ended.contains(&name))
    };
    let (mut found, mut after) = (Vec::new(), 0);
    while after < log.head() {
        let selected = log.select(after, scan, limit, Kinds::named(ended), &wanted).unwrap();
        assert!(selected.places.len() <= limit && selected.through > after && selected.through <= log.head());
        after = selected.through;
        found.extend(selected.places.iter().map(|place| match place {
            Place::Event(event) => event.position,
            Place::Removed(removed) => removed.position,
        }));
    }
    (found, looks.into_inner())
}

#[test]
fn where_a_type_hardly_occurs_the_log_is_looked_through_once() {
    const STRETCH: u64 = super::super::kinds::STRETCH;
    let small = || LogOptions { tail_cache_bytes: 6000, frame_cache_bytes: 300, ..options() };
    let storage = Arc::new(MemoryStorage::new());
    let (log, _) = open(&storage, small());
    // In the second, third and last stretch of nine and a half, at their ends too.
    let at = [STRETCH + 1, 2 * STRETCH, 2 * STRETCH + 1_000, 9 * STRETCH + 7];
    let (mut position, mut n) = (0, 0);
    while position < 9 * STRETCH + STRETCH / 2 {
        let next = at.into_iter().find(|at| *at > position).unwrap_or(u64::MAX).min(9 * STRETCH + STRETCH / 2 + 1);
        while position + 1 < next {
            let count = (next - position - 1).min(400);
            position = log
                .append(Append::new(job(0), Expected::Any, (0..count).map(|_| said("")).collect()))
                .unwrap()
                .last_position;
            log.durable_blocking(position).unwrap();
        }
        if at.contains(&next) {
            n += 1;
            let end = EventBody::JobCancelled(JobCancelled { reason: None }).into();
            position = log.append(Append::new(job(n), Expected::NoStream, vec![end])).unwrap().last_position;
        }
    }
    log.durable_blocking(position).unwrap();
    // The last stretch is not whole, so that more may come in it.
    let known = (at.to_vec(), 2 * STRETCH + STRETCH / 2);
    assert_eq!(ends(&log, 1_000, 256), known, "what was written here is known");
    drop(log);
    let (log, _) = open(&storage, LogOptions { tail_cache_bytes: 0, ..options() });
    assert_eq!(ends(&log, 1_000, 256), (at.to_vec(), position), "after a start nothing is");
    for (scan, limit) in [(1_000, 256), (1, 256), (usize::MAX, usize::MAX), (5_000, 2)] {
        assert_eq!(ends(&log, scan, limit), known, "{scan} {limit}");
    }
    drop(log);
    let (log, _) = open(&storage, small());
    assert_eq!(ends(&log, 1_000, 1), (at.to_vec(), position), "in parts, not all of which are whole");
    assert_eq!(ends(&log, 1_000, 256).0, at);
    // What comes, and what is removed.
    let end = EventBody::JobCancelled(JobCancelled { reason: None }).into();
    let last = log.append(Append::new(job(n + 1), Expected::NoStream, vec![end])).unwrap().last_position;
    log.durable_blocking(last).unwrap();
    let all = at.into_iter().chain([last]).collect::<Vec<_>>();
    assert_eq!(ends(&log, 1_000, 256).0, all);
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(log.begin_removal()).unwrap().remove(&[job(1), job(3)], 1).unwrap();
    assert_eq!(ends(&log, 1_000, 256).0, all, "who would have been given it is told");
}

#[test]
fn reads_by_stream() {
    for options in [options(), cramped(), LogOptions { tail_cache_bytes: 6000, ..options() }] {
        let (log, _) = filled(options);
        for n in 0..3u64 {
            let stream = job(n as u8);
            let all: Vec<u64> = (0..30).map(|version| 3 * version + n + 1).collect();
            let forward = |after, limit| positions(&log.read_stream(&stream, after, limit).unwrap());
            let back = |before, limit| positions(&log.read_stream_back(&stream, before, limit).unwrap());
            assert_eq!(forward(0, 1000), all);
            assert_eq!(forward(7, 5), all[7..12]);
            assert_eq!(forward(28, 5), all[28..]);
            assert!(forward(30, 5).is_empty() && forward(u64::MAX, 5).is_empty() && forward(0, 0).is_empty());
            assert_eq!(back(u64::MAX, 1000), all.iter().rev().copied().collect::<Vec<_>>());
            assert_eq!(back(5, 3), [all[3], all[2], all[1]]);
            assert!(back(1, 5).is_empty() && back(0, 5).is_empty());
            for (version, position) in (1..).zip(&all) {
                assert_eq!(log.position_of(&stream, version).unwrap(), Some(*position));
                assert_eq!(log.version_at(&stream, *position).unwrap(), version);
                assert_eq!(log.version_at(&stream, *position - 1).unwrap(), version - 1);
            }
            assert_eq!((log.position_of(&stream, 0).unwrap(), log.position_of(&stream, 31).unwrap()), (None, None));
            assert_eq!(log.version_at(&stream, u64::MAX).unwrap(), 30);
            let head = log.stream_head(&stream).unwrap().unwrap();
            assert_eq!((head.version, head.position, head.closed), (30, all[29], false));
        }
        assert!(log.read_stream(&job(9), 0, 10).unwrap().is_empty());
        assert_eq!(log.stream_head(&job(9)).unwrap(), None);
        assert_eq!(log.version_at(&job(9), 50).unwrap(), 0);
    }
}

#[test]
fn a_stream_that_ended_is_known_to_have_ended_from_pages_too() {
    let storage = Arc::new(MemoryStorage::new());
    let (log, _) = open(&storage, cramped());
    put(&log, Append::new(job(1), Expected::Any, vec![said("a"), ended()]));
    log.close();
    drop(log);
    let (log, report) = open(&storage, cramped());
    assert_eq!(report.indexed_events, 0);
    assert!(log.stream_head(&job(1)).unwrap().unwrap().closed);
    assert!(matches!(log.append(saying(&job(1), &["b"])), Err(AppendError::Closed { .. })));
}

#[test]
fn a_streams_events_are_read_without_reading_other_frames() {
    let (log, storage) = filled(cramped());
    // With every frame that holds nothing of the stream destroyed, its events can still be read.
    let wanted = positions(&log.read_stream(&job(1), 0, 100).unwrap());
    let keys = storage.keys(Space::Frames);
    let first = |key: &Vec<u8>| u64::from_be_bytes(key.as_slice().try_into().unwrap());
    for (n, key) in keys.iter().enumerate() {
        let end = keys.get(n + 1).map_or(u64::MAX, first);
        if !wanted.iter().any(|position| (first(key)..end).contains(position)) {
            storage.tamper(Space::Frames, key, Vec::clear);
        }
    }
    assert_eq!(positions(&log.read_stream(&job(1), 0, 100).unwrap()), wanted);
}

#[test]
fn long_streams_span_index_pages() {
    let storage = Arc::new(MemoryStorage::new());
    let (log, _) = open(&storage, LogOptions { index_flush_events: 300, ..options() });
    let mut last = 0;
    for n in 0..3000u64 {
        let stream = if n % 10 == 9 { job(2) } else { job(1) };
        last = log.append(saying(&stream, &["x"])).unwrap().last_position;
        if n % 50 == 0 {
            log.durable_blocking(last).unwrap();
        }
    }
    log.durable_blocking(last).unwrap();
    let of = |stream: u8| -> Vec<u64> { (1..=3000).filter(|position| (position % 10 == 0) == (stream == 2)).collect() };
    let check = |log: &Log| {
        for stream in [1, 2] {
            let all = of(stream);
            assert_eq!(positions(&log.read_stream(&job(stream), 0, 9999).unwrap()), all);
            for after in [0, 1, 511, 512, 513, 1000, 2699, 2700] {
                let expected: Vec<_> = all.iter().skip(after as usize).take(600).copied().collect();
                assert_eq!(positions(&log.read_stream(&job(stream), after, 600).unwrap()), expected, "{after}");
            }
            for position in [1, 9, 10, 11, 570, 571, 1500, 2999, 3000] {
                let expected = all.partition_point(|at| *at <= position) as u64;
                assert_eq!(log.version_at(&job(stream), position).unwrap(), expected, "{position}");
            }
        }
    };
    check(&log);
    log.close();
    drop(log);
    assert!(storage.keys(Space::Index).len() < 20, "{}", storage.keys(Space::Index).len());
    check(&open(&storage, options()).0);
}
