//! When to try again, and how often: of a step's attempts, and of a job's.

use crate::codec::{Decode, Encode};
use serde::{Deserialize, Serialize};

/// When to try again, and how often. Attempt `n` waits `min(backoff_ms * factor^(n - 1), max_backoff_ms)`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Encode, Decode)]
#[serde(deny_unknown_fields)]
pub struct RetryPolicy {
    /// Attempts in all, the first included.
    pub max: u32,
    /// The first wait.
    #[serde(default = "default_backoff_ms")]
    pub backoff_ms: u64,
    /// What each wait is multiplied by for the next.
    #[serde(default = "default_factor")]
    pub factor: f64,
    /// The longest wait.
    #[serde(default = "default_max_backoff_ms")]
    pub max_backoff_ms: u64,
}

const fn default_backoff_ms() -> u64 {
    1_000
}
const fn default_factor() -> f64 {
    2.0
}
const fn default_max_backoff_ms() -> u64 {
    60_000
}

impl RetryPolicy {
    /// How long to wait after attempt `attempt` (1-based) failed, or `None` where it was the last.
    pub fn wait_ms_after(&self, attempt: u32) -> Option<u64> {
        wait_ms(attempt, self.max, self.backoff_ms, self.factor, self.max_backoff_ms)
    }
}

fn wait_ms(attempt: u32, max: u32, backoff_ms: u64, factor: f64, max_backoff_ms: u64) -> Option<u64> {
    if attempt >= max {
        return None;
    }
    let exponent = i32::try_from(attempt.saturating_sub(1)).unwrap_or(i32::MAX);
    let wait = backoff_ms as f64 * factor.max(0.0).powi(exponent);
    Some(wait.min(max_backoff_ms as f64) as u64)
}

/// When and how often a whole job is tried again, and after which errors.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Encode, Decode)]
#[serde(deny_unknown_fields)]
pub struct JobRetryPolicy {
    /// Attempts in all, the first included.
    pub max: u32,
    /// The first wait.
    #[serde(default = "default_backoff_ms")]
    pub backoff_ms: u64,
    /// What each wait is multiplied by for the next.
    #[serde(default = "default_factor")]
    pub factor: f64,
    /// The longest wait.
    #[serde(default = "default_max_backoff_ms")]
    pub max_backoff_ms: u64,
    /// The codes of the errors that are tried again, each by its name or, with a `*` behind it, by its beginning; all where
    /// there are none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub on: Vec<String>,
    /// The codes of those that are not, which win over `on`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub not_on: Vec<String>,
}

impl From<RetryPolicy> for JobRetryPolicy {
    fn from(policy: RetryPolicy) -> Self {
        let RetryPolicy { max, backoff_ms, factor, max_backoff_ms } = policy;
        Self { max, backoff_ms, factor, max_backoff_ms, on: Vec::new(), not_on: Vec::new() }
    }
}

impl JobRetryPolicy {
    /// Whether an error of this code is one to try again after.
    pub fn takes(&self, code: &str) -> bool {
        let names = |patterns: &[String]| {
            patterns.iter().any(|pattern| match pattern.strip_suffix('*') {
                Some(beginning) => code.starts_with(beginning),
                None => code == pattern,
            })
        };
        (self.on.is_empty() || names(&self.on)) && !names(&self.not_on)
    }

    /// How long to wait after attempt `attempt` (1-based) failed with this code, or `None` where no other is made.
    pub fn wait_ms_after(&self, attempt: u32, code: &str) -> Option<u64> {
        if !self.takes(code) {
            return None;
        }
        wait_ms(attempt, self.max, self.backoff_ms, self.factor, self.max_backoff_ms)
    }

    /// Whether a job that failed with this code in this attempt would have been tried again, had it any attempts left.
    pub fn is_exhausted(&self, attempt: u32, code: &str) -> bool {
        attempt >= self.max && self.takes(code)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(on: &[&str], not_on: &[&str]) -> JobRetryPolicy {
        let texts = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
        let policy = RetryPolicy { max: 3, backoff_ms: 10, factor: 2.0, max_backoff_ms: 15 };
        JobRetryPolicy { on: texts(on), not_on: texts(not_on), ..policy.into() }
    }

    #[test]
    fn codes_decide_whether_there_is_another_attempt() {
        for (on, not_on, code, takes) in [
            (&[][..], &[][..], "anything", true),
            (&["timeout"], &[], "timeout", true),
            (&["timeout"], &[], "timeouts", false),
            (&["limit_*"], &[], "limit_cpu", true),
            (&["limit_*"], &["limit_memory"], "limit_memory", false),
            (&[], &["denied"], "denied", false),
            (&[], &["denied"], "script_error", true),
            (&["denied"], &["*"], "denied", false),
        ] {
            let policy = policy(on, not_on);
            assert_eq!(policy.takes(code), takes, "{on:?} {not_on:?} {code}");
            assert_eq!(policy.wait_ms_after(1, code), takes.then_some(10));
            assert_eq!(policy.wait_ms_after(2, code), takes.then_some(15));
            assert_eq!(policy.wait_ms_after(3, code), None);
            assert_eq!((policy.is_exhausted(2, code), policy.is_exhausted(3, code)), (false, takes));
        }
    }
}
