//! What the tools on processes share: whose processes a call sees, and how an unknown one is told.

use super::{ToolContext, near::nearest};
use crate::process::{ProcessScope, ProcessTable};
use moonlog_core::{error_info::ErrorInfo, id::ProcessId, projection::ProcessState};
use serde_json::{Value, json};

/// How many processes an error names.
const NAMED_MAX: usize = 5;

/// A call sees the processes of its session, else those of its job.
pub(super) fn scope(context: &ToolContext) -> ProcessScope {
    match (context.owner.session, context.owner.job) {
        (Some(session), _) => ProcessScope::session(session),
        (None, job) => ProcessScope { job, ..ProcessScope::ALL },
    }
}

/// The id that a call names.
pub(super) fn id_of(table: &ProcessTable, context: &ToolContext, given: &str) -> Result<ProcessId, ErrorInfo> {
    given.trim().parse().map_err(|_| unknown(table, context, given))
}

/// Says that there is no such process, and which there are.
pub(super) fn unknown(table: &ProcessTable, context: &ToolContext, given: &str) -> ErrorInfo {
    let all = table.list(&scope(context));
    let ids: Vec<String> = all.iter().map(|process| process.id.to_string()).collect();
    let there_are = match (nearest(given, ids.iter().map(String::as_str)), all.first()) {
        (Some(near), _) => format!("did you mean {near}?"),
        (None, None) => "none was started here".into(),
        (None, Some(_)) => {
            let named =
                all.iter().take(NAMED_MAX).map(|process| format!("{} (`{}`)", process.id, shown_command(process, 60)));
            format!("there are {}; process_list shows all", named.collect::<Vec<_>>().join(", "))
        }
    };
    ErrorInfo::new("no_such_process", format!("there is no process `{given}`: {there_are}"))
}

/// An error about a process, with those that there are where there is none of that id.
pub(super) fn told(error: ErrorInfo, table: &ProcessTable, context: &ToolContext, given: &str) -> ErrorInfo {
    if error.code == "no_such_process" { unknown(table, context, given) } else { error }
}

/// A process's command line: of one under `sh -c`, what the shell was given.
pub(super) fn shown_command(process: &ProcessState, max_bytes: usize) -> String {
    let started = &process.started;
    let line = match (started.command.as_str(), started.args.as_slice()) {
        ("sh", [flag, line]) if flag == "-c" => line.clone(),
        (command, args) => [command].into_iter().chain(args.iter().map(String::as_str)).collect::<Vec<_>>().join(" "),
    };
    match line.floor_char_boundary(max_bytes) {
        cut if cut < line.len() => format!("{}...", &line[..cut]),
        _ => line,
    }
}

/// The schema of a process's id.
pub(super) fn id_schema() -> Value {
    json!({ "type": "string", "minLength": 1, "description": "The process, as execute and process_list name it." })
}
