//! Git worktrees: making one on the session's own branch, and telling whether it is still one.

use super::{
    Workspaces,
    git::Git,
    plan::{commit_of, common_folder},
};
use moonlog_core::{error_info::ErrorInfo, event::WorkspaceRequested, id::SessionId};
use std::{
    io,
    path::{Path, PathBuf},
};

/// Makes the worktree. Its branch is taken up where it is there: what was committed on it is not lost.
pub(super) async fn make(
    workspaces: &Workspaces,
    session: &SessionId,
    requested: &WorkspaceRequested,
) -> Result<(), ErrorInfo> {
    let (path, repository) = (Path::new(&requested.path), repository(requested)?);
    let git = workspaces.git(&repository);
    // Before anything is moved out of the way: a repository may be gone for a while, with its disk.
    common_folder(&git).await?;
    let _turn = workspaces.shared.repositories.of(repository).await;
    make_room(&git, path, requested).await.map_err(|error| cannot(path, &error))?;
    let (Some(branch), Some(base)) = (&requested.branch, &requested.base_commit) else {
        return Err(ErrorInfo::new("invalid_workspace", "a worktree needs a branch and a commit to begin at"));
    };
    // Locked, so that nobody's `git worktree prune` takes it for stale while its disk is away.
    let reason = format!("moonlog session {session}");
    let mut arguments = vec!["worktree", "add", "--quiet", "--lock", "--reason", &reason];
    if commit_of(&git, &format!("refs/heads/{branch}")).await?.is_some() {
        arguments.extend([&*requested.path, branch]);
    } else {
        arguments.extend(["-b", branch, &*requested.path, base]);
    }
    git.run(&arguments).await.map(drop)
}

/// Sees to it that nothing stands where the worktree will be, and that git knows of none there.
async fn make_room(git: &Git, path: &Path, requested: &WorkspaceRequested) -> io::Result<()> {
    if let Some(parent) = path.parent() {
        make_folder(parent)?;
    }
    match &requested.set_aside {
        Some(aside) if path.symlink_metadata().is_ok() => std::fs::rename(path, aside)?,
        _ => {}
    }
    // Fails where git knows of none there.
    let _ = git.run(&["worktree", "remove", "--force", "--force", &requested.path]).await;
    match std::fs::remove_dir(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        // A checkout that a dying server left before anybody was told of it.
        Err(_) if !requested.recreated => std::fs::remove_dir_all(path),
        other => other,
    }
}

/// Makes the folder of all worktrees. It may stand within a repository, whose own `git status` shall not show it.
fn make_folder(folder: &Path) -> io::Result<()> {
    std::fs::create_dir_all(folder)?;
    let ignore = folder.join(".gitignore");
    if ignore.exists() { Ok(()) } else { std::fs::write(ignore, "*\n") }
}

/// Whether the worktree is there and git knows it as one of its repository's.
pub(super) async fn is_healthy(workspaces: &Workspaces, requested: &WorkspaceRequested) -> Result<bool, ErrorInfo> {
    let path = Path::new(&requested.path);
    if !path.join(".git").is_file() {
        return Ok(false);
    }
    let git = workspaces.git(path);
    let known = async {
        let top = PathBuf::from(git.line(&["rev-parse", "--path-format=absolute", "--show-toplevel"]).await?);
        let is_top = top.canonicalize().is_ok_and(|top| path.canonicalize().is_ok_and(|path| top == path));
        let shared = common_folder(&git).await?;
        Ok(is_top && shared == repository(requested)? && commit_of(&git, "HEAD").await?.is_some())
    };
    match known.await {
        Err(ErrorInfo { code, .. }) if code == "git_failed" => Ok(false),
        known => known,
    }
}

/// The git folder that a worktree shares with its repository.
pub(super) fn repository(requested: &WorkspaceRequested) -> Result<PathBuf, ErrorInfo> {
    let repository = requested.repository.as_ref().map(PathBuf::from);
    repository.ok_or_else(|| ErrorInfo::new("invalid_workspace", "a worktree needs a repository"))
}

fn cannot(path: &Path, error: &io::Error) -> ErrorInfo {
    ErrorInfo::new("not_created", format!("cannot make {}: {error}", path.display()))
}
