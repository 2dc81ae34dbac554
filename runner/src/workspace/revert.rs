//! Taking back what a session has changed: only what is listed, and only where it is still as it was listed.

use super::{
    Workspaces,
    content::hash_of,
    recorded::{Before, Untold},
    scan::Scan,
};
use crate::temporary;
use moonlog_core::{
    error_info::ErrorInfo,
    event::{EventBody, WorkspaceReverted},
    id::SessionId,
    json::Json,
    projection::{FileOp, SessionState, WorkspaceKind, WorkspaceState},
};
use serde_json::json;
use std::{
    fs,
    io::{self, Write},
    path::{Path, PathBuf},
    sync::Arc,
};

/// Which changes are taken back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Revert {
    /// All that are listed.
    All,
    /// Those of these files.
    Paths(Vec<String>),
}

impl Workspaces {
    /// Makes files of a session's workspace what they were before the session changed them, all that are asked for or
    /// none. Gives their paths.
    ///
    /// # Errors
    /// `not_changed` for a file that is not listed, `file_changed` for one that has changed since it was last told of,
    /// `not_revertible` where what it held is not known; with the files in `details`.
    pub async fn revert(&self, session: &SessionId, which: Revert) -> Result<Vec<String>, ErrorInfo> {
        let (this, session) = (self.clone(), *session);
        let reverted = tokio::spawn(async move {
            let _turn = this.shared.sessions.of(session).await;
            this.revert_in_turn(&session, which).await
        });
        reverted.await.unwrap_or_else(|_| Err(ErrorInfo::new("stopping", "the server is stopping").retryable()))
    }

    async fn revert_in_turn(&self, session: &SessionId, which: Revert) -> Result<Vec<String>, ErrorInfo> {
        let state = self.open_session(session)?;
        let workspace = Self::bound(&state)?.clone();
        if !self.is_healthy(&workspace).await? {
            let message = format!("{} is not there, or broken: create_workspace makes it anew", workspace.path());
            return Err(ErrorInfo::new("workspace_broken", message));
        }
        let paths = wanted(&state, which)?;
        if paths.is_empty() {
            return Ok(paths);
        }
        check_unchanged(&state, &workspace, &paths).await?;
        match workspace.kind {
            WorkspaceKind::Worktree => self.revert_worktree(&state, &workspace, &paths).await?,
            WorkspaceKind::Directory => {
                let (this, root, of) = (self.clone(), PathBuf::from(workspace.path()), paths.clone());
                let reverted = tokio::task::spawn_blocking(move || this.revert_directory(&state, &root, &of)).await;
                reverted.unwrap_or_else(|_| Err(ErrorInfo::new("stopping", "the server is stopping").retryable()))?;
            }
        }
        let reverted = WorkspaceReverted { paths: paths.clone() };
        self.record(session, vec![EventBody::WorkspaceReverted(reverted)]).await?;
        Ok(paths)
    }

    async fn revert_worktree(
        &self,
        state: &SessionState,
        workspace: &WorkspaceState,
        paths: &[String],
    ) -> Result<(), ErrorInfo> {
        // What was not known before is known now, and told of; what was known is still so, as was checked.
        let Scan { base, files, .. } = self.scan(state, workspace).await?;
        let is_created = |path: &&String| files.get(*path).is_some_and(|file| file.op == FileOp::Created);
        let (created, others): (Vec<_>, Vec<_>) =
            paths.iter().filter(|path| files.contains_key(*path)).partition(is_created);
        let root = Path::new(workspace.path());
        let git = self.git(root);
        if !others.is_empty() {
            let names = others.iter().flat_map(|path| [path.as_bytes(), b"\0"]).flatten().copied().collect::<Vec<_>>();
            let source = format!("--source={base}");
            let restore =
                ["restore", &source, "--staged", "--worktree", "--pathspec-from-file=-", "--pathspec-file-nul"];
            git.run_with(&restore, &names).await?;
        }
        if !created.is_empty() {
            let names = created.iter().flat_map(|path| [path.as_bytes(), b"\0"]).flatten().copied().collect::<Vec<_>>();
            let remove = [
                "rm",
                "--quiet",
                "--cached",
                "--force",
                "--ignore-unmatch",
                "--pathspec-from-file=-",
                "--pathspec-file-nul",
            ];
            git.run_with(&remove, &names).await?;
            for path in created {
                remove_file(root, path)?;
            }
        }
        Ok(())
    }

