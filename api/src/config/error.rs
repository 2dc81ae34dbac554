//! What can be wrong with a configuration.

use super::Source;
use std::path::PathBuf;

/// A key that nothing reads.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{origin}: unknown {what}{}", nearest.as_ref().map(|n| format!("; did you mean `{n}`?")).unwrap_or_default())]
pub struct UnknownKey {
    /// Where it was set.
    pub origin: Source,
    /// What is unknown: the key, or the variable.
    pub what: String,
    /// The known one that looks most like it.
    pub nearest: Option<String>,
}

/// A configuration that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// A file that cannot be read.
    #[error("cannot read {path}: {message}")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system says.
        message: String,
    },
    /// A file that is not TOML.
    #[error("{path}:{line}:{column}: {message}")]
    Syntax {
        /// The file.
        path: PathBuf,
        /// 1-based.
        line: usize,
        /// 1-based.
        column: usize,
        /// What is wrong.
        message: String,
    },
    /// Keys that nothing reads, all that there are.
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
    UnknownKeys(Vec<UnknownKey>),
    /// A value that the key cannot have.
    #[error("{origin}: `{key}` must be {expected}, and is {found}")]
    Invalid {
        /// Where it was set.
        origin: Source,
        /// The key.
        key: String,
        /// What it can be.
        expected: String,
        /// What it is.
        found: String,
    },
    /// A key that must be set because another is.
    #[error("`{key}` is not set: {why}")]
    Missing {
        /// The key.
        key: String,
        /// What needs it.
        why: &'static str,
    },
}
