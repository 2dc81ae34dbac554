//! `/openapi.json`, made of the table that the router goes by; the schemas stand beside this file.

use super::{
    problem::Problem,
    reply::{self, Response},
    route::{Operation, Route},
    routes::ROUTES,
};
use serde_json::{Map, Value, json};
use std::sync::OnceLock;
use warp::http::StatusCode;

/// Schemas of bodies and answers, by name.
const SCHEMAS: &str = include_str!("openapi_schemas.json");

/// `GET /openapi.json`
pub async fn show() -> Result<Response, Problem> {
    static TEXT: OnceLock<String> = OnceLock::new();
    Ok(reply::json_text(StatusCode::OK, TEXT.get_or_init(|| document().to_string()).clone()))
}

/// The description.
pub fn document() -> Value {
    let paths: Map<String, Value> = ROUTES.iter().map(|route| (route.path.to_owned(), path(route))).collect();
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "moonlog",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "Jobs, their events and feeds. Errors are RFC 9457 problem details with a stable `code`.",
            "license": { "name": "MIT OR Apache-2.0" },
        },
        "paths": paths,
        "components": {
            "schemas": serde_json::from_str::<Value>(SCHEMAS).unwrap_or_default(),
            "securitySchemes": {
                "token": { "type": "http", "scheme": "bearer", "description": "Where the server has a token." },
                "ticket": { "type": "apiKey", "in": "query", "name": "ticket", "description": "Feeds only." },
            },
        },
        "security": [{}, { "token": [] }],
    })
}

fn path(route: &Route) -> Value {
    let mut path = Map::new();
    let variables: Vec<Value> = variables(route.path).map(|name| parameter(name, "path")).collect();
    if !variables.is_empty() {
        path.insert("parameters".into(), variables.into());
    }
    for operation in route.operations {
        path.insert(operation.method.as_str().to_ascii_lowercase(), self::operation(operation));
    }
    path.into()
}

fn operation(operation: &Operation) -> Value {
    let mut answers = Map::new();
    for (status, what) in operation.answers {
        let answer =
            answers.entry(status.to_string()).or_insert_with(|| json!({ "description": description(*status) }));
        match *what {
            "" => {}
            media if media.contains('/') => answer["content"][media] = json!({ "schema": { "type": "string" } }),
            "OpenApi" => answer["content"]["application/json"] = json!({ "schema": { "type": "object" } }),
            schema => answer["content"]["application/json"] = json!({ "schema": reference(schema) }),
        }
    }
    let common: &[u16] =
        if operation.body.is_some() { &[400, 401, 403, 413, 415, 500, 503] } else { &[400, 401, 403, 500, 503] };
    for status in common.iter().chain(operation.problems) {
        answers.insert(
            status.to_string(),
            json!({
                "description": description(*status),
                "content": { "application/problem+json": { "schema": reference("Problem") } },
            }),
        );
    }
    let mut shown = json!({
        "operationId": format!("{:?}", operation.endpoint),
        "summary": operation.summary,
        "responses": answers,
    });
    if !operation.query.is_empty() {
        shown["parameters"] = operation.query.iter().map(|name| parameter(name, "query")).collect();
    }
    if let Some(schema) = operation.body {
        shown["requestBody"] = json!({
            "required": schema_has_required(schema),
            "content": { media_type(schema): { "schema": reference(schema) } },
        });
    }
    if operation.query.contains(&"ticket") {
        shown["security"] = json!([{}, { "token": [] }, { "ticket": [] }]);
    }
    shown
}

/// How a body of this schema is sent.
fn media_type(schema: &str) -> &'static str {
    if schema == "Bundle" { "application/x-ndjson" } else { "application/json" }
}

