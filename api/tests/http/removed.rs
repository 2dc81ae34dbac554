//! What retention leaves: events that are gone, with their places. Nothing removes events yet, so this log is prepared
//! in its storage, by the grammar that `core/src/log/frame.rs` and `record.rs` document.

use crate::place::Place;
use moonlog_core::{
    event::{EventBody, JobLogged, NewEvent, QueueChanged, StreamId},
    id::{Hash, JobId},
    log::{Append, Expected, Log, LogOptions},
    storage::{Direction, MemoryStorage, Space, Storage, Write},
    time::Timestamp,
};
use reqwest::Method;
use serde_json::{Value, json};
use std::{collections::BTreeSet, ops::Bound, sync::Arc};

const HEADER_BYTES: usize = 1 + 4 + 4 + 32 + 32;

fn job(n: u8) -> JobId {
    JobId::from_bytes([n; 16])
}

/// A log of these streams' events, in frames of one event each, without those at the `removed` positions.
fn log_without(streams: &[StreamId], removed: &[u64]) -> Arc<MemoryStorage> {
    let storage = Arc::new(MemoryStorage::new());
    let options = || LogOptions::new(|| Timestamp::from_micros(1_800_000_000_000_000));
    let (log, _) = Log::open(storage.clone(), options()).unwrap();
    let mut versions = std::collections::HashMap::new();
    for (at, stream) in streams.iter().enumerate() {
        let body = match stream {
            StreamId::System => EventBody::QueuePaused(QueueChanged { queue: "q".into() }),
            _ => EventBody::JobLogged(JobLogged { level: "info".into(), message: format!("event {}", at + 1) }),
        };
        let append = Append::new(stream.clone(), Expected::Any, vec![NewEvent::from(body)]);
        let appended = log.append(append).unwrap();
        log.durable_blocking(appended.last_position).unwrap();
        versions.insert(appended.last_position, appended.last_version);
    }
    log.close();
    let removed: BTreeSet<u64> = removed.iter().copied().collect();
    let all = (Bound::Unbounded, Bound::Unbounded);
    let mut writes = Vec::new();
    for (key, frame) in storage.scan(Space::Frames, all.0, all.1, Direction::Forward, 1_000).unwrap() {
        let position = u64::from_be_bytes(key.as_slice().try_into().unwrap());
        if !removed.contains(&position) {
            continue;
        }
        let (header, record) = frame.split_at(HEADER_BYTES);
        let record = &record[4..];
        let mut left = vec![2];
        match &streams[position as usize - 1] {
            StreamId::Job(job) => {
                left.push(1);
                left.extend_from_slice(job.as_bytes());
            }
            _ => left.push(0),
        }
        let version: u64 = versions[&position];
        if version > 127 {
            left.push(version as u8 | 128);
        }
        left.push((version >> if version > 127 { 7 } else { 0 }) as u8);
        left.extend_from_slice(Hash::of(record).as_bytes());
        let mut value = header.to_vec();
        value[1..5].copy_from_slice(&(left.len() as u32 + 4).to_le_bytes());
        value.extend_from_slice(&(left.len() as u32).to_le_bytes());
        value.extend_from_slice(&left);
        writes.push(Write::put(Space::Frames, key, value));
    }
    assert_eq!(writes.len(), removed.len());
    storage.write(writes).unwrap();
    storage.sync().unwrap();
    storage
}

#[tokio::test]
async fn a_feed_that_would_have_given_removed_events_is_gone() {
    let (a, b) = (StreamId::Job(job(1)), StreamId::Job(job(2)));
    let streams = [a.clone(), b.clone(), a.clone(), b.clone(), StreamId::System, a.clone(), b, a];
    let place = Place::over(log_without(&streams, &[1, 2, 3, 6, 8])).await;
    // In every form: where the feed would begin, and the first position still there; 0 where it is not gone.
    let (job_a, job_b) = (job(1), job(2));
    for (path, first) in [
        ("/v1/events".to_owned(), 4),
        ("/v1/events?after=1".to_owned(), 4),
        ("/v1/events?after=3&limit=1".to_owned(), 0),
        ("/v1/events?after=5".to_owned(), 7),
        ("/v1/events?after=7".to_owned(), 9),
        ("/v1/events?after=8".to_owned(), 0),
        (format!("/v1/events?after=3&job={job_b}"), 0),
        (format!("/v1/events?job={job_b}"), 4),
        (format!("/v1/events?after=5&job={job_a}"), 9),
        (format!("/v1/jobs/{job_b}/events"), 4),
        (format!("/v1/jobs/{job_b}/events?after=2"), 0),
        (format!("/v1/jobs/{job_a}/events"), 9),
    ] {
        for accept in ["application/json", "application/x-ndjson", "text/event-stream"] {
            let path = format!("{path}{}follow=false", if path.contains('?') { '&' } else { '?' });
            let response = place.request(Method::GET, &path).header("accept", accept).send().await.unwrap();
            let (status, text) = (response.status().as_u16(), response.text().await.unwrap());
            if first == 0 {
                assert!(status == 200 || status == 204, "{path} {accept}: {status} {text}");
                continue;
            }
            let problem: Value = serde_json::from_str(&text).unwrap_or_else(|_| panic!("{path} {accept}: {text}"));
            assert_eq!((status, &problem["code"]), (410, &json!("events_removed")), "{path} {accept}: {problem}");
            assert_eq!(problem["first_position"], first, "{path} {accept}: {problem}");
        }
    }
    // What is left is read over gaps that do not matter.
    let (status, page) = place.get(&format!("/v1/events?after=2&job={job_b}")).await;
    let positions: Vec<&Value> = page["events"].as_array().unwrap().iter().map(|event| &event["position"]).collect();
    assert_eq!((status.as_u16(), positions), (200, vec![&json!(4), &json!(7)]), "{page}");
    let (status, report) = place.get("/v1/verify").await;
    assert_eq!((status.as_u16(), &report["removed"], &report["damage"]), (200, &json!(5), &json!([])), "{report}");
}

#[tokio::test]
async fn gaps_longer_than_a_page_are_passed_over() {
    let mut streams = vec![StreamId::Job(job(1)); 700];
    streams.push(StreamId::Job(job(2)));
    let removed: Vec<u64> = (1..=700).collect();
    let place = Place::over(log_without(&streams, &removed)).await;
    let (status, page) = place.get(&format!("/v1/events?job={}", job(2))).await;
    assert_eq!((status.as_u16(), &page["events"][0]["position"]), (200, &json!(701)), "{page}");
    let (status, problem) = place.get("/v1/events?after=699").await;
    assert_eq!((status.as_u16(), &problem["first_position"]), (410, &json!(701)));
}
