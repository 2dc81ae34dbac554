//! Feeds over a real log in memory.

use super::{FeedError, FeedHub, FeedOptions, Filter, Follow, Format, Scope, read_page};
use bytes::Bytes;
use moonlog_core::{
    event::{EventBody, JobCompleted, JobLogged, JobPhaseEntered, JobUsage, NewEvent, QueueChanged, StreamId},
    id::JobId,
    json::Json,
    log::{Append, Expected, Log, LogOptions},
    storage::MemoryStorage,
    time::Timestamp,
};
use std::{io, pin::Pin, sync::Arc, time::Duration};
use tokio::{sync::watch, time::timeout};
use tokio_stream::{Stream, StreamExt};

struct Place {
    log: Log,
    hub: Arc<FeedHub>,
    stop: watch::Sender<bool>,
}

type Pieces = Pin<Box<dyn Stream<Item = Result<Bytes, io::Error>> + Send>>;

impl Place {
    fn new(max_open: usize, keep_alive: Duration) -> Self {
        let options = LogOptions::new(|| Timestamp::from_micros(1));
        let (log, _) = Log::open(Arc::new(MemoryStorage::new()), options).unwrap();
        let (stop, stopped) = watch::channel(false);
        let options = FeedOptions { max_open, keep_alive, inline_max_bytes: 1 << 20, cache_bytes: 1 << 16 };
        Self { hub: FeedHub::new(log.clone(), options, stopped), log, stop }
    }

    fn usual() -> Self {
        Self::new(16, Duration::from_secs(600))
    }

    async fn append(&self, stream: StreamId, bodies: Vec<EventBody>) -> u64 {
        let events: Vec<NewEvent> = bodies.into_iter().map(Into::into).collect();
        let appended = self.log.append(Append::new(stream, Expected::Any, events)).unwrap();
        self.log.durable(appended.last_position).await.unwrap();
        appended.last_position
    }

    fn open(&self, scope: Scope, filter: Filter, after: Option<u64>, format: Format, follow: bool) -> Follow {
        let reader = self.hub.reader(scope, filter, after).unwrap();
        self.hub.follow(reader, format, follow, None).unwrap()
    }

    fn sse(&self, scope: Scope, filter: Filter, after: Option<u64>) -> Pieces {
        Box::pin(self.open(scope, filter, after, Format::ServerSent, true).into_stream())
    }
}

fn job(n: u8) -> JobId {
    JobId::from_bytes([n; 16])
}

fn logged(message: &str) -> EventBody {
    EventBody::JobLogged(JobLogged { level: "info".into(), message: message.into() })
}

fn phase() -> EventBody {
    EventBody::JobPhaseEntered(JobPhaseEntered { title: "p".into() })
}

fn completed() -> EventBody {
    EventBody::JobCompleted(JobCompleted { result: Json::null(), usage: JobUsage::default() })
}

fn queue() -> EventBody {
    EventBody::QueuePaused(QueueChanged { queue: "q".into() })
}

fn types(text: &str) -> Filter {
    Filter { types: Some(text.parse().unwrap()), ..Filter::default() }
}

/// The ids of the next `count` events, and what else came with them.
async fn ids(pieces: &mut Pieces, count: usize) -> Vec<u64> {
    let mut text = String::new();
    while text.matches("\nevent: ").count() < count {
        let piece = timeout(Duration::from_secs(20), pieces.next()).await.expect("in time").expect("more").unwrap();
        text.push_str(std::str::from_utf8(&piece).unwrap());
    }
    text.split("\n\n")
        .filter(|block| block.contains("\nevent: "))
        .map(|block| block.trim_start().strip_prefix("id: ").unwrap().lines().next().unwrap().parse().unwrap())
        .collect()
}

async fn rest(mut pieces: Pieces) -> String {
    let mut text = String::new();
    while let Some(piece) = timeout(Duration::from_secs(20), pieces.next()).await.expect("in time") {
        text.push_str(std::str::from_utf8(&piece.unwrap()).unwrap());
    }
    text
}

#[tokio::test]
async fn a_follower_gets_what_is_there_and_what_comes() {
    let place = Place::usual();
    place.append(StreamId::Job(job(1)), vec![phase(), logged("a")]).await;
    let mut feed = place.sse(Scope::All, Filter::default(), Some(0));
    assert_eq!(feed.next().await.unwrap().unwrap(), "retry: 1000\n\n");
    assert_eq!(ids(&mut feed, 2).await, [1, 2]);
    place.append(StreamId::System, vec![queue()]).await;
    assert_eq!(ids(&mut feed, 1).await, [3]);
    place.append(StreamId::Job(job(1)), vec![logged("b"), logged("c")]).await;
    assert_eq!(ids(&mut feed, 2).await, [4, 5]);
}

