//! Why a command did not do what was asked, as people and calling programs see it: one `error:` line, a hint, and the
//! exit status.

use super::paint::harmless_lines;
use std::{fmt, io};

/// The exit statuses of `moonlog`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// Done.
    Done = 0,
    /// The job failed, or a check found a difference.
    Failed = 1,
    /// What was typed, configured or submitted is wrong.
    Usage = 2,
    /// The server cannot be reached, or the data folder is locked.
    Unreachable = 3,
}

impl From<Status> for std::process::ExitCode {
    fn from(status: Status) -> Self {
        Self::from(status as u8)
    }
}

/// Why a command stopped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// How it is told to the calling program.
    pub status: Status,
    /// One line for people; empty where all has been said already.
    pub message: String,
    /// More lines: the places that are wrong, a traceback.
    pub details: Vec<String>,
    /// What to do about it.
    pub hint: Option<String>,
    /// Of a feed with a gap: where it can go on.
    pub first_position: Option<u64>,
}

impl Failure {
    /// A failure of this kind.
    pub fn new(status: Status, message: impl Into<String>) -> Self {
        Self { status, message: message.into(), details: Vec::new(), hint: None, first_position: None }
    }

    /// The job failed, or a check found a difference.
    pub fn failed(message: impl Into<String>) -> Self {
        Self::new(Status::Failed, message)
    }

    /// What was typed, configured or submitted is wrong.
    pub fn usage(message: impl Into<String>) -> Self {
        Self::new(Status::Usage, message)
    }

    /// The server cannot be reached, or the data folder is locked.
    pub fn unreachable(message: impl Into<String>) -> Self {
        Self::new(Status::Unreachable, message)
    }

    /// All has been said already.
    pub fn silent(status: Status) -> Self {
        Self::new(status, "")
    }

    /// The same, with what to do about it.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// The same, with more lines.
    #[must_use]
    pub fn details(mut self, details: impl IntoIterator<Item = String>) -> Self {
        self.details.extend(details);
        self
    }

    /// A file that could not be read or written.
    pub fn file(doing: &str, path: &std::path::Path, error: &io::Error) -> Self {
        Self::usage(format!("cannot {doing} {}: {error}", path.display()))
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.message.is_empty() {
            return Ok(());
        }
        // It may be in the words of a script.
        write!(f, "error: {}", harmless_lines(&self.message))?;
        for line in &self.details {
            write!(f, "\n  {}", harmless_lines(line))?;
        }
        if let Some(hint) = &self.hint {
            write!(f, "\nhint: {}", harmless_lines(hint))?;
        }
        Ok(())
    }
}

/// Standard output could not be written. A reader that went away (`| head`) is no failure.
impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::BrokenPipe {
            Self::silent(Status::Done)
        } else {
            Self::failed(format!("cannot write the output: {error}"))
        }
    }
}
