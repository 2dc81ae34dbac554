//! `/openapi.json` against the server: nothing is described that is not there, and nothing is there that is not
//! described.

use crate::place::Place;
use reqwest::Method;
use serde_json::{Value, json};

const ID: &str = "019ab0c2-7d1e-7cc1-9d53-0a3d6b6f2f11";

#[tokio::test]
async fn every_operation_that_is_described_is_there() {
    let place = Place::start().await;
    let (_, document) = place.get("/openapi.json").await;
    assert_eq!(document["openapi"], "3.1.0");
    for (path, operations) in document["paths"].as_object().unwrap() {
        let real = path
            .split('/')
            .map(|segment| match segment {
                "{id}" => ID,
                "{hash}" => "0000000000000000000000000000000000000000000000000000000000000000",
                segment if segment.starts_with('{') => "name",
                segment => segment,
            })
            .collect::<Vec<_>>()
            .join("/");
        let allow = place.request(Method::OPTIONS, &real).send().await.unwrap().headers()["allow"].clone();
        let allowed: Vec<String> = allow.to_str().unwrap().split(", ").map(str::to_ascii_lowercase).collect();
        for (method, operation) in operations.as_object().unwrap().iter().filter(|(name, _)| *name != "parameters") {
            assert!(allowed.contains(method), "{method} {path}");
            let name = Method::from_bytes(method.to_ascii_uppercase().as_bytes()).unwrap();
            // A parameter that is not described is refused, so those that are described are all there are.
            let response = place.request(name.clone(), &format!("{real}?no-such-parameter=1")).send().await.unwrap();
            assert_eq!(response.status(), 400, "{method} {path}");
            for parameter in operation["parameters"].as_array().into_iter().flatten() {
                let query = format!("{real}?{}=", parameter["name"].as_str().unwrap());
                let response = place.request(name.clone(), &query).send().await.unwrap();
                let text = response.text().await.unwrap();
                assert!(!text.contains("is no known parameter"), "{query}: {text}");
            }
        }
        let described = operations.as_object().unwrap().keys().filter(|name| *name != "parameters").count();
        let real = allowed.iter().filter(|name| !["head", "options"].contains(&name.as_str())).count();
        assert_eq!(described, real, "{path}");
    }
}

#[tokio::test]
async fn bodies_have_the_fields_that_are_described() {
    let place = Place::start().await;
    let (_, document) = place.get("/openapi.json").await;
    for (path, operations) in document["paths"].as_object().unwrap() {
        let Some(schema) = operations["post"]["requestBody"]["content"]["application/json"]["schema"]["$ref"].as_str()
        else {
            continue;
        };
        let schema = &document["components"]["schemas"][schema.rsplit('/').next().unwrap()];
        let path = path.replace("{id}", ID).replace("{name}", "default").replace("{approval}", "gate");
        // Every field with a value of a wrong kind, and one that is not there.
        let fields = schema["properties"].as_object().unwrap();
        let mut body: serde_json::Map<String, Value> =
            fields.iter().map(|(name, field)| (name.clone(), wrong(field))).collect();
        body.insert("no_such_field".into(), json!(1));
        let (status, problem) = place.post(&path, &body.into()).await;
        assert_eq!(status, 400, "{path}: {problem}");
        let named: Vec<&str> =
            problem["errors"].as_array().unwrap().iter().map(|error| error["path"].as_str().unwrap()).collect();
        assert!(named.contains(&"no_such_field"), "{path}: {problem}");
        for error in problem["errors"].as_array().unwrap() {
            let known = error["path"] == "no_such_field" || error["message"] != "is no known field";
            assert!(known, "{path}: {error}");
        }
        for (name, field) in fields.iter().filter(|(_, field)| !wrong(field).is_null()) {
            assert!(named.contains(&name.as_str()), "{path}: {name} took {}: {problem}", wrong(field));
        }
    }
}

/// A value that the schema does not take; null where it takes any.
fn wrong(schema: &Value) -> Value {
    match schema["type"].as_str() {
        Some("string" | "integer" | "boolean" | "number") => json!([]),
        Some("object") => json!(7),
        _ if schema.get("$ref").is_some() || schema.get("anyOf").is_some() => json!(7),
        _ => Value::Null,
    }
}