#[tokio::test]
async fn an_event_is_one_block_with_its_envelope_on_one_line() {
    let place = Place::usual();
    place.append(StreamId::Job(job(1)), vec![logged("line\r\nline\u{2028}")]).await;
    let feed = place.open(Scope::All, Filter::default(), Some(0), Format::ServerSent, false);
    let text = rest(Box::pin(feed.into_stream())).await;
    let lines: Vec<&str> = text.split('\n').collect();
    assert_eq!(lines[..4], ["retry: 1000", "", "id: 1", "event: job.logged"]);
    let data: serde_json::Value = serde_json::from_str(lines[4].strip_prefix("data: ").unwrap()).unwrap();
    assert_eq!(data["data"]["message"], "line\r\nline\u{2028}");
    assert_eq!(lines[5..], ["", ""]);
}

#[tokio::test]
async fn a_cursor_goes_on_where_it_stopped_wherever_that_is() {
    let place = Place::usual();
    for n in 0..40_u8 {
        let stream = if n % 3 == 0 { StreamId::System } else { StreamId::Job(job(n % 2 + 1)) };
        let body = if n % 3 == 0 { queue() } else { logged("x") };
        place.append(stream, vec![body]).await;
    }
    place.append(StreamId::Job(job(1)), vec![completed()]).await;
    let whole = rest(place.sse(Scope::Job(job(1)), Filter::default(), Some(0))).await;
    let positions: Vec<u64> =
        whole.lines().filter_map(|line| line.strip_prefix("id: ")).map(|id| id.parse().unwrap()).collect();
    assert_eq!(positions.last(), Some(&41), "a job's feed ends after its last event");
    for after in 0..41 {
        let text = rest(place.sse(Scope::Job(job(1)), Filter::default(), Some(after))).await;
        let found: Vec<u64> =
            text.lines().filter_map(|line| line.strip_prefix("id: ")).map(|id| id.parse().unwrap()).collect();
        let expected: Vec<u64> = positions.iter().copied().filter(|position| *position > after).collect();
        assert_eq!(found, expected, "after {after}");
    }
}

#[tokio::test]
async fn an_ended_job_with_nothing_more_to_give_is_known_before_the_first_byte() {
    let place = Place::usual();
    let last = place.append(StreamId::Job(job(1)), vec![phase(), logged("a"), completed()]).await;
    place.append(StreamId::Job(job(2)), vec![logged("b")]).await;
    let table = [
        (job(1), Filter::default(), 0, true),
        (job(1), Filter::default(), last - 1, true),
        (job(1), Filter::default(), last, false),
        (job(1), Filter::default(), last + 1, false),
        (job(1), types("job.phase_entered"), 0, true),
        (job(1), types("job.phase_entered"), 1, false),
        (job(1), types("chat.*"), 0, false),
        (job(2), types("chat.*"), 0, true),
    ];
    for (id, filter, after, more) in table {
        let mut feed = place.open(Scope::Job(id), filter.clone(), Some(after), Format::ServerSent, true);
        assert_eq!(feed.look_ahead().await.unwrap(), more, "{id} {filter:?} {after}");
    }
}

#[tokio::test]
async fn a_silent_feed_moves_the_cursor_with_its_sign_of_life() {
    let place = Place::new(4, Duration::from_millis(30));
    place.append(StreamId::Job(job(1)), vec![logged("a"), logged("b")]).await;
    let mut feed = place.sse(Scope::All, types("queue.*"), Some(0));
    assert_eq!(feed.next().await.unwrap().unwrap(), "retry: 1000\n\n");
    assert_eq!(feed.next().await.unwrap().unwrap(), ": keep-alive\nid: 2\n\n");
    place.append(StreamId::Job(job(1)), vec![logged("c")]).await;
    let next = feed.next().await.unwrap().unwrap();
    assert_eq!(next, ": keep-alive\nid: 3\n\n");
    place.append(StreamId::System, vec![queue()]).await;
    assert_eq!(ids(&mut feed, 1).await, [4]);
    // Also of a job: its cursor goes with the log's head, not with the job's last event.
    let mut feed = place.sse(Scope::Job(job(1)), Filter::default(), None);
    assert_eq!(feed.next().await.unwrap().unwrap(), "retry: 1000\n\n");
    assert_eq!(feed.next().await.unwrap().unwrap(), ": keep-alive\nid: 4\n\n");
}

#[tokio::test]
async fn lines_end_at_the_head_unless_they_follow() {
    let place = Place::usual();
    place.append(StreamId::Job(job(1)), vec![logged("a"), logged("b")]).await;
    let ended = place.open(Scope::All, Filter::default(), Some(1), Format::Lines, false);
    let followed = place.open(Scope::All, Filter::default(), Some(2), Format::Lines, true).into_stream();
    let mut followed = Box::pin(followed);
    place.append(StreamId::System, vec![queue()]).await;
    let text = rest(Box::pin(ended.into_stream())).await;
    assert_eq!(text.lines().count(), 1, "what came after the request is not part of it");
    let event: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(event["position"], 2);
    let line = followed.next().await.unwrap().unwrap();
    assert!(line.starts_with(b"{\"position\":3,") && line.ends_with(b"}\n"));
    place.stop.send_replace(true);
    assert!(followed.next().await.is_none(), "feeds end when the server stops");
}

