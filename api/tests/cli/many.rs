//! Many jobs at once, codes of errors, and webhooks, at the command line.

use crate::place::Place;
use serde_json::json;
use std::{
    io::{Read, Write},
    net::TcpListener,
    sync::mpsc,
};

#[test]
fn jobs_are_cancelled_and_retried_by_what_they_have_in_common() {
    let place = Place::new();
    place.write("waits.luau", "return wait_for('go')");
    place.write("fails.luau", "error({ code = 'busy', message = 'no room' })");
    let _server = place.serve();
    for n in ["1", "2"] {
        let label = format!("n={n}");
        place.ok(&["run", "waits.luau", "--detach", "--label", "team=a", "--label", &label]);
    }
    let dry = place.json(&["cancel", "--label", "team=a", "--dry-run", "--json"]);
    assert_eq!((&dry["matched"], &dry["done"]), (&json!(2), &json!(0)));
    let one = place.json(&["cancel", "--label", "team=a", "--label", "n=1", "--reason", "enough", "--json"]);
    assert_eq!((&one["matched"], &one["done"]), (&json!(1), &json!(1)));
    let said = place.run(&["cancel", "--label", "team=a", "--workflow", "waits"]);
    assert_eq!(said.status, 0, "{}", said.err);
    assert!(said.err.contains("1 jobs fit, 1 asked to stop"), "{}", said.err);
    for _ in 0..2 {
        assert_eq!(place.run(&["run", "fails.luau", "--quiet"]).status, 1);
    }
    let jobs = place.json(&["jobs", "--exhausted", "--json"]);
    assert_eq!(jobs["items"], json!([]), "without a policy nothing is out of attempts");
    place.write("mended.luau", "return 'mended'");
    let said = place.run(&["retry", "--workflow", "fails", "--script", "mended.luau", "--limit", "1"]);
    assert_eq!(said.status, 0, "{}", said.err);
    assert!(said.err.contains("1 jobs fit, 1 run again, and there are more"), "{}", said.err);
    assert_eq!(said.out.lines().count(), 1);
    for wrong in [&["cancel"][..], &["retry"], &["cancel", "some", "--label", "a=b"], &["cancel", "--label", "a"]] {
        assert_eq!(place.run(wrong).status, 2, "{wrong:?}");
    }
}

#[test]
fn codes_are_explained_without_a_server() {
    let place = Place::new();
    let said = place.ok(&["errors", "queue_full"]);
    assert!(said.contains("queue_full: ") && said.contains("429") && said.contains("what to do"), "{said}");
    let all = place.json(&["errors", "--json"]);
    assert_eq!(all.as_array().unwrap().len(), moonlog_core::error_code::all().count());
    let some = place.ok(&["errors", "limit_*"]);
    assert!(some.contains("limit_memory") && !some.contains("queue_full"), "{some}");
    let said = place.run(&["errors", "nonsense"]);
    assert_eq!(said.status, 2);
    assert!(said.err.contains("no error code"), "{}", said.err);
    assert!(!place.path().join(".moonlog").exists());
}

/// Takes posts, answers each with the next of these statuses and then with 204, and tells of them.
fn endpoint(statuses: Vec<u16>) -> (u16, mpsc::Receiver<String>) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    let (tell, told) = mpsc::channel();
    std::thread::spawn(move || {
        let mut statuses = statuses.into_iter();
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut read = Vec::new();
            let mut piece = [0; 4096];
            while let Ok(count) = stream.read(&mut piece) {
                read.extend_from_slice(&piece[..count]);
                let text = String::from_utf8_lossy(&read).into_owned();
                let whole = text.split_once("\r\n\r\n").is_some_and(|(head, body)| {
                    let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
                    length.and_then(|length| length.parse().ok()).is_some_and(|length: usize| body.len() >= length)
                });
                if whole || count == 0 {
                    break;
                }
            }
            let status = statuses.next().unwrap_or(204);
            let answer = format!("HTTP/1.1 {status} X\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
            let _ = stream.write_all(answer.as_bytes());
            if tell.send(String::from_utf8_lossy(&read).into_owned()).is_err() {
                return;
            }
        }
    });
    (port, told)
}

fn id_of(post: &str) -> String {
    post.lines().find_map(|line| line.strip_prefix("webhook-id: ")).unwrap().to_owned()
}

