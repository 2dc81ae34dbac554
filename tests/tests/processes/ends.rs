//! How processes end: by themselves, signalled, timed out, killed with all that they started, or lost with the server.

use crate::support::*;
use moonlog_tests::eventually;
use reqwest::StatusCode;
use serde_json::{Value, json};

/// A tree that does what it can to live on; it says `ready` when it stands.
const STUBBORN: &str = "trap '' TERM INT HUP; \
     (trap '' TERM; sleep 1000; sleep 1000) & \
     (setsid sh -c 'trap \"\" TERM; (sleep 1000 & sleep 1000; wait) & wait' &) ; \
     echo ready; while :; do sleep 0.1; done";

#[tokio::test]
async fn a_tree_that_ignores_sigterm_is_gone_after_a_kill() {
    let place = Place::new();
    let server = place.start().await;
    let value = uuid::Uuid::now_v7().to_string();
    let mark = format!("MARK={value}");
    let id = start(&server, &json!({ "command": STUBBORN, "shell": true, "env": { "MARK": value } })).await;
    wrote(&server, &id, "ready").await;
    eventually("the tree", || async { (marked(&mark).len() >= 6).then_some(()) }).await;
    assert_eq!(signal(&server, &id, "terminate").await.0, StatusCode::OK);
    assert_eq!(signal(&server, &id, "interrupt").await.0, StatusCode::OK);
    let (_, shown) = get(&server, &format!("/v1/processes/{id}/output?wait=300ms")).await;
    assert_eq!(shown["running"], true, "it ignores both");
    let (status, process) = signal(&server, &id, "kill").await;
    assert_eq!((status, &process["id"]), (StatusCode::OK, &json!(id)));
    let shown = ended(&server, &id).await;
    assert_eq!((&shown["outcome"], &shown["signal"]), (&json!("killed"), &json!("SIGKILL")), "{shown}");
    assert!(shown.get("exit_code").is_none(), "{shown}");
    eventually("nothing is left", || async { marked(&mark).is_empty().then_some(()) }).await;
    let (status, problem) = signal(&server, &id, "kill").await;
    assert_eq!((status, &problem["code"]), (StatusCode::CONFLICT, &json!("process_exited")));
    let recorded = exited(&server, &id).await;
    assert_eq!((&recorded["outcome"], &recorded["signal"]), (&json!("killed"), &json!("SIGKILL")));
}

/// What it does to the process that looks after it does not help it.
#[tokio::test]
async fn one_that_stops_or_kills_who_looks_after_it_is_gone_after_a_kill_and_with_the_server() {
    let place = Place::new();
    let server = place.start().await;
    let value = uuid::Uuid::now_v7().to_string();
    let mark = format!("MARK={value}");
    let below = "(setsid sh -c 'trap \"\" TERM; sleep 1000 & sleep 1000; wait' >/dev/null 2>&1 &)";
    let body = |script: String| json!({ "command": script, "shell": true, "env": { "MARK": value } });
    let stopped = start(&server, &body(format!("{below}; kill -STOP $PPID; echo ready; sleep 1000"))).await;
    eventually("the tree", || async { (marked(&mark).len() >= 4).then_some(()) }).await;
    assert_eq!(signal(&server, &stopped, "kill").await.0, StatusCode::OK);
    assert_eq!(ended(&server, &stopped).await["outcome"], "killed");
    eventually("nothing is left", || async { marked(&mark).is_empty().then_some(()) }).await;
    let alone = start(&server, &body(format!("{below}; sleep 0.2; kill -KILL $PPID; sleep 1000"))).await;
    assert_eq!(ended(&server, &alone).await["outcome"], "lost", "nobody saw its end");
    eventually("nothing is left", || async { marked(&mark).is_empty().then_some(()) }).await;
    start(&server, &body(format!("{below}; kill -STOP $PPID; echo ready; sleep 1000"))).await;
    eventually("the tree", || async { (marked(&mark).len() >= 4).then_some(()) }).await;
    assert!(server.terminate().await.success());
    eventually("nothing is left", || async { marked(&mark).is_empty().then_some(()) }).await;
}

#[tokio::test]
async fn ends_are_told_as_they_were() {
    let place = Place::new();
    let server = place.start().await;
    for (script, outcome, code, signal) in [
        ("exit 0", "exited", json!(0), Value::Null),
        ("exit 255", "exited", json!(255), Value::Null),
        ("kill -KILL $$", "signalled", Value::Null, json!("SIGKILL")),
        ("kill -SEGV $$", "signalled", Value::Null, json!("SIGSEGV")),
    ] {
        let id = sh(&server, script).await;
        let shown = ended(&server, &id).await;
        assert_eq!((&shown["outcome"], &shown["exit_code"], &shown["signal"]), (&json!(outcome), &code, &signal));
        let (_, process) = get(&server, &format!("/v1/processes/{id}")).await;
        assert_eq!((&process["outcome"], &process["exit_code"]), (&json!(outcome), &code), "{script}");
    }
    let id = sh(&server, "trap 'echo int; exit 9' INT; echo ready; while :; do sleep 0.05; done").await;
    wrote(&server, &id, "ready").await;
    assert_eq!(signal(&server, &id, "interrupt").await.0, StatusCode::OK);
    let shown = ended(&server, &id).await;
    assert_eq!((&shown["exit_code"], &shown["output"]), (&json!(9), &json!("ready\nint\n")));
    for bad in [json!({}), json!({ "signal": "SIGHUP" }), json!({ "signal": 9 }), json!({ "signal": "kill", "x": 1 })] {
        let (status, problem) = server.post(&format!("/v1/processes/{id}/signal"), &bad).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{problem}");
    }
    assert_eq!(signal(&server, &id, "terminate").await.0, StatusCode::CONFLICT);
    let body = json!({ "command": "trap '' TERM; echo a; sleep 1000", "shell": true, "timeout_ms": 300 });
    let id = start(&server, &body).await;
    let shown = ended(&server, &id).await;
    assert_eq!((&shown["outcome"], &shown["signal"]), (&json!("timed_out"), &json!("SIGKILL")), "{shown}");
}