#[tokio::test]
async fn a_limit_ends_a_feed() {
    let place = Place::usual();
    place.append(StreamId::Job(job(1)), (0..10).map(|_| logged("x")).collect()).await;
    let reader = place.hub.reader(Scope::All, Filter::default(), Some(3)).unwrap();
    let feed = place.hub.follow(reader, Format::Lines, true, Some(4)).unwrap();
    let text = rest(Box::pin(feed.into_stream())).await;
    assert_eq!(text.lines().count(), 4);
}

#[tokio::test]
async fn a_reader_that_stalls_misses_nothing_and_holds_little() {
    let place = Place::usual();
    let mut feed = place.sse(Scope::All, Filter::default(), Some(0));
    feed.next().await;
    let big = "y".repeat(3_000);
    for _ in 0..40 {
        place.append(StreamId::Job(job(1)), (0..100).map(|_| logged(&big)).collect()).await;
    }
    let mut next = 1;
    while next <= 4_000 {
        let piece = feed.next().await.unwrap().unwrap();
        assert!(piece.len() <= 70 << 10, "a piece of {} bytes", piece.len());
        let text = std::str::from_utf8(&piece).unwrap();
        for id in text.lines().filter_map(|line| line.strip_prefix("id: ")) {
            assert_eq!(id.parse::<u64>().unwrap(), next);
            next += 1;
        }
    }
}

#[tokio::test]
async fn many_followers_get_every_event_once_and_in_order() {
    let place = Place::new(1_000, Duration::from_secs(600));
    let feeds: Vec<Pieces> = (0..120).map(|_| place.sse(Scope::All, Filter::default(), Some(0))).collect();
    let followers: Vec<_> =
        feeds.into_iter().map(|mut feed| tokio::spawn(async move { ids(&mut feed, 200).await })).collect();
    for _ in 0..100 {
        place.append(StreamId::Job(job(1)), vec![logged("a"), logged("b")]).await;
    }
    let expected: Vec<u64> = (1..=200).collect();
    for follower in followers {
        assert_eq!(follower.await.unwrap(), expected);
    }
}

#[tokio::test]
async fn pages_go_on_without_gap_or_repetition() {
    let place = Place::usual();
    for n in 0..30_u8 {
        place.append(StreamId::Job(job(n % 2 + 1)), vec![if n % 3 == 0 { phase() } else { logged("x") }]).await;
    }
    place.append(StreamId::Job(job(1)), vec![completed()]).await;
    for (scope, filter, expected) in [
        (Scope::All, Filter::default(), 31),
        (Scope::All, types("job.phase_entered"), 10),
        (Scope::Job(job(1)), Filter::default(), 16),
        (Scope::Job(job(1)), types("job.*"), 16),
        (Scope::All, Filter { job: Some(job(2)), ..Filter::default() }, 15),
    ] {
        let (mut after, mut positions) = (0, Vec::new());
        loop {
            let reader = place.hub.reader(scope.clone(), filter.clone(), Some(after)).unwrap();
            let page = read_page(&place.hub, reader, 4).await.unwrap();
            let page: serde_json::Value = serde_json::from_str(&page.json).unwrap();
            let events = page["events"].as_array().unwrap();
            assert!(events.len() <= 4);
            if events.is_empty() {
                let over = matches!(scope, Scope::Job(_));
                assert_eq!(page["next"].is_null(), over, "an ended job says that nothing follows");
                break;
            }
            positions.extend(events.iter().map(|event| event["position"].as_u64().unwrap()));
            after = page["next"].as_u64().unwrap();
        }
        assert_eq!(positions.len(), expected, "{scope:?} {filter:?}");
        assert!(positions.is_sorted_by(|a, b| a < b));
    }
}

#[tokio::test]
async fn what_cannot_be_read_is_refused_before_anything_is_given() {
    let place = Place::new(1, Duration::from_secs(600));
    place.append(StreamId::System, vec![queue()]).await;
    let beyond = place.hub.reader(Scope::All, Filter::default(), Some(2)).err();
    assert!(matches!(beyond, Some(FeedError::BeyondHead { after: 2, head: 1 })));
    let no_job = place.hub.reader(Scope::Job(job(9)), Filter::default(), Some(0)).err();
    assert!(matches!(no_job, Some(FeedError::NoSuchJob)));
    let first = place.open(Scope::All, Filter::default(), Some(0), Format::Lines, true);
    let reader = place.hub.reader(Scope::All, Filter::default(), Some(0)).unwrap();
    assert!(place.hub.follow(reader, Format::Lines, true, None).is_none(), "one place, and it is taken");
    assert_eq!(place.hub.stats().open(), 1);
    drop(first);
    let reader = place.hub.reader(Scope::All, Filter::default(), Some(0)).unwrap();
    assert!(place.hub.follow(reader, Format::Lines, true, None).is_some(), "a feed that is dropped leaves its place");
}
