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
    if text.chars().any(char::is_control) {
        let stripped = console::strip_ansi_codes(text);
        Cow::Owned(stripped.chars().map(|c| if c.is_control() { ' ' } else { c }).collect())
    } else {
        Cow::Borrowed(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_do_not_reach_the_terminal() {
        assert_eq!(harmless("plain"), "plain");
        assert_eq!(harmless("a\x1b[2Jb\tc\nd\x07"), "ab c d ");
    }

    #[test]
    fn looks_end_where_they_began() {
        assert_eq!(Paint::ON.put(Look::Bold, "x"), "\x1b[1mx\x1b[22m");
        assert_eq!(Paint::OFF.put(Look::Bold, "x"), "x");
    }
}
