//! The task that records one process: it reads what the process writes and appends it, in pieces and no faster than
//! the log takes them; it passes orders on to the supervisor; and it appends how the process ended.
//!
//! ```text
//! running ── exited ──> draining ── both outputs ended, or time is up ──> recorded ── nothing left ──> done
//! ```
//! Whatever is still written behind `recorded` is read and thrown away, so that who writes it is not stopped by it.

use super::{
    ProcessLimits,
    head_tail::TAIL_BYTES,
    host::{Control, Order, Report},
    output_text::incomplete_end,
    process::{Command, Shared},
    register::{Ended, Register},
    signal_name,
    stream_pieces::Pieces,
};
use moonlog_core::{
    event::{EventBody, NewEvent, ProcessBackgrounded, ProcessExited, ProcessOutcome, ProcessOutput},
    log::{Append, AppendError, Expected, Log},
};
use std::{
    io,
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};
use tokio::{
    net::unix::pipe,
    sync::{mpsc, watch},
    time,
};

/// How much is read at once, in bytes.
const READ_BYTES: usize = 16 << 10;

/// How much is read at most when an output is read to its end after the process's: more than a pipe holds.
const SWEEP_BYTES: usize = 2 << 20;

pub(super) struct Recorder {
    pub log: Log,
    pub limits: ProcessLimits,
    pub shared: Arc<Shared>,
    pub register: Arc<Register>,
    pub control: Control,
    pub commands: mpsc::UnboundedReceiver<Command>,
    pub exit: watch::Sender<Option<ProcessExited>>,
    pub gone: watch::Sender<bool>,
    pub outputs: [Output; 2],
    pub state: RecorderState,
}

/// One of the two outputs.
pub(super) struct Output {
    /// `None` when it has ended.
    pub pipe: Option<pipe::Receiver>,
    pub pieces: Pieces,
}

pub(super) struct RecorderState {
    pub started: Instant,
    /// When it is killed because its time is up.
    timeout: Option<Instant>,
    /// When it is killed because it was asked to end.
    grace: Option<Instant>,
    /// When its outputs are no longer waited for.
    drain: Option<Instant>,
    /// Signals that were sent on request.
    sent: Vec<i32>,
    timed_out: bool,
    ended: Option<Report>,
    wall: Duration,
    recorded: bool,
    position: Option<u64>,
    gone: bool,
    /// Events that the log has not taken yet.
    outbox: Vec<NewEvent>,
    /// The last of which is this end.
    ending: Option<ProcessExited>,
    /// The log refuses the process's events.
    refused: bool,
    seq: u64,
    recorded_bytes: u64,
    capped: bool,
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
                report = self.control.report(), if !self.state.gone => self.on_report(report),
                Some(command) = self.commands.recv() => self.on_command(command),
                () = self.log.ready(), if append => self.append_due(),
                () = readable(stdout), if read && stdout.pipe.is_some() => { self.read(0); }
                () = readable(stderr), if read && stderr.pipe.is_some() => { self.read(1); }
                () = until(deadline), if deadline.is_some() => self.on_deadline(read),
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
    fn drained(&self) -> bool {
        self.state.ended.is_some()
            && self.outputs.iter().all(|output| output.pipe.is_none() || self.state.drain.is_none())
    }

    fn deadline(&self, read: bool) -> Option<Instant> {
        let state = &self.state;
        let pieces = self.outputs.iter().filter_map(|output| output.pieces.due()).filter(|_| !state.recorded);
        // As long as nothing can be read, the end of the outputs is not waited for in vain.
        let drain = state.drain.filter(|_| read && !state.recorded);
        let grace = state.grace.filter(|_| !state.gone);
        let timeout = state.timeout.filter(|_| state.ended.is_none());
        pieces.chain(drain).chain(grace).chain(timeout).min()
    }

    fn on_deadline(&mut self, read: bool) {
        let now = Instant::now();
        let passed = |deadline: Option<Instant>| deadline.is_some_and(|deadline| deadline <= now);
        if passed(self.state.timeout) && self.state.ended.is_none() {
            self.state.timeout = None;
            self.state.timed_out = true;
            self.kill();
        }
        if passed(self.state.grace) {
            self.state.grace = None;
            self.kill();
        }
        if read && passed(self.state.drain) && !self.state.recorded {
            self.stop_draining();
        }
    }

    fn on_report(&mut self, report: Option<Report>) {
        match report {
            Some(Report::Exited(_) | Report::Signalled(_)) if self.state.ended.is_none() => self.on_end(report),
            Some(Report::Gone | Report::Remains) => self.on_gone(report),
            Some(_) => {}
            // The supervisor died. What it looked after is killed by the host.
            None => self.on_gone(report),
        }
    }

