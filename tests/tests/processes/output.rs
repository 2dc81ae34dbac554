//! What is shown of an output, and found in it: the same while it runs, after its end, and after a restart.

use crate::support::*;
use moonlog_tests::{Server, Settings, eventually};
use reqwest::StatusCode;
use serde_json::{Value, json};
use std::time::{Duration, Instant};

const HEAD: usize = 16_384;
const TAIL: usize = 16_384;

/// A file that a process can write out.
fn written(place: &Place, name: &str, bytes: &[u8]) -> String {
    let path = place.folder.path().join(name);
    std::fs::write(&path, bytes).unwrap();
    path.display().to_string()
}

/// `n` bytes in lines of 64.
fn lines(n: usize) -> Vec<u8> {
    (0..n).map(|at| if at % 64 == 63 { b'\n' } else { b'a' + (at / 64 % 26) as u8 }).collect()
}

#[tokio::test]
async fn beginning_and_end_are_shown_and_the_same_after_a_restart() {
    let place = Place::new();
    let server = place.start().await;
    let long = "m".repeat(5_000);
    let cut = format!("{} ... [truncated]", "m".repeat(2_048 - 16));
    let all = HEAD + TAIL;
    let big = lines(100_000);
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    let joined = |omitted: usize| {
        let (head, tail) = (text(&big[..HEAD]), text(&big[big.len() - TAIL..]));
        format!("{head}\n\n... [omitted {omitted} bytes] ...\n\n{tail}")
    };
    let cases: Vec<(&str, Vec<u8>, String, Option<usize>)> = vec![
        ("empty", vec![], String::new(), None),
        ("exactly head", lines(HEAD), text(&lines(HEAD)), None),
        ("one more", lines(HEAD + 1), text(&lines(HEAD + 1)), None),
        ("head and tail", lines(all), text(&lines(all)), None),
        ("wrapped", big.clone(), joined(100_000 - all), Some(100_000 - all)),
        ("long line", format!("a\n{long}\nb").into(), format!("a\n{cut}\nb"), Some(5_000 - (2_048 - 16))),
    ];
    let mut started = Vec::new();
    for (name, bytes, output, omitted) in cases {
        let file = written(&place, "output", &bytes);
        let id = sh(&server, &format!("cat {file}")).await;
        let shown = ended(&server, &id).await;
        assert_eq!(shown["output"], output, "{name}");
        match omitted {
            None => assert!(shown.get("truncated").is_none(), "{name}: {}", shown["truncated"]),
            Some(omitted) => assert_eq!(
                shown["truncated"],
                json!({
                    "original_bytes": bytes.len(), "omitted_bytes": omitted,
                    "retained_bytes": output.len(), "strategy": "head_tail",
                }),
                "{name}"
            ),
        }
        started.push((name, id, shown));
    }
    server.terminate().await;
    let server = place.start().await;
    for (name, id, before) in started {
        assert_eq!(ended(&server, &id).await, before, "{name}");
    }
}

