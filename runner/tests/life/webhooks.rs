//! Webhooks, with a real endpoint on loopback: what is posted, what is posted again, and what the log says of it.

use crate::place::Place;
use aws_lc_rs::hmac;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use moonlog_core::{
    event::{Event, EventBody, StreamId},
    projection::JobStatus,
};
use moonlog_runner::{
    RunnerOptions,
    http::{HttpOptions, HttpPolicy},
    webhook::{RedeliverWhat, WebhookOptions, WebhookSecret, WebhookView},
};
use reqwest::Url;
use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicU16, Ordering},
    },
};
use wiremock::{Mock, MockServer, Request, ResponseTemplate, matchers::any};

/// An endpoint that answers what it is told to.
struct Endpoint {
    runtime: tokio::runtime::Runtime,
    server: MockServer,
    status: Arc<AtomicU16>,
}

impl Endpoint {
    fn start() -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let status = Arc::new(AtomicU16::new(204));
        let server = runtime.block_on(MockServer::start());
        let answer = status.clone();
        let respond = move |_: &Request| {
            let status = answer.load(Ordering::Relaxed);
            let response = ResponseTemplate::new(status);
            if status == 302 { response.insert_header("location", "/elsewhere") } else { response }
        };
        runtime.block_on(Mock::given(any()).respond_with(respond).mount(&server));
        Self { runtime, server, status }
    }

    fn answer(&self, status: u16) {
        self.status.store(status, Ordering::Relaxed);
    }

    fn posts(&self) -> Vec<Request> {
        self.runtime.block_on(self.server.received_requests()).unwrap()
    }

    /// The positions of the events that were posted, in order.
    fn events(&self) -> Vec<u64> {
        self.posts().iter().map(|post| body(post)["position"].as_u64().unwrap()).collect()
    }

    fn place(&self, change: impl Fn(&mut WebhookOptions) + 'static) -> Place {
        let url = Url::parse(&self.server.uri()).unwrap().join("/hook?token=hidden").unwrap();
        Place::with(move |options| configure(options, &url, &change))
    }
}

fn configure(options: &mut RunnerOptions, url: &Url, change: &impl Fn(&mut WebhookOptions)) {
    let allowed_networks = vec!["127.0.0.0/8".parse().unwrap()];
    options.http = HttpPolicy::new(HttpOptions { allowed_networks, ..HttpOptions::default() }).unwrap();
    let mut webhook = WebhookOptions { backoff_ms: 10, backoff_max_ms: 40, ..WebhookOptions::new(url.clone()) };
    change(&mut webhook);
    options.webhooks = BTreeMap::from([("done".to_owned(), webhook)]);
}

fn body(post: &Request) -> serde_json::Value {
    serde_json::from_slice(&post.body).unwrap()
}

fn header<'a>(post: &'a Request, name: &str) -> &'a str {
    post.headers.get(name).map(|value| value.to_str().unwrap()).unwrap_or_default()
}

fn view(place: &Place) -> WebhookView {
    place.runner.webhooks().remove(0)
}

fn settled(place: &Place) -> WebhookView {
    place.until("all is delivered", || Some(view(place)).filter(|view| view.pending == 0))
}

fn system(place: &Place) -> Vec<Arc<Event>> {
    place.runner.log().read_stream(&StreamId::System, 0, 100_000).unwrap()
}

fn count(place: &Place, name: &str) -> usize {
    system(place).iter().filter(|event| event.body.name() == name).count()
}

/// The positions of the ends of jobs.
fn ends(place: &Place) -> Vec<u64> {
    let events = place.runner.log().read(0, 1_000_000).unwrap();
    events.iter().filter(|event| event.body.is_terminal()).map(|event| event.position).collect()
}

