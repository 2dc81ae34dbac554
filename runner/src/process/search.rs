//! Search in a process's recorded output, by a regular expression that takes linear time.

use super::{
    head_tail::shown_line,
    recorded::{Recording, bytes_of},
};
use moonlog_core::{
    error_info::ErrorInfo,
    event::EventBody,
    log::{Log, ReadError},
};
use regex::bytes::{Regex, RegexBuilder};
use serde::Serialize;
use std::collections::VecDeque;

/// The longest pattern, in bytes.
pub const PATTERN_MAX_BYTES: usize = 1_024;
/// How many matching lines a search gives at most.
pub const MATCHES_MAX: usize = 200;
/// How many lines of context a match has at most, on either side.
pub const CONTEXT_MAX_LINES: usize = 20;
/// How much memory a compiled pattern takes at most, in bytes.
const COMPILED_MAX_BYTES: usize = 1 << 20;
/// A line without end is searched in pieces of this size, in bytes.
const LINE_MAX_BYTES: usize = 1 << 20;

/// How to search.
#[derive(Debug, Clone, Copy)]
pub struct SearchOptions {
    /// How many matching lines at most; cut to [`MATCHES_MAX`].
    pub limit: usize,
    /// How many lines before and after each; cut to [`CONTEXT_MAX_LINES`].
    pub context: usize,
}

impl Default for SearchOptions {
    fn default() -> Self {
        Self { limit: 50, context: 0 }
    }
}

/// A line that matches.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Match {
    /// Its number, from 1.
    pub line: u64,
    /// The line.
    pub text: String,
    /// The lines before it.
    pub before: Vec<String>,
    /// The lines after it.
    pub after: Vec<String>,
}

/// What a search found.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Found {
    /// The matching lines, in their order.
    pub matches: Vec<Match>,
    /// Whether there were more.
    pub truncated: bool,
}

/// A pattern within the limits.
///
/// # Errors
/// `invalid_pattern`, with what is wrong.
pub(super) fn compile(pattern: &str) -> Result<Regex, ErrorInfo> {
    let invalid = |why: String| ErrorInfo::new("invalid_pattern", why);
    if pattern.len() > PATTERN_MAX_BYTES {
        return Err(invalid(format!("the pattern has {} bytes, more than {PATTERN_MAX_BYTES}", pattern.len())));
    }
    RegexBuilder::new(pattern)
        .size_limit(COMPILED_MAX_BYTES)
        .dfa_size_limit(COMPILED_MAX_BYTES)
        .build()
        .map_err(|error| invalid(format!("the pattern is no regular expression: {error}")))
}

/// Searches what is recorded. Lines are those of both outputs in the order in which they were recorded.
pub(super) fn search(
    log: &Log,
    recording: &Recording,
    pattern: &Regex,
    options: SearchOptions,
) -> Result<Found, ReadError> {
    let mut search = Search::new(pattern, options);
    let mut line: Vec<u8> = Vec::new();
    recording.read(log, |event| {
        if let EventBody::ProcessOutput(output) = &event.body {
            for piece in bytes_of(output).split_inclusive(|byte| *byte == b'\n') {
                line.extend_from_slice(piece);
                if line.ends_with(b"\n") || line.len() >= LINE_MAX_BYTES {
                    search.line(&line);
                    line.clear();
                }
            }
        }
        !search.is_done()
    })?;
    if !line.is_empty() && !search.is_done() {
        search.line(&line);
    }
    Ok(search.found)
}

struct Search<'a> {
    pattern: &'a Regex,
    limit: usize,
    context: usize,
    number: u64,
    before: VecDeque<String>,
    found: Found,
}

impl<'a> Search<'a> {
    fn new(pattern: &'a Regex, options: SearchOptions) -> Self {
        Self {
            pattern,
            limit: options.limit.min(MATCHES_MAX),
            context: options.context.min(CONTEXT_MAX_LINES),
            number: 0,
            before: VecDeque::new(),
            found: Found::default(),
        }
    }

    /// Whether nothing more can be added: one match too many was seen, and the last one's context is whole.
    fn is_done(&self) -> bool {
        let whole = |found: &Match| self.number >= found.line + self.context as u64;
        self.found.truncated && self.found.matches.last().is_none_or(whole)
    }

    fn line(&mut self, bytes: &[u8]) {
        self.number += 1;
        let bytes = bytes.strip_suffix(b"\n").unwrap_or(bytes);
        let bytes = bytes.strip_suffix(b"\r").unwrap_or(bytes);
        let matches = self.pattern.is_match(bytes);
        if !matches && self.context == 0 {
            return;
        }
        let shown = shown_line(bytes);
        let (number, context) = (self.number, self.context as u64);
        for open in self.found.matches.iter_mut().rev().take_while(|open| open.line + context >= number) {
            open.after.push(shown.clone());
        }
        if matches && self.found.matches.len() < self.limit {
            let before = self.before.iter().cloned().collect();
            self.found.matches.push(Match { line: number, text: shown.clone(), before, after: Vec::new() });
        } else if matches {
            self.found.truncated = true;
        }
        if self.context > 0 {
            if self.before.len() == self.context {
                self.before.pop_front();
            }
            self.before.push_back(shown);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(lines: &[&str], pattern: &str, limit: usize, context: usize) -> Found {
        let pattern = compile(pattern).unwrap();
        let mut search = Search::new(&pattern, SearchOptions { limit, context });
        lines
            .iter()
            .take_while(|line| {
                search.line(line.as_bytes());
                !search.is_done()
            })
            .count();
        search.found
    }

    #[test]
    fn matches_come_with_their_context() {
        let found = found(&["a\n", "b1\n", "c\r\n", "b2\n", "d\n"], "^b.$", 9, 1);
        let shown: Vec<_> = found
            .matches
            .iter()
            .map(|found| (found.line, found.text.as_str(), found.before.join(","), found.after.join(",")))
            .collect();
        assert_eq!(shown, [(2, "b1", "a".into(), "c".into()), (4, "b2", "c".into(), "d".into())]);
        assert!(!found.truncated);
    }

    #[test]
    fn one_match_too_many_says_so_after_the_last_context() {
        let found = found(&["x", "x", "y", "x"], "x", 1, 2);
        assert!(found.truncated);
        assert_eq!(found.matches.len(), 1);
        assert_eq!(found.matches[0].after, ["x", "y"]);
    }

    #[test]
    fn patterns_have_limits() {
        for pattern in ["(", &"a".repeat(2_000), "(a{1000}){1000}"] {
            assert_eq!(compile(pattern).unwrap_err().code, "invalid_pattern");
        }
    }
}
