//! A job's arguments against its workflow's JSON Schema.

use moonlog_core::json::Json;
use serde::Serialize;
use serde_json::Value;

/// Where arguments do not fit the schema.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SchemaError {
    /// A JSON pointer into the arguments, such as `/path`; empty for the whole.
    pub path: String,
    /// What is wrong.
    pub message: String,
}

/// Fills in the schema's defaults and validates. Arguments that are null become an object where the schema wants one.
///
/// # Errors
/// Everything that does not fit.
pub fn prepare_args(schema: Option<&Json>, args: &Json) -> Result<Json, Vec<SchemaError>> {
    let Some(schema) = schema else { return Ok(args.clone()) };
    let schema = schema.to_value();
    let mut args = args.to_value();
    if args.is_null() && wants_object(&schema) {
        args = Value::Object(serde_json::Map::new());
    }
    fill(&schema, &mut args, 0);
    let validator = jsonschema::validator_for(&schema).map_err(|error| {
        vec![SchemaError { path: String::new(), message: format!("the workflow's schema is invalid: {error}") }]
    })?;
    let errors: Vec<SchemaError> = validator
        .iter_errors(&args)
        .map(|error| SchemaError { path: error.instance_path().to_string(), message: error.to_string() })
        .collect();
    if errors.is_empty() { Ok(Json::from(args)) } else { Err(errors) }
}

/// How deep schemas are looked into.
const DEPTH_MAX: usize = 32;

fn wants_object(schema: &Value) -> bool {
    schema.get("type").is_some_and(|kind| kind == "object") || schema.get("properties").is_some()
}

/// Sets absent properties to their schema's `default`, level by level.
fn fill(schema: &Value, value: &mut Value, depth: usize) {
    if depth > DEPTH_MAX {
        return;
    }
    match value {
        Value::Object(fields) => {
            let Some(Value::Object(properties)) = schema.get("properties") else { return };
            for (name, property) in properties {
                match fields.get_mut(name) {
                    Some(field) => fill(property, field, depth + 1),
                    None => {
                        if let Some(default) = property.get("default") {
                            let mut default = default.clone();
                            fill(property, &mut default, depth + 1);
                            fields.insert(name.clone(), default);
                        }
                    }
                }
            }
        }
        Value::Array(items) => {
            if let Some(schema) = schema.get("items").filter(|items| items.is_object()) {
                items.iter_mut().for_each(|item| fill(schema, item, depth + 1));
            }
        }
        _ => {}
    }
}

/// What is wrong with a schema itself, with where in it.
pub(super) fn check_schema(schema: &Json) -> Result<(), String> {
    let schema = schema.to_value();
    match jsonschema::validator_for(&schema) {
        Ok(_) => Ok(()),
        Err(error) => {
            let place = error.instance_path().to_string();
            let told = error.to_string();
            Err(if place.is_empty() { told } else { format!("at {place}: {told}") })
        }
    }
}

/// The properties whose default their own schema refuses, each with why.
pub(super) fn wrong_defaults(schema: &Json) -> Vec<(String, String)> {
    let mut wrong = Vec::new();
    look_at_defaults(&schema.to_value(), &mut wrong, 0);
    wrong
}

fn look_at_defaults(schema: &Value, wrong: &mut Vec<(String, String)>, depth: usize) {
    let Some(Value::Object(properties)) = schema.get("properties").filter(|_| depth < DEPTH_MAX) else { return };
    for (name, property) in properties {
        // One that refers to another part of the schema is not looked at by itself.
        if let Some(default) = property.get("default")
            && let Ok(validator) = jsonschema::validator_for(property)
            && let Err(error) = validator.validate(default)
        {
            wrong.push((name.clone(), error.to_string()));
        }
        look_at_defaults(property, wrong, depth + 1);
    }
}