#[test]
fn a_jobs_end_is_posted_signed_and_recorded() {
    let endpoint = Endpoint::start();
    let place = endpoint.place(|webhook| webhook.secret = WebhookSecret::new("whsec_dGVzdC1zZWNyZXQtdmFsdWU="));
    let job = place.submit("return { n = 1 }");
    place.ended(&job);
    let done = settled(&place);
    assert_eq!((done.delivered, done.failed, done.signed, done.configured), (1, 0, true, true));
    let posts = endpoint.posts();
    let post = &posts[0];
    let end = place.events(&job).last().unwrap().clone();
    assert_eq!(String::from_utf8(post.body.clone()).unwrap(), end.to_json(1 << 20), "the envelope that feeds show");
    assert_eq!((header(post, "content-type"), post.method.as_str()), ("application/json", "POST"));
    let (id, timestamp) = (header(post, "webhook-id"), header(post, "webhook-timestamp"));
    assert!(id.starts_with("msg_") && timestamp.parse::<u64>().is_ok(), "{id} {timestamp}");
    let signed = [format!("{id}.{timestamp}.").as_bytes(), &post.body].concat();
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, b"test-secret-value"), &signed);
    assert_eq!(header(post, "webhook-signature"), format!("v1,{}", STANDARD.encode(tag.as_ref())));
    let delivered = system(&place).into_iter().find(|event| event.body.name() == "webhook.delivered").unwrap();
    assert_eq!(delivered.cause, Some(end.position));
    let EventBody::WebhookDelivered(fields) = &delivered.body else { panic!() };
    assert_eq!((fields.event, fields.attempt, fields.status, fields.id.as_str()), (end.position, 1, 204, id));
    // Neither the secret nor the rest of the address is in the log, or shown.
    let all: String = place.runner.log().read(0, 100_000).unwrap().iter().map(|event| event.to_json(1 << 20)).collect();
    for hidden in ["test-secret-value", "dGVzdC1zZWNyZXQtdmFsdWU", "token=hidden"] {
        assert!(!all.contains(hidden) && !format!("{:?}", view(&place)).contains(hidden), "{hidden}");
    }
    place.check();
}

#[test]
fn a_post_that_fails_is_made_again_under_the_same_id_over_a_crash() {
    let endpoint = Endpoint::start();
    endpoint.answer(503);
    let place = endpoint.place(|_| {});
    let job = place.submit("error('no', 0)");
    assert_eq!(place.ended(&job).state, JobStatus::Failed);
    place.until("two tries", || (count(&place, "webhook.retry_scheduled") >= 2).then_some(()));
    let waits = view(&place);
    assert_eq!((waits.pending, waits.delivered, waits.retrying.len()), (1, 0, 1));
    assert_eq!(waits.last_error.unwrap().code, "webhook_status");
    let place = place.kill(0);
    endpoint.answer(200);
    let done = settled(&place);
    assert_eq!((done.delivered, done.last_error), (1, None));
    let posts = endpoint.posts();
    let mut ids: Vec<&str> = posts.iter().map(|post| header(post, "webhook-id")).collect();
    assert!(posts.len() >= 3, "{}", posts.len());
    ids.dedup();
    assert_eq!(ids.len(), 1, "the same id each time");
    let attempts: Vec<u32> = system(&place)
        .iter()
        .filter_map(|event| match &event.body {
            EventBody::WebhookRetryScheduled(retry) => Some(retry.attempt),
            EventBody::WebhookDelivered(delivered) => Some(delivered.attempt),
            _ => None,
        })
        .collect();
    assert_eq!(attempts, (1..=attempts.len() as u32).collect::<Vec<_>>(), "the count goes on behind the crash");
}

#[test]
fn nothing_is_lost_over_crashes_at_any_moment() {
    let endpoint = Endpoint::start();
    let mut place = endpoint.place(|webhook| webhook.concurrency = 3);
    let mut jobs = Vec::new();
    for life in 0..5 {
        endpoint.answer(if life % 2 == 0 { 204 } else { 500 });
        jobs.extend((0..6).map(|_| place.submit("return 1")));
        place.until("some have ended", || {
            let ended = jobs.iter().filter(|job| place.status(job).is_ended()).count();
            (ended >= 3 * (life + 1)).then_some(())
        });
        place = place.kill(life);
    }
    endpoint.answer(204);
    jobs.iter().for_each(|job| drop(place.ended(job)));
    let done = settled(&place);
    let (mut posted, wanted) = (endpoint.events(), ends(&place));
    posted.sort_unstable();
    posted.dedup();
    assert!(wanted.iter().all(|end| posted.contains(end)), "{wanted:?} {posted:?}");
    assert_eq!((done.delivered, done.failed), (wanted.len() as u64, 0));
    let delivered: std::collections::BTreeSet<u64> = system(&place)
        .iter()
        .filter_map(|event| match &event.body {
            EventBody::WebhookDelivered(delivered) => Some(delivered.event),
            _ => None,
        })
        .collect();
    assert_eq!(delivered.into_iter().collect::<Vec<_>>(), wanted, "each has its record");
    place.check();
}

