//! All processes of a server.

use super::{Process, ProcessOptions, ProcessSpec};
use moonlog_core::{
    error_info::ErrorInfo,
    id::{JobId, ProcessId},
    log::Log,
};

/// Starts processes and knows those that run. Cheap to clone.
#[derive(Clone)]
pub struct Processes;

impl Processes {
    /// Processes whose events go to `log`. The process host is started with the first of them.
    pub fn new(log: Log, options: ProcessOptions) -> Self {
        todo!()
    }

    /// Starts a process. It runs when this returns, and `process.started` is appended.
    ///
    /// Where the returned future is dropped, the process is cancelled.
    ///
    /// # Errors
    /// Where it could not be started: `command_not_found`, `permission_denied`, `no_such_directory`, ...
    pub async fn start(&self, spec: ProcessSpec) -> Result<Process, ErrorInfo> {
        todo!()
    }

    /// A process that runs or whose job does.
    pub fn get(&self, id: &ProcessId) -> Option<Process> {
        todo!()
    }

    /// The processes of a job that run.
    pub fn of_job(&self, job: &JobId) -> Vec<Process> {
        todo!()
    }

    /// All processes that run.
    pub fn running(&self) -> Vec<Process> {
        todo!()
    }

    /// Asks a job's processes to end, and kills what is left of them after the grace period. Returns when none is
    /// left and `process.exited` of each is appended.
    pub async fn cancel_job(&self, job: &JobId) {
        todo!()
    }

    /// Kills a job's processes with all that they started. Returns when none is left and `process.exited` of each is
    /// appended.
    pub async fn end_job(&self, job: &JobId) {
        todo!()
    }

    /// Kills every process, and lets the process host end.
    pub async fn shutdown(&self) {
        todo!()
    }
}
