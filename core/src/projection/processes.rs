//! Processes: those that run, and the last that ended.

use crate::{
    codec::{Decode, Encode},
    event::{Event, EventBody, ProcessExited, ProcessStarted, StreamId},
    id::{JobId, ProcessId, SessionId},
    time::Timestamp,
};
use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};

/// How many ended processes are remembered.
const ENDED_MAX: usize = 1_000;
/// How much their command lines may take up together, in bytes.
const ENDED_MAX_BYTES: usize = 4 << 20;

/// What is known of a process.
#[derive(Debug, Clone, PartialEq, Encode, Decode)]
pub struct ProcessState {
    /// The process.
    pub id: ProcessId,
    /// The stream that holds its events.
    pub stream: StreamId,
    /// The job that started it.
    pub job: Option<JobId>,
    /// The session it belongs to.
    pub session: Option<SessionId>,
    /// The step that started it.
    pub step: Option<Arc<str>>,
    /// What was started.
    pub started: Arc<ProcessStarted>,
    /// When.
    pub started_at: Timestamp,
    /// The position of `process.started`.
    pub started_position: u64,
    /// Whether nobody waits for it.
    pub background: bool,
    /// Bytes of recorded output so far; all that it wrote, once it has ended.
    pub output_bytes: u64,
    /// How it ended.
    pub exited: Option<ProcessExited>,
    /// When.
    pub exited_at: Option<Timestamp>,
    /// The position of its last event.
    pub position: u64,
}

impl ProcessState {
    /// The process that an event starts, where it does.
    pub fn from_started(event: &Event) -> Option<Self> {
        let (Some(id), EventBody::ProcessStarted(started)) = (event.process, &event.body) else { return None };
        Some(Self {
            id,
            stream: event.stream.clone(),
            job: event.job,
            session: event.session,
            step: event.step.clone(),
            started: Arc::new(started.clone()),
            started_at: event.happened_at(),
            started_position: event.position,
            background: started.background,
            output_bytes: 0,
            exited: None,
            exited_at: None,
            position: event.position,
        })
    }

    /// Folds the next of its events.
    pub fn apply(&mut self, event: &Event) {
        self.position = event.position;
        match &event.body {
            EventBody::ProcessOutput(output) => {
                let text = output.text.as_ref().map_or(0, |text| text.len() as u64);
                let binary = output.base64.as_ref().map_or(0, |text| base64_len(text));
                self.output_bytes += text + binary;
            }
            EventBody::ProcessBackgrounded(_) => self.background = true,
            EventBody::ProcessExited(exited) => {
                self.output_bytes = exited.output_bytes;
                // The tail stays in the log: here it would be held for every process that ever passed the cap.
                self.exited = Some(ProcessExited { tail: None, ..exited.clone() });
                self.exited_at = Some(event.happened_at());
            }
            _ => {}
        }
    }

    /// Whether it has not ended.
    pub const fn is_running(&self) -> bool {
        self.exited.is_none()
    }
}

/// All processes that run, and the last that ended: at most 1,000, fewer where their command lines are long.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Processes {
    running: BTreeMap<ProcessId, Arc<ProcessState>>,
    ended: BTreeMap<ProcessId, Arc<ProcessState>>,
    /// The ended ones in the order in which they ended.
    ended_order: VecDeque<ProcessId>,
    ended_bytes: usize,
}

impl Processes {
    pub(super) fn apply(&mut self, event: &Event) {
        let Some(id) = event.process else { return };
        if let Some(started) = ProcessState::from_started(event) {
            self.running.insert(id, Arc::new(started));
            return;
        }
        let Some(process) = self.running.get_mut(&id) else { return };
        Arc::make_mut(process).apply(event);
        if !process.is_running() {
            self.end(id);
        }
    }

    fn end(&mut self, id: ProcessId) {
        if let Some(process) = self.running.remove(&id) {
            self.remember(process);
        }
    }

    fn remember(&mut self, process: Arc<ProcessState>) {
        self.ended_bytes += process.started.command_bytes();
        self.ended_order.push_back(process.id);
        self.ended.insert(process.id, process);
        while self.ended_order.len() > ENDED_MAX || (self.ended_bytes > ENDED_MAX_BYTES && self.ended_order.len() > 1) {
            let Some(oldest) = self.ended_order.pop_front().and_then(|oldest| self.ended.remove(&oldest)) else {
                return;
            };
            self.ended_bytes -= oldest.started.command_bytes();
        }
    }

    /// Forgets the processes that stand in the stream of a job that was deleted.
    pub(super) fn remove(&mut self, job: JobId) {
        let stream = StreamId::Job(job);
        self.running.retain(|_, process| process.stream != stream);
        let removed = |process: &Arc<ProcessState>| process.stream == stream;
        for process in self.ended.values().filter(|process| removed(process)) {
            self.ended_bytes -= process.started.command_bytes();
        }
        self.ended.retain(|_, process| !removed(process));
        self.ended_order.retain(|id| self.ended.contains_key(id));
    }

    /// Puts back what [`Self::iter`] gave, in its order.
    pub(super) fn restore(&mut self, process: ProcessState) {
        if process.is_running() {
            self.running.insert(process.id, Arc::new(process));
        } else {
            self.remember(Arc::new(process));
        }
    }

    /// Those that run, then those that ended, oldest end first.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Arc<ProcessState>> {
        self.running.values().chain(self.ended_order.iter().filter_map(|id| self.ended.get(id)))
    }

    /// The process, where it runs or has ended lately.
    pub fn get(&self, id: &ProcessId) -> Option<&Arc<ProcessState>> {
        self.running.get(id).or_else(|| self.ended.get(id))
    }

    /// Whether the process is known to run.
    pub fn is_running(&self, id: &ProcessId) -> bool {
        self.running.contains_key(id)
    }

    /// Those that run, newest first.
    pub fn running(&self) -> impl Iterator<Item = &Arc<ProcessState>> {
        self.running.values().rev()
    }

    /// Those that ended, newest end first.
    pub fn ended(&self) -> impl Iterator<Item = &Arc<ProcessState>> {
        self.ended_order.iter().rev().filter_map(|id| self.ended.get(id))
    }

    /// Those that the job started and that run, in whatever stream they stand.
    pub fn of_job(&self, job: JobId) -> impl Iterator<Item = &Arc<ProcessState>> {
        self.running.values().filter(move |process| process.job == Some(job))
    }
}

impl ProcessStarted {
    fn command_bytes(&self) -> usize {
        self.command.len() + self.args.iter().map(String::len).sum::<usize>()
    }
}

/// How many bytes a base64 text stands for.
fn base64_len(text: &str) -> u64 {
    let digits = text.bytes().rev().skip_while(|byte| *byte == b'=').count() as u64;
    digits * 3 / 4
}