#[test]
fn while_an_endpoint_is_down_what_waits_waits_in_the_log() {
    let endpoint = Endpoint::start();
    endpoint.answer(500);
    let place = endpoint.place(|webhook| {
        (webhook.window, webhook.concurrency, webhook.max_attempts) = (4, 2, 1_000);
    });
    let jobs: Vec<_> = (0..40).map(|_| place.submit("return 1")).collect();
    jobs.iter().for_each(|job| assert_eq!(place.result(job), "1"));
    place.until("tries", || (count(&place, "webhook.retry_scheduled") >= 8).then_some(()));
    let down = view(&place);
    assert_eq!(down.pending, 40);
    assert!(down.retrying.len() <= 4, "{} are held", down.retrying.len());
    let tried: std::collections::BTreeSet<u64> = endpoint.events().into_iter().collect();
    assert!(tried.len() <= 4, "no more are tried than the window holds: {tried:?}");
    let place = place.restart();
    endpoint.answer(204);
    assert_eq!(settled(&place).delivered, 40);
    let posted: std::collections::BTreeSet<u64> = endpoint.events().into_iter().collect();
    assert_eq!(posted.into_iter().collect::<Vec<_>>(), ends(&place));
}

#[test]
fn what_has_failed_is_listed_and_can_be_delivered_again() {
    let endpoint = Endpoint::start();
    endpoint.answer(500);
    let place = endpoint.place(|webhook| webhook.max_attempts = 2);
    let jobs = [place.submit("return 1"), place.submit("return 2")];
    jobs.iter().for_each(|job| drop(place.ended(job)));
    let failed = place.until("both have failed", || Some(view(&place)).filter(|view| view.failed == 2));
    assert_eq!((failed.pending, failed.failures.len()), (0, 2));
    assert_eq!((failed.failures[0].attempt, failed.failures[0].status), (2, Some(500)));
    let again = |what| place.block_on(place.runner.redeliver("done", what));
    let first = failed.failures[0].event;
    endpoint.answer(204);
    assert_eq!(again(RedeliverWhat::Event(first)).unwrap(), 1);
    assert_eq!(settled(&place).delivered, 1);
    assert_eq!(again(RedeliverWhat::Failed).unwrap(), 1);
    let done = settled(&place);
    assert_eq!((done.delivered, done.failures.len()), (2, 0));
    // One that was delivered can be too, under the id that it had.
    assert_eq!(again(RedeliverWhat::Event(first)).unwrap(), 1);
    settled(&place);
    let posts = endpoint.posts();
    let ids = posts.iter().filter(|post| body(post)["position"] == first).map(|post| header(post, "webhook-id"));
    let ids: std::collections::BTreeSet<&str> = ids.collect();
    assert_eq!(ids.len(), 1);
    assert_eq!(again(RedeliverWhat::Event(1_000_000)).unwrap_err().code(), "no_such_event");
    assert_eq!(
        place.block_on(place.runner.redeliver("x", RedeliverWhat::Failed)).unwrap_err().code(),
        "no_such_webhook"
    );
}

#[test]
fn gone_is_gone_and_a_redirect_is_not_followed() {
    let endpoint = Endpoint::start();
    endpoint.answer(302);
    let place = endpoint.place(|_| {});
    let job = place.submit("return 1");
    place.ended(&job);
    place.until("a try", || view(&place).last_error);
    assert_eq!(view(&place).last_error.unwrap().code, "webhook_redirected");
    endpoint.answer(410);
    let failed = place.until("it has failed", || Some(view(&place)).filter(|view| view.failed == 1));
    assert_eq!(failed.failures[0].error.as_ref().unwrap().code, "webhook_gone");
    assert!(endpoint.posts().iter().all(|post| post.url.path() == "/hook"));
}

