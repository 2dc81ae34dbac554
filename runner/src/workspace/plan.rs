//! From what is asked for to what will be made: everything that can be refused is refused here, before anything is
//! recorded.

use super::{WorkspaceOptions, WorkspaceSpec, git::Git};
use moonlog_core::{error_info::ErrorInfo, event::WorkspaceRequested, id::SessionId, projection::WorkspaceKind};
use std::path::{Path, PathBuf};

/// The branch of a session's worktree.
pub(super) fn branch_of(session: &SessionId) -> String {
    format!("moonlog/{session}")
}

/// Where a session's workspace is made that names no path.
pub(super) fn folder_of(session: &SessionId, options: &WorkspaceOptions) -> PathBuf {
    options.folder.join(session.to_string())
}

/// Works out what a spec comes to.
pub(super) async fn plan(
    session: &SessionId,
    spec: &WorkspaceSpec,
    options: &WorkspaceOptions,
) -> Result<WorkspaceRequested, ErrorInfo> {
    match spec {
        WorkspaceSpec::Directory { path: None } => Ok(WorkspaceRequested {
            kind: WorkspaceKind::Directory.to_string(),
            path: absolute(&folder_of(session, options))?,
            ..WorkspaceRequested::default()
        }),
        WorkspaceSpec::Directory { path: Some(path) } => Ok(WorkspaceRequested {
            kind: WorkspaceKind::Directory.to_string(),
            path: utf8(&there(path)?)?,
            ..WorkspaceRequested::default()
        }),
        WorkspaceSpec::Worktree { repository, base } => worktree(session, repository, base.as_deref(), options).await,
    }
}

async fn worktree(
    session: &SessionId,
    repository: &Path,
    base: Option<&str>,
    options: &WorkspaceOptions,
) -> Result<WorkspaceRequested, ErrorInfo> {
    let git = Git::at(&there(repository)?, options);
    let shared = common_folder(&git).await.map_err(|error| match error.code.as_str() {
        "git_failed" => {
            let message = format!("{} is in no git repository: {}", repository.display(), error.message);
            ErrorInfo::new("not_a_repository", message)
        }
        _ => error,
    })?;
    let wanted = base.unwrap_or("HEAD");
    let Some(commit) = commit_of(&git, wanted).await? else {
        return Err(match base {
            None => ErrorInfo::new(
                "repository_without_commits",
                format!("{} has no commit yet: make a first one, a worktree begins at one", repository.display()),
            ),
            Some(base) => ErrorInfo::new("no_such_ref", format!("{} has no reference `{base}`", repository.display())),
        });
    };
    Ok(WorkspaceRequested {
        kind: WorkspaceKind::Worktree.to_string(),
        path: absolute(&folder_of(session, options))?,
        repository: Some(utf8(&shared)?),
        base: Some(full_name(&git, wanted).await?.unwrap_or_else(|| commit.clone())),
        base_commit: Some(commit),
        branch: Some(branch_of(session)),
        ..WorkspaceRequested::default()
    })
}

/// The git folder that all worktrees of a repository share, without symbolic links.
pub(super) async fn common_folder(git: &Git) -> Result<PathBuf, ErrorInfo> {
    let folder = PathBuf::from(git.line(&["rev-parse", "--path-format=absolute", "--git-common-dir"]).await?);
    Ok(folder.canonicalize().unwrap_or(folder))
}

/// The commit that a reference stands for.
pub(super) async fn commit_of(git: &Git, reference: &str) -> Result<Option<String>, ErrorInfo> {
    let commit = format!("{reference}^{{commit}}");
    let output = git.output(&["rev-parse", "--quiet", "--verify", "--end-of-options", &commit], b"").await?;
    match output.code {
        Some(0) => Ok(Some(String::from_utf8_lossy(&output.stdout).trim().to_owned())),
        Some(1 | 128) => Ok(None),
        _ => Err(output.error()),
    }
}

/// A reference's full name, such as `refs/heads/main`; `None` where it is a commit and no name.
async fn full_name(git: &Git, reference: &str) -> Result<Option<String>, ErrorInfo> {
    let arguments = ["rev-parse", "--quiet", "--verify", "--symbolic-full-name", "--end-of-options", reference];
    let output = git.output(&arguments, b"").await?;
    let name = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    // `HEAD` stands for itself where no branch is checked out.
    Ok(Some(name).filter(|name| name.starts_with("refs/")))
}

/// A folder that must be there, without symbolic links.
fn there(path: &Path) -> Result<PathBuf, ErrorInfo> {
    match path.canonicalize() {
        Ok(found) if found.is_dir() => Ok(found),
        Ok(_) => Err(ErrorInfo::new("not_a_directory", format!("{} is no directory", path.display()))),
        Err(error) => Err(ErrorInfo::new("no_such_directory", format!("{}: {error}", path.display()))),
    }
}

fn absolute(path: &Path) -> Result<String, ErrorInfo> {
    let path = std::path::absolute(path)
        .map_err(|error| ErrorInfo::new("no_such_directory", format!("{}: {error}", path.display())))?;
    // As it will be without symbolic links, where its parents are there.
    match (path.parent().and_then(|parent| parent.canonicalize().ok()), path.file_name()) {
        (Some(parent), Some(name)) => utf8(&parent.join(name)),
        _ => utf8(&path),
    }
}

fn utf8(path: &Path) -> Result<String, ErrorInfo> {
    let text = path.to_str().map(str::to_owned);
    text.ok_or_else(|| ErrorInfo::new("invalid_path", format!("{} is no UTF-8", path.display())))
}
