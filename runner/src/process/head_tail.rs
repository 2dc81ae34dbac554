//! The beginning and the end of an output.

/// What was left out of an output.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Truncation {
    /// All that was written.
    pub original_bytes: u64,
    /// What is not shown.
    pub omitted_bytes: u64,
    /// What is shown, markers included.
    pub retained_bytes: u64,
    /// `head_tail`
    pub strategy: &'static str,
}

/// Keeps the first and the last 16,384 bytes of what is written to it.
#[derive(Debug, Clone, Default)]
pub struct HeadTail;
