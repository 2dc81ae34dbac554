//! Which workspace a session is to have.

use moonlog_core::{error_info::ErrorInfo, json::Json, projection::WorkspaceKind};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// Which workspace a session is to have.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum WorkspaceSpec {
    /// A git worktree on a branch of its own.
    Worktree {
        /// A folder of the repository, or of its bare form.
        repository: PathBuf,
        /// What it begins at, and is merged into where it is a branch: any reference, `HEAD` where absent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        base: Option<String>,
    },
    /// A plain directory.
    Directory {
        /// One that is there; a new one where absent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        path: Option<PathBuf>,
    },
}

impl WorkspaceSpec {
    /// Reads a spec from a request or a tool's input. `None` for `null`.
    ///
    /// # Errors
    /// `invalid_workspace`, with what is wrong.
    pub fn read(json: &Json) -> Result<Option<Self>, ErrorInfo> {
        json.to::<Option<Self>>().map_err(|error| {
            let forms = r#"{"kind":"worktree","repository":PATH,"base"?:REF} or {"kind":"directory","path"?:PATH}"#;
            ErrorInfo::new("invalid_workspace", format!("a workspace is {forms}: {error}"))
        })
    }

    /// What it is.
    pub const fn kind(&self) -> WorkspaceKind {
        match self {
            Self::Worktree { .. } => WorkspaceKind::Worktree,
            Self::Directory { .. } => WorkspaceKind::Directory,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn specs_are_read() {
        let read = |text: &str| WorkspaceSpec::read(&Json::parse(text).unwrap());
        let worktree = WorkspaceSpec::Worktree { repository: "/r".into(), base: None };
        assert_eq!(read(r#"{"kind":"worktree","repository":"/r"}"#), Ok(Some(worktree)));
        assert_eq!(read(r#"{"kind":"directory"}"#), Ok(Some(WorkspaceSpec::Directory { path: None })));
        assert_eq!(read("null"), Ok(None));
        for wrong in [r#"{"kind":"worktree"}"#, r#"{"kind":"tree"}"#, r#"{"kind":"directory","repo":"/r"}"#, "7", "{}"]
        {
            assert_eq!(read(wrong).unwrap_err().code, "invalid_workspace", "{wrong}");
        }
    }
}
