//! Search in a process's recorded output.

/// How to search.
#[derive(Debug, Clone, Copy)]
pub struct SearchOptions {
    /// How many matching lines at most.
    pub limit: usize,
    /// How many lines before and after each.
    pub context: usize,
}

/// A line that matches.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
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
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize)]
pub struct Found {
    /// The matching lines, in their order.
    pub matches: Vec<Match>,
    /// Whether there were more.
    pub truncated: bool,
}
