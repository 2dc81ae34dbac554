//! Expectations, places, times, sizes.

use super::*;
use crate::{
    error_info::ErrorInfo,
    event::{StepFinished, StepOutcome, StepRetryScheduled},
    log::frame::Frame,
    storage::Space,
};

#[test]
fn events_get_gapless_positions_and_versions_and_one_time() {
    let (log, _) = empty();
    let first = put(&log, saying(&job(1), &["a", "b"]));
    let second = put(&log, saying(&job(2), &["c"]));
    let third = put(&log, saying(&job(1), &["d"]));
    assert_eq!((first.first_position, first.last_position, first.last_version), (1, 2, 2));
    assert_eq!((second.first_position, second.last_position, second.last_version), (3, 3, 1));
    assert_eq!((third.first_position, third.last_position, third.last_version), (4, 4, 3));
    let events = log.read(0, 10).unwrap();
    assert_eq!(messages(&events), ["a", "b", "c", "d"]);
    assert_eq!(positions(&events), [1, 2, 3, 4]);
    assert_eq!(events.iter().map(|event| event.version).collect::<Vec<_>>(), [1, 2, 1, 3]);
    assert_eq!((events[0].time, events[1].time, events[2].time), (first.time, first.time, second.time));
}

#[test]
fn times_never_go_back_also_over_a_restart() {
    let storage = Arc::new(MemoryStorage::new());
    let at = |micros| LogOptions::new(move || Timestamp::from_micros(micros));
    let (log, _) = open(&storage, at(500));
    put(&log, saying(&job(1), &["a"]));
    drop(log);
    let (log, _) = open(&storage, at(100));
    assert_eq!(put(&log, saying(&job(1), &["b"])).time, Timestamp::from_micros(500));
}

#[test]
fn references_follow_from_the_stream() {
    let (log, _) = empty();
    put(&log, saying(&job(1), &["a"]));
    put(&log, saying(&StreamId::Session(crate::id::SessionId::from_bytes([2; 16])), &["b"]));
    let process = crate::id::ProcessId::from_bytes([3; 16]);
    let owner = JobId::from_bytes([4; 16]);
    put(&log, Append::new(StreamId::Process(process), Expected::Any, vec![said("c").job(owner)]));
    put(&log, saying(&StreamId::Schedule("nightly".into()), &["d"]));
    let events = log.read(0, 10).unwrap();
    let references: Vec<_> =
        events.iter().map(|event| (event.job.is_some(), event.session.is_some(), event.process.is_some())).collect();
    assert_eq!(references, [(true, false, false), (false, true, false), (true, false, true), (false, false, false)]);
    assert_eq!((events[2].job, events[2].process), (Some(owner), Some(process)));
}

#[test]
fn what_is_expected_must_hold() {
    let (log, _) = empty();
    let (fresh, open, closed) = (job(1), job(2), job(3));
    put(&log, saying(&open, &["a", "b"]));
    put(&log, Append::new(closed.clone(), Expected::NoStream, vec![said("a"), ended()]));
    let conflict =
        |stream: &StreamId, expected, actual| Some(AppendError::Conflict { stream: stream.clone(), expected, actual });
    let closed_error = || Some(AppendError::Closed { stream: closed.clone() });
    let cases = [
        (&fresh, Expected::Open, conflict(&fresh, Expected::Open, 0)),
        (&fresh, Expected::Version(1), conflict(&fresh, Expected::Version(1), 0)),
        (&fresh, Expected::Version(0), None),
        (&open, Expected::NoStream, conflict(&open, Expected::NoStream, 2)),
        (&open, Expected::Version(1), conflict(&open, Expected::Version(1), 2)),
        (&open, Expected::Version(3), conflict(&open, Expected::Version(3), 2)),
        (&open, Expected::Version(2), None),
        (&open, Expected::Open, None),
        (&open, Expected::Any, None),
        (&closed, Expected::NoStream, conflict(&closed, Expected::NoStream, 2)),
        (&closed, Expected::Any, closed_error()),
        (&closed, Expected::Open, closed_error()),
        (&closed, Expected::Version(2), closed_error()),
    ];
    for (stream, expected, refusal) in cases {
        let answer = log.append(Append::new(stream.clone(), expected, vec![said("x")]));
        assert_eq!(answer.err(), refusal, "{stream} {expected:?}");
    }
}

