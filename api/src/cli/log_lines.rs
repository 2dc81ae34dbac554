//! The server's own lines on standard error. What stands in them may be somebody else's text: an event is one line all the
//! same, and nothing in it acts on the terminal of who reads it.

use super::paint::harmless;
use std::io::{self, Write};
use tracing_subscriber::fmt::MakeWriter;

/// Writes events to standard error.
#[derive(Debug, Clone, Copy)]
pub struct LogLines {
    /// Whether the colours that stand in an event are ours and may stay.
    pub coloured: bool,
}

/// What one event is written to, at once.
#[derive(Debug)]
pub struct LogLine(LogLines);

impl<'a> MakeWriter<'a> for LogLines {
    type Writer = LogLine;

    fn make_writer(&'a self) -> LogLine {
        LogLine(*self)
    }
}

impl Write for LogLine {
    fn write(&mut self, event: &[u8]) -> io::Result<usize> {
        let line = line(&String::from_utf8_lossy(event), self.0.coloured);
        io::stderr().lock().write_all(line.as_bytes())?;
        Ok(event.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}

/// An event as one line.
fn line(event: &str, coloured: bool) -> String {
    let text = event.strip_suffix('\n').unwrap_or(event);
    let mut line = String::with_capacity(event.len() + 1);
    let mut rest = text;
    while let Some(at) = rest.find('\x1b').filter(|_| coloured) {
        let (before, from) = rest.split_at(at);
        escape(before, &mut line);
        let looks = from.strip_prefix("\x1b[").and_then(|code| code.split_once('m'));
        match looks.filter(|(code, _)| code.len() < 12 && code.bytes().all(|b| b.is_ascii_digit() || b == b';')) {
            Some((code, behind)) => {
                line.push_str(&from[..code.len() + 3]);
                rest = behind;
            }
            None => {
                line.push_str("\\u{1b}");
                rest = &from[1..];
            }
        }
    }
    escape(rest, &mut line);
    line.push('\n');
    line
}

/// Line ends as they are written in programs, and all else that acts as every command shows it.
fn escape(text: &str, out: &mut String) {
    for (n, part) in text.split('\n').enumerate() {
        if n > 0 {
            out.push_str("\\n");
        }
        for (n, part) in part.split('\r').enumerate() {
            if n > 0 {
                out.push_str("\\r");
            }
            out.push_str(&harmless(part));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_one_line_that_does_nothing() {
        let evil = "queue x\n2026-11-21T00:00:00Z  INFO all is well\r\x1b[2J\u{9b}2J\u{202e}";
        for coloured in [false, true] {
            let line = line(&format!("{evil}\n"), coloured);
            assert_eq!((line.matches('\n').count(), line.ends_with('\n')), (1, true), "{line:?}");
            assert!(!line.contains(['\r', '\u{1b}', '\u{9b}', '\u{202e}']), "{line:?}");
            assert!(line.starts_with("queue x\\n2026-11-21T00:00:00Z  INFO all is well\\r"), "{line:?}");
        }
        let colours = "\x1b[2m12:00\x1b[0m \x1b[33m WARN\x1b[0m text\n";
        assert_eq!(line(colours, true), colours);
        assert!(!line(colours, false).contains('\x1b'));
    }
}