#[tokio::test]
async fn past_the_recording_cap_the_end_is_still_shown_and_the_same_after_a_restart() {
    let place = Place::new();
    let settings = Settings { config: "[limits]\nprocess_output_bytes = 40_000".into(), ..Settings::default() };
    let server = Server::start_with(place.folder.path(), &settings).await;
    let binary: Vec<u8> = (0..200_000_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let mut started = Vec::new();
    for (name, bytes) in [("text", lines(200_000)), ("binary", binary), ("just above", lines(45_000))] {
        let file = written(&place, "output", &bytes);
        let id = sh(&server, &format!("cat {file}")).await;
        let shown = ended(&server, &id).await;
        assert_eq!(shown["truncated"]["original_bytes"], bytes.len(), "{name}");
        assert_eq!(shown["truncated"]["retained_bytes"], shown["output"].as_str().unwrap().len(), "{name}");
        let recorded = exited(&server, &id).await;
        assert_eq!(recorded["output_bytes"], bytes.len(), "{name}");
        assert!(recorded["tail"].as_str().is_some_and(|tail| tail.len() <= TAIL && tail.len() > TAIL - 4), "{name}");
        let events = events(&server, &id).await;
        let capped = events.iter().filter(|event| event["data"]["capped"] == true).count();
        assert_eq!(capped, 1, "{name}: it is said once");
        if name != "binary" {
            let tail = String::from_utf8(bytes[bytes.len() - TAIL..].to_vec()).unwrap();
            assert!(shown["output"].as_str().unwrap().ends_with(&tail), "{name}");
        }
        started.push((name, id, shown));
    }
    server.terminate().await;
    let server = Server::start_with(place.folder.path(), &settings).await;
    for (name, id, before) in started {
        assert_eq!(ended(&server, &id).await, before, "{name}");
    }
}

#[tokio::test]
async fn a_wait_ends_with_the_process_or_its_time() {
    let place = Place::new();
    let server = place.start().await;
    let id = sh(&server, "echo first; while [ ! -e go ]; do sleep 0.05; done; echo last").await;
    wrote(&server, &id, "first").await;
    let begun = Instant::now();
    let (_, shown) = get(&server, &format!("/v1/processes/{id}/output?wait=200ms")).await;
    assert!(begun.elapsed() >= Duration::from_millis(200));
    assert_eq!((&shown["running"], &shown["output"]), (&json!(true), &json!("first\n")));
    assert!(shown.get("exit_code").is_none() && shown.get("outcome").is_none(), "{shown}");
    std::fs::write(place.folder.path().join("go"), "").unwrap();
    let shown = ended(&server, &id).await;
    assert_eq!((&shown["output"], &shown["exit_code"]), (&json!("first\nlast\n"), &json!(0)));
    assert_eq!(get(&server, &format!("/v1/processes/{id}/output?wait=soon")).await.0, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn all_that_is_recorded_is_searched() {
    let place = Place::new();
    let server = place.start().await;
    let id = sh(&server, "seq 1 30000; echo 'Fehler: ünï'; printf '\\377\\n'; sleep 1000").await;
    wrote(&server, &id, "ünï").await;
    let search = |query: &str| {
        let path = format!("/v1/processes/{id}/search?{query}");
        let server = &server;
        async move { get(server, &path).await }
    };
    // In the middle, which is not shown, and while it runs.
    let (status, found) = search("pattern=^1500[01]$&context=1").await;
    assert_eq!(status, StatusCode::OK);
    let line = |n: u32| json!({ "line": n, "text": n.to_string(), "before": [(n - 1).to_string()], "after": [(n + 1).to_string()] });
    assert_eq!(found, json!({ "matches": [line(15_000), line(15_001)], "truncated": false }));
    let (_, found) = search("pattern=9&limit=3").await;
    assert_eq!((found["matches"].as_array().unwrap().len(), &found["truncated"]), (3, &json!(true)));
    let (_, found) = search("pattern=fehler:%20.n.&limit=1").await;
    assert_eq!(found["matches"], json!([]));
    let (_, found) = search("pattern=(%3Fi)fehler:%20.n.&limit=1").await;
    assert_eq!(found["matches"][0]["line"], 30_001);
    for (query, path) in [
        ("pattern=(", "pattern"),
        ("pattern=", "pattern"),
        ("limit=1", "pattern"),
        ("pattern=(a%7B1000%7D)%7B1000%7D", "pattern"),
        ("pattern=x&limit=0", "limit"),
        ("pattern=x&context=-1", "context"),
    ] {
        let (status, problem) = search(query).await;
        assert_eq!((status, &problem["errors"][0]["path"]), (StatusCode::BAD_REQUEST, &json!(path)), "{problem}");
    }
    let (_, problem) = search("pattern=(").await;
    assert!(problem["detail"].as_str().unwrap().contains("unclosed group"), "{problem}");
}

#[tokio::test]
async fn a_process_that_waits_for_an_answer_is_said_to_have_stalled_once() {
    let place = Place::new();
    let settings = Settings { config: "[limits]\nprocess_stall_ms = 200".into(), ..Settings::default() };
    let server = Server::start_with(place.folder.path(), &settings).await;
    let asks =
        "printf 'Continue? [y/N] '; while [ ! -e again ]; do sleep 0.05; done; printf '\\nPassword: '; sleep 1000";
    let asks = sh(&server, asks).await;
    let works = sh(&server, "echo working; sleep 1000").await;
    let stalls = |id: String| {
        let server = &server;
        async move {
            let events = events(server, &id).await.into_iter();
            events
                .filter(|event| event["type"] == "process.stalled")
                .map(|event| event["data"].clone())
                .collect::<Vec<Value>>()
        }
    };
    let told = |count: usize| {
        let (stalls, asks) = (&stalls, &asks);
        eventually("the stall", move || async move {
            Some(stalls(asks.clone()).await).filter(|stalls| stalls.len() >= count)
        })
    };
    let first = told(1).await;
    assert_eq!(first[0]["tail"], "Continue? [y/N] ");
    assert!(first[0]["idle_ms"].as_u64().unwrap() >= 200, "{first:?}");
    // Longer than it took: it is said once.
    let (_, shown) = get(&server, &format!("/v1/processes/{asks}/output?wait=600ms")).await;
    assert_eq!(shown["running"], true);
    assert_eq!(stalls(asks.clone()).await.len(), 1);
    std::fs::write(place.folder.path().join("again"), "").unwrap();
    let second = told(2).await;
    assert_eq!(second[1]["tail"], "Continue? [y/N] \nPassword: ");
    assert_eq!(stalls(works).await, Vec::<Value>::new(), "long work is silent too");
}
