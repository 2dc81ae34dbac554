//! Inputs against their schemas, with messages that say what to change.

use jsonschema::{ValidationError, Validator, error::ValidationErrorKind};
use moonlog_core::error_info::ErrorInfo;
use serde::de::DeserializeOwned;
use serde_json::Value;

/// How many faults of an input are told at once.
const FAULTS_MAX: usize = 5;

/// Checks an input.
///
/// # Errors
/// `invalid_input`, with every fault (up to five) and the fields that there are.
pub(super) fn check(name: &str, schema: &Value, validator: &Validator, input: &Value) -> Result<(), ErrorInfo> {
    let faults: Vec<String> =
        validator.iter_errors(input).take(FAULTS_MAX).map(|error| fault(schema, &error)).collect();
    if faults.is_empty() {
        return Ok(());
    }
    let message = format!("{name}: the input does not fit: {}. {}", faults.join("; "), fields(name, schema));
    Err(ErrorInfo::new("invalid_input", message))
}

/// One fault, with where it is. Of several forms that would do, the description says more than that none of them fits.
fn fault(schema: &Value, error: &ValidationError<'_>) -> String {
    let path = error.instance_path().to_string();
    let field = path.trim_start_matches('/');
    let description = schema["properties"][field]["description"].as_str();
    match (field, error.kind(), description) {
        ("", ..) => error.to_string(),
        (_, ValidationErrorKind::AnyOf { .. }, Some(wanted)) => {
            format!("{path}: {} is not what it takes. {}", error.instance(), wanted.trim_end_matches('.'))
        }
        _ => format!("{path}: {error}"),
    }
}

/// What a tool takes, in one line.
fn fields(name: &str, schema: &Value) -> String {
    let required: Vec<&str> = schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let Some(properties) = schema["properties"].as_object().filter(|properties| !properties.is_empty()) else {
        return format!("{name} takes no fields: send {{}}.");
    };
    let mut fields: Vec<String> = properties
        .keys()
        .filter(|field| required.contains(&field.as_str()))
        .map(|f| format!("{f} (required)"))
        .collect();
    fields.extend(properties.keys().filter(|field| !required.contains(&field.as_str())).cloned());
    format!("{name} takes {}.", fields.join(", "))
}

/// The input as the tool's own type. What the schema accepts fits, so an error here is a fault of the schema.
pub(super) fn read<T: DeserializeOwned>(input: Value) -> Result<T, ErrorInfo> {
    serde_json::from_value(input).map_err(|error| ErrorInfo::new("invalid_input", error.to_string()))
}
