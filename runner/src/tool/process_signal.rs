//! `process_signal`: a signal to a process and all of its group.

use super::{
    Tool, ToolAnswer, ToolContext, ToolDefinition, input,
    processes::{id_of, id_schema, scope, told},
};
use crate::process::ProcessTable;
use futures_util::future::BoxFuture;
use moonlog_core::error_info::ErrorInfo;
use serde::Deserialize;
use serde_json::{Value, json};

/// See the module.
pub(super) struct ProcessSignal(pub ProcessTable);

#[derive(Deserialize)]
struct Input {
    process_id: String,
    signal: String,
}

impl Tool for ProcessSignal {
    fn definition(&self) -> ToolDefinition {
        let description = "Send a signal to a process and what it started: terminate asks it to end, interrupt is Ctrl-C, kill ends \
                           it at once with all that it started. process_output then shows how it ended.";
        let properties = json!({
            "process_id": id_schema(),
            "signal": { "enum": ["terminate", "kill", "interrupt"], "description": "Which." },
        });
        ToolDefinition::new("process_signal", description, properties, &["process_id", "signal"])
    }

    fn call<'a>(&'a self, context: &'a ToolContext, input: Value) -> BoxFuture<'a, Result<ToolAnswer, ErrorInfo>> {
        Box::pin(async move {
            let input: Input = input::read(input)?;
            let id = id_of(&self.0, context, &input.process_id)?;
            let sent = self.0.signal(&id, &scope(context), &input.signal).await;
            sent.map_err(|error| told(error, &self.0, context, &input.process_id))?;
            Ok(ToolAnswer::of(&json!({ "process_id": id, "signal": input.signal, "sent": true })))
        })
    }
}
