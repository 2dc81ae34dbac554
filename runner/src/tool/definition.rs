//! What a tool is.

use super::ToolContext;
use futures_util::future::BoxFuture;
use moonlog_core::{error_info::ErrorInfo, event::FileChanged, json::Json};
use serde::Serialize;
use serde_json::Value;

/// A tool as models and people are told of it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ToolDefinition {
    /// What it is called by.
    pub name: String,
    /// What it does, and what to know before it is called.
    pub description: String,
    /// JSON Schema of its input.
    pub input_schema: Value,
}

impl ToolDefinition {
    /// A definition. `properties` and `required` make the schema of an object that takes nothing else.
    pub fn new(name: &str, description: &str, properties: Value, required: &[&str]) -> Self {
        let input_schema = serde_json::json!({
            "type": "object",
            "properties": properties,
            "required": required,
            "additionalProperties": false,
        });
        Self { name: name.into(), description: description.into(), input_schema }
    }
}

/// Something that agents and scripts may call. Registered with [`Tools::register`](super::Tools::register).
pub trait Tool: Send + Sync {
    /// What it is called by, and what it takes.
    fn definition(&self) -> ToolDefinition;

    /// Performs a call. `input` fits the definition's schema.
    ///
    /// An error is for a model to read: what was wrong, what exists instead.
    fn call<'a>(&'a self, context: &'a ToolContext, input: Value) -> BoxFuture<'a, Result<ToolAnswer, ErrorInfo>>;
}

/// What a call gave.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ToolAnswer {
    /// What the caller gets.
    pub output: Json,
    /// Why what was asked for failed, where there is something to show all the same: a command's output and its exit
    /// code.
    pub failure: Option<ErrorInfo>,
    /// What was left out of the output.
    pub truncated: Option<Json>,
    /// The files that it changed.
    pub changes: Vec<FileChanged>,
}

impl ToolAnswer {
    /// An answer that changed nothing.
    pub fn of<T: Serialize + ?Sized>(output: &T) -> Self {
        // By way of a tree, whose keys are sorted: dynamic values are kept in canonical form.
        let output = serde_json::to_value(output).map_or_else(|_| Json::null(), Json::from);
        Self { output, ..Self::default() }
    }

    /// The same, with what was left out of the output.
    #[must_use]
    pub fn truncated<T: Serialize>(mut self, truncated: Option<T>) -> Self {
        self.truncated = truncated.and_then(|truncated| serde_json::to_value(truncated).ok()).map(Json::from);
        self
    }

    /// The same, with the files that it changed.
    #[must_use]
    pub fn changed(mut self, changes: Vec<FileChanged>) -> Self {
        self.changes = changes;
        self
    }
}
