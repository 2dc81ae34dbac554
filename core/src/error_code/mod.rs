//! The catalogue of error codes: each with what it means, where it appears, and what to do. Codes are stable: they are
//! never given another meaning. `ERRORS.md` is written from here, `GET /v1/errors` and `moonlog errors` show it, and a test
//! compares it with the codes that stand in the sources. Scripts may throw codes of their own besides.

mod agents;
mod http;
mod jobs;
mod processes;
mod requests;
mod tools;

use serde::Serialize;
use std::fmt;

/// Where a code appears.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Place {
    /// In a problem that answers a request.
    Http,
    /// In the error of a job.
    Job,
    /// In the error of a step: what a script gets as `err.code`.
    Step,
    /// In the error of an agent's step, or of one turn of its.
    Agent,
    /// In what a tool call gives.
    Tool,
    /// In why a process did not start or ended.
    Process,
    /// In why an event was not delivered.
    Webhook,
}

impl Place {
    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Job => "job",
            Self::Step => "step",
            Self::Agent => "agent",
            Self::Tool => "tool",
            Self::Process => "process",
            Self::Webhook => "webhook",
        }
    }
}

/// Whether the same again may succeed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Retryable {
    /// It may.
    Yes,
    /// It will not, unless something is changed.
    No,
    /// `retryable` of the error says.
    Sometimes,
}

impl fmt::Display for Retryable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Yes => "yes",
            Self::No => "no",
            Self::Sometimes => "sometimes",
        })
    }
}

/// A code.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct ErrorCode {
    /// In snake_case.
    pub code: &'static str,
    /// Where it appears.
    #[serde(rename = "where")]
    pub places: &'static [Place],
    /// Its HTTP statuses, where it answers a request.
    pub status: &'static [u16],
    /// Whether the same again may succeed.
    pub retryable: Retryable,
    /// What has happened.
    pub meaning: &'static str,
    /// What to do.
    pub action: &'static str,
}

const fn code(
    code: &'static str,
    places: &'static [Place],
    status: &'static [u16],
    retryable: Retryable,
    meaning: &'static str,
    action: &'static str,
) -> ErrorCode {
    ErrorCode { code, places, status, retryable, meaning, action }
}

/// The codes by what they are about, with the headings of `ERRORS.md`.
pub const TABLES: [(&str, &[ErrorCode]); 6] = [
    ("Requests to the server", http::CODES),
    ("Jobs, scripts and steps", jobs::CODES),
    ("HTTP of scripts, webhooks, secrets", requests::CODES),
    ("Agents and models", agents::CODES),
    ("Commands and processes", processes::CODES),
    ("Tools, files and workspaces", tools::CODES),
];

/// All codes.
pub fn all() -> impl Iterator<Item = &'static ErrorCode> {
    TABLES.into_iter().flat_map(|(_, codes)| codes)
}

/// The code of this name.
pub fn find(code: &str) -> Option<&'static ErrorCode> {
    all().find(|known| known.code == code)
}

impl ErrorCode {
    /// Where it appears, in words.
    pub fn places(&self) -> String {
        self.places.iter().map(|place| place.name()).collect::<Vec<_>>().join(", ")
    }

    /// Its HTTP statuses, in words.
    pub fn statuses(&self) -> String {
        self.status.iter().map(u16::to_string).collect::<Vec<_>>().join(", ")
    }
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}: {}", self.code, self.meaning)?;
        writeln!(f, "where      {}", self.places())?;
        if !self.status.is_empty() {
            writeln!(f, "status     {}", self.statuses())?;
        }
        writeln!(f, "retryable  {}", self.retryable)?;
        write!(f, "what to do {}", self.action)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn codes_are_in_order_and_stand_once() {
        for (title, codes) in TABLES {
            assert!(codes.is_sorted_by_key(|code| code.code), "{title}");
        }
        let names: BTreeSet<&str> = all().map(|code| code.code).collect();
        assert_eq!(names.len(), all().count());
        for code in all() {
            let is_snake_case = code.code.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_');
            assert!(is_snake_case, "{}", code.code);
            assert_eq!(code.status.is_empty(), !code.places.contains(&Place::Http), "{}", code.code);
            for text in [code.meaning, code.action] {
                assert!(text.ends_with('.') && text.starts_with(|c: char| !c.is_whitespace()), "{}: {text}", code.code);
            }
        }
    }
}