#[test]
fn a_fresh_stream_is_begun_once() {
    let (log, _) = empty();
    let fresh = |text| Append::new(job(1), Expected::Fresh, vec![said(text)]);
    log.append(fresh("a")).unwrap();
    let refused = log.append(fresh("b")).unwrap_err();
    assert!(matches!(refused, AppendError::Conflict { actual: 1, .. }), "{refused}");
    put(&log, Append::new(job(1), Expected::Version(1), vec![said("c")]));
    assert_eq!(messages(&log.read_stream(&job(1), 0, 9).unwrap()), ["a", "c"]);
}

#[test]
fn expectations_see_events_that_are_not_durable_yet() {
    let (log, storage) = empty();
    storage.hold_syncs();
    log.append(Append::new(job(1), Expected::NoStream, vec![said("a")])).unwrap();
    let refused = log.append(Append::new(job(1), Expected::NoStream, vec![said("b")])).unwrap_err();
    assert!(matches!(refused, AppendError::Conflict { actual: 1, .. }), "{refused}");
    log.append(Append::new(job(1), Expected::Version(1), vec![ended()])).unwrap();
    let refused = log.append(saying(&job(1), &["c"])).unwrap_err();
    assert!(matches!(refused, AppendError::Closed { .. }), "{refused}");
    storage.release_syncs();
}

#[test]
fn the_ends_of_more_streams_than_are_remembered_are_looked_up() {
    let storage = Arc::new(MemoryStorage::new());
    let (log, _) = open(&storage, LogOptions { index_flush_events: 100, ..options() });
    let stream = |n: u32| {
        let mut id = [0; 16];
        id[..4].copy_from_slice(&n.to_be_bytes());
        StreamId::Job(JobId::from_bytes(id))
    };
    let mut last = 0;
    for round in 0..2u64 {
        for n in 0..10_000 {
            let expected = Expected::Version(round);
            last = log.append(Append::new(stream(n), expected, vec![said("x")])).unwrap().last_position;
        }
        log.durable_blocking(last).unwrap();
    }
    assert_eq!(last, 20_000);
    assert_eq!(log.stream_head(&stream(77)).unwrap().unwrap().version, 2);
}

#[test]
fn several_appends_are_all_made_or_none() {
    let (log, storage) = empty();
    put(&log, saying(&job(1), &["a"]));
    let refused = log.append_all(vec![
        saying(&job(1), &["b"]),
        Append::new(job(2), Expected::NoStream, vec![said("c")]),
        Append::new(job(1), Expected::Version(1), vec![said("d")]),
    ]);
    assert!(matches!(refused, Err(AppendError::Conflict { actual: 2, .. })), "{refused:?}");
    let appended = log
        .append_all(vec![
            saying(&job(1), &["b"]),
            Append::new(job(2), Expected::NoStream, vec![said("c")]),
            Append::new(job(1), Expected::Version(2), vec![ended()]),
        ])
        .unwrap();
    assert_eq!(appended.iter().map(|appended| appended.last_version).collect::<Vec<_>>(), [2, 1, 3]);
    log.durable_blocking(4).unwrap();
    assert_eq!(messages(&log.read(0, 10).unwrap()), ["a", "b", "c", "job.cancelled"]);
    assert_eq!(storage.keys(Space::Frames).len(), 2);
}

#[test]
fn nothing_stands_behind_an_end_within_an_append() {
    let (log, _) = empty();
    let refused = log.append(Append::new(job(1), Expected::Any, vec![ended(), said("a")]));
    assert!(matches!(refused, Err(AppendError::Closed { .. })), "{refused:?}");
    let refused = log.append(Append::new(job(1), Expected::Any, vec![]));
    assert!(matches!(refused, Err(AppendError::Empty { .. })), "{refused:?}");
    let refused = log.append_all(vec![
        Append::new(job(1), Expected::Any, vec![ended()]),
        Append::new(job(1), Expected::Any, vec![said("a")]),
    ]);
    assert!(matches!(refused, Err(AppendError::Closed { .. })), "{refused:?}");
    assert_eq!(log.append_all(vec![]).unwrap(), []);
}

/// Every stored frame, in order.
fn frames(storage: &MemoryStorage) -> Vec<(usize, Frame)> {
    let read = |key: Vec<u8>| {
        let value = storage.get(Space::Frames, &key).unwrap().unwrap();
        (key.len() + value.len(), Frame::read(&key, value).unwrap())
    };
    storage.keys(Space::Frames).into_iter().map(read).collect()
}

