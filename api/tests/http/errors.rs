//! The catalogue of error codes over HTTP.

use crate::place::Place;
use serde_json::json;

#[tokio::test]
async fn every_problem_leads_to_what_its_code_means() {
    let place = Place::start().await;
    let (status, problem) = place.get("/v1/jobs/019ab0c2-7d1e-7cc1-9d53-0a3d6b6f2f11").await;
    assert_eq!((status.as_u16(), &problem["type"]), (404, &json!("/v1/errors/no_such_job")));
    let (status, code) = place.get(problem["type"].as_str().unwrap()).await;
    assert_eq!((status.as_u16(), &code["code"]), (200, &json!("no_such_job")));
    assert!(code["status"].as_array().unwrap().contains(&json!(404)) && code["action"].is_string(), "{code}");
    let (status, problem) = place.get("/v1/errors/nonsense").await;
    assert_eq!((status.as_u16(), &problem["code"]), (404, &json!("no_such_code")));
    let (mut all, mut cursor) = (Vec::new(), String::new());
    loop {
        let (_, page) = place.get(&format!("/v1/errors?limit=200{cursor}")).await;
        all.extend(page["items"].as_array().unwrap().clone());
        match page["next"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    assert_eq!(all.len(), moonlog_core::error_code::all().count());
}
