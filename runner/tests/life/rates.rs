//! How often jobs start and models are asked, over crashes too. A minute is a fraction of a second here.

use crate::{agents::stage_with, place::Place};
use moonlog_core::{
    event::{EventBody, WaitKind},
    id::JobId,
    projection::JobStatus,
    time::Timestamp,
};
use moonlog_runner::{QueueOptions, Submit};
use serde_json::json;

/// That of starts as the log has them lies behind that of the decision by as much as an append takes.
const SPAN_MS: u64 = 600;
const SLACK_MS: u64 = 150;

fn slow(rate_per_minute: u64, key_rate_per_minute: u64) -> Place {
    Place::with(move |options| {
        let queue =
            QueueOptions { rate_per_minute, key_rate_per_minute, rate_span_ms: SPAN_MS, ..QueueOptions::default() };
        options.queues.insert("slow".into(), queue);
    })
}

fn in_queue(key: Option<&'static str>) -> impl Fn(&mut Submit) {
    move |submit| {
        submit.queue = Some("slow".into());
        submit.concurrency_key = key.map(Into::into);
    }
}

fn starts(place: &Place, of: &[JobId]) -> Vec<Timestamp> {
    let events = place.runner.log().read(0, 1_000_000).unwrap();
    let is_start = |event: &&std::sync::Arc<moonlog_core::event::Event>| {
        matches!(event.body, EventBody::JobStarted(_)) && event.job.is_some_and(|job| of.contains(&job))
    };
    events.iter().filter(is_start).map(|event| event.time).collect()
}

fn keeps(times: &[Timestamp], limit: usize) {
    for window in times.windows(limit + 1) {
        let took = window[limit].ms_since(window[0]);
        assert!(took >= SPAN_MS - SLACK_MS, "{} within {took} ms: {times:?}", limit + 1);
    }
}

#[test]
fn a_queue_starts_no_more_than_its_rate_and_says_so() {
    let place = slow(3, 0);
    let jobs: Vec<_> = (0..8).map(|_| place.submit_with("return 1", in_queue(None))).collect();
    let other = place.submit("return 2");
    assert_eq!(place.result(&other), "2", "another queue is not held");
    let queued = jobs.iter().rev().find(|job| place.status(job) == JobStatus::Queued);
    let held = place.runner.shown(&place.runner.job(queued.unwrap()).unwrap().unwrap()).waiting.unwrap();
    assert_eq!((held.reason, held.name.as_deref()), (WaitKind::Capacity, Some("rate_per_minute")));
    assert!(held.until.is_some() && held.title.unwrap().contains("starts 3 jobs a minute"));
    let view = place.runner.queues().into_iter().find(|queue| queue.name == "slow").unwrap();
    assert_eq!((view.rate_per_minute, view.started_in_minute), (3, Some(3)));
    assert!(view.next_start_at.is_some());
    jobs.iter().for_each(|job| assert_eq!(place.result(job), "1"));
    keeps(&starts(&place, &jobs), 3);
    place.check();
}

#[test]
fn a_restart_does_not_forget_what_was_started() {
    let place = slow(2, 0);
    let jobs: Vec<_> = (0..6).map(|_| place.submit_with("return 1", in_queue(None))).collect();
    place.ended(&jobs[0]);
    place.ended(&jobs[1]);
    let place = place.kill(0);
    assert_eq!(place.status(&jobs[5]), JobStatus::Queued);
    place.ended(&jobs[3]);
    let place = place.restart();
    jobs.iter().for_each(|job| assert_eq!(place.result(job), "1"));
    keeps(&starts(&place, &jobs), 2);
    place.check();
}

#[test]
fn each_attempt_is_a_start() {
    let place = slow(2, 0);
    let job = place.submit_with("error('no', 0)", |submit| {
        in_queue(None)(submit);
        let policy = moonlog_core::event::RetryPolicy { max: 5, backoff_ms: 1, factor: 1.0, max_backoff_ms: 1 };
        submit.retry = Some(policy.into());
    });
    assert_eq!(place.ended(&job).state, JobStatus::Failed);
    let starts = starts(&place, &[job]);
    assert_eq!(starts.len(), 5);
    keeps(&starts, 2);
}

#[test]
fn a_key_has_a_rate_of_its_own() {
    let place = slow(0, 1);
    let of = |key| (0..3).map(|_| place.submit_with("return 1", in_queue(Some(key)))).collect::<Vec<_>>();
    let (a, b) = (of("a"), of("b"));
    let free = place.submit_with("return 1", in_queue(None));
    place.result(&free);
    place.ended(&a[0]);
    let waits = place.runner.shown(&place.runner.job(&a[2]).unwrap().unwrap()).waiting.unwrap();
    assert!(["key_rate_per_minute", "concurrency_key"].contains(&waits.name.as_deref().unwrap()), "{waits:?}");
    let place = place.kill(0);
    for jobs in [&a, &b] {
        jobs.iter().for_each(|job| assert_eq!(place.result(job), "1"));
        keeps(&starts(&place, jobs), 1);
    }
    let first_of_b = starts(&place, &b)[0].ms_since(starts(&place, &a)[0]);
    assert!(first_of_b < SPAN_MS, "one key does not wait for the other: {first_of_b} ms");
    place.check();
}

