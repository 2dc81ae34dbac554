//! What a typed line means.

/// What `/help` says.
pub const HELP: &str = "\
Each line is a message; one that ends in `\\` goes on in the next.
/new        begin a new session
/session    the session's id
/interrupt  stop the answer that is under way, as Ctrl-C does
/help       this
/exit       leave; the session stays";

/// A typed line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Typed {
    /// To be said.
    Say(String),
    /// `/new`
    New,
    /// `/session`
    Session,
    /// `/interrupt`
    Interrupt,
    /// `/help`
    Help,
    /// `/exit`
    Exit,
    /// No command.
    Unknown(String),
    /// Nothing.
    Nothing,
}

impl Typed {
    /// Reads a line. A message that shall begin with `/` begins with two of them.
    pub fn read(line: &str) -> Self {
        let text = line.trim();
        if text.is_empty() {
            return Self::Nothing;
        }
        let Some(command) = text.strip_prefix('/') else { return Self::Say(text.to_owned()) };
        if command.starts_with('/') {
            return Self::Say(command.to_owned());
        }
        match command {
            "new" => Self::New,
            "session" => Self::Session,
            "interrupt" => Self::Interrupt,
            "help" | "?" => Self::Help,
            "exit" | "quit" | "q" => Self::Exit,
            other => Self::Unknown(other.split_whitespace().next().unwrap_or_default().to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines() {
        for (line, expected) in [
            ("hello ", Typed::Say("hello".into())),
            ("  ", Typed::Nothing),
            ("/exit", Typed::Exit),
            ("/new", Typed::New),
            ("//usr/bin is full", Typed::Say("/usr/bin is full".into())),
            ("/etc/passwd looks odd", Typed::Unknown("etc/passwd".into())),
        ] {
            assert_eq!(Typed::read(line), expected, "{line}");
        }
    }
}
