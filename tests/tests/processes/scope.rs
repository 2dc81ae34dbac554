//! Who sees which processes, in which order, and how long.

use crate::support::*;
use moonlog_tests::{Server, Settings};
use reqwest::StatusCode;
use serde_json::{Value, json};

async fn session(server: &Server) -> String {
    let (status, session) = server.post("/v1/sessions", &json!({})).await;
    assert_eq!(status, StatusCode::CREATED, "{session}");
    session["id"].as_str().unwrap().to_owned()
}

fn ids(list: &Value) -> Vec<&str> {
    list["processes"].as_array().unwrap().iter().map(|process| process["id"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn a_session_sees_its_own_and_no_other() {
    let place = Place::new();
    let server = place.start().await;
    let (mine_session, other_session) = (session(&server).await, session(&server).await);
    let of = |session: Option<&str>| json!({ "command": "sleep 1000", "shell": true, "session": session });
    let mine = start(&server, &of(Some(&mine_session))).await;
    let other = start(&server, &of(Some(&other_session))).await;
    let nobodys = start(&server, &of(None)).await;
    let (_, list) = get(&server, &format!("/v1/processes?session={mine_session}")).await;
    assert_eq!(ids(&list), [&*mine]);
    assert_eq!(list["processes"][0]["session"], json!(mine_session));
    let (_, all) = get(&server, "/v1/processes").await;
    assert_eq!(ids(&all), [&*nobodys, &*other, &*mine], "the newest first");
    let (_, none) = get(&server, "/v1/processes?session=019ab0c2-7d1e-7cc1-9d53-000000000003").await;
    assert_eq!(none, json!({ "processes": [] }));

    for id in [&other, &nobodys] {
        for path in ["", "/output", "/output?wait=true", "/search?pattern=x"] {
            let sign = if path.contains('?') { '&' } else { '?' };
            let (status, problem) =
                get(&server, &format!("/v1/processes/{id}{path}{sign}session={mine_session}")).await;
            assert_eq!((status, &problem["code"]), (StatusCode::NOT_FOUND, &json!("no_such_process")), "{path}");
        }
        let path = format!("/v1/processes/{id}/signal?session={mine_session}");
        assert_eq!(server.post(&path, &json!({ "signal": "kill" })).await.0, StatusCode::NOT_FOUND);
        assert_eq!(shown(&server, id).await["running"], true, "it was not signalled");
    }
    let path = format!("/v1/processes/{mine}/signal?session={mine_session}");
    assert_eq!(server.post(&path, &json!({ "signal": "kill" })).await.0, StatusCode::OK);
    ended(&server, &mine).await;
    let (_, all) = get(&server, "/v1/processes").await;
    assert_eq!(ids(&all), [&*nobodys, &*other, &*mine], "those that run come first");
    let newest = start(&server, &json!({ "command": "true" })).await;
    ended(&server, &newest).await;
    let (_, all) = get(&server, "/v1/processes").await;
    assert_eq!(ids(&all), [&*nobodys, &*other, &*newest, &*mine], "then the newest");
    assert_eq!(ids(&get(&server, "/v1/processes?limit=2").await.1), [&*nobodys, &*other]);
    let feed = server.ndjson(&format!("/v1/events?session={mine_session}&follow=false")).await;
    let of_process: Vec<_> = feed.iter().filter(|event| event["type"] != "session.created").collect();
    assert!(of_process.len() == 2 && of_process.iter().all(|event| event["process"] == json!(mine)), "{feed:?}");
}

#[tokio::test]
async fn a_session_that_is_not_there_has_no_processes() {
    let place = Place::new();
    let server = place.start().await;
    let nowhere = "019ab0c2-7d1e-7cc1-9d53-000000000001";
    for token in [None, Some("t")] {
        let body = json!({ "command": "true", "session": nowhere, "client_token": token });
        let (status, problem) = server.post("/v1/processes", &body).await;
        assert_eq!((status, &problem["code"]), (StatusCode::NOT_FOUND, &json!("no_such_session")), "{problem}");
    }
    assert_eq!(get(&server, "/v1/processes").await.1, json!({ "processes": [] }));
    // The token is free still.
    let session = session(&server).await;
    let body = json!({ "command": "true", "session": session, "client_token": "t" });
    let (status, first) = server.post("/v1/processes", &body).await;
    assert_eq!(status, StatusCode::CREATED, "{first}");
    // Who asks again is answered also when the session is closed.
    ended(&server, first["id"].as_str().unwrap()).await;
    assert!(server.post(&format!("/v1/sessions/{session}/close"), &json!({})).await.0.is_success());
    let (status, again) = server.post("/v1/processes", &body).await;
    assert_eq!((status, &again["id"]), (StatusCode::OK, &first["id"]), "{again}");
    let (status, problem) = server.post("/v1/processes", &json!({ "command": "true", "session": session })).await;
    assert_eq!((status, &problem["code"]), (StatusCode::CONFLICT, &json!("session_closed")), "{problem}");
}

#[tokio::test]
async fn what_is_not_there_is_not_found() {
    let place = Place::new();
    let server = place.start().await;
    for id in ["019ab0c2-7d1e-7cc1-9d53-0a3d6b6f2f11", "no-id"] {
        for path in ["", "/output", "/search?pattern=x"] {
            let (status, problem) = get(&server, &format!("/v1/processes/{id}{path}")).await;
            assert_eq!((status, &problem["code"]), (StatusCode::NOT_FOUND, &json!("no_such_process")), "{id}{path}");
        }
        assert_eq!(signal(&server, id, "kill").await.0, StatusCode::NOT_FOUND);
    }
    assert_eq!(get(&server, "/v1/processes?session=mine").await.0, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn processes_of_jobs_are_seen_too_until_long_after() {
    let place = Place::new();
    let settings = Settings { config: "[log]\nsnapshot_every_events = 100".into(), ..Settings::default() };
    let mut server = Server::start_with(place.folder.path(), &settings).await;
    let job = server.run("sh('echo of a job; exit 3') return 1").await["id"].as_str().unwrap().to_owned();
    let (_, list) = get(&server, &format!("/v1/processes?job={job}")).await;
    let of_job = ids(&list)[0].to_owned();
    assert_eq!((&list["processes"][0]["job"], &list["processes"][0]["exit_code"]), (&json!(job), &json!(3)));
    let own = sh(&server, "echo of nobody; exit 4").await;
    ended(&server, &own).await;
    // More than are remembered: of long command lines, fewer than a thousand.
    server.run("for i = 1, 45 do assert(exec('true', { string.rep('x', 100000) })) end").await;
    for restart in [false, true] {
        if restart {
            server.terminate().await;
            server = Server::start_with(place.folder.path(), &settings).await;
        }
        let (_, list) = get(&server, "/v1/processes").await;
        assert!(!ids(&list).contains(&&*own), "{} are listed", ids(&list).len());
        for (id, text, code) in [(&own, "of nobody", 4), (&of_job, "of a job", 3)] {
            let shown = ended(&server, id).await;
            assert_eq!((&shown["output"], &shown["exit_code"]), (&json!(format!("{text}\n")), &json!(code)));
            let (_, found) = get(&server, &format!("/v1/processes/{id}/search?pattern=^of")).await;
            assert_eq!(found["matches"][0]["text"], text);
            let (_, process) = get(&server, &format!("/v1/processes/{id}")).await;
            assert_eq!((&process["running"], &process["exit_code"]), (&json!(false), &json!(code)));
            assert_eq!(signal(&server, id, "kill").await.0, StatusCode::CONFLICT);
        }
    }
}