#[tokio::test]
async fn answers_are_what_is_described() {
    let place = Place::start().await;
    let (_, document) = place.get("/openapi.json").await;
    let script = "phase('p') parallel { a = function() return sh('exit 3') end, g = function() return approve { title = 't' } end }";
    let (_, job) = place.post("/v1/jobs?wait=20ms", &json!({ "script": script, "labels": { "a": "b" } })).await;
    let id = job["id"].as_str().unwrap();
    let approvals = loop {
        let (_, page) = place.get("/v1/approvals").await;
        if page["items"].get(0).is_some() {
            break page;
        }
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    };
    let started = place.post("/v1/processes", &json!({ "command": "seq 99999", "shell": true })).await.1;
    let process = format!("/v1/processes/{}", started["id"].as_str().unwrap());
    let (_, session) = place.post("/v1/sessions", &json!({ "workspace": { "kind": "directory" }, "title": "t" })).await;
    let session_path = format!("/v1/sessions/{}", session["id"].as_str().unwrap());
    let ended =
        json!({ "command": "echo", "args": ["a"], "session": session["id"], "background": true, "client_token": "t" });
    let ended = place.post("/v1/processes", &ended).await.1;
    let answers = [
        ("Started", started),
        ("Started", ended),
        ("ProcessOutput", place.get(&format!("{process}/output?wait=true")).await.1),
        ("Process", place.get(&process).await.1),
        ("ProcessList", place.get("/v1/processes").await.1),
        ("Found", place.get(&format!("{process}/search?pattern=7$&context=1&limit=2")).await.1),
        ("Job", job.clone()),
        ("Job", place.get(&format!("/v1/jobs/{id}")).await.1),
        ("ApprovalPage", approvals),
        ("Job", place.post(&format!("/v1/jobs/{id}/cancel"), &json!({})).await.1),
        ("Job", place.get(&format!("/v1/jobs/{id}?wait=30s")).await.1),
        ("Job", place.post(&format!("/v1/jobs/{id}/retry"), &json!({})).await.1),
        ("Job", place.post(&format!("/v1/jobs/{id}/fork"), &json!({ "at": 1 })).await.1),
        ("Diff", place.get(&format!("/v1/jobs/{id}/diff/{id}")).await.1),
        ("JobPage", place.get("/v1/jobs").await.1),
        ("State", place.get(&format!("/v1/jobs/{id}/state")).await.1),
        ("EventPage", place.get("/v1/events?limit=1000").await.1),
        ("QueuePage", place.get("/v1/queues").await.1),
        ("SchedulePage", place.get("/v1/schedules").await.1),
        ("WorkflowPage", place.get("/v1/workflows").await.1),
        ("CheckReport", place.post("/v1/workflows/check", &json!({ "script": "return 1" })).await.1),
        ("CheckReport", place.post("/v1/workflows/check", &json!({ "script": "(" })).await.1),
        ("Ticket", place.post("/v1/tickets", &json!({})).await.1),
        ("VerifyReport", place.get("/v1/verify").await.1),
        ("Session", session.clone()),
        ("SessionPage", place.get("/v1/sessions").await.1),
        ("ChangePage", place.get(&format!("{session_path}/changes")).await.1),
        ("Reverted", place.post(&format!("{session_path}/changes/revert"), &json!({ "all": true })).await.1),
        ("Session", place.post(&format!("{session_path}/close"), &json!({})).await.1),
        ("Health", place.get("/healthz").await.1),
        ("Problem", place.get("/nothing").await.1),
        ("Problem", place.post("/v1/jobs", &json!({ "script": "(" })).await.1),
    ];
    for (schema, answer) in answers {
        let schemas = &document["components"]["schemas"];
        fits(schemas, &schemas[schema], &answer, schema);
    }
}

/// Checks what schemas here say: kinds, required and known properties.
fn fits(schemas: &Value, schema: &Value, value: &Value, place: &str) {
    if let Some(name) = schema["$ref"].as_str() {
        return fits(schemas, &schemas[name.rsplit('/').next().unwrap()], value, place);
    }
    if let Some(any) = schema["anyOf"].as_array().filter(|_| schema.get("type").is_none()) {
        if !value.is_null() {
            fits(schemas, &any[0], value, place);
        }
        return;
    }
    let kind = match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(number) if number.is_f64() => "number",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    };
    assert!(schema.get("type").is_none_or(|wanted| wanted == kind), "{place} is {value}, described as {schema}");
    for item in value.as_array().into_iter().flatten() {
        fits(schemas, &schema["items"], item, &format!("{place}[]"));
    }
    let Some(properties) = schema["properties"].as_object() else { return };
    for name in schema["required"].as_array().into_iter().flatten() {
        assert!(value.get(name.as_str().unwrap()).is_some(), "{place} has no {name}: {value}");
    }
    for (name, value) in value.as_object().into_iter().flatten() {
        let described = properties.get(name).unwrap_or_else(|| panic!("{place}.{name} is not described: {value}"));
        fits(schemas, described, value, &format!("{place}.{name}"));
    }
}
