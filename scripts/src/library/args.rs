//! A job's arguments against its workflow's JSON Schema.

use moonlog_core::json::Json;
use serde::Serialize;

/// Where arguments do not fit the schema.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SchemaError {
    /// A JSON pointer into the arguments, such as `/path`; empty for the whole.
    pub path: String,
    /// What is wrong.
    pub message: String,
}

/// Fills in the schema's defaults and validates.
///
/// # Errors
/// Everything that does not fit.
pub fn prepare_args(_schema: Option<&Json>, _args: &Json) -> Result<Json, Vec<SchemaError>> {
    todo!()
}
