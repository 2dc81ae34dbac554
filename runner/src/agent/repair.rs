//! Mends a tool call's input where what was meant is beyond doubt. Pure.

use moonlog_core::json::Json;
use serde_json::{Deserializer, Map, Value};

/// The input as it was meant, where that can be told; else as it is, and the tool complains.
pub(super) fn repair(input: &Json, schema: &Value) -> Json {
    let mut value = match input.to_value() {
        // No JSON: a model that talks on behind it, or fences it.
        Value::String(text) => match first_object(&text) {
            Some(value) => value,
            None => return input.clone(),
        },
        // No input at all.
        Value::Null => Value::Object(Map::new()),
        value => value,
    };
    fit(&mut value, schema);
    Json::from(value)
}

/// The first JSON object of a text, where the text begins with one, or with the fence around one.
fn first_object(text: &str) -> Option<Value> {
    let text = unfenced(text);
    let first = Deserializer::from_str(text).into_iter::<Value>().next()?.ok()?;
    match first {
        Value::Object(_) => Some(first),
        // Encoded twice.
        Value::String(inner) if inner != text => first_object(&inner),
        _ => None,
    }
}

/// A text without the fence of a code block.
pub(super) fn unfenced(text: &str) -> &str {
    let text = text.trim();
    let Some(inner) = text.strip_prefix("```") else { return text };
    let inner = inner.split_once('\n').map_or(inner, |(_, inner)| inner);
    inner.rsplit_once("```").map_or(inner, |(inner, _)| inner).trim()
}

/// Brings values that were written as texts to the types that the schema wants.
fn fit(value: &mut Value, schema: &Value) {
    match value {
        Value::Object(fields) => {
            let Some(properties) = schema.get("properties").and_then(Value::as_object) else { return };
            let required = |name: &str| {
                let names = schema.get("required").and_then(Value::as_array);
                names.is_some_and(|names| names.iter().any(|known| known == name))
            };
            fields.retain(|name, value| {
                let nullable =
                    properties.get(name).is_none_or(|schema| wants(schema, "null") || schema.get("type").is_none());
                !value.is_null() || required(name) || nullable
            });
            for (name, value) in fields.iter_mut() {
                if let Some(schema) = properties.get(name) {
                    fit(value, schema);
                }
            }
        }
        Value::Array(items) => {
            if let Some(schema) = schema.get("items") {
                items.iter_mut().for_each(|item| fit(item, schema));
            }
        }
        Value::String(text) => {
            if wants(schema, "string") || schema.get("type").is_none() {
                return;
            }
            let Ok(meant) = serde_json::from_str::<Value>(text.trim()) else { return };
            let fits = match &meant {
                Value::Number(number) => wants(schema, "number") || (wants(schema, "integer") && !number.is_f64()),
                Value::Bool(_) => wants(schema, "boolean"),
                Value::Array(_) => wants(schema, "array"),
                Value::Object(_) => wants(schema, "object"),
                Value::Null | Value::String(_) => false,
            };
            if fits {
                *value = meant;
                fit(value, schema);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// Whether a schema names a type.
fn wants(schema: &Value, name: &str) -> bool {
    match schema.get("type") {
        Some(Value::String(known)) => known == name,
        Some(Value::Array(known)) => known.iter().any(|known| known == name),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_was_meant_is_taken_and_nothing_else_is_guessed() {
        let schema = json!({
            "type": "object",
            "properties": {
                "path": { "type": "string" }, "limit": { "type": "integer" }, "all": { "type": "boolean" },
                "names": { "type": "array", "items": { "type": "integer" } }, "deep": { "type": "object" },
                "any": {}, "maybe": { "type": ["string", "null"] },
            },
            "required": ["path"],
        });
        for (given, expected) in [
            (json!("{\"path\":\"a\"} and so on"), json!({ "path": "a" })),
            (json!("```json\n{\"path\":\"a\"}\n```"), json!({ "path": "a" })),
            (json!("\"{\\\"path\\\":\\\"a\\\"}\""), json!({ "path": "a" })),
            (json!({ "path": "7", "limit": "7", "all": "true" }), json!({ "path": "7", "limit": 7, "all": true })),
            (json!({ "names": "[1, \"2\"]", "deep": "{}" }), json!({ "names": [1, 2], "deep": {} })),
            (json!({ "path": null, "limit": null, "maybe": null }), json!({ "path": null, "maybe": null })),
            (
                json!({ "limit": "seven", "all": "yes", "any": "1" }),
                json!({ "limit": "seven", "all": "yes", "any": "1" }),
            ),
            (json!({ "limit": "7.5" }), json!({ "limit": "7.5" })),
            (json!("{\"path\": \"a"), json!("{\"path\": \"a")),
            (json!(null), json!({})),
        ] {
            assert_eq!(repair(&Json::from(given.clone()), &schema).to_value(), expected, "{given}");
        }
    }
}
