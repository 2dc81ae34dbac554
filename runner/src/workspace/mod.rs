//! Workspaces: the place where a session works. A git worktree on a branch of its own, or a plain directory.
//!
//! `spec` is what is asked for, `plan` what that comes to, `ensure` makes it once; `worktree` and `directory` know how.
//! `scan` looks at a worktree, `changes` lists what a session did, `revert` and `merge` do what they say, `close` ends
//! it, and `observe` looks after all of them. `git` runs git's command line. Nothing that a session did is deleted here
//! without being committed and merged, unless it is asked for file by file.

mod changes;
mod close;
mod content;
mod diffs;
mod directory;
mod ensure;
mod git;
mod merge;
mod observe;
mod options;
mod orphans;
mod plan;
mod recorded;
mod revert;
mod scan;
mod spec;
mod turns;
mod workspaces;
mod worktree;

pub use changes::{Change, Changes};
pub use ensure::Workspace;
pub use merge::Merged;
pub use options::WorkspaceOptions;
pub use revert::Revert;
pub use spec::WorkspaceSpec;
pub use workspaces::Workspaces;
pub(crate) use workspaces::no_such_session;
