//! A process as answers show it.

use super::ProcessState;
use crate::{
    event::ProcessOutcome,
    id::{JobId, ProcessId, SessionId},
    time::Timestamp,
};
use serde::Serialize;
use std::sync::Arc;

/// A process, wherever one is returned.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ProcessView {
    /// The process.
    pub id: ProcessId,
    /// The program; the script, where a shell runs it.
    pub command: String,
    /// Its arguments.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub args: Vec<String>,
    /// Whether a shell runs it.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub shell: bool,
    /// Where it runs.
    pub workdir: String,
    /// What it is for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Whether nobody waits for it.
    pub background: bool,
    /// Whether it has not ended.
    pub running: bool,
    /// Its exit code, where it had one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<i32>,
    /// The signal that ended it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub signal: Option<String>,
    /// How it ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub outcome: Option<ProcessOutcome>,
    /// The operating system's number for it; also its group's.
    pub pid: u32,
    /// The session it belongs to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session: Option<SessionId>,
    /// The job that started it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub job: Option<JobId>,
    /// The step that started it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub step: Option<Arc<str>>,
    /// When it was started, in seconds since 1970.
    pub started_at_unix: i64,
    /// When it ended, likewise.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exited_at_unix: Option<i64>,
    /// Bytes of recorded output so far; all that it wrote, once it has ended.
    pub output_bytes: u64,
}

impl ProcessState {
    /// The process as answers show it.
    pub fn view(&self) -> ProcessView {
        let started = &*self.started;
        let (command, args, shell) = match (started.command.as_str(), started.args.as_slice()) {
            // What stands behind the script is the shell's name for it, then its arguments.
            ("sh", [flag, script, rest @ ..]) if flag == "-c" => (script, rest.get(1..).unwrap_or_default(), true),
            (_, args) => (&started.command, args, false),
        };
        let exited = self.exited.as_ref();
        ProcessView {
            id: self.id,
            command: command.clone(),
            args: args.to_vec(),
            shell,
            workdir: started.workdir.clone(),
            description: started.description.clone(),
            background: self.background,
            running: self.is_running(),
            exit_code: exited.and_then(|exited| exited.exit_code),
            signal: exited.and_then(|exited| exited.signal.clone()),
            outcome: exited.map(|exited| exited.outcome),
            pid: started.pid,
            session: self.session,
            job: self.job,
            step: self.step.clone(),
            started_at_unix: unix(self.started_at),
            exited_at_unix: self.exited_at.map(unix),
            output_bytes: self.output_bytes,
        }
    }
}

const fn unix(time: Timestamp) -> i64 {
    time.as_micros().div_euclid(1_000_000)
}