#[test]
fn a_webhook_outlives_a_server_that_is_killed() {
    let place = Place::new();
    let (port, posts) = endpoint(vec![500, 500, 500]);
    place.write(
        "moonlog.toml",
        format!(
            "[http]\nallow_private = [\"localhost\"]\n[webhooks.done]\nurl = \"http://127.0.0.1:{port}/hook/very-hidden\"\n\
             secret_env = \"HOOK_SECRET\"\nbackoff_ms = 300\n"
        ),
    );
    place.write("quick.luau", "return 1");
    let said = place.run(&["serve"]);
    assert_eq!(said.status, 2, "what it is to sign with is not there");
    assert!(said.err.contains("HOOK_SECRET is not set"), "{}", said.err);
    let server = place.serve_with(&[("HOOK_SECRET", "whsec_c2VjcmV0LXZhbHVl")]);
    place.ok(&["run", "quick.luau", "--quiet"]);
    let first = posts.recv_timeout(std::time::Duration::from_secs(20)).unwrap();
    assert!(
        first.starts_with("POST /hook/very-hidden HTTP/1.1") && first.contains("webhook-signature: v1,"),
        "{first}"
    );
    // Whatever it is doing: waiting for the next try, posting, or recording.
    server.stop("-KILL");
    let _server = place.serve_with(&[("HOOK_SECRET", "whsec_c2VjcmV0LXZhbHVl")]);
    let mut ids = vec![id_of(&first)];
    let delivered = (0..400).find_map(|_| {
        let webhook = place.json(&["webhooks", "done"]);
        ids.extend(posts.try_iter().map(|post| id_of(&post)));
        (webhook["pending"] == 0 && webhook["delivered"] == 1).then_some(webhook)
    });
    let webhook = delivered.expect("it is delivered in the end");
    ids.extend(posts.try_iter().map(|post| id_of(&post)));
    ids.dedup();
    assert_eq!(ids.len(), 1, "the same id in every try");
    assert_eq!((&webhook["signed"], &webhook["url"]), (&json!(true), &json!(format!("http://127.0.0.1:{port}/…"))));
    let events = place.ok(&["events", "--json"]);
    for hidden in ["c2VjcmV0LXZhbHVl", "secret-value", "very-hidden"] {
        assert!(!events.contains(hidden), "{hidden} is in the log");
    }
    assert!(place.ok(&["events", "--types", "webhook.*"]).contains("webhook.delivered"));
    assert!(place.ok(&["config"]).contains("HOOK_SECRET (not set)"));
    let listed = place.ok(&["webhooks"]);
    assert!(listed.contains("done") && !listed.contains("very-hidden"), "{listed}");
    // Once more, because somebody wants it.
    let end = events.lines().find(|line| line.contains("\"type\":\"job.completed\"")).unwrap();
    let end: serde_json::Value = serde_json::from_str(end).unwrap();
    place.ok(&["redeliver", "done", "--event", &end["position"].to_string()]);
    let again = posts.recv_timeout(std::time::Duration::from_secs(20)).unwrap();
    assert_eq!(id_of(&again), ids[0]);
    assert_eq!(place.run(&["redeliver", "done"]).status, 2);
    assert_eq!(place.run(&["redeliver", "nobody", "--failed"]).status, 1);
}

#[test]
fn a_rate_outlives_a_server_that_is_killed() {
    let place = Place::new();
    place.write("moonlog.toml", "[queues.slow]\nrate_per_minute = 1\n");
    place.write("quick.luau", "return 1");
    let server = place.serve();
    place.ok(&["run", "quick.luau", "--quiet", "--queue", "slow"]);
    server.stop("-KILL");
    let _server = place.serve();
    let id = place.ok(&["run", "quick.luau", "--detach", "--queue", "slow"]);
    let job = place.json(&["show", id.trim(), "--json"]);
    assert_eq!((&job["state"], &job["waiting"]["name"]), (&json!("queued"), &json!("rate_per_minute")), "{job}");
    let first = place.json(&["jobs", "--state", "completed", "--json"]);
    let time = |value: &serde_json::Value| {
        let time: moonlog_core::time::Timestamp = value.as_str().unwrap().parse().unwrap();
        time
    };
    let (started, until) = (time(&first["items"][0]["started_at"]), time(&job["waiting"]["until"]));
    let wait_ms = until.ms_since(started);
    assert!((59_000..=60_000).contains(&wait_ms), "a minute from the first start, and {wait_ms} ms");
    let said = place.ok(&["show", id.trim()]);
    assert!(said.contains("starts 1 jobs a minute"), "{said}");
    place.ok(&["cancel", id.trim()]);
}
