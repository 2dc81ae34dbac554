//! The effective configuration as `moonlog config` prints it: each key with its value and where it comes from.

use super::Loaded;
use std::{fmt, path::PathBuf};

/// Where a value comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// Built in.
    Default,
    /// A line of the configuration file.
    File {
        /// The file.
        path: PathBuf,
        /// 1-based.
        line: usize,
    },
    /// An environment variable, by name.
    Variable(String),
    /// A flag of the command line, by name.
    Flag(String),
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File { path, line } => write!(f, "{}:{line}", path.display()),
            Self::Variable(name) | Self::Flag(name) => f.write_str(name),
        }
    }
}

/// A key of the effective configuration.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// The key's path, such as `api.listen`.
    pub key: String,
    /// Its value; of secrets, only whether they are set.
    pub value: serde_json::Value,
    /// Where it comes from.
    pub source: Source,
    /// What it does.
    pub doc: &'static str,
}

impl Loaded {
    /// One line for each key: `key = value  # source`.
    pub fn to_text(&self) -> String {
        let lines = self.entries.iter().map(|entry| format!("{} = {}", entry.key, shown(&entry.value)));
        let width = lines.clone().map(|line| line.chars().count()).max().unwrap_or(0).min(60);
        lines
            .zip(&self.entries)
            .map(|(line, entry)| format!("{line:<width$}  # {}; {}\n", entry.source, entry.doc))
            .collect()
    }

    /// `{key: {value, source, doc}}`.
    pub fn to_json(&self) -> serde_json::Value {
        let entry = |entry: &Entry| {
            let value = serde_json::json!({
                "value": entry.value, "source": entry.source.to_string(), "doc": entry.doc,
            });
            (entry.key.clone(), value)
        };
        serde_json::Value::Object(self.entries.iter().map(entry).collect())
    }

    /// `{key: value}`, as `runner.started` records it.
    pub fn values_json(&self) -> serde_json::Value {
        serde_json::Value::Object(self.entries.iter().map(|e| (e.key.clone(), e.value.clone())).collect())
    }
}

fn shown(value: &serde_json::Value) -> String {
    match value {
        serde_json::Value::Null => "(not set)".into(),
        other => other.to_string(),
    }
}
