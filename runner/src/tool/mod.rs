//! Tools: what agents and scripts may do on a machine, each with a JSON Schema and errors that a model can act upon.
//!
//! `tools` holds them by name, checks inputs (`input`) and the configuration's rules (`policy`), and times every call.
//! `events` says what of a call stands in the log. One file per tool; those on files share `place` (where a path
//! leads, and that it stays inside), `stored` (atomic writes) and `change` (diffs). What is not here: who calls a tool
//! and why, and the appending of its events.

mod change;
mod context;
mod create_workspace;
mod definition;
mod delete_file;
mod duration;
mod edit;
mod edit_files;
mod events;
mod execute;
mod files;
mod input;
mod list_files;
mod near;
mod options;
mod output;
mod place;
mod policy;
mod process_list;
mod process_output;
mod process_signal;
mod processes;
mod read_file;
mod search_files;
mod stored;
mod text;
mod tools;
mod walk;
mod write_file;

pub use context::ToolContext;
pub use definition::{Tool, ToolAnswer, ToolDefinition};
pub use events::{finished_events, started_event};
pub use options::{ToolLimits, ToolOptions};
pub use output::ToolOutput;
pub use policy::{Decision, Policy, Rule};
pub use tools::Tools;
