//! Feeds over sockets.

use crate::place::Place;
use moonlog_core::{
    event::{EventBody, JobCompleted, JobLogged, JobUsage, QueueChanged, StreamId},
    id::JobId,
    json::Json,
};
use reqwest::{Method, Response};
use serde_json::Value;
use std::time::Duration;

fn job() -> JobId {
    JobId::from_bytes([7; 16])
}

fn logged(message: &str) -> EventBody {
    EventBody::JobLogged(JobLogged { level: "info".into(), message: message.into() })
}

async fn sse(place: &Place, path: &str, last_id: Option<u64>) -> Response {
    let request = place.request(Method::GET, path).header("accept", "text/event-stream");
    let request = match last_id {
        Some(id) => request.header("last-event-id", id.to_string()),
        None => request,
    };
    request.send().await.unwrap()
}

async fn read_until(response: &mut Response, text: &mut String, wanted: &str) {
    while !text.contains(wanted) {
        let piece = tokio::time::timeout(Duration::from_secs(20), response.chunk()).await.expect("in time").unwrap();
        text.push_str(std::str::from_utf8(&piece.expect("more")).unwrap());
    }
}

#[tokio::test]
async fn a_job_s_feed_goes_on_where_the_client_stopped_and_ends_for_good() {
    let place = Place::start().await;
    let path = format!("/v1/jobs/{}/events", job());
    let first = place.append(StreamId::Job(job()), vec![logged("one"), logged("two")]).await - 1;
    let mut feed = sse(&place, &path, None).await;
    assert_eq!(feed.headers()["content-type"], "text/event-stream");
    assert_eq!(feed.headers()["cache-control"], "no-store");
    let mut text = String::new();
    read_until(&mut feed, &mut text, "two").await;
    assert!(text.starts_with(&format!("retry: 1000\n\nid: {first}\nevent: job.logged\ndata: {{")), "{text}");
    drop(feed);
    // The header wins over the query.
    let mut feed = sse(&place, &format!("{path}?after=0"), Some(first)).await;
    let mut text = String::new();
    read_until(&mut feed, &mut text, "two").await;
    assert!(!text.contains("one"));
    let body = EventBody::JobCompleted(JobCompleted { result: Json::null(), usage: JobUsage::default() });
    let last = place.append(StreamId::Job(job()), vec![body]).await;
    read_until(&mut feed, &mut text, "job.completed").await;
    assert_eq!(feed.chunk().await.unwrap(), None, "nothing can follow");
    assert_eq!(sse(&place, &path, Some(last)).await.status(), 204);
    assert_eq!(sse(&place, &format!("{path}?types=chat.*"), None).await.status(), 204);
    assert_eq!(sse(&place, &path, Some(last - 1)).await.status(), 200);
}

#[tokio::test]
async fn a_cursor_of_one_feed_works_in_another() {
    let place = Place::start().await;
    let position = place.append(StreamId::Job(job()), vec![logged("x")]).await;
    place.append(StreamId::System, vec![EventBody::QueuePaused(QueueChanged { queue: "q".into() })]).await;
    place.append(StreamId::Job(job()), vec![logged("y")]).await;
    let (_, page) = place.get(&format!("/v1/jobs/{}/events?after={position}", job())).await;
    assert_eq!(page["events"].as_array().unwrap().len(), 1);
    let (_, page) = place.get(&format!("/v1/events?after={position}")).await;
    assert_eq!(page["events"].as_array().unwrap().len(), 2);
    let (_, page) = place.get(&format!("/v1/events?after={position}&types=queue.*,job.completed")).await;
    assert_eq!(page["events"][0]["type"], "queue.paused");
    let (_, page) = place.get(&format!("/v1/events?job={}&limit=1", job())).await;
    assert_eq!((&page["events"][0]["position"], &page["next"]), (&position.into(), &position.into()));
    let (_, page) = place.get("/v1/events?after=head").await;
    assert_eq!((page["events"].as_array().unwrap().len(), &page["next"]), (0, &(position + 2).into()));
}

#[tokio::test]
async fn lines_are_envelopes_and_end_at_the_head() {
    let place = Place::start().await;
    place.append(StreamId::Job(job()), vec![logged("a\nb"), logged("c")]).await;
    let path = format!("/v1/jobs/{}/events", job());
    let request = place.request(Method::GET, &path).header("accept", "application/x-ndjson");
    let response = request.send().await.unwrap();
    assert_eq!(response.headers()["content-type"], "application/x-ndjson");
    let text = response.text().await.unwrap();
    let events: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(events.len(), 2);
    assert_eq!((&events[0]["data"]["message"], &events[1]["version"]), (&"a\nb".into(), &2.into()));
    let (_, page) = place.get(&path).await;
    assert_eq!(page["events"], Value::from(events), "all forms give the same envelope");
}

#[tokio::test]
async fn a_silent_feed_gives_signs_of_life() {
    let place = Place::with(|settings| settings.serve.limits.feed_keep_alive = Duration::from_millis(50)).await;
    let head = place.append(StreamId::Job(job()), vec![logged("x")]).await;
    let mut feed = sse(&place, "/v1/events?types=chat.*", None).await;
    let mut text = String::new();
    read_until(&mut feed, &mut text, &format!("id: {head}\n\n")).await;
    assert_eq!(text, format!("retry: 1000\n\n: keep-alive\nid: {head}\n\n"));
}

#[tokio::test]
async fn large_data_is_a_reference_to_a_blob() {
    let place = Place::with(|settings| settings.serve.limits.inline_max_bytes = 100_000).await;
    place.append(StreamId::Job(job()), vec![logged(&"x".repeat(50_000)), logged(&"y".repeat(150_000))]).await;
    let (_, page) = place.get(&format!("/v1/jobs/{}/events", job())).await;
    assert_eq!(page["events"][0]["data"]["message"].as_str().unwrap().len(), 50_000);
    let data = &page["events"][1]["data"];
    let path = format!("/v1/blobs/{}", data["blob"].as_str().unwrap());
    let blob = place.request(Method::GET, &path).send().await.unwrap();
    let tag = blob.headers()["etag"].clone();
    let bytes = blob.bytes().await.unwrap();
    assert_eq!(bytes.len() as u64, data["bytes"].as_u64().unwrap());
    let value: Value = serde_json::from_slice(&bytes).unwrap();
    assert_eq!(value["message"].as_str().unwrap().len(), 150_000);
    let again = place.request(Method::GET, &path).header("if-none-match", tag).send().await.unwrap();
    assert_eq!(again.status(), 304);
}
