//! Who calls a tool, and where it works.

use crate::process::Owner;
use std::path::PathBuf;

/// What a tool's input does not say.
#[derive(Debug, Clone)]
pub struct ToolContext {
    /// Whose call it is: the stream of its events, job, session and step.
    pub owner: Owner,
    /// The folder that it works in: the session's workspace. Without one, those of [`ToolOptions::roots`](super::ToolOptions).
    pub root: Option<PathBuf>,
    /// Stable over attempts; commands see it as `IDEMPOTENCY_KEY`.
    pub idempotency_key: String,
    /// The call, as its events name it.
    pub call_id: String,
}
