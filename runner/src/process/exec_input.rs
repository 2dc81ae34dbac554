//! The inputs of operations on processes, as the prelude writes them.

use moonlog_core::error_info::ErrorInfo;
use serde::Deserialize;
use std::{collections::BTreeMap, path::PathBuf};

/// `exec`, `sh` and `process`.
#[derive(Debug, Deserialize)]
pub(super) struct ExecInput {
    command: Option<String>,
    script: Option<String>,
    #[serde(default)]
    args: Vec<String>,
    pub cwd: Option<PathBuf>,
    #[serde(default)]
    pub env: BTreeMap<String, String>,
    pub stdin: Option<String>,
    pub description: Option<String>,
    #[serde(default = "foreground_timeout_ms")]
    pub timeout_ms: u64,
    #[serde(default)]
    pub on_timeout: OnTimeout,
    #[serde(default)]
    pub check: bool,
}

/// What happens to a process when `exec` has waited long enough.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum OnTimeout {
    #[default]
    Background,
    Kill,
}

const fn foreground_timeout_ms() -> u64 {
    10_000
}

impl ExecInput {
    /// What is run.
    pub fn command_line(&self) -> Result<(String, Vec<String>), ErrorInfo> {
        match (&self.command, &self.script) {
            (Some(command), None) => Ok((command.clone(), self.args.clone())),
            (None, Some(script)) => Ok(("sh".into(), vec!["-c".into(), script.clone()])),
            _ => Err(ErrorInfo::new("invalid_input", "either `command` or `script` is needed")),
        }
    }
}

/// `process_wait`
#[derive(Debug, Deserialize)]
pub(super) struct WaitInput {
    pub process: String,
    pub timeout_ms: Option<u64>,
}

/// `process_output`
#[derive(Debug, Deserialize)]
pub(super) struct OutputInput {
    pub process: String,
}

/// `process_search`
#[derive(Debug, Deserialize)]
pub(super) struct SearchInput {
    pub process: String,
    pub pattern: String,
    pub limit: Option<usize>,
    pub context: Option<usize>,
}

/// `process_signal`
#[derive(Debug, Deserialize)]
pub(super) struct SignalInput {
    pub process: String,
    pub signal: String,
}
