//! What a process has written, as it is shown.

use super::Truncation;
use moonlog_core::event::{ProcessExited, ProcessOutcome};
use serde::{Serialize, Serializer};

/// What a process has written, for showing: its beginning and its end. As JSON it is
/// `{output, truncated?, running, exit_code?, signal?, outcome?}`.
#[derive(Debug, Clone, PartialEq)]
pub struct OutputView {
    /// The text.
    pub output: String,
    /// What was left out, where something was.
    pub truncated: Option<Truncation>,
    /// How it ended, where it has. Read before the output, so that with an end the output is final.
    pub exited: Option<ProcessExited>,
}

impl Serialize for OutputView {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Fields<'a> {
            output: &'a str,
            #[serde(skip_serializing_if = "Option::is_none")]
            truncated: Option<&'a Truncation>,
            running: bool,
            #[serde(skip_serializing_if = "Option::is_none")]
            exit_code: Option<i32>,
            #[serde(skip_serializing_if = "Option::is_none")]
            signal: Option<&'a str>,
            #[serde(skip_serializing_if = "Option::is_none")]
            outcome: Option<ProcessOutcome>,
        }
        let exited = self.exited.as_ref();
        let fields = Fields {
            output: &self.output,
            truncated: self.truncated.as_ref(),
            running: exited.is_none(),
            exit_code: exited.and_then(|exited| exited.exit_code),
            signal: exited.and_then(|exited| exited.signal.as_deref()),
            outcome: exited.map(|exited| exited.outcome),
        };
        fields.serialize(serializer)
    }
}