#[test]
fn addresses_that_are_not_public_are_refused_unless_they_are_allowed() {
    let endpoint = Endpoint::start();
    let url = Url::parse(&endpoint.server.uri()).unwrap();
    let place = Place::with(move |options| {
        configure(options, &url, &|webhook: &mut WebhookOptions| webhook.max_attempts = 1);
        options.http = HttpPolicy::new(HttpOptions::default()).unwrap();
    });
    let job = place.submit("return 1");
    place.ended(&job);
    let failed = place.until("it has failed", || Some(view(&place)).filter(|view| view.failed == 1));
    assert_eq!(failed.failures[0].error.as_ref().unwrap().code, "address_not_allowed");
    assert!(endpoint.posts().is_empty());
}

#[test]
fn other_types_can_be_wanted_and_what_was_before_is_not() {
    let endpoint = Endpoint::start();
    let before = Place::start();
    let old = before.submit("log('old')");
    before.ended(&old);
    let url = Url::parse(&endpoint.server.uri()).unwrap();
    let storage = before.storage.clone();
    drop(before);
    let place = Place::with(move |options| {
        configure(options, &url, &|webhook: &mut WebhookOptions| webhook.types = vec!["job.logged".into()]);
    });
    let place = place.over(storage);
    let job = place.submit("log('new') log('more')");
    place.ended(&job);
    place.until("both are posted", || (view(&place).delivered == 2).then_some(()));
    let said: Vec<String> =
        endpoint.posts().iter().map(|post| body(post)["data"]["message"].as_str().unwrap().to_owned()).collect();
    assert_eq!(said.iter().filter(|text| *text == "old").count(), 0);
    assert_eq!((said.len(), count(&place, "webhook.configured")), (2, 1));
    // The same configuration is no news to the next server.
    let place = place.restart();
    assert_eq!(count(&place, "webhook.configured"), 1);
}

#[test]
fn large_data_is_posted_as_a_reference_and_a_slow_endpoint_is_not_waited_for() {
    let endpoint = Endpoint::start();
    let slow = |webhook: &mut WebhookOptions| {
        (webhook.timeout_ms, webhook.max_attempts, webhook.inline_max_bytes) = (100, 1, 40_000);
    };
    let place = endpoint.place(slow);
    let job = place.submit("return string.rep('x', 100000)");
    place.ended(&job);
    assert_eq!(settled(&place).delivered, 1);
    let data = body(&endpoint.posts()[0])["data"].clone();
    assert!(data["blob"].is_string() && data["bytes"].as_u64().unwrap() > 100_000, "{data}");
    endpoint.runtime.block_on(async {
        endpoint.server.reset().await;
        let late = ResponseTemplate::new(204).set_delay(std::time::Duration::from_secs(30));
        Mock::given(any()).respond_with(late).mount(&endpoint.server).await;
    });
    place.ended(&place.submit("return 1"));
    let failed = place.until("it has failed", || Some(view(&place)).filter(|view| view.failed == 1));
    let failure = failed.failures[0].error.clone().unwrap();
    assert_eq!((failure.code.as_str(), failure.message.contains("100 ms")), ("timeout", true));
}

#[test]
fn no_more_posts_are_under_way_than_may_be() {
    let endpoint = Endpoint::start();
    let place = endpoint.place(|webhook| webhook.concurrency = 2);
    endpoint.runtime.block_on(async {
        endpoint.server.reset().await;
        let late = ResponseTemplate::new(204).set_delay(std::time::Duration::from_secs(30));
        Mock::given(any()).respond_with(late).mount(&endpoint.server).await;
    });
    let jobs: Vec<_> = (0..8).map(|_| place.submit("return 1")).collect();
    jobs.iter().for_each(|job| drop(place.ended(job)));
    place.until("two are under way", || (endpoint.posts().len() >= 2).then_some(()));
    // Others would have come by the time that another job has run.
    place.result(&place.submit("sleep('50ms') return 1"));
    assert_eq!((endpoint.posts().len(), view(&place).pending), (2, 9));
}