    fn revert_directory(&self, state: &Arc<SessionState>, root: &Path, paths: &[String]) -> Result<(), ErrorInfo> {
        let (mut before, mut untold, mut changed) = (Vec::new(), Vec::new(), Vec::new());
        for path in paths {
            let Some(change) = state.changes.get(path.as_str()) else { continue };
            match self.recorded_before(&root.join(path), change)? {
                Ok(Before { content, .. }) => before.push((path, content)),
                Err(Untold::Changed) => changed.push(path.as_str()),
                Err(Untold::NoDiffs) => untold.push(path.as_str()),
            }
        }
        if !changed.is_empty() {
            return Err(file_changed(&changed));
        }
        if !untold.is_empty() {
            let message = format!("what these held before is not known: {}; nothing was reverted", untold.join(", "));
            return Err(with_paths(ErrorInfo::new("not_revertible", message), &untold));
        }
        for (path, content) in before {
            match content {
                None => remove_file(root, path)?,
                Some(content) => write_file(&root.join(path), content.as_bytes()).map_err(|e| cannot(path, &e))?,
            }
        }
        Ok(())
    }
}

/// The paths that are meant, each once.
fn wanted(state: &SessionState, which: Revert) -> Result<Vec<String>, ErrorInfo> {
    let mut paths = match which {
        Revert::All => return Ok(state.changes.keys().map(ToString::to_string).collect()),
        Revert::Paths(paths) => paths,
    };
    paths.sort();
    paths.dedup();
    let unlisted: Vec<&str> =
        paths.iter().map(String::as_str).filter(|path| !state.changes.contains_key(*path)).collect();
    if unlisted.is_empty() {
        return Ok(paths);
    }
    let message = format!("the session's changes do not list: {}; nothing was reverted", unlisted.join(", "));
    Err(with_paths(ErrorInfo::new("not_changed", message), &unlisted))
}

/// Refuses where a file does not hold what was told of it last.
async fn check_unchanged(
    state: &Arc<SessionState>,
    workspace: &WorkspaceState,
    paths: &[String],
) -> Result<(), ErrorInfo> {
    let (state, root, paths) = (state.clone(), PathBuf::from(workspace.path()), paths.to_vec());
    let changed = tokio::task::spawn_blocking(move || {
        let is_changed = |path: &String| {
            let known = state.changes.get(path.as_str()).and_then(|change| change.after_hash);
            leads_out(&root, path) || hash_of(&root.join(path)) != known
        };
        paths.into_iter().filter(is_changed).collect::<Vec<_>>()
    });
    let changed = changed.await.map_err(|_| ErrorInfo::new("stopping", "the server is stopping").retryable())?;
    if changed.is_empty() { Ok(()) } else { Err(file_changed(&changed)) }
}

/// Whether a folder on the way to a file has become a link to somewhere else.
fn leads_out(root: &Path, path: &str) -> bool {
    let at = root.join(path);
    let there = at.ancestors().skip(1).find_map(|folder| folder.canonicalize().ok());
    !there.is_some_and(|there| root.canonicalize().is_ok_and(|root| there.starts_with(root)))
}

fn file_changed<S: AsRef<str>>(paths: &[S]) -> ErrorInfo {
    let paths: Vec<&str> = paths.iter().map(AsRef::as_ref).collect();
    let message =
        format!("changed since they were listed: {}; list the changes again. Nothing was reverted", paths.join(", "));
    with_paths(ErrorInfo::new("file_changed", message), &paths)
}

fn with_paths(error: ErrorInfo, paths: &[&str]) -> ErrorInfo {
    error.with_details(Json::from(json!({ "paths": paths })))
}

/// Removes a file, and the folders that are empty without it.
fn remove_file(root: &Path, path: &str) -> Result<(), ErrorInfo> {
    match fs::remove_file(root.join(path)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(cannot(path, &error)),
        _ => {}
    }
    let folders = Path::new(path).ancestors().skip(1).filter(|folder| !folder.as_os_str().is_empty());
    for folder in folders {
        // Fails where it holds something else.
        if fs::remove_dir(root.join(folder)).is_err() {
            break;
        }
    }
    Ok(())
}

/// Writes a file whole or not at all. Its mode stays.
fn write_file(path: &Path, content: &[u8]) -> io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(folder)?;
    let folder = fs::File::open(folder)?;
    temporary::sweep(&folder);
    let name = temporary::name();
    let new = path.with_file_name(&name);
    let mut file = temporary::create(&folder, &name)?;
    let written = (|| {
        file.write_all(content)?;
        if let Ok(old) = path.metadata() {
            file.set_permissions(old.permissions())?;
        }
        file.sync_all()?;
        fs::rename(&new, path)
    })();
    if written.is_err() {
        let _ = fs::remove_file(&new);
    }
    written
}

fn cannot(path: &str, error: &io::Error) -> ErrorInfo {
    ErrorInfo::new("not_reverted", format!("{path}: {error}"))
}