#[test]
fn appends_never_span_frames_and_frames_keep_to_their_size() {
    let (log, storage) = empty();
    storage.hold_syncs();
    let text = "x".repeat(700);
    let mut ends = vec![0];
    for n in 1..400usize {
        let events = (0..n % 40 + 1).map(|_| said(text.clone())).collect();
        ends.push(log.append(Append::new(job(1), Expected::Any, events)).unwrap().last_position);
    }
    storage.release_syncs();
    log.durable_blocking(*ends.last().unwrap()).unwrap();
    let frames = frames(&storage);
    assert!(frames.len() > 10);
    for (bytes, frame) in frames {
        assert!(bytes <= 64 << 10, "{bytes}");
        assert!(ends.binary_search(&(frame.first_position - 1)).is_ok());
        assert!(ends.binary_search(&frame.last_position()).is_ok());
    }
    assert!(log.verify().unwrap().is_sound());
}

#[test]
fn an_append_that_fits_no_frame_is_refused_and_a_long_one_is_cut() {
    let (log, storage) = empty();
    let many = || -> Vec<NewEvent> { (0..2000).map(|n| said(format!("{n} {}", "x".repeat(60)))).collect() };
    let refused = log.append(Append::new(job(1), Expected::Any, many()));
    assert!(matches!(refused, Err(AppendError::TooLarge { .. })), "{refused:?}");
    let appended = log.append_long(Append::new(job(1), Expected::NoStream, many())).unwrap();
    assert_eq!((appended.first_position, appended.last_position, appended.last_version), (1, 2000, 2000));
    log.durable_blocking(2000).unwrap();
    assert_eq!(log.read_stream(&job(1), 0, 5000).unwrap().len(), 2000);
    assert!(frames(&storage).len() > 3);
    let refused = log.append_long(Append::new(job(1), Expected::NoStream, many()));
    assert!(matches!(refused, Err(AppendError::Conflict { actual: 2000, .. })), "{refused:?}");
    let mut closing = many();
    closing.push(ended());
    log.append_long(Append::new(job(1), Expected::Open, closing)).unwrap();
    let mut too_late = many();
    too_late.insert(0, ended());
    let refused = log.append_long(Append::new(job(2), Expected::Any, too_late));
    assert!(matches!(refused, Err(AppendError::Closed { .. })), "{refused:?}");
}

#[test]
fn a_long_append_is_never_cut_before_a_scheduled_retry() {
    let (log, storage) = empty();
    let error = || ErrorInfo::new("step_failed", "x".repeat(300));
    let pair = |n: u32| -> [NewEvent; 2] {
        let finished = StepFinished {
            run: 1,
            path: "a".into(),
            attempt: n,
            outcome: StepOutcome::Error,
            output: None,
            error: Some(error()),
            latency_ms: 0,
            cached: false,
            cached_from: None,
            tokens_spent: None,
        };
        let retry = StepRetryScheduled { run: 1, path: "a".into(), attempt: n, wait_ms: 1, error: error() };
        [EventBody::StepFinished(finished).into(), EventBody::StepRetryScheduled(retry).into()]
    };
    let last = log.append_long(Append::new(job(1), Expected::Any, (1..500).flat_map(pair).collect())).unwrap();
    log.durable_blocking(last.last_position).unwrap();
    let frames = frames(&storage);
    assert!(frames.len() > 3);
    assert!(frames.iter().all(|(_, frame)| frame.first_position % 2 == 1));
}

#[tokio::test]
async fn those_who_are_ready_to_wait_are_not_refused() {
    let storage = Arc::new(MemoryStorage::new());
    let (log, _) = open(&storage, LogOptions { pending_max_bytes: 10_000, ..options() });
    storage.hold_syncs();
    let overloaded = loop {
        match log.append(saying(&job(1), &["x".repeat(500).as_str()])) {
            Ok(_) => {}
            Err(error) => break error,
        }
    };
    assert!(matches!(overloaded, AppendError::Overloaded { max_bytes: 40_000, .. }), "{overloaded}");
    let mut ready = std::pin::pin!(log.ready());
    tokio::select! {
        biased;
        () = &mut ready => panic!("ready while too much waits"),
        () = std::future::ready(()) => {}
    }
    storage.release_syncs();
    ready.await;
    log.append(saying(&job(1), &["y"])).unwrap();
}
