//! `process_list`: the processes of the session, or of the job.

use super::{
    Tool, ToolAnswer, ToolContext, ToolDefinition, input,
    processes::{scope, shown_command},
};
use crate::process::ProcessTable;
use futures_util::future::BoxFuture;
use moonlog_core::{error_info::ErrorInfo, id::ProcessId, projection::ProcessState};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

const LIMIT: usize = 50;
const COMMAND_SHOWN_BYTES: usize = 500;

/// See the module.
pub(super) struct ProcessList(pub ProcessTable);

#[derive(Deserialize)]
struct Input {
    #[serde(default)]
    running: bool,
    limit: Option<usize>,
}

#[derive(Serialize)]
struct Row {
    process_id: ProcessId,
    command: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<String>,
    workdir: String,
    running: bool,
    background: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    exit_code: Option<i32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    signal: Option<String>,
    started_at: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    wall_duration_ms: Option<u64>,
    output_bytes: u64,
}

impl Tool for ProcessList {
    fn definition(&self) -> ToolDefinition {
        let description =
            "List the processes that were started here: those that run, then those that ended, the newest first.";
        let properties = json!({
            "running": { "type": "boolean", "description": "Only those that run." },
            "limit": { "type": "integer", "minimum": 1, "description": format!("How many at most. Default {LIMIT}.") },
        });
        ToolDefinition::new("process_list", description, properties, &[])
    }

    fn call<'a>(&'a self, context: &'a ToolContext, input: Value) -> BoxFuture<'a, Result<ToolAnswer, ErrorInfo>> {
        Box::pin(async move {
            let input: Input = input::read(input)?;
            let all = self.0.list(&scope(context));
            let wanted: Vec<_> = all.iter().filter(|process| process.is_running() || !input.running).collect();
            let limit = input.limit.unwrap_or(LIMIT);
            let rows: Vec<Row> = wanted.iter().take(limit).map(|process| row(process)).collect();
            let truncated = (wanted.len() > limit).then(|| json!({ "shown": limit, "left_out": wanted.len() - limit }));
            let mut output = json!({ "processes": rows });
            if let Some(truncated) = &truncated {
                output["truncated"] = truncated.clone();
            }
            Ok(ToolAnswer::of(&output).truncated(truncated))
        })
    }
}

fn row(process: &ProcessState) -> Row {
    let exited = process.exited.as_ref();
    Row {
        process_id: process.id,
        command: shown_command(process, COMMAND_SHOWN_BYTES),
        description: process.started.description.clone(),
        workdir: process.started.workdir.clone(),
        running: process.is_running(),
        background: process.background,
        exit_code: exited.and_then(|exited| exited.exit_code),
        signal: exited.and_then(|exited| exited.signal.clone()),
        started_at: process.started_at.to_string(),
        wall_duration_ms: exited.map(|exited| exited.wall_ms),
        output_bytes: process.output_bytes,
    }
}
