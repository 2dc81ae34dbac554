//! What is said when a script does not ask for what its journal holds.

use std::fmt;

/// A script that is replayed asked for something else than what was recorded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mismatch {
    /// The position of the recorded event; `None` where the record had ended.
    pub position: Option<u64>,
    /// The call path of the recorded operation, or of the one that is asked for now.
    pub path: String,
    /// What was recorded, such as ``step `fetch` (exec)``.
    pub recorded: String,
    /// What the script asks for now.
    pub asked: String,
    /// The script's name.
    pub script: String,
    /// The line of the script that asks.
    pub line: Option<u32>,
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { position, path, recorded, asked, script, line } = self;
        write!(f, "the script does not do what its journal recorded, at step `{path}`\n  recorded: {recorded}")?;
        if let Some(position) = position {
            write!(f, " (event {position})")?;
        }
        write!(f, "\n  now:      {asked}")?;
        if let Some(line) = line {
            write!(f, " ({script}:{line})")?;
        }
        f.write_str(
            "\n  A script must do the same operations in the same order whenever it is given the same results: take time \
             from now(), randomness from math.random, everything else from operations; put what may differ into a step.",
        )
    }
}

impl std::error::Error for Mismatch {}
