//! What a check found.

use serde::Serialize;

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// It is as it should be.
    Ok,
    /// It works, and something of it may surprise.
    Warning,
    /// It does not work.
    Wrong,
    /// It could not be looked at.
    Skipped,
}

impl Level {
    /// As it is printed.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warning => "warning",
            Self::Wrong => "wrong",
            Self::Skipped => "skipped",
        }
    }
}

/// What a check found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What was looked at.
    pub check: String,
    /// How it is.
    pub level: Level,
    /// What was seen.
    pub detail: String,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

impl Finding {
    fn new(check: impl Into<String>, level: Level, detail: impl Into<String>) -> Self {
        Self { check: check.into(), level, detail: detail.into(), hint: None }
    }

    /// It is as it should be.
    pub fn ok(check: impl Into<String>, detail: impl Into<String>) -> Self {
        Self::new(check, Level::Ok, detail)
    }

    /// It works, and something of it may surprise.
    pub fn warning(check: impl Into<String>, detail: impl Into<String>) -> Self {
        Self::new(check, Level::Warning, detail)
    }

    /// It does not work.
    pub fn wrong(check: impl Into<String>, detail: impl Into<String>) -> Self {
        Self::new(check, Level::Wrong, detail)
    }

    /// It could not be looked at.
    pub fn skipped(check: impl Into<String>, detail: impl Into<String>) -> Self {
        Self::new(check, Level::Skipped, detail)
    }

    /// The same, with what to do about it.
    #[must_use]
    pub fn hint(self, hint: impl Into<String>) -> Self {
        Self { hint: Some(hint.into()), ..self }
    }
}
