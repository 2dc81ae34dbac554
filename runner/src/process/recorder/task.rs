//! The task itself: its state, and what it waits for.

use crate::process::{
    ProcessLimits,
    connected::{Control, OutputEnd},
    handle::{Command, Shared},
    host::Report,
    register::{Ended, Register},
    stream_pieces::Pieces,
};
use moonlog_core::{
    event::{NewEvent, ProcessExited},
    log::Log,
};
use std::{sync::Arc, time::Duration};
use tokio::{
    sync::{mpsc, watch},
    time::{self, Instant},
};

pub(in crate::process) struct Recorder {
    pub log: Log,
    pub limits: ProcessLimits,
    pub shared: Arc<Shared>,
    pub register: Arc<Register>,
    pub control: Control,
    pub commands: mpsc::UnboundedReceiver<Command>,
    pub exit: watch::Sender<Option<ProcessExited>>,
    pub gone: watch::Sender<bool>,
    pub appended: watch::Sender<u64>,
    pub outputs: [Output; 2],
    pub state: RecorderState,
}

/// One of the two outputs.
pub(in crate::process) struct Output {
    /// `None` when it has ended.
    pub pipe: Option<OutputEnd>,
    pub pieces: Pieces,
}

pub(in crate::process) struct RecorderState {
    pub started: Instant,
    /// When it is killed because its time is up.
    pub(super) timeout: Option<Instant>,
    /// When it is killed because it was asked to end.
    pub(super) grace: Option<Instant>,
    /// When its outputs are no longer waited for.
    pub(super) drain: Option<Instant>,
    /// Signals that were sent on request.
    pub(super) sent: Vec<i32>,
    pub(super) timed_out: bool,
    /// When it began to write nothing; `None` when that was looked at.
    pub(super) silent_since: Option<Instant>,
    pub(super) ended: Option<Report>,
    pub(super) wall: Duration,
    pub(super) recorded: bool,
    pub(super) position: Option<u64>,
    pub(super) gone: bool,
    /// Events that the log has not taken yet.
    pub(super) outbox: Vec<NewEvent>,
    /// The last of which is this end.
    pub(super) ending: Option<ProcessExited>,
    /// The log refuses the process's events.
    pub(super) refused: bool,
    pub(super) seq: u64,
    pub(super) recorded_bytes: u64,
    pub(super) capped: bool,
}

impl RecorderState {
    pub fn new(started: Instant, timeout_ms: Option<u64>) -> Self {
        Self {
            started,
            timeout: timeout_ms.and_then(|ms| started.checked_add(Duration::from_millis(ms))),
            grace: None,
            drain: None,
            sent: Vec::new(),
            timed_out: false,
            silent_since: Some(started),
            ended: None,
            wall: Duration::ZERO,
            recorded: false,
            position: None,
            gone: false,
            outbox: Vec::new(),
            ending: None,
            refused: false,
            seq: 0,
            recorded_bytes: 0,
            capped: false,
        }
    }
}

impl Recorder {
    /// Records until nothing is left to record or to kill.
    pub async fn run(mut self) {
        while !(self.state.recorded && self.state.gone) {
            let append = self.wants_to_append();
            let read = !append;
            let deadline = self.deadline(read);
            let [stdout, stderr] = &self.outputs;
            tokio::select! {
                // What may always be there comes last, and both outputs get their turn.
                biased;
                report = self.control.report(), if !self.state.gone => self.on_report(report),
                Some(command) = self.commands.recv() => self.on_command(command),
                () = self.log.ready(), if append => self.append_due(),
                () = until(deadline), if deadline.is_some() => self.on_deadline(read),
                () = readable(stdout), if read && stdout.pipe.is_some() => { self.read(0); self.read(1); }
                () = readable(stderr), if read && stderr.pipe.is_some() => { self.read(1); }
            }
            self.finish_if_drained();
        }
        let exit = self.exit.borrow().clone();
        if let Some(mut exit) = exit {
            exit.tail = None;
            let owner = &self.shared.owner;
            let ended = Ended {
                stream: owner.stream.clone(),
                started_version: self.shared.started_version,
                exit,
                position: self.state.position,
            };
            self.gone.send_replace(true);
            self.register.ended(self.shared.id, ended);
        }
    }

    fn wants_to_append(&self) -> bool {
        let state = &self.state;
        if state.recorded {
            return false;
        }
        let now = Instant::now();
        self.drained() || !state.outbox.is_empty() || self.outputs.iter().any(|output| output.pieces.is_due(now))
    }

    /// Whether the process has ended and nothing more of its outputs is waited for.
    pub(super) fn drained(&self) -> bool {
        self.state.ended.is_some()
            && self.outputs.iter().all(|output| output.pipe.is_none() || self.state.drain.is_none())
    }

    fn deadline(&self, read: bool) -> Option<Instant> {
        let state = &self.state;
        // What is due waits for the log alone.
        let pieces = self.outputs.iter().filter_map(|output| output.pieces.due()).filter(|_| read && !state.recorded);
        // As long as nothing can be read, the end of the outputs is not waited for in vain.
        let drain = state.drain.filter(|_| read && !state.recorded);
        let grace = state.grace.filter(|_| !state.gone);
        let timeout = state.timeout.filter(|_| state.ended.is_none());
        pieces.chain(drain).chain(grace).chain(timeout).chain(self.stall_due()).min()
    }

    /// When a process that writes nothing is looked at.
    fn stall_due(&self) -> Option<Instant> {
        let silent_since = self.state.silent_since.filter(|_| self.state.ended.is_none())?;
        silent_since.checked_add(Duration::from_millis(self.limits.stall_ms))
    }

    fn on_deadline(&mut self, read: bool) {
        let now = Instant::now();
        let passed = |deadline: Option<Instant>| deadline.is_some_and(|deadline| deadline <= now);
        if passed(self.state.timeout) && self.state.ended.is_none() {
            self.state.timeout = None;
            self.state.timed_out = true;
            self.kill();
        }
        if passed(self.stall_due()) {
            self.on_silence(now);
        }
        if passed(self.state.grace) {
            self.state.grace = None;
            self.kill();
        }
        if read && passed(self.state.drain) && !self.state.recorded {
            self.stop_draining();
        }
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        // The runtime is shutting down, or this is a panic. The connection closes, which kills the process.
        if !self.state.recorded || !self.state.gone {
            self.register.abandoned(&self.shared.id);
        }
    }
}
async fn readable(output: &Output) {
    if let Some(pipe) = &output.pipe {
        pipe.readable().await;
    }
}

async fn until(deadline: Option<Instant>) {
    if let Some(deadline) = deadline {
        time::sleep_until(deadline).await;
    }
}
