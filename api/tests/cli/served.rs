//! Commands that talk to a server that runs.

use crate::place::Place;
use serde_json::json;

const ASKS: &str = r#"
local got = wait_for("go")
local answer = approve { title = "Publish?" }
return { got = got, approved = answer.approved, by = answer.by }
"#;

/// Polls until the job waits for `what`.
fn until_waiting(place: &Place, id: &str, what: &str) {
    let lines = |place: &Place| place.json(&["show", id, "--json"]);
    for _ in 0..500 {
        if lines(place)["waiting"]["for"] == what {
            return;
        }
    }
    panic!("never waited for {what}: {}", lines(place));
}

#[test]
fn a_waiting_job_is_signalled_and_approved() {
    let place = Place::new();
    let server = place.serve();
    place.write("asks.luau", ASKS);
    let id = place.ok(&["run", "./asks.luau", "--detach", "--label", "team=docs"]);
    let id = id.trim();
    until_waiting(&place, id, "signal");
    assert!(place.ok(&["jobs", "--label", "team=docs"]).contains("waits for signal go"));
    place.ok(&["signal", id, "go", r#"{"n": 1}"#]);
    until_waiting(&place, id, "approval");
    assert!(place.ok(&["approve"]).contains("Publish?"));
    place.ok(&["approve", id, "--by", "ann"]);
    place.ok(&["events", id, "--follow"]);
    let job = place.json(&["show", "last", "--json"]);
    assert_eq!(job["result"], json!({"got": {"n": 1}, "approved": true, "by": "ann"}));
    // By the end of its id, too.
    assert!(place.ok(&["show", &id[id.len() - 8..]]).contains("asks"));
    let again = place.run(&["cancel", id]);
    assert_eq!(again.status, 1);
    assert!(again.err.contains("has ended"), "{}", again.err);
    assert!(server.stop("-INT").success());
}

#[test]
fn a_folder_whose_server_was_killed_can_be_used_again() {
    let place = Place::new();
    let server = place.serve();
    place.write("it.luau", "return 'still here'");
    let id = place.ok(&["run", "./it.luau", "--detach"]);
    place.ok(&["events", id.trim(), "--follow"]);
    server.stop("-KILL");
    assert_eq!(place.json(&["show", id.trim(), "--json"])["result"], "still here");
    assert!(place.ok(&["verify"]).starts_with("the log is sound"));
}

#[test]
fn a_server_can_be_named() {
    let (here, there) = (Place::new(), Place::new());
    let server = there.serve();
    here.write("it.luau", "return 'over there'");
    assert_eq!(here.ok(&["run", "./it.luau", "--server", &server.url]), "over there\n");
    assert!(!here.path().join(".moonlog").exists());
    assert_eq!(there.json(&["jobs", "--json"])["items"].as_array().unwrap().len(), 1);
    assert!(there.ok(&["verify"]).starts_with("the log is sound"));
}

#[test]
fn events_are_envelopes_in_a_pipe() {
    let place = Place::new();
    place.write("it.luau", "log('one') log('two')");
    place.ok(&["run", "./it.luau"]);
    let text = place.ok(&["events", "last", "--types", "job.logged"]);
    let messages: Vec<serde_json::Value> = text
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap()["data"]["message"].take())
        .collect();
    assert_eq!(messages, ["one", "two"]);
    assert_eq!(place.ok(&["events", "last", "--limit", "2"]).lines().count(), 2);
}
