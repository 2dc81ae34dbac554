//! What goes to the log: pieces of output, and the end.

use super::Recorder;
use crate::process::{head_tail::TAIL_BYTES, host::Report, signal_name};
use moonlog_core::{
    event::{Cause, EventBody, NewEvent, ProcessExited, ProcessOutcome, ProcessOutput},
    log::{Append, AppendError, Expected},
};
use tokio::time::Instant;

const _: () = assert!(TAIL_BYTES == 16_384, "the log's contract names the size of `tail`");

impl Recorder {
    /// The pieces that are due, or all.
    pub(super) fn pieces(&mut self, all: bool) -> Vec<EventBody> {
        let now = Instant::now();
        let mut events = Vec::new();
        for (fd, output) in (1..).zip(&mut self.outputs) {
            if !(all || output.pieces.is_due(now)) {
                continue;
            }
            for piece in output.pieces.take(all) {
                {
                    let mut output = self.shared.output();
                    output.head_tail.push(&piece.bytes);
                    output.unappended = true;
                }
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

    pub(super) fn append_due(&mut self) {
        if self.drained() {
            self.append_end();
        } else {
            let events = self.pieces(false);
            self.append(events);
        }
    }

    pub(super) fn append(&mut self, events: Vec<EventBody>) {
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
            cause: Some(Cause::At(shared.started_position)),
            origin: None,
        }));
        if self.state.outbox.is_empty() {
            return;
        }
        let append = Append::new(shared.owner.stream.clone(), Expected::Any, self.state.outbox.clone());
        match self.log.append_long(append) {
            Ok(appended) => {
                self.state.outbox.clear();
                self.state.position = Some(appended.last_position);
                self.tell_appended();
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
        self.tell_appended();
        self.kill();
    }

    /// Lets those go on who wait until what they have seen is appended.
    fn tell_appended(&self) {
        let position = self.state.position;
        {
            let mut output = self.shared.output();
            output.unappended = false;
            output.position = position;
        }
        self.appended.send_replace(position.unwrap_or_default());
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
        let mut output = self.shared.output();
        let output_bytes = output.head_tail.total();
        let tail = state.capped.then(|| output.head_tail.last());
        if let Some(tail) = &tail {
            // From now on it is shown as the log tells it, also where the end is no text.
            output.head_tail.end_with(output_bytes, tail.as_bytes());
        }
        ProcessExited { outcome, exit_code, signal, wall_ms: state.wall.as_millis() as u64, output_bytes, tail }
    }
}
