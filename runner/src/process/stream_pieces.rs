//! One output on its way to the log: scrubbed, and coalesced to at most one event per 50 ms or 4 KiB.

use super::output_text::incomplete_end;
use crate::secret::Scrubber;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use std::time::Duration;
use tokio::time::Instant;

/// How long output waits for more of it.
const COALESCE_FOR: Duration = Duration::from_millis(50);

/// With this much of it, output waits no longer, in bytes.
const COALESCE_BYTES: usize = 4 << 10;

/// The longest piece, in bytes: its event is stored in its place and not as a blob.
const PIECE_MAX_BYTES: usize = 16 << 10;

pub(super) struct Pieces {
    scrubber: Scrubber,
    waiting: Vec<u8>,
    since: Option<Instant>,
}

/// What one event holds of an output.
pub(super) struct Piece {
    pub bytes: Vec<u8>,
}

impl Piece {
    /// As text, or in base64 where it is none.
    pub fn into_text(self) -> (Option<String>, Option<String>) {
        match String::from_utf8(self.bytes) {
            Ok(text) => (Some(text), None),
            Err(error) => (None, Some(STANDARD.encode(error.as_bytes()))),
        }
    }
}

impl Pieces {
    pub const fn new(scrubber: Scrubber) -> Self {
        Self { scrubber, waiting: Vec::new(), since: None }
    }

    /// Takes what was written, and gives what of it is certain to hold no secret.
    pub fn push(&mut self, bytes: &[u8]) -> Vec<u8> {
        let mut clean = Vec::with_capacity(bytes.len());
        self.scrubber.push(bytes, &mut clean);
        clean
    }

    /// What was held back: nothing follows.
    pub fn end(&mut self) -> Vec<u8> {
        let mut clean = Vec::new();
        self.scrubber.finish(&mut clean);
        clean
    }

    /// Adds what is to be recorded.
    pub fn wait(&mut self, clean: &[u8]) {
        if !clean.is_empty() {
            self.waiting.extend_from_slice(clean);
            self.since.get_or_insert_with(Instant::now);
        }
    }

    /// When it waits no longer.
    pub fn due(&self) -> Option<Instant> {
        self.since.map(|since| since + COALESCE_FOR)
    }

    pub fn is_due(&self, now: Instant) -> bool {
        self.waiting.len() >= COALESCE_BYTES || self.due().is_some_and(|due| due <= now)
    }

    /// Takes what waits; but for the last time, without a character that is not complete.
    pub fn take(&mut self, last: bool) -> Vec<Piece> {
        self.since = None;
        let mut bytes = std::mem::take(&mut self.waiting);
        if !last {
            // What is held back here becomes due with what follows it.
            self.waiting = bytes.split_off(bytes.len() - incomplete_end(&bytes));
        }
        let mut pieces = Vec::new();
        while bytes.len() > PIECE_MAX_BYTES {
            let at = PIECE_MAX_BYTES - incomplete_end(&bytes[..PIECE_MAX_BYTES]);
            let rest = bytes.split_off(at);
            pieces.push(Piece { bytes: std::mem::replace(&mut bytes, rest) });
        }
        if !bytes.is_empty() {
            pieces.push(Piece { bytes });
        }
        pieces
    }
}