/// A parameter. A name means the same wherever it occurs.
fn parameter(name: &str, place: &str) -> Value {
    let (schema, text) = match name {
        "wait" => (
            json!({ "type": "string", "examples": ["30s"] }),
            "Wait for the end: a duration, or `true` for as long as is allowed. A job that has not ended then: 202.",
        ),
        "limit" => (json!({ "type": "integer", "minimum": 1 }), "How many at most."),
        "cursor" => (json!({ "type": "string" }), "`next` of the page before."),
        "state" => (reference("JobStatus"), "Jobs in this state."),
        "status" => (reference("SessionStatus"), "Sessions with this status."),
        "workflow" => (json!({ "type": "string" }), "Jobs of this workflow."),
        "label" => (json!({ "type": "string" }), "Jobs with this label: `name` or `name=value`."),
        "queue" => (json!({ "type": "string" }), "Jobs of this queue."),
        "exhausted" => (json!({ "type": "boolean" }), "Failed jobs that are out of attempts, or all others."),
        "parent" => (json!({ "type": "string", "format": "uuid" }), "Children of this job."),
        "since" => (json!({ "type": "string", "format": "date-time" }), "Jobs submitted then or later."),
        "after" => (
            json!({ "type": "string", "default": "0" }),
            "Events behind this position; `head` for new ones alone. The header Last-Event-ID wins.",
        ),
        "types" => {
            (json!({ "type": "string", "examples": ["chat.*,tool.finished"] }), "Event types: names and prefixes.")
        }
        "job" | "session" | "process" => (json!({ "type": "string", "format": "uuid" }), "What belongs to it."),
        "follow" => (json!({ "type": "boolean" }), "Whether to go on behind the head."),
        "ticket" => (json!({ "type": "string" }), "From POST /v1/tickets, in place of the token."),
        "at" => (json!({ "type": "integer", "minimum": 1 }), "A version of the job's stream; the newest where absent."),
        "hash" => (json!({ "type": "string", "pattern": "^[0-9a-f]{64}$" }), "A blake3 hash."),
        "approval" => (json!({ "type": "string" }), "The step's call path or the tool's call id, percent-encoded."),
        "pattern" => (json!({ "type": "string" }), "A regular expression, of the kind that takes linear time."),
        "context" => (json!({ "type": "integer", "minimum": 0 }), "How many lines before and after each."),
        "format" => (json!({ "enum": ["json", "otlp"] }), "`otlp` for OTLP/JSON."),
        "message" => (json!({ "type": "string" }), "The message's id."),
        "id" => (json!({ "type": "string", "format": "uuid" }), "Its id."),
        _ => (json!({ "type": "string" }), "Its name."),
    };
    json!({ "name": name, "in": place, "required": place == "path", "schema": schema, "description": text })
}

fn variables(path: &str) -> impl Iterator<Item = &str> {
    path.split('/').filter_map(|segment| segment.strip_prefix('{')?.strip_suffix('}'))
}

fn reference(schema: &str) -> Value {
    json!({ "$ref": format!("#/components/schemas/{schema}") })
}

fn schema_has_required(schema: &str) -> bool {
    let schemas: Value = serde_json::from_str(SCHEMAS).unwrap_or_default();
    schemas[schema].get("required").is_some() || schemas[schema].get("anyOf").is_some()
}

fn description(status: u16) -> &'static str {
    StatusCode::from_u16(status).ok().and_then(|status| status.canonical_reason()).unwrap_or("Answer")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_schema_that_is_named_is_there() {
        let document = document();
        let text = document.to_string();
        for reference in text.split("#/components/schemas/").skip(1) {
            let name = reference.split('"').next().unwrap();
            assert!(document["components"]["schemas"][name].is_object(), "{name}");
        }
    }

    #[test]
    fn variables_and_operations_are_those_of_the_routes() {
        let document = document();
        for route in ROUTES {
            let described = &document["paths"][route.path];
            let names: Vec<&str> = variables(route.path).collect();
            let listed: Vec<&str> =
                described["parameters"].as_array().into_iter().flatten().map(|p| p["name"].as_str().unwrap()).collect();
            assert_eq!(names, listed, "{}", route.path);
        }
        let mut ids: Vec<&str> = ROUTES
            .iter()
            .flat_map(|route| route.operations)
            .map(|operation| {
                let route =
                    ROUTES.iter().find(|r| r.operations.iter().any(|o| o.endpoint == operation.endpoint)).unwrap();
                let method = operation.method.as_str().to_ascii_lowercase();
                document["paths"][route.path][&method]["operationId"].as_str().unwrap()
            })
            .collect();
        let count = ids.len();
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), count, "an operation's id is its own");
    }
}
