//! Feeds over gaps: 410 where an event is gone that would have been given, and nothing of it elsewhere.

use crate::place::Place;
use moonlog_core::{
    event::{EventBody, JobCompleted, JobLogged, JobPhaseEntered, JobUsage, NewEvent, QueueChanged, StreamId},
    id::{JobId, ProcessId, SessionId},
    json::Json,
    log::{Append, Expected},
};
use reqwest::{Method, Response};
use serde_json::{Value, json};
use std::time::Duration;

fn job(n: u8) -> JobId {
    JobId::from_bytes([n; 16])
}

fn logged() -> EventBody {
    EventBody::JobLogged(JobLogged { level: "info".into(), message: "text".into() })
}

async fn append(place: &Place, stream: StreamId, event: NewEvent) -> u64 {
    let appended = place.log().append(Append::new(stream, Expected::Any, vec![event])).unwrap();
    place.log().durable(appended.last_position).await.unwrap();
    appended.last_position
}

async fn remove(place: &Place, jobs: &[JobId]) {
    let removal = place.log().begin_removal().await.unwrap();
    let streams: Vec<StreamId> = jobs.iter().copied().map(StreamId::Job).collect();
    tokio::task::spawn_blocking(move || removal.remove(&streams, 0).unwrap()).await.unwrap();
}

const FORMS: [&str; 3] = ["application/json", "application/x-ndjson", "text/event-stream"];

async fn ask(place: &Place, path: &str, accept: &str) -> Response {
    let path = format!("{path}{}follow=false", if path.contains('?') { '&' } else { '?' });
    place.request(Method::GET, &path).header("accept", accept).send().await.unwrap()
}

/// In every form: 410 with the first position that is still there; `None` where nothing that is asked for is gone.
async fn check(place: &Place, path: &str, first: Option<u64>) {
    for accept in FORMS {
        let response = ask(place, path, accept).await;
        let status = response.status().as_u16();
        let Some(first) = first else {
            // A stream may be cut further on.
            assert!(status == 200 || status == 204, "{path} {accept}: {status}");
            continue;
        };
        let text = response.text().await.unwrap();
        let problem: Value = serde_json::from_str(&text).unwrap_or_else(|_| panic!("{path} {accept}: {text}"));
        assert_eq!((status, &problem["code"]), (410, &json!("events_removed")), "{path} {accept}: {problem}");
        assert_eq!(problem["first_position"], first, "{path} {accept}: {problem}");
    }
}

#[tokio::test]
async fn a_feed_that_would_have_given_removed_events_is_gone_and_others_go_on() {
    let place = Place::start().await;
    let (session, process) = (SessionId::from_bytes([8; 16]), ProcessId::from_bytes([9; 16]));
    let (a, b) = (StreamId::Job(job(1)), StreamId::Job(job(2)));
    let queue = || EventBody::QueuePaused(QueueChanged { queue: "q".into() });
    let phase = || EventBody::JobPhaseEntered(JobPhaseEntered { title: "p".into() });
    let ended = || EventBody::JobCompleted(JobCompleted { result: Json::null(), usage: JobUsage::default() });
    let base = append(&place, a.clone(), logged().into()).await - 1;
    for (stream, event) in [
        (&b, logged().into()),                                // 2
        (&a, NewEvent::new(phase()).session(Some(session))),  // 3
        (&b, logged().into()),                                // 4
        (&StreamId::System, queue().into()),                  // 5
        (&a, NewEvent::new(logged()).process(process)),       // 6
        (&b, NewEvent::new(logged()).session(Some(session))), // 7
        (&a, ended().into()),                                 // 8
        (&b, logged().into()),                                // 9
    ] {
        append(&place, stream.clone(), event).await;
    }
    remove(&place, &[job(1)]).await;
    let (job_a, job_b) = (job(1), job(2));
    for (after, filter, first) in [
        (0, String::new(), Some(2)),
        (1, String::new(), None), // 2 is there; the gap comes behind it.
        (2, String::new(), Some(4)),
        (3, String::new(), None),
        (5, String::new(), Some(7)),
        (7, String::new(), Some(9)),
        (8, String::new(), None),
        (0, format!("job={job_b}"), None),
        (0, format!("job={job_a}"), Some(10)),
        (7, format!("job={job_a}"), Some(10)),
        (8, format!("job={job_a}"), None),
        (0, "types=queue.*".into(), None),
        (0, "types=job.phase_entered".into(), Some(10)),
        (3, "types=job.phase_entered".into(), None),
        (0, "types=chat.*".into(), None),
        (0, format!("session={session}"), Some(7)),
        (3, format!("session={session}"), None),
        (0, format!("process={process}"), Some(10)),
        (6, format!("process={process}"), None),
        (2, "types=job.logged&limit=1".into(), None),
        (4, "types=job.logged&limit=1".into(), Some(7)),
    ] {
        let path = format!("/v1/events?after={}&{filter}", base + after);
        check(&place, &path, first.map(|first| base + first)).await;
        // From there it goes on.
        if let Some(first) = first {
            check(&place, &format!("/v1/events?after={}&{filter}", base + first - 1), None).await;
        }
    }
    check(&place, &format!("/v1/jobs/{job_b}/events"), None).await;
    let (status, problem) = place.get(&format!("/v1/jobs/{job_a}/events")).await;
    assert_eq!((status.as_u16(), &problem["code"]), (404, &json!("no_such_job")), "{problem}");

    // A page gives what comes before the gap, and where to go on: there it says so.
    let (status, page) = place.get(&format!("/v1/events?after={}", base + 3)).await;
    let positions: Vec<u64> =
        page["events"].as_array().unwrap().iter().map(|e| e["position"].as_u64().unwrap()).collect();
    assert_eq!((status.as_u16(), positions, &page["next"]), (200, vec![base + 4, base + 5], &json!(base + 5)));
    // `Last-Event-ID` is a cursor like any other.
    let request = place.request(Method::GET, "/v1/events").header("accept", "text/event-stream");
    let response = request.header("last-event-id", (base + 5).to_string()).send().await.unwrap();
    assert_eq!(response.status(), 410);
    let (_, page) = place.get(&format!("/v1/events?job={job_b}&after={base}")).await;
    let positions: Vec<u64> =
        page["events"].as_array().unwrap().iter().map(|e| e["position"].as_u64().unwrap()).collect();
    assert_eq!(positions, [2, 4, 7, 9].map(|at| base + at));
    let (status, report) = place.get("/v1/verify").await;
    assert_eq!((status.as_u16(), &report["removed"], &report["damage"]), (200, &json!(4), &json!([])), "{report}");
}

