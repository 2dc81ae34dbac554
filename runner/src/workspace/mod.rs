//! Workspaces: the place where a session works. A git worktree on a branch of its own, or a plain directory.
//!
//! `spec` is what is asked for, `plan` what that comes to, `ensure` makes it once; `worktree` and `directory` know how.
//! `git` runs git's command line. Nothing that a session did is deleted here without being committed and merged.

mod directory;
mod ensure;
mod git;
mod options;
mod plan;
mod spec;
mod turns;
mod workspaces;
mod worktree;

pub use ensure::Workspace;
pub use options::WorkspaceOptions;
pub use spec::WorkspaceSpec;
pub use workspaces::Workspaces;
