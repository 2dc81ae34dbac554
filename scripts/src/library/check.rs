//! What a script says of itself, without running it.

use moonlog_core::json::Json;
use serde::Serialize;

/// What is wrong with a script.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// The line, 1-based, where known.
    pub line: Option<u32>,
    /// What is wrong.
    pub message: String,
}

/// What a script says of itself.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct WorkflowInfo {
    /// `name`, where it gives one.
    pub name: Option<String>,
    /// `description`
    pub description: Option<String>,
    /// `phases`
    pub phases: Vec<String>,
    /// `args`: the JSON Schema of its arguments.
    pub args_schema: Option<Json>,
    /// Whether it returns a workflow table; if not it is a job by itself.
    pub is_workflow: bool,
}

/// Compiles a script and evaluates its chunk with operations refused.
///
/// # Errors
/// What is wrong with it.
pub fn check(_name: &str, _source: &str) -> Result<WorkflowInfo, Vec<Problem>> {
    todo!()
}
