//! The beginning and the end of an output, in bounded memory whatever is written.

use super::output_text::{continued_start, cut_front, incomplete_end, text};
use serde::Serialize;
use std::collections::VecDeque;

/// How much of the beginning is kept, in bytes.
pub const HEAD_BYTES: usize = 16_384;
/// How much of the end is kept, in bytes.
pub const TAIL_BYTES: usize = 16_384;
/// How long a line is shown at most, in bytes, with the marker that it was cut.
pub const LINE_BYTES: usize = 2_048;
const LINE_MARKER: &str = " ... [truncated]";

/// What was left out of an output.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Truncation {
    /// All that was written.
    pub original_bytes: u64,
    /// What is not shown.
    pub omitted_bytes: u64,
    /// What is shown, markers included.
    pub retained_bytes: u64,
    /// `head_tail`
    pub strategy: &'static str,
}

/// Keeps the first 16,384 bytes and the last 16,384 bytes behind them.
#[derive(Debug, Clone, Default)]
pub struct HeadTail {
    head: Vec<u8>,
    head_closed: bool,
    tail: VecDeque<u8>,
    total: u64,
}

impl HeadTail {
    /// Adds what was written.
    pub fn push(&mut self, bytes: &[u8]) {
        self.total += bytes.len() as u64;
        let room = if self.head_closed { 0 } else { HEAD_BYTES - self.head.len() };
        let (head, rest) = bytes.split_at(bytes.len().min(room));
        self.head.extend_from_slice(head);
        let rest = &rest[rest.len().saturating_sub(TAIL_BYTES)..];
        let over = (self.tail.len() + rest.len()).saturating_sub(TAIL_BYTES);
        self.tail.drain(..over);
        self.tail.extend(rest);
    }

    /// Keeps nothing more as the beginning: what follows is not recorded, and of that the log holds the end alone.
    pub fn close_head(&mut self) {
        self.head_closed = true;
    }

    /// Replaces the end: for an output of `total` bytes whose end was kept apart.
    pub fn end_with(&mut self, total: u64, tail: &[u8]) {
        let overlap = (self.head.len() as u64 + tail.len() as u64).saturating_sub(total);
        let tail = &tail[tail.len().min(overlap as usize)..];
        self.tail = tail.iter().copied().collect();
        self.total = total.max((self.head.len() + tail.len()) as u64);
    }

    /// All that was written, in bytes.
    pub const fn total(&self) -> u64 {
        self.total
    }

    /// The last bytes as text, at most [`TAIL_BYTES`].
    pub fn last(&self) -> String {
        let mut bytes: Vec<u8> = self.tail.iter().copied().collect();
        if bytes.len() < TAIL_BYTES {
            let from = self.head.len().saturating_sub(TAIL_BYTES - bytes.len());
            bytes.splice(..0, self.head[from..].iter().copied());
        }
        let text = text(&bytes[continued_start(&bytes)..]);
        // What stands for bytes that are no text is longer than they are.
        cut_front(&text, TAIL_BYTES).to_owned()
    }

    /// What is shown, and what was left out.
    pub fn show(&self) -> (String, Option<Truncation>) {
        let tail: Vec<u8> = self.tail.iter().copied().collect();
        let kept = (self.head.len() + tail.len()) as u64;
        let mut shown = Shown::default();
        if kept == self.total {
            shown.add_lines(&[self.head.as_slice(), tail.as_slice()].concat());
        } else {
            let head = &self.head[..self.head.len() - incomplete_end(&self.head)];
            let tail = &tail[continued_start(&tail)..];
            let omitted = self.total - (head.len() + tail.len()) as u64;
            shown.omitted = omitted;
            shown.add_lines(head);
            shown.output.push_str(&format!("\n\n... [omitted {omitted} bytes] ...\n\n"));
            shown.add_lines(tail);
        }
        let truncated = (shown.omitted > 0).then_some(Truncation {
            original_bytes: self.total,
            omitted_bytes: shown.omitted,
            retained_bytes: shown.output.len() as u64,
            strategy: "head_tail",
        });
        (shown.output, truncated)
    }
}

#[derive(Default)]
struct Shown {
    output: String,
    omitted: u64,
}

impl Shown {
    fn add_lines(&mut self, bytes: &[u8]) {
        for line in bytes.split_inclusive(|byte| *byte == b'\n') {
            let (content, end) = line.strip_suffix(b"\n").map_or((line, ""), |content| (content, "\n"));
            self.add_line(content);
            self.output.push_str(end);
        }
    }

    /// Adds a line, of one that is too long the beginning. Lengths are those of what was written, not of what stands
    /// for bytes that are no text.
    fn add_line(&mut self, line: &[u8]) {
        if line.len() <= LINE_BYTES {
            self.output.push_str(&text(line));
            return;
        }
        let kept = &line[..LINE_BYTES - LINE_MARKER.len()];
        let kept = &kept[..kept.len() - incomplete_end(kept)];
        self.omitted += (line.len() - kept.len()) as u64;
        self.output.push_str(&text(kept));
        self.output.push_str(LINE_MARKER);
    }
}

/// A line as results show it.
pub(super) fn shown_line(line: &[u8]) -> String {
    let mut shown = Shown::default();
    shown.add_line(line);
    shown.output
}

#[cfg(test)]
mod tests;
