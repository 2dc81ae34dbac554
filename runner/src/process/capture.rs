//! What `exec` gives back of an output.

/// What a process wrote, apart by descriptor.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Captured {
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
    /// Whether the middle of one of them was left out.
    pub truncated: bool,
}