#[tokio::test]
async fn a_stream_of_events_gives_what_comes_before_a_gap_and_is_cut_there() {
    let place = Place::start().await;
    let base = append(&place, StreamId::Job(job(1)), logged().into()).await;
    append(&place, StreamId::Job(job(2)), logged().into()).await;
    append(&place, StreamId::Job(job(1)), logged().into()).await;
    remove(&place, &[job(2)]).await;
    for accept in ["application/x-ndjson", "text/event-stream"] {
        let mut response = ask(&place, &format!("/v1/events?after={}", base - 1), accept).await;
        assert_eq!(response.status(), 200);
        let mut text = String::new();
        let cut = loop {
            match tokio::time::timeout(Duration::from_secs(20), response.chunk()).await.expect("in time") {
                Ok(Some(piece)) => text.push_str(std::str::from_utf8(&piece).unwrap()),
                Ok(None) => break false,
                Err(_) => break true,
            }
        };
        assert!(cut, "the end would say that there is nothing more: {text}");
        assert!(
            text.contains(&format!("\"position\":{base},")) && !text.contains(&format!("\"position\":{},", base + 2))
        );
    }
}

#[tokio::test]
async fn gaps_longer_than_a_page_are_passed_over() {
    let place = Place::start().await;
    let mut last = 0;
    for _ in 0..10 {
        last = place.append(StreamId::Job(job(1)), (0..300).map(|_| logged()).collect()).await;
    }
    let first = last - 2_999;
    let behind = append(&place, StreamId::Job(job(2)), logged().into()).await;
    remove(&place, &[job(1)]).await;
    for accept in FORMS {
        let response = ask(&place, &format!("/v1/events?job={}", job(2)), accept).await;
        assert_eq!(response.status(), 200);
        assert!(response.text().await.unwrap().contains(&format!("\"position\":{behind},")));
    }
    check(&place, &format!("/v1/events?after={}", last - 1), Some(behind)).await;
    check(&place, &format!("/v1/events?after={}", first - 1), Some(behind)).await;
    check(&place, &format!("/v1/events?types=job.phase_entered&after={}", first - 1), None).await;
    // A follower that asks for what is not gone waits, and hears what comes.
    let path = format!("/v1/events?job={}&after={}", job(2), behind);
    let mut feed = place.request(Method::GET, &path).header("accept", "text/event-stream").send().await.unwrap();
    let next = append(&place, StreamId::Job(job(2)), logged().into()).await;
    let mut text = String::new();
    while !text.contains(&format!("id: {next}\n")) {
        let piece = tokio::time::timeout(Duration::from_secs(20), feed.chunk()).await.expect("in time").unwrap();
        text.push_str(std::str::from_utf8(&piece.expect("more")).unwrap());
    }
}
