//! Schedules over HTTP.

use crate::place::{Place, read};
use reqwest::Method;
use serde_json::{Value, json};

async fn put(place: &Place, name: &str, body: &Value) -> (u16, Value) {
    let request = place.request(Method::PUT, &format!("/v1/schedules/{name}")).json(body);
    let (status, body) = read(request.send().await.unwrap()).await;
    (status.as_u16(), body)
}

#[tokio::test]
async fn a_schedule_is_set_changed_shown_and_removed() {
    let place = Place::start().await;
    let body = json!({ "cron": "0 3 * * 1-5", "workflow": "repo-report", "time_zone": "Europe/Berlin" });
    let (status, set) = put(&place, "nightly", &body).await;
    assert_eq!((status, &set["name"], &set["overlap"]), (201, &json!("nightly"), &json!("skip")), "{set}");
    assert_eq!(set["args"]["path"], ".", "the schema's defaults are filled in");
    assert_eq!(set["next"].as_array().unwrap().len(), 3);
    let (status, again) = put(&place, "nightly", &body).await;
    assert_eq!((status, &again["set_at"]), (200, &set["set_at"]), "setting it to what it is changes nothing");
    let paused = json!({ "cron": "@daily", "workflow": "repo-report", "paused": true, "catch_up": "none" });
    let (status, changed) = put(&place, "nightly", &paused).await;
    assert_eq!((status, &changed["next"], &changed["catch_up"]), (200, &json!([]), &json!("none")));
    let (_, page) = place.get("/v1/schedules").await;
    assert_eq!(page["items"], json!([place.get("/v1/schedules/nightly").await.1]));
    let types = place.get("/v1/events?types=schedule.*").await.1;
    assert_eq!(types["events"].as_array().unwrap().len(), 2);
    let removed = place.request(Method::DELETE, "/v1/schedules/nightly").send().await.unwrap();
    assert_eq!(removed.status(), 204);
    assert_eq!(place.get("/v1/schedules/nightly").await.0, 404);
    let (status, _) = read(place.request(Method::DELETE, "/v1/schedules/nightly").send().await.unwrap()).await;
    assert_eq!(status, 404);
}

#[tokio::test]
async fn what_is_wrong_with_a_schedule_is_said() {
    let place = Place::start().await;
    let with = |change: &[(&str, Value)]| {
        let mut body = json!({ "cron": "* * * * *", "workflow": "repo-report" });
        change.iter().for_each(|(name, value)| body[name] = value.clone());
        body
    };
    for (name, body, status, code) in [
        ("s", with(&[("cron", json!("61 * * * *"))]), 400, "invalid_cron"),
        ("s", with(&[("cron", json!("0 0 30 2 *"))]), 400, "invalid_cron"),
        ("s", with(&[("time_zone", json!("Mars/Base"))]), 400, "invalid_time_zone"),
        ("s", with(&[("workflow", json!("nothing"))]), 404, "no_such_workflow"),
        ("s", with(&[("args", json!({ "path": 7 }))]), 422, "invalid_args"),
        ("s", with(&[("queue", json!("nothing"))]), 400, "no_such_queue"),
        ("s", with(&[("overlap", json!("both"))]), 400, "invalid_request"),
        ("s", with(&[("jitter_ms", json!(3_600_001))]), 400, "invalid_request"),
        ("s", with(&[("often", json!(1))]), 400, "invalid_request"),
        ("s", json!({}), 400, "invalid_request"),
        ("a%20b", with(&[]), 400, "invalid_schedule_name"),
    ] {
        let (given, problem) = put(&place, name, &body).await;
        assert_eq!((given, &problem["code"]), (status, &json!(code)), "{body}: {problem}");
    }
    assert_eq!(place.get("/v1/schedules").await.1["items"], json!([]));
}
