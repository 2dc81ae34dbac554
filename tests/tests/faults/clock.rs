//! A system clock that is set back and forward by a year, under a server and between two.

use super::check_sound;
use moonlog_tests::{Faults, Server, Settings, eventually};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use std::{collections::BTreeSet, fs, path::Path, time::Duration};

const YEAR: Duration = Duration::from_secs(365 * 86_400);

fn settings(folder: &Path) -> Settings {
    let workflows = folder.join("workflows");
    fs::create_dir_all(&workflows).unwrap();
    fs::write(workflows.join("tick.luau"), "return 1").unwrap();
    let config = "[log]\nsnapshot_every_events = 100\n[runner]\nworkflow_folders = [\"workflows\"]\n\
        [queues.slow]\nrate_per_minute = 1\n";
    Settings { config: config.into(), ..Settings::default() }
}

/// Times never go back along positions, and each time of a schedule has one job.
fn check_times(events: &[Value]) {
    for pair in events.windows(2) {
        let [before, after] = [0, 1].map(|at| pair[at]["time"].as_str().unwrap());
        assert!(before <= after, "{} {}", pair[0], pair[1]);
    }
    let mut submitted = BTreeSet::new();
    for event in events.iter().filter(|event| event["type"] == "job.submitted") {
        assert!(submitted.insert(event["job"].to_string()), "{event}");
    }
}

async fn fired(server: &Server) -> usize {
    server.ndjson("/v1/events?types=schedule.fired&follow=false").await.len()
}

/// What lasts a moment lasts a moment: sleeps end, timeouts come, schedules fire.
async fn check_goes_on(server: &Server, what: &str) {
    let events = server.ndjson("/v1/events").await;
    let last = events.last().unwrap()["time"].as_str().unwrap().to_owned();
    let before = fired(server).await;
    let script = "local a = now() sleep('300ms') step('s', function() end) return now() - a";
    let job = server.submit(&json!({ "script": script })).await;
    let timed = server.submit(&json!({ "script": "wait_for('never')", "timeout_ms": 300 })).await;
    let job = server.ended(&job).await;
    assert_eq!(job["state"], "completed", "{what}: {job}");
    let slept = job["result"].as_f64().unwrap();
    assert!((0.3..30.0).contains(&slept), "{what}: {job}");
    assert_eq!(server.ended(&timed).await["state"], "timed_out", "{what}");
    assert!(job["submitted_at"].as_str().unwrap() >= &*last, "{what}: {job}");
    eventually(&format!("{what}: the schedule to fire"), || async {
        (fired(server).await >= before + 2).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_clock_that_is_set_back_and_forward_by_a_year_stops_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let Some(faults) = Faults::new(folder.path()) else { return };
    let settings = faults.settings(settings(folder.path()));
    let mut server = Server::start_with(folder.path(), &settings).await;
    let request = server.request(Method::PUT, "/v1/schedules/each-second");
    let set = request.json(&json!({ "cron": "* * * * * *", "workflow": "tick" })).send().await.unwrap();
    assert!(set.status().is_success(), "{}", set.text().await.unwrap());
    check_goes_on(&server, "at first").await;
    let asleep = server.submit(&json!({ "script": "sleep('400ms') return 1" })).await;
    let year_asleep = server.submit(&json!({ "script": "sleep('300d') return 1" })).await;
    faults.move_clock(YEAR, true);
    assert_eq!(server.ended(&asleep).await["state"], "completed", "a sleep that the jump finds under way ends");
    check_goes_on(&server, "set back by a year").await;
    assert_eq!(server.get(&format!("/v1/jobs/{year_asleep}")).await["state"], "waiting");
    assert!(server.said().contains("the system's clock was set back"), "{}", server.said());
    server.kill();
    server = Server::start_with(folder.path(), &settings).await;
    check_goes_on(&server, "started a year before its log").await;
    faults.move_clock(Duration::ZERO, false);
    check_goes_on(&server, "right again").await;
    // A year that has passed, for all that can be told.
    faults.move_clock(YEAR, false);
    assert_eq!(server.ended(&year_asleep).await["state"], "completed", "its time has come");
    check_goes_on(&server, "set forward by a year").await;
    let in_the_new_year = server.ndjson("/v1/events").await.last().unwrap()["time"].as_str().unwrap().to_owned();
    faults.move_clock(Duration::ZERO, false);
    check_goes_on(&server, "and back again").await;
    let (_, answer) = server.post("/v1/jobs", &json!({ "script": "return 1", "run_at": in_the_new_year })).await;
    let later = answer["id"].as_str().unwrap();
    assert_eq!(server.terminate().await.code(), Some(0));
    server = Server::start_with(folder.path(), &settings).await;
    check_goes_on(&server, "started with a log of next year").await;
    assert_eq!(server.get(&format!("/v1/jobs/{later}")).await["state"], "queued", "`run_at` goes by the time of day");
    let events = server.ndjson("/v1/events").await;
    check_times(&events);
    assert!(server.terminate().await.success());
    check_sound(folder.path());
}

#[tokio::test]
async fn a_rate_and_a_ticket_last_as_long_as_they_should_whatever_the_clock_does() {
    let folder = tempfile::tempdir().unwrap();
    let Some(faults) = Faults::new(folder.path()) else { return };
    let mut settings = faults.settings(settings(folder.path()));
    settings.config.push_str("[limits]\nticket_ms = 1_000\n");
    settings.env.push(("MOONLOG_TOKEN".into(), "secret".into()));
    let server = Server::start_with(folder.path(), &settings).await;
    let asked = |path: &str, body: Value| server.request(Method::POST, path).bearer_auth("secret").json(&body).send();
    let job = async |wait: &str| -> Value {
        let path = format!("/v1/jobs{wait}");
        asked(&path, json!({ "script": "return 1", "queue": "slow" })).await.unwrap().json().await.unwrap()
    };
    assert_eq!(job("?wait=60s").await["state"], "completed");
    let mut tickets = Vec::new();
    for back in [None, Some(false), Some(true)] {
        match back {
            None => {}
            Some(back) => faults.move_clock(YEAR, back),
        }
        let ticket: Value = asked("/v1/tickets", json!({})).await.unwrap().json().await.unwrap();
        tickets.push(ticket["ticket"].as_str().unwrap().to_owned());
    }
    // What was started a minute ago by the clock of then was started a minute ago.
    assert_eq!(job("?wait=60s").await["state"], "completed", "a year went by, and it is not taken back");
    assert_eq!(job("").await["state"], "queued", "within the same minute there is no other");
    for ticket in tickets {
        let path = format!("/v1/events?follow=false&ticket={ticket}");
        let ask = || async { server.request(Method::GET, &path).send().await.unwrap().status() };
        eventually("the ticket to expire", || async { (ask().await == StatusCode::UNAUTHORIZED).then_some(()) }).await;
    }
}
