//! `execute`: a command line, as [`process::execute`](crate::process::execute) runs it.

use super::{Tool, ToolAnswer, ToolContext, ToolDefinition, duration, files::Files, input, place::Last};
use crate::{
    options::Ids,
    process::{
        Owner, Processes,
        execute::{ExecuteRequest, execute},
    },
    session::want_wake,
};
use futures_util::future::BoxFuture;
use moonlog_core::{error_info::ErrorInfo, event::StreamId, id::ProcessId};
use serde::Deserialize;
use serde_json::{Value, json};
use std::{collections::BTreeMap, sync::Arc};

const NAME: &str = "execute";

/// See the module.
pub(super) struct Execute {
    pub processes: Processes,
    pub files: Arc<Files>,
    /// Where its processes' ids come from.
    pub ids: Ids,
}

#[derive(Deserialize)]
struct Input {
    command: String,
    timeout: Option<duration::Duration>,
    workdir: Option<String>,
    #[serde(default)]
    run_in_background: bool,
    stdin: Option<String>,
    #[serde(default)]
    env: BTreeMap<String, String>,
    description: Option<String>,
    #[serde(default)]
    wake: bool,
}

impl Tool for Execute {
    fn definition(&self) -> ToolDefinition {
        let limits = self.files.limits();
        let seconds = limits.execute_timeout_ms as f64 / 1_000.0;
        let description = format!(
            "Run a command line with `sh -c` in the workspace. Nobody answers prompts: standard input is empty unless given, \
             editors and pagers are off. Waits {seconds} s, or `timeout`; then the command is not killed but goes on in \
             the background, and process_output shows the rest. Output is standard output and error together; of a long \
             one the beginning and the end. For servers and watchers set run_in_background; don't use `&` or `sleep` to wait."
        );
        let properties = json!({
            "command": { "type": "string", "minLength": 1, "description": "The command line, for sh -c." },
            "timeout": duration::schema("How long to wait: seconds, or a text such as \"90s\" or \"5m\"."),
            "workdir": { "type": "string", "description": "The folder to run in, relative to the workspace." },
            "run_in_background": { "type": "boolean", "description": "Do not wait: give the process's id at once." },
            "stdin": { "type": "string", "description": "What the command reads. Without it, nothing." },
            "env": {
                "type": "object",
                "additionalProperties": { "type": "string" },
                "description": "Variables to set for it.",
            },
            "wake": {
                "type": "boolean",
                "description": "In a session: whether its end begins a turn where none is under way. For the background.",
            },
            "description": { "type": "string", "maxLength": 200, "description": "What it is for, in a few words." },
        });
        ToolDefinition::new(NAME, &description, properties, &["command"])
    }

    fn call<'a>(&'a self, context: &'a ToolContext, input: Value) -> BoxFuture<'a, Result<ToolAnswer, ErrorInfo>> {
        Box::pin(async move {
            let input: Input = input::read(input)?;
            let roots = self.files.roots(context);
            let given = input.workdir.unwrap_or_else(|| ".".into());
            let find = move |files: &Files| {
                let place = files.find(&roots, NAME, &given, Last::Follow)?;
                if place.absolute().is_dir() {
                    return Ok(place.absolute());
                }
                Err(ErrorInfo::new("not_a_folder", format!("cannot run in `{given}`: there is no such folder")))
            };
            let workdir = self.files.blocking(find).await?;
            let limits = self.files.limits();
            let timeout_ms = input.timeout.map_or(limits.execute_timeout_ms, |timeout| timeout.ms());
            let process = ProcessId::from((self.ids)());
            let mut env = input.env;
            env.entry("IDEMPOTENCY_KEY".into()).or_insert_with(|| context.idempotency_key.clone());
            let request = ExecuteRequest {
                process,
                command: input.command,
                workdir,
                timeout_ms: timeout_ms.min(limits.wait_max_ms),
                background: input.run_in_background,
                stdin: input.stdin,
                env,
                description: input.description,
                owner: owner_of(process, context),
            };
            let result = execute(&self.processes, request).await?;
            // What has ended already wakes nobody.
            if let (Some(_), true, Some(session)) = (result.status, input.wake, &context.owner.session) {
                want_wake(self.processes.log(), session, process.to_string())?;
            }
            let failure = result.failure();
            let truncated = result.truncated.clone();
            Ok(ToolAnswer { failure, ..ToolAnswer::of(&result).truncated(truncated) })
        })
    }
}

/// A session's process has a stream of its own, since it may outlive the job that started it; else it is the job's.
fn owner_of(process: ProcessId, context: &ToolContext) -> Owner {
    let owner = context.owner.clone();
    match owner.session {
        Some(_) => Owner { stream: StreamId::Process(process), ..owner },
        None => owner,
    }
}
