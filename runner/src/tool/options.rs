//! What tools can be told, with the defaults.

use super::Policy;
use std::path::PathBuf;

/// Limits of tools, each with its unit in its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ToolLimits {
    /// How much of a file `read_file` gives at once.
    pub read_max_bytes: usize,
    /// How many lines of a file `read_file` gives at once.
    pub read_max_lines: usize,
    /// How long a line is shown at most.
    pub line_max_bytes: usize,
    /// The largest file that is written or edited.
    pub write_max_bytes: usize,
    /// The longest diff of one file that is recorded.
    pub diff_max_bytes: usize,
    /// How many edits one call may hold.
    pub edits_max: usize,
    /// How many paths `list_files` gives.
    pub list_max: usize,
    /// How many matching lines `search_files` gives.
    pub search_max_matches: usize,
    /// How long `search_files` and `list_files` look.
    pub search_max_ms: u64,
    /// How long `execute` waits for a command that names no timeout.
    pub execute_timeout_ms: u64,
    /// How long `execute` and `process_output` may be told to wait; longer ones are cut to it.
    pub wait_max_ms: u64,
}

impl Default for ToolLimits {
    fn default() -> Self {
        Self {
            read_max_bytes: 64 << 10,
            read_max_lines: 2_000,
            line_max_bytes: 2_048,
            write_max_bytes: 4 << 20,
            diff_max_bytes: 1 << 20,
            edits_max: 256,
            list_max: 1_000,
            search_max_matches: 200,
            search_max_ms: 20_000,
            execute_timeout_ms: 10_000,
            wait_max_ms: 4 * 3_600_000,
        }
    }
}

/// What tools can be told.
#[derive(Debug, Clone, Default)]
pub struct ToolOptions {
    /// Limits.
    pub limits: ToolLimits,
    /// Where tools may go when a call has no workspace; relative paths begin in the first. The server's own folder
    /// where there is none.
    pub roots: Vec<PathBuf>,
    /// Which calls need approval, and which are refused.
    pub policy: Policy,
}