#[test]
fn a_model_is_asked_no_more_often_than_its_rate() {
    let turns = (0..6).map(|n| json!({ "text": format!("answer {n}") })).collect::<Vec<_>>();
    let stage = stage_with(json!(turns), |options| {
        for model in options.agents.models.models.values_mut() {
            (model.requests_per_minute, model.rate_span_ms) = (2, SPAN_MS);
        }
    });
    let job = stage.place.submit(
        "return parallel { agent = function() return agent('a') end, b = function() return agent('b') end,
            c = function() return agent('c') end, d = function() return agent('d') end }",
    );
    stage.place.until_event(&job, "chat.waiting");
    let waiting = stage.place.events(&job).iter().find_map(|event| match &event.body {
        EventBody::ChatWaiting(waiting) => Some(waiting.clone()),
        _ => None,
    });
    let waiting = waiting.unwrap();
    assert_eq!((waiting.model.as_str(), waiting.limit.as_str()), ("main", "requests_per_minute"));
    assert_eq!(stage.place.ended(&job).state, JobStatus::Completed);
    let asked = |place: &Place, job: &JobId| {
        let events = place.events(job);
        events.iter().filter(|event| event.body.name() == "chat.started").map(|event| event.time).collect::<Vec<_>>()
    };
    let mut times = asked(&stage.place, &job);
    assert_eq!(times.len(), 4);
    // What was asked before a crash counts behind it.
    let place = stage.place.kill(0);
    let next = place.submit("return agent('e')");
    assert_eq!(place.ended(&next).state, JobStatus::Completed);
    times.extend(asked(&place, &next));
    keeps(&times, 2);
    place.check();
}

#[test]
fn tokens_count_as_they_were_used() {
    let usage = json!({ "prompt_tokens": 90, "completion_tokens": 20, "cached_tokens": 0, "reasoning_tokens": 0 });
    let turns = json!([{ "text": "a", "usage": usage }, { "text": "b", "usage": usage }]);
    let stage = stage_with(turns, |options| {
        for model in options.agents.models.models.values_mut() {
            (model.tokens_per_minute, model.rate_span_ms) = (100, SPAN_MS);
        }
    });
    let job = stage.place.submit("return agent('a') .. agent('b')");
    assert_eq!(stage.place.result(&job), "\"aa\"");
    let events = stage.place.events(&job);
    let time = |name: &str, nth: usize| {
        events.iter().filter(|event| event.body.name() == name).nth(nth).map(|event| event.time).unwrap()
    };
    assert_eq!(stage.place.count(&job, "chat.waiting"), 1);
    assert_eq!((stage.place.count(&job, "job.waiting"), stage.place.count(&job, "job.resumed")), (1, 1));
    let waited = time("chat.started", 1).ms_since(time("chat.finished", 0));
    assert!(waited >= SPAN_MS - SLACK_MS, "{waited} ms");
}

#[test]
fn an_agent_that_waits_for_its_model_can_be_cancelled() {
    let stage = stage_with(json!([{ "text": "a" }, { "text": "b" }]), |options| {
        for model in options.agents.models.models.values_mut() {
            model.requests_per_minute = 1;
        }
    });
    let job = stage.place.submit("agent('a') return agent('b')");
    stage.place.until_event(&job, "chat.waiting");
    stage.place.cancel(&job);
    assert_eq!(stage.place.ended(&job).state, JobStatus::Cancelled);
    assert_eq!(stage.place.count(&job, "chat.started"), 1);
    stage.place.check();
}

#[test]
fn an_agent_that_waits_for_its_model_holds_no_place() {
    let stage = stage_with(json!([{ "text": "a" }]), |options| {
        (options.concurrency, options.idle_evict_ms) = (1, 0);
        for model in options.agents.models.models.values_mut() {
            (model.requests_per_minute, model.rate_span_ms) = (1, 2 * SPAN_MS);
        }
    });
    let place = stage.place;
    let job = place.submit("return agent('a') .. agent('b')");
    place.until_status(&job, JobStatus::Waiting);
    let waiting = place.runner.job(&job).unwrap().unwrap().waiting.clone().unwrap();
    assert_eq!((waiting.reason, waiting.name.as_deref()), (WaitKind::Capacity, Some("main")));
    assert!(waiting.title.unwrap().contains("requests_per_minute"));
    // The only place is free for others, and is taken again before the request is made.
    let other = place.submit("return 2");
    assert_eq!(place.result(&other), "2");
    assert_eq!(place.status(&job), JobStatus::Waiting);
    let long = place.submit("sh('sleep 1.5') return 3");
    assert_eq!(place.result(&job), "\"aa\"");
    let events = place.runner.log().read(0, 100_000).unwrap();
    let at = |job: JobId, name: &str| {
        let mut found = events.iter().filter(|event| event.job == Some(job) && event.body.name() == name);
        found.next_back().map(|event| event.position).unwrap()
    };
    assert!(at(job, "chat.started") > at(job, "job.resumed"));
    assert!(at(job, "job.resumed") > at(long, "step.finished"), "the other job had the place");
    // A crash while it waits.
    let again = place.submit("return agent('c')");
    place.until_status(&again, JobStatus::Waiting);
    let place = place.kill(0);
    assert_eq!(place.result(&again), "\"a\"");
    place.check();
}

#[test]
fn the_time_of_an_agent_that_waits_for_its_model_runs_out() {
    let stage = stage_with(json!([{ "text": "a" }]), |options| {
        for model in options.agents.models.models.values_mut() {
            model.requests_per_minute = 1;
        }
    });
    let job = stage.place.submit("agent('a') local answer, err = agent('b', { timeout = '100ms' }) return err.code");
    assert_eq!(stage.place.result(&job), "\"timeout\"");
    assert_eq!(stage.place.count(&job, "job.resumed"), 1);
    stage.place.check();
}
