//! Colours, where there is a terminal that wants them.

use std::{borrow::Cow, io::IsTerminal};

/// How a piece of text looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Look {
    /// Headings, names.
    Bold,
    /// What matters less.
    Dim,
    /// Emphasis in prose.
    Italic,
    /// Headings of reports, links.
    Underline,
    /// Well done.
    Green,
    /// Wrong.
    Red,
    /// Worth a look.
    Yellow,
    /// Code, names of things.
    Cyan,
}

/// Puts looks on texts, or leaves them alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Paint {
    on: bool,
}

impl Paint {
    /// Leaves texts as they are.
    #[cfg(test)]
    pub const OFF: Self = Self { on: false };
    /// Paints.
    #[cfg(test)]
    pub const ON: Self = Self { on: true };

    /// Paints where `terminal` is one, it is not `dumb`, and `NO_COLOR` is not set (<https://no-color.org>).
    pub fn for_terminal(terminal: &impl IsTerminal) -> Self {
        let refused = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let dumb = std::env::var_os("TERM").is_some_and(|value| value == "dumb");
        Self { on: terminal.is_terminal() && !refused && !dumb }
    }

    /// `text` with this look.
    pub fn put(self, look: Look, text: &str) -> Cow<'_, str> {
        if !self.on || text.is_empty() {
            return Cow::Borrowed(text);
        }
        let (start, end) = match look {
            Look::Bold => ("1", "22"),
            Look::Dim => ("2", "22"),
            Look::Italic => ("3", "23"),
            Look::Underline => ("4", "24"),
            Look::Green => ("32", "39"),
            Look::Red => ("31", "39"),
            Look::Yellow => ("33", "39"),
            Look::Cyan => ("36", "39"),
        };
        Cow::Owned(format!("\x1b[{start}m{text}\x1b[{end}m"))
    }
}

/// `text` with nothing in it that could move the cursor, change colours or break the line: what jobs and processes
/// write must not be able to act on the terminal.
pub fn harmless(text: &str) -> Cow<'_, str> {
    if text.chars().any(acts) {
        let stripped = console::strip_ansi_codes(text);
        Cow::Owned(stripped.chars().map(|c| if acts(c) { ' ' } else { c }).collect())
    } else {
        Cow::Borrowed(text)
    }
}

/// The same for a text of several lines, which stay lines.
pub fn harmless_lines(text: &str) -> Cow<'_, str> {
    if text.chars().any(|c| acts(c) && c != '\n') {
        let lines = text.split('\n').map(|line| harmless(line.strip_suffix('\r').unwrap_or(line)));
        Cow::Owned(lines.collect::<Vec<_>>().join("\n"))
    } else {
        Cow::Borrowed(text)
    }
}

/// `text` with no escape in it but the looks that are put on here. What is shown on a terminal goes through this last,
/// so that a place that forgot to make a text harmless is not a hole.
pub fn only_looks(text: &str) -> Cow<'_, str> {
    if !text.chars().any(|c| acts(c) && c != '\n') {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len());
    for (piece, is_code) in console::AnsiCodeIterator::new(text) {
        if !is_code {
            out.extend(piece.chars().map(|c| if acts(c) && c != '\n' { ' ' } else { c }));
        } else if is_look(piece) {
            out.push_str(piece);
        }
    }
    Cow::Owned(out)
}

/// JSON in which no character acts on a terminal: the same value, as all such characters stand in texts, where they can
/// be escaped.
pub fn harmless_json(json: &str) -> Cow<'_, str> {
    let escaped = |c: char| acts(c) && !c.is_ascii_whitespace();
    if !json.chars().any(escaped) {
        return Cow::Borrowed(json);
    }
    let mut out = String::with_capacity(json.len() + 64);
    for c in json.chars() {
        if escaped(c) {
            out.push_str(&format!("\\u{:04x}", u32::from(c)));
        } else {
            out.push(c);
        }
    }
    Cow::Owned(out)
}

/// Whether a terminal does something else with `c` than to show it: controls, also those beyond ASCII, and what turns
/// the direction of the text around it.
fn acts(c: char) -> bool {
    c.is_control() || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

fn is_look(code: &str) -> bool {
    let numbers = code.strip_prefix("\x1b[").and_then(|code| code.strip_suffix('m'));
    numbers.is_some_and(|numbers| {
        matches!(numbers, "0" | "1" | "2" | "3" | "4" | "22" | "23" | "24" | "31" | "32" | "33" | "36" | "39")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_do_not_reach_the_terminal() {
        assert_eq!(harmless("plain"), "plain");
        assert_eq!(harmless("a\x1b[2Jb\tc\nd\x07"), "ab c d ");
        assert_eq!(harmless_lines("a\x1b[2J\r\nb\rc"), "a\nb c");
        for hostile in [
            "\x1b[2J",
            "\x1b]0;t\x07",
            "\x1b]8;;http://x\x1b\\",
            "\u{9b}2J",
            "\u{9d}0;t\u{9c}",
            "\x1bc",
            "\x08",
            "\x1b[8m",
            "\u{202e}",
        ] {
            for shown in [harmless(hostile), harmless_lines(hostile), only_looks(hostile), harmless_json(hostile)] {
                assert!(!shown.chars().any(acts), "{hostile:?}: {shown:?}");
            }
        }
    }

    #[test]
    fn what_is_made_harmless_is_as_it_was_otherwise() {
        let looks = Paint::ON.put(Look::Red, "x\ny");
        assert_eq!(only_looks(&looks), looks);
        let value = serde_json::json!({ "a\u{9b}": ["\u{7f}\u{2066}\x1b", "plain\n"] });
        for json in [value.to_string(), serde_json::to_string_pretty(&value).unwrap()] {
            assert_eq!(serde_json::from_str::<serde_json::Value>(&harmless_json(&json)).unwrap(), value);
        }
    }

    #[test]
    fn looks_end_where_they_began() {
        assert_eq!(Paint::ON.put(Look::Bold, "x"), "\x1b[1mx\x1b[22m");
        assert_eq!(Paint::OFF.put(Look::Bold, "x"), "x");
    }
}
