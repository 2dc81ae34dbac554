//! What `exec` gives back of an output: all of it up to a limit, else its first and its last half.

use super::output_text::{continued_start, incomplete_end, text};
use std::collections::VecDeque;

/// What a process wrote, apart by descriptor.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Captured {
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
    /// Whether the middle of one of them was left out.
    pub truncated: bool,
}

/// Keeps the first and the last half of `max_bytes`.
#[derive(Debug, Default)]
pub(super) struct Capture {
    max_bytes: usize,
    head: Vec<u8>,
    tail: VecDeque<u8>,
    total: u64,
}

impl Capture {
    pub fn new(max_bytes: usize) -> Self {
        Self { max_bytes, ..Self::default() }
    }

    pub fn push(&mut self, bytes: &[u8]) {
        self.total += bytes.len() as u64;
        let head_max = self.max_bytes / 2;
        let tail_max = self.max_bytes - head_max;
        let (head, rest) = bytes.split_at(bytes.len().min(head_max - self.head.len()));
        self.head.extend_from_slice(head);
        let rest = &rest[rest.len().saturating_sub(tail_max)..];
        let over = (self.tail.len() + rest.len()).saturating_sub(tail_max);
        self.tail.drain(..over);
        self.tail.extend(rest);
    }

    /// What was written, and whether something was left out.
    pub fn show(&self) -> (String, bool) {
        let (front, back) = self.tail.as_slices();
        let omitted = self.total - (self.head.len() + self.tail.len()) as u64;
        if omitted == 0 {
            return (text(&[&self.head, front, back].concat()).into_owned(), false);
        }
        let tail = [front, back].concat();
        let head = &self.head[..self.head.len() - incomplete_end(&self.head)];
        let tail = &tail[continued_start(&tail)..];
        let omitted = self.total - (head.len() + tail.len()) as u64;
        (format!("{}\n\n... [omitted {omitted} bytes] ...\n\n{}", text(head), text(tail)), true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn halves_are_kept_with_a_marker_between_them() {
        for (written, shown, truncated) in [
            ("", "", false),
            ("12345678", "12345678", false),
            ("123456789", "1234\n\n... [omitted 1 bytes] ...\n\n6789", true),
            ("123é56é89", "123\n\n... [omitted 5 bytes] ...\n\n89".replace("5 bytes", "6 bytes").as_str(), true),
        ] {
            for piece in 1..10 {
                let mut capture = Capture::new(8);
                written.as_bytes().chunks(piece).for_each(|chunk| capture.push(chunk));
                let (text, cut) = capture.show();
                assert_eq!(cut, truncated, "{written}");
                if written.is_ascii() {
                    assert_eq!(text, shown, "{written} by {piece}");
                } else {
                    assert!(!text.contains('\u{fffd}'), "{text}");
                }
            }
        }
    }
}