/// Everything that can end it comes at the moment at which it ends by itself. Whatever wins, there is one end, it is
/// the true one, and everybody hears of the same.
#[tokio::test]
async fn an_end_that_comes_with_signals_waits_and_timeouts_is_one_end() {
    let place = Place::new();
    let server = place.start().await;
    let file = place.folder.path().join("last-words");
    let mut ends = std::collections::BTreeMap::<String, u32>::new();
    for round in 0..40_u64 {
        let script = format!("sleep 0.0{}; echo done > {}; exit 5", 20 + round % 20, file.display());
        let _ = std::fs::remove_file(&file);
        let body = json!({ "command": script, "shell": true, "timeout_ms": 20 + round });
        let id = start(&server, &body).await;
        let send = async {
            tokio::time::sleep(std::time::Duration::from_millis(10 + round % 30)).await;
            signal(&server, &id, ["terminate", "kill"][round as usize % 2]).await.0
        };
        let (sent, first, second) = tokio::join!(send, ended(&server, &id), ended(&server, &id));
        assert!([StatusCode::OK, StatusCode::CONFLICT].contains(&sent), "{sent}");
        let recorded = exited(&server, &id).await;
        for shown in [&first, &second, &shown(&server, &id).await] {
            for field in ["outcome", "exit_code", "signal"] {
                assert_eq!(shown[field], recorded[field], "{field}: {shown} {recorded}");
            }
        }
        let outcome = recorded["outcome"].as_str().unwrap().to_owned();
        match outcome.as_str() {
            "exited" => {
                assert_eq!((&recorded["exit_code"], &recorded["signal"]), (&json!(5), &Value::Null));
                assert!(file.exists(), "it exited by itself");
            }
            // A signal that was sent as its time was up may be the one that ended it.
            "timed_out" if sent == StatusCode::OK => {
                assert!(["SIGTERM", "SIGKILL"].contains(&recorded["signal"].as_str().unwrap()));
            }
            "timed_out" => assert_eq!(recorded["signal"], "SIGKILL"),
            "killed" => {
                assert!(["SIGTERM", "SIGKILL"].contains(&recorded["signal"].as_str().unwrap()));
                assert_eq!(sent, StatusCode::OK, "nobody else sent one");
            }
            _ => panic!("{recorded}"),
        }
        *ends.entry(outcome).or_default() += 1;
    }
    println!("{ends:?}");
}

#[tokio::test]
async fn what_runs_when_the_server_is_killed_is_lost_with_what_was_recorded() {
    let place = Place::new();
    let server = place.start().await;
    let value = uuid::Uuid::now_v7().to_string();
    let mark = format!("MARK={value}");
    let body = json!({ "command": STUBBORN, "shell": true, "env": { "MARK": value }, "client_token": "t" });
    let id = start(&server, &body).await;
    wrote(&server, &id, "ready").await;
    eventually("the tree", || async { (marked(&mark).len() >= 6).then_some(()) }).await;
    server.kill();
    eventually("nothing is left", || async { marked(&mark).is_empty().then_some(()) }).await;

    // A command that finds no server is told so too, before any server has recorded it.
    let listed = moonlog_tests::command(place.folder.path(), &["ps", "--json"]);
    let listed: Value = serde_json::from_slice(&listed.stdout).unwrap();
    assert_eq!(
        (&listed["processes"][0]["running"], &listed["processes"][0]["outcome"]),
        (&json!(false), &json!("lost"))
    );

    let server = place.start().await;
    let shown = ended(&server, &id).await;
    assert_eq!((&shown["output"], &shown["outcome"]), (&json!("ready\n"), &json!("lost")), "{shown}");
    assert!(shown.get("exit_code").is_none() && shown.get("signal").is_none(), "no end was invented: {shown}");
    let recorded = exited(&server, &id).await;
    assert_eq!((&recorded["outcome"], &recorded["output_bytes"]), (&json!("lost"), &json!(6)));
    assert!(recorded.get("exit_code").is_none(), "{recorded}");
    let ends = server.ndjson(&format!("/v1/events?process={id}&types=process.started,process.exited")).await;
    assert_eq!(ends[1]["cause"], ends[0]["position"], "as of any other end: {ends:?}");
    assert_eq!(signal(&server, &id, "kill").await.0, StatusCode::CONFLICT);
    let (status, answer) = server.post("/v1/processes", &body).await;
    assert_eq!((status, &answer["id"]), (StatusCode::OK, &json!(id)), "its token is taken");
}

#[tokio::test]
async fn what_runs_when_the_server_stops_is_killed_and_recorded() {
    let place = Place::new();
    let server = place.start().await;
    let value = uuid::Uuid::now_v7().to_string();
    let id = start(&server, &json!({ "command": STUBBORN, "shell": true, "env": { "MARK": value } })).await;
    wrote(&server, &id, "ready").await;
    assert!(server.terminate().await.success());
    assert_eq!(marked(&format!("MARK={value}")), Vec::<i32>::new());
    let server = place.start().await;
    let recorded = exited(&server, &id).await;
    assert_eq!((&recorded["outcome"], &recorded["signal"]), (&json!("killed"), &json!("SIGKILL")));
    assert_eq!(ended(&server, &id).await["output"], "ready\n");
}
