//! What the events of processes, workspaces and files carry.

use crate::{
    codec::{Decode, Encode},
    id::{Hash, SessionId},
    json::Json,
};
use serde::{Deserialize, Serialize};

/// `process.started`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Encode, Decode)]
pub struct ProcessStarted {
    /// The program.
    pub command: String,
    /// Its arguments.
    pub args: Vec<String>,
    /// Where it runs.
    pub workdir: String,
    /// The operating system's number for it; also its group's.
    pub pid: u32,
    /// Whether nobody waits for it.
    pub background: bool,
    /// What it is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
}

/// `process.output`: a piece of what a process wrote.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Encode, Decode)]
pub struct ProcessOutput {
    /// 1 for standard output, 2 for standard error.
    pub fd: u8,
    /// 1-based over both.
    pub seq: u64,
    /// The piece, where it is UTF-8.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// The piece in base64, where it is not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base64: Option<String>,
    /// Set once: the recording cap was passed, and what follows is not in the log.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub capped: bool,
}

/// `process.backgrounded`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Encode, Decode)]
pub struct ProcessBackgrounded {
    /// `requested` or `foreground_timeout`.
    pub reason: String,
}

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, Encode, Decode)]
#[serde(rename_all = "snake_case")]
pub enum ProcessOutcome {
    /// By itself, with an exit code.
    Exited,
    /// By a signal that moonlog did not send.
    Signalled,
    /// Its time was up and it was killed.
    TimedOut,
    /// It was killed on request.
    Killed,
    /// The server died; what became of it was not seen.
    Lost,
}

/// `process.exited`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Encode, Decode)]
pub struct ProcessExited {
    /// How.
    pub outcome: ProcessOutcome,
    /// Its exit code, where it had one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<i32>,
    /// The signal's name, such as `SIGKILL`, where one ended it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signal: Option<String>,
    /// From start to end.
    pub wall_ms: u64,
    /// All that it wrote, recorded or not.
    pub output_bytes: u64,
    /// The last 16,384 bytes, where the recording cap was passed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tail: Option<String>,
}

/// `process.stalled`: it has been silent for long, and what it wrote last looks like a question.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Encode, Decode)]
pub struct ProcessStalled {
    /// For how long it has written nothing.
    pub idle_ms: u64,
    /// What it wrote last: at most 1,024 bytes.
    pub tail: String,
}

/// `process.token_claimed`: the process was started under a client's token. It stands behind `process.started`, in the
/// same append.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Encode, Decode)]
pub struct ProcessTokenClaimed {
    /// The token.
    pub client_token: String,
    /// The hash of the request in canonical form.
    pub request_hash: Hash,
}

/// `workspace.created`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Encode, Decode)]
pub struct WorkspaceCreated {
    /// Where.
    pub path: String,
    /// `worktree` or `directory`.
    pub kind: String,
    /// The commit that a worktree began at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base_commit: Option<String>,
}

/// `workspace.collision_detected`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Encode, Decode)]
pub struct WorkspaceCollisionDetected {
    /// The file that both changed.
    pub path: String,
    /// The other session.
    pub with: SessionId,
    /// `same_line`, `adjacent_line` or `different_area`.
    pub proximity: String,
}

/// `file.changed`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Encode, Decode)]
pub struct FileChanged {
    /// The file, relative to its workspace.
    pub path: String,
    /// `created`, `edited` or `deleted`.
    pub op: String,
    /// A unified diff.
    pub diff: String,
    /// What it held.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before_hash: Option<Hash>,
    /// What it holds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after_hash: Option<Hash>,
}

/// `tool.started`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Encode, Decode)]
pub struct ToolStarted {
    /// The call.
    pub call_id: String,
    /// The tool.
    pub name: String,
    /// Its input.
    pub input: Json,
    /// The turn that called it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub turn: Option<u32>,
}

/// `tool.finished`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Encode, Decode)]
pub struct ToolFinished {
    /// The call.
    pub call_id: String,
    /// As a step's.
    pub outcome: super::StepOutcome,
    /// What it gave.
    pub output: Json,
    /// What was left out of the output.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub truncated: Option<Json>,
    /// What it changed in files, as a unified diff.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub diff: Option<String>,
    /// From start to end.
    pub latency_ms: u64,
}

/// `tool.approval_requested`: a tool call, or a script's `approve`, waits for a person's decision.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Encode, Decode)]
pub struct ToolApprovalRequested {
    /// The tool call, or the call path of the `approve` step.
    pub call_id: String,
    /// The tool; `approve` for a script's own.
    pub name: String,
    /// The tool's input; title and details of a script's own.
    pub input: Json,
}

/// What a person decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, Encode, Decode)]
#[serde(rename_all = "snake_case")]
pub enum Decision {
    /// Go on.
    Approved,
    /// Do not.
    Denied,
}

/// `tool.approval_decided`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Encode, Decode)]
pub struct ToolApprovalDecided {
    /// As in the request.
    pub call_id: String,
    /// What was decided.
    pub decision: Decision,
    /// By whom.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    /// With which words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}
