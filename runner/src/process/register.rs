//! Which processes there are: those that start, those of which something runs, and how those of running jobs ended.

use super::{Owner, Process};
use moonlog_core::{
    error_info::ErrorInfo,
    event::{ProcessExited, StreamId},
    id::{JobId, ProcessId},
};
use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    sync::{Mutex, MutexGuard, PoisonError},
};
use tokio::sync::Notify;

/// How many ended processes are remembered that belong to no job. Others are found in the log.
const ENDED_MAX: usize = 4_096;

/// A process that has ended, with nothing of it left.
#[derive(Debug, Clone)]
pub(super) struct Ended {
    pub stream: StreamId,
    pub started_version: u64,
    pub exit: ProcessExited,
    /// Where `process.exited` stands; `None` where the log did not take it.
    pub position: Option<u64>,
}

#[derive(Default)]
pub(super) struct Register {
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Default)]
struct State {
    starting: BTreeMap<ProcessId, Starting>,
    running: BTreeMap<ProcessId, Process>,
    ended: HashMap<ProcessId, Ended>,
    ended_of_no_job: VecDeque<ProcessId>,
    stopped: bool,
}

struct Starting {
    owner: Owner,
    /// Its job has ended meanwhile.
    unwanted: bool,
}

impl Register {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes that a process is being started.
    pub fn starting(&self, id: ProcessId, owner: &Owner, max: usize) -> Result<(), ErrorInfo> {
        let mut state = self.state();
        if state.stopped {
            return Err(
                ErrorInfo::new("shutting_down", "the server is shutting down: no process is started").retryable()
            );
        }
        if state.starting.len() + state.running.len() >= max {
            let message =
                format!("{max} processes run, which is the limit: wait for some to end, or raise limits.processes");
            return Err(ErrorInfo::new("too_many_processes", message).retryable());
        }
        if state.starting.contains_key(&id) || state.running.contains_key(&id) {
            return Err(ErrorInfo::new("process_exists", format!("there is a process {id} already")));
        }
        state.starting.insert(id, Starting { owner: owner.clone(), unwanted: false });
        Ok(())
    }

    /// Notes that it runs. Whether anybody still wants it.
    pub fn started(&self, process: &Process) -> bool {
        let mut state = self.state();
        let unwanted = state.starting.remove(&process.id()).is_some_and(|starting| starting.unwanted);
        state.running.insert(process.id(), process.clone());
        drop(state);
        self.changed.notify_waiters();
        !unwanted
    }

    /// Notes that it could not be started.
    pub fn not_started(&self, id: &ProcessId) {
        self.state().starting.remove(id);
        self.changed.notify_waiters();
    }

    /// Notes that nothing of it runs.
    pub fn ended(&self, id: ProcessId, ended: Ended) {
        let mut state = self.state();
        state.running.remove(&id);
        if !matches!(ended.stream, StreamId::Job(_)) {
            state.ended_of_no_job.push_back(id);
            if state.ended_of_no_job.len() > ENDED_MAX
                && let Some(oldest) = state.ended_of_no_job.pop_front()
            {
                state.ended.remove(&oldest);
            }
        }
        state.ended.insert(id, ended);
        drop(state);
        self.changed.notify_waiters();
    }

    pub fn get(&self, id: &ProcessId) -> Option<Process> {
        self.state().running.get(id).cloned()
    }

    pub fn get_ended(&self, id: &ProcessId) -> Option<Ended> {
        self.state().ended.get(id).cloned()
    }

    pub fn running(&self) -> Vec<Process> {
        self.state().running.values().cloned().collect()
    }

    /// Those of which something runs, of some owners.
    pub fn of(&self, which: impl Fn(&Owner) -> bool) -> Vec<Process> {
        self.state().running.values().filter(|process| which(process.owner())).cloned().collect()
    }

    /// Waits until nothing of some owners' processes runs, those that are being started included, which are told that
    /// nobody wants them; `stop` is called for each that runs.
    pub async fn end_of(&self, which: impl Fn(&Owner) -> bool, stop: impl Fn(&Process)) {
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            // In this order: what is started between the two is seen as running, and stops itself.
            let starting = self.refuse_starting(|starting| which(&starting.owner));
            let running = self.of(&which);
            running.iter().for_each(&stop);
            if running.is_empty() && !starting {
                return;
            }
            changed.await;
        }
    }

    /// Notes that nobody wants some of those that are being started. Whether there are any.
    fn refuse_starting(&self, which: impl Fn(&Starting) -> bool) -> bool {
        let mut state = self.state();
        let mut any = false;
        for starting in state.starting.values_mut().filter(|starting| which(starting)) {
            starting.unwanted = true;
            any = true;
        }
        any
    }

    /// Takes one off of which nothing more will be heard: nobody shall wait for it.
    pub fn abandoned(&self, id: &ProcessId) {
        self.state().running.remove(id);
        self.changed.notify_waiters();
    }

    /// Forgets how a job's processes ended.
    pub fn forget_job(&self, job: &JobId) {
        self.state().ended.retain(|_, ended| ended.stream != StreamId::Job(*job));
    }

    /// Refuses to start any more, and waits until nothing runs; `stop` is called for each that does.
    pub async fn end_all(&self, stop: impl Fn(&Process)) {
        self.state().stopped = true;
        self.end_of(|_| true, stop).await;
    }
}
