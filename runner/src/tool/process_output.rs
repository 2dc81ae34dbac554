//! `process_output`: what a process has written, and how it ended.

use super::{
    Tool, ToolAnswer, ToolContext, ToolDefinition, ToolLimits, duration, input,
    processes::{id_of, id_schema, scope, told},
};
use crate::process::{OutputView, ProcessTable, Truncation, execute::why, fit::fitted};
use futures_util::future::BoxFuture;
use moonlog_core::{error_info::ErrorInfo, event::ProcessOutcome, id::ProcessId};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::time::Duration;

/// See the module.
pub(super) struct ProcessOutput {
    pub table: ProcessTable,
    pub limits: ToolLimits,
}

#[derive(Deserialize)]
struct Input {
    process_id: String,
    wait_timeout: Option<duration::Duration>,
}

#[derive(Serialize)]
struct Output {
    process_id: ProcessId,
    running: bool,
    /// Whether it exited with 0; absent while it runs.
    #[serde(skip_serializing_if = "Option::is_none")]
    success: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    exit_code: Option<i32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    signal: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    outcome: Option<ProcessOutcome>,
    #[serde(skip_serializing_if = "Option::is_none")]
    wall_duration_ms: Option<u64>,
    output: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    truncated: Option<Truncation>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    note: Option<String>,
}

impl Tool for ProcessOutput {
    fn definition(&self) -> ToolDefinition {
        let seconds = self.limits.execute_timeout_ms as f64 / 1_000.0;
        let description = format!(
            "What a process has written so far, and its end. Waits for the end, {seconds} s or wait_timeout; with wait_timeout 0 \
             it answers at once. Of a long output the beginning and the end are shown."
        );
        let properties = json!({
            "process_id": id_schema(),
            "wait_timeout": duration::schema(
                "How long to wait for the end: seconds, or a text such as \"90s\"; 0 does not wait."
            ),
        });
        ToolDefinition::new("process_output", &description, properties, &["process_id"])
    }

    fn call<'a>(&'a self, context: &'a ToolContext, input: Value) -> BoxFuture<'a, Result<ToolAnswer, ErrorInfo>> {
        Box::pin(async move {
            let input: Input = input::read(input)?;
            let id = id_of(&self.table, context, &input.process_id)?;
            let wait_ms = input.wait_timeout.map_or(self.limits.execute_timeout_ms, |timeout| timeout.ms());
            let view = self.view(id, context, wait_ms.min(self.limits.wait_max_ms)).await;
            let output = shown(id, view.map_err(|error| told(error, &self.table, context, &input.process_id))?);
            Ok(ToolAnswer::of(&output).truncated(output.truncated.clone()))
        })
    }
}

impl ProcessOutput {
    async fn view(&self, id: ProcessId, context: &ToolContext, wait_ms: u64) -> Result<OutputView, ErrorInfo> {
        let scope = scope(context);
        if wait_ms > 0 {
            self.table.wait(&id, &scope, Duration::from_millis(wait_ms)).await?;
        }
        self.table.snapshot(&id, &scope).await
    }
}

fn shown(id: ProcessId, view: OutputView) -> Output {
    let (output, truncated) = fitted(view.output, view.truncated);
    let running = view.exited.is_none();
    let exited = view.exited;
    Output {
        process_id: id,
        running,
        success: exited.as_ref().map(|exited| exited.exit_code == Some(0)),
        exit_code: exited.as_ref().and_then(|exited| exited.exit_code),
        outcome: exited.as_ref().map(|exited| exited.outcome),
        wall_duration_ms: exited.as_ref().map(|exited| exited.wall_ms),
        error: exited.as_ref().and_then(why),
        signal: exited.and_then(|exited| exited.signal),
        output,
        truncated,
        note: running
            .then(|| "the process still runs; call again with a longer wait_timeout to wait for its end".into()),
    }
}
