//! Plain directories.

use moonlog_core::{error_info::ErrorInfo, event::WorkspaceRequested};

/// Makes a directory, where it is not there.
pub(super) fn make(requested: &WorkspaceRequested) -> Result<(), ErrorInfo> {
    std::fs::create_dir_all(&requested.path)
        .map_err(|error| ErrorInfo::new("not_created", format!("cannot make {}: {error}", requested.path)))
}