    fn on_end(&mut self, report: Option<Report>) {
        let now = Instant::now();
        self.state.ended = report;
        self.state.wall = now - self.state.started;
        self.state.drain = Some(now + Duration::from_millis(self.limits.drain_ms));
    }

    fn on_gone(&mut self, report: Option<Report>) {
        if report == Some(Report::Remains) {
            tracing::warn!(process = %self.shared.id, pid = self.shared.pid, "something that it started cannot be killed");
        }
        self.state.gone = true;
        if self.state.ended.is_none() {
            self.on_end(Some(report.unwrap_or(Report::Gone)));
        }
        // Nobody is left who could write.
        self.state.drain = self.state.drain.map(|_| Instant::now());
    }

    fn on_command(&mut self, command: Command) {
        match command {
            Command::Kill => {
                self.state.sent.push(libc::SIGKILL);
                self.kill();
            }
            Command::TimeOut => {
                self.look_for_reports();
                if self.state.ended.is_none() {
                    self.state.timed_out = true;
                    self.kill();
                }
            }
            Command::Signal(signal) => self.signal(signal),
            Command::Cancel if self.state.grace.is_none() && !self.state.gone => {
                self.signal(libc::SIGTERM);
                self.state.sent.push(libc::SIGKILL);
                self.state.grace = Some(Instant::now() + Duration::from_millis(self.limits.grace_ms));
            }
            Command::Cancel => {}
            Command::Background { reason, reply } => {
                self.look_for_reports();
                // Where it has ended, the reply's end says so.
                if self.state.ended.is_none() {
                    self.background(reason);
                    let _ = reply.send(());
                }
            }
        }
    }

    /// What has happened already shall count, even if it was not heard yet.
    fn look_for_reports(&mut self) {
        while let Some(report) = self.control.try_report() {
            self.on_report(Some(report));
        }
    }

    fn signal(&mut self, signal: i32) {
        self.state.sent.push(signal);
        self.control.order(Order::Signal(signal));
    }

    fn kill(&mut self) {
        if !self.state.gone && !self.control.order(Order::Kill) {
            // The supervisor does not listen; the end of the connection it will notice.
            self.control.close();
        }
    }

    fn background(&mut self, reason: String) {
        self.shared.background.store(true, Ordering::Release);
        self.shared.output().captures = Default::default();
        self.append(vec![EventBody::ProcessBackgrounded(ProcessBackgrounded { reason })]);
    }

