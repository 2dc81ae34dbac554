//! The one form that errors have in events, in answers and in scripts.

use crate::{
    codec::{Decode, Encode},
    json::Json,
};
use serde::{Deserialize, Serialize};
use std::fmt;

/// An error as events carry it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Encode, Decode)]
pub struct ErrorInfo {
    /// Stable, in snake_case: one of the published catalogue.
    pub code: String,
    /// For people: what went wrong, and what to do.
    pub message: String,
    /// The script's own traceback, where a script threw.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub traceback: Option<String>,
    /// Whether trying again can help.
    #[serde(default)]
    pub retryable: bool,
    /// Whatever else is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub details: Option<Json>,
}

impl ErrorInfo {
    /// An error that trying again does not cure. Its code is one of the catalogue; what scripts throw is made otherwise.
    pub fn new(code: impl Into<String>, message: impl Into<String>) -> Self {
        Self { code: code.into(), message: message.into(), traceback: None, retryable: false, details: None }
    }

    /// The same, where trying again may help.
    #[must_use]
    pub fn retryable(mut self) -> Self {
        self.retryable = true;
        self
    }

    /// The same, with more that is known.
    #[must_use]
    pub fn with_details(mut self, details: Json) -> Self {
        self.details = Some(details);
        self
    }
}

impl fmt::Display for ErrorInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}
