//! What the process writes, from its pipes to where it waits to be appended.

use super::Recorder;
use crate::process::{output_text::incomplete_end, prompt};
use moonlog_core::event::{EventBody, ProcessOutput, ProcessStalled};
use std::{io, sync::atomic::Ordering};
use tokio::time::Instant;

/// How much is read at once, in bytes.
const READ_BYTES: usize = 16 << 10;

/// How much is read at most when an output is read to its end after the process's: more than a pipe holds.
const SWEEP_BYTES: usize = 2 << 20;
impl Recorder {
    /// Reads once from an output.
    pub(super) fn read(&mut self, which: usize) -> bool {
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
        self.state.silent_since = Some(Instant::now());
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
        if !self.state.refused && self.shared.capturing.load(Ordering::Acquire) {
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
            self.shared.output().head_tail.close_head();
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

    /// It has written nothing for long. Told once, until it writes again, and only where it seems to wait for input:
    /// long work is silent too.
    pub(super) fn on_silence(&mut self, now: Instant) {
        let Some(since) = self.state.silent_since.take() else { return };
        let last = self.shared.output().head_tail.last();
        let tail = prompt::tail(&last);
        if prompt::looks_like_prompt(tail) {
            let stalled = ProcessStalled { idle_ms: (now - since).as_millis() as u64, tail: tail.to_owned() };
            self.append(vec![EventBody::ProcessStalled(stalled)]);
        }
    }

    pub(super) fn finish_if_drained(&mut self) {
        if self.state.recorded || self.state.ended.is_none() || self.state.drain.is_none() {
            return;
        }
        if self.outputs.iter().all(|output| output.pipe.is_none()) {
            self.state.drain = None;
        }
    }

    /// Takes what was written before now, and waits for no more.
    pub(super) fn stop_draining(&mut self) {
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
}