    /// Reads once from an output.
    fn read(&mut self, which: usize) -> bool {
        let mut buffer = [0; READ_BYTES];
        let Some(pipe) = &self.outputs[which].pipe else { return false };
        match pipe.try_read(&mut buffer) {
            Ok(0) => self.on_output_end(which),
            Ok(bytes) => {
                self.on_output(which, &buffer[..bytes]);
                return true;
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(_) => self.on_output_end(which),
        }
        false
    }

    fn on_output(&mut self, which: usize, bytes: &[u8]) {
        // Behind the recorded end, output is read only to keep its writer going.
        if self.state.recorded {
            return;
        }
        let clean = self.outputs[which].pieces.push(bytes);
        self.on_clean_output(which, &clean);
    }

    fn on_output_end(&mut self, which: usize) {
        self.outputs[which].pipe = None;
        if !self.state.recorded {
            let clean = self.outputs[which].pieces.end();
            self.on_clean_output(which, &clean);
        }
    }

    /// Takes what holds no secret any more.
    fn on_clean_output(&mut self, which: usize, clean: &[u8]) {
        if clean.is_empty() {
            return;
        }
        if !self.state.refused && !self.shared.background.load(Ordering::Acquire) {
            self.shared.output().captures[which].push(clean);
        }
        let (recorded, rest) = clean.split_at(self.room_for(clean));
        self.state.recorded_bytes += recorded.len() as u64;
        self.outputs[which].pieces.wait(recorded);
        if !rest.is_empty() {
            self.on_unrecorded(which, rest);
        }
    }

    /// How much of it is recorded.
    fn room_for(&self, clean: &[u8]) -> usize {
        match self.limits.output_max_bytes.saturating_sub(self.state.recorded_bytes) {
            _ if self.state.capped => 0,
            room if room >= clean.len() as u64 => clean.len(),
            room => room as usize - incomplete_end(&clean[..room as usize]),
        }
    }

    /// Takes what is past the cap.
    fn on_unrecorded(&mut self, which: usize, rest: &[u8]) {
        if !self.state.capped {
            self.state.capped = true;
            // All that is recorded goes before what is not.
            let mut events = self.pieces(true);
            self.state.seq += 1;
            events.push(EventBody::ProcessOutput(ProcessOutput {
                fd: which as u8 + 1,
                seq: self.state.seq,
                text: None,
                base64: None,
                capped: true,
            }));
            self.append(events);
        }
        self.shared.output().head_tail.push(rest);
    }

    /// The pieces that are due, or all.
    fn pieces(&mut self, all: bool) -> Vec<EventBody> {
        let now = Instant::now();
        let mut events = Vec::new();
        for (fd, output) in (1..).zip(&mut self.outputs) {
            if !(all || output.pieces.is_due(now)) {
                continue;
            }
            for piece in output.pieces.take(all) {
                self.shared.output().head_tail.push(&piece.bytes);
                self.state.seq += 1;
                let (text, base64) = piece.into_text();
                events.push(EventBody::ProcessOutput(ProcessOutput {
                    fd,
                    seq: self.state.seq,
                    text,
                    base64,
                    capped: false,
                }));
            }
        }
        events
    }

    fn append_due(&mut self) {
        if self.drained() {
            self.append_end();
        } else {
            let events = self.pieces(false);
            self.append(events);
        }
    }

    fn append(&mut self, events: Vec<EventBody>) {
        if self.state.refused {
            return;
        }
        let shared = &self.shared;
        self.state.outbox.extend(events.into_iter().map(|body| NewEvent {
            body,
            job: shared.owner.job,
            session: shared.owner.session,
            process: Some(shared.id),
            step: shared.owner.step.clone(),
            cause: None,
            origin: None,
        }));
        if self.state.outbox.is_empty() {
            return;
        }
        let append = Append::new(shared.owner.stream.clone(), Expected::Any, self.state.outbox.clone());
        match self.log.append(append) {
            Ok(appended) => {
                self.state.outbox.clear();
                self.state.position = Some(appended.last_position);
            }
            // It is tried again when the log is ready, and nothing is read until then.
            Err(AppendError::Overloaded { .. }) => {}
            Err(error) => self.on_refusal(&error),
        }
    }

    /// What cannot be recorded must not go on.
    fn on_refusal(&mut self, error: &AppendError) {
        tracing::warn!(process = %self.shared.id, %error, "killed: its events cannot be recorded");
        self.state.refused = true;
        self.state.outbox.clear();
        self.state.position = None;
        self.kill();
    }

    fn finish_if_drained(&mut self) {
        if self.state.recorded || self.state.ended.is_none() || self.state.drain.is_none() {
            return;
        }
        if self.outputs.iter().all(|output| output.pipe.is_none()) {
            self.state.drain = None;
        }
    }

    /// Takes what was written before now, and waits for no more.
    fn stop_draining(&mut self) {
        for which in 0..2 {
            let mut read = 0;
            while read < SWEEP_BYTES && self.read(which) {
                read += READ_BYTES;
            }
            let clean = self.outputs[which].pieces.end();
            self.on_clean_output(which, &clean);
        }
        self.state.drain = None;
    }

    fn append_end(&mut self) {
        let mut events = self.pieces(true);
        if self.state.ending.is_none() {
            let exited = self.exited();
            events.push(EventBody::ProcessExited(exited.clone()));
            self.state.ending = Some(exited);
        }
        self.append(events);
        if self.state.outbox.is_empty() {
            self.state.recorded = true;
            if self.shared.background.load(Ordering::Acquire) {
                self.shared.output().captures = Default::default();
            }
            self.exit.send_replace(self.state.ending.take());
        }
    }

    fn exited(&self) -> ProcessExited {
        let state = &self.state;
        let (outcome, exit_code, signal) = match state.ended {
            Some(Report::Exited(code)) => (ProcessOutcome::Exited, Some(code), None),
            Some(Report::Signalled(signal)) => {
                let outcome = match () {
                    () if state.timed_out => ProcessOutcome::TimedOut,
                    () if state.sent.contains(&signal) => ProcessOutcome::Killed,
                    () => ProcessOutcome::Signalled,
                };
                (outcome, None, Some(signal_name::name_of(signal)))
            }
            _ => (ProcessOutcome::Lost, None, None),
        };
        let output = self.shared.output();
        ProcessExited {
            outcome,
            exit_code,
            signal,
            wall_ms: state.wall.as_millis() as u64,
            output_bytes: output.head_tail.total(),
            tail: state.capped.then(|| output.head_tail.last()),
        }
    }
}

const _: () = assert!(TAIL_BYTES == 16_384, "the log's contract names the size of `tail`");

async fn readable(output: &Output) {
    if let Some(pipe) = &output.pipe {
        // An error shows again when it is read.
        let _ = pipe.readable().await;
    }
}

async fn until(deadline: Option<Instant>) {
    if let Some(deadline) = deadline {
        time::sleep_until(deadline.into()).await;
    }
}
