//! A client that does not know whether it was heard asks again with its token.

use crate::support::*;
use futures_util::future::join_all;
use reqwest::StatusCode;
use serde_json::json;

#[tokio::test]
async fn a_token_starts_one_process_whoever_asks_however_often() {
    let place = Place::new();
    let server = place.start().await;
    let counter = place.folder.path().join("started");
    let script = format!("echo x >> {}", counter.display());
    let body = json!({ "command": script, "shell": true, "client_token": "at once" });
    let answers = join_all((0..10).map(|_| server.post("/v1/processes", &body))).await;
    let created = answers.iter().filter(|(status, _)| *status == StatusCode::CREATED).count();
    assert_eq!(created, 1, "{answers:?}");
    let id = &answers[0].1["id"];
    for (status, answer) in &answers {
        assert_eq!(&answer["id"], id);
        assert_eq!(answer["started"], *status == StatusCode::CREATED, "{status} {answer}");
        assert!([StatusCode::CREATED, StatusCode::OK].contains(status));
    }
    ended(&server, id.as_str().unwrap()).await;
    assert_eq!(std::fs::read_to_string(counter).unwrap(), "x\n");
}

#[tokio::test]
async fn a_token_is_known_after_a_restart_and_after_a_crash() {
    let place = Place::new();
    let mut server = place.start().await;
    let body = json!({ "command": "echo hi", "shell": true, "client_token": "t", "background": false });
    let id = start(&server, &body).await;
    ended(&server, &id).await;
    for crash in [false, true, false] {
        // The same body, written another way.
        let reordered = r#"{ "background":false,"client_token" : "t", "shell": true,  "command": "echo hi" }"#;
        let (status, answer) = server.post("/v1/processes", &serde_json::from_str(reordered).unwrap()).await;
        assert_eq!((status, &answer), (StatusCode::OK, &json!({ "id": id, "started": false })));
        for other in [
            json!({ "command": "echo ho", "shell": true, "client_token": "t", "background": false }),
            json!({ "command": "echo hi", "shell": true, "client_token": "t" }),
        ] {
            let (status, problem) = server.post("/v1/processes", &other).await;
            assert_eq!((status, &problem["code"]), (StatusCode::CONFLICT, &json!("client_token_reused")));
            assert_eq!(problem["details"]["process"], json!(id), "{problem}");
        }
        if crash {
            server.kill();
        } else {
            assert!(server.terminate().await.success());
        }
        server = place.start().await;
    }
    assert_eq!(get(&server, "/v1/processes").await.1["processes"].as_array().unwrap().len(), 1);
    let claims = events(&server, &id).await;
    let claimed: Vec<_> = claims.iter().filter(|event| event["type"] == "process.token_claimed").collect();
    assert_eq!(claimed.len(), 1);
    assert_eq!((&claimed[0]["version"], &claimed[0]["data"]["client_token"]), (&json!(2), &json!("t")));
}

#[tokio::test]
async fn what_was_not_started_leaves_its_token_free() {
    let place = Place::new();
    let server = place.start().await;
    let body = json!({ "command": "./later", "client_token": "t" });
    assert_eq!(server.post("/v1/processes", &body).await.0, StatusCode::BAD_REQUEST);
    let file = place.folder.path().join("later");
    std::fs::write(&file, "#!/bin/sh\necho now\n").unwrap();
    std::fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let id = start(&server, &body).await;
    assert_eq!(ended(&server, &id).await["output"], "now\n");
}
