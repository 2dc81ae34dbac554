//! How a worktree differs from its base: committed, staged, changed and untracked files alike.

use super::{Workspaces, content::hash_of, diffs, git::Git};
use crate::temporary;
use moonlog_core::{
    diff::{Replaced, replaced_lines},
    error_info::ErrorInfo,
    event::{EventBody, ScannedFile, WorkspaceScanned},
    projection::{FileOp, SessionState, WorkspaceState},
};
use std::{
    collections::BTreeMap,
    ffi::OsStr,
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
};

/// How many files one command of git's is asked about.
const FILES_AT_ONCE: usize = 500;
/// How often files may come and go under our eyes before that is an error.
const TRIES: usize = 3;
/// How git shall write diffs, whatever the user's configuration says.
const DIFF: [&str; 14] = [
    "diff",
    "--no-renames",
    "--no-ext-diff",
    "--no-textconv",
    "--no-color",
    "--no-relative",
    "--src-prefix=a/",
    "--dst-prefix=b/",
    "--unified=3",
    "--inter-hunk-context=0",
    "--diff-algorithm=myers",
    "--submodule=short",
    "--ignore-submodules=dirty",
    "--no-abbrev",
];

/// What a worktree looks like.
#[derive(Debug)]
pub(super) struct Scan {
    /// The commit that it was compared with.
    pub(super) base: String,
    /// The files that differ, by path.
    pub(super) files: BTreeMap<String, File>,
    /// How many more there are.
    pub(super) omitted: u64,
}

/// A file that differs.
#[derive(Debug)]
pub(super) struct File {
    pub(super) op: FileOp,
    /// A unified diff; `None` where the file is too large for one.
    pub(super) diff: Option<String>,
    pub(super) seen: ScannedFile,
}

/// What `git diff --raw` says of a file.
struct Raw {
    path: String,
    op: FileOp,
    before: Option<String>,
}

/// An index of its own, so that the worktree's stays as it is.
pub(super) struct Index(PathBuf);

impl Index {
    pub(super) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Index {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

impl Workspaces {
    /// Looks at a session's worktree, and records what was not known. The session's turn must be held.
    pub(super) async fn scan(&self, session: &SessionState, workspace: &WorkspaceState) -> Result<Scan, ErrorInfo> {
        let scan = self.look(workspace).await?;
        let scanned = WorkspaceScanned {
            base_commit: scan.base.clone(),
            files: scan.files.values().map(|file| file.seen.clone()).collect(),
            omitted: scan.omitted,
        };
        // What other tasks have recorded meanwhile counts.
        let known = self.session(&session.id)?;
        if !is_known(&known, workspace, &scanned) {
            self.record(&session.id, vec![EventBody::WorkspaceScanned(scanned)]).await?;
        }
        Ok(scan)
    }

    /// The commit that a worktree's changes are compared with: where it left the branch it is merged into. So what
    /// was merged in either direction is no change of the session's.
    pub(super) async fn base_of(&self, git: &Git, workspace: &WorkspaceState) -> Result<String, ErrorInfo> {
        if let Some(base) = &workspace.requested.base {
            let output = git.output(&["merge-base", base, "HEAD"], b"").await?;
            if output.code == Some(0) {
                return Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned());
            }
        }
        // The branch is gone, or shares nothing any more.
        let base = workspace.base_commit.clone();
        base.ok_or_else(|| ErrorInfo::new("no_base", "it is not known which commit the workspace began at"))
    }

    async fn look(&self, workspace: &WorkspaceState) -> Result<Scan, ErrorInfo> {
        let root = Path::new(workspace.path());
        let git = self.git(root);
        let base = self.base_of(&git, workspace).await?;
        let (index, mut omitted) = self.index_with_untracked(&git).await?;
        let git = git.with_index(&index.0);
        let (mut raws, unreadable) = raw(&git, &base).await?;
        omitted += unreadable + raws.len().saturating_sub(self.shared.options.files_max) as u64;
        raws.truncate(self.shared.options.files_max);
        let mut diffs = self.diffs(&git, &base, root, &raws).await?;
        let (root, seen) = (root.to_owned(), raws.iter().map(|raw| raw.path.clone()).collect::<Vec<_>>());
        let hashes = tokio::task::spawn_blocking(move || seen.iter().map(|path| hash_of(&root.join(path))).collect());
        let hashes: Vec<_> = hashes.await.map_err(|_| ErrorInfo::new("stopping", "the server is stopping"))?;
        let files = raws.into_iter().zip(hashes).map(|(raw, after_hash)| {
            let diff = diffs.remove(&raw.path);
            let lines = diff.as_deref().map_or_else(|| vec![Replaced::ALL], replaced_lines);
            let lines = lines.iter().map(|replaced| replaced.lines).collect();
            let seen = ScannedFile { path: raw.path.clone(), op: raw.op.as_str().into(), lines, after_hash };
            (raw.path, File { op: raw.op, diff, seen })
        });
        Ok(Scan { base, files: files.collect(), omitted })
    }

    /// The worktree's index with a note of each untracked file, and how many of those are left out. Nothing is written
    /// to the repository.
    async fn index_with_untracked(&self, git: &Git) -> Result<(Index, u64), ErrorInfo> {
        let index = copied_index(git).await?;
        let omitted = add_untracked(&git.with_index(index.path()), self.shared.options.files_max, true).await?;
        Ok((index, omitted))
    }

    /// The diffs of those files that are not too large for one, by path.
    async fn diffs(
        &self,
        git: &Git,
        base: &str,
        root: &Path,
        raws: &[Raw],
    ) -> Result<BTreeMap<String, String>, ErrorInfo> {
        let max = self.shared.options.diff_max_bytes;
        let before = sizes(git, raws).await?;
        let is_small = |raw: &&Raw| {
            let now = root.join(&raw.path).symlink_metadata().map_or(0, |file| file.len());
            now <= max && raw.before.as_ref().is_none_or(|blob| before.get(blob).is_none_or(|size| *size <= max))
        };
        let small: Vec<&str> = raws.iter().filter(is_small).map(|raw| raw.path.as_str()).collect();
        let mut all = BTreeMap::new();
        for paths in small.chunks(FILES_AT_ONCE) {
            let arguments: Vec<&str> =
                DIFF.into_iter().chain(["--patch", base, "--"]).chain(paths.iter().copied()).collect();
            let text = git.run(&arguments).await?;
            let text = String::from_utf8_lossy(&text);
            let found = diffs::by_file(&text, paths.iter().copied());
            all.extend(found.into_iter().map(|(path, diff)| (path.to_owned(), diff)));
        }
        Ok(all)
    }
}

/// A copy of a worktree's index.
pub(super) async fn copied_index(git: &Git) -> Result<Index, ErrorInfo> {
    let own = PathBuf::from(git.line(&["rev-parse", "--path-format=absolute", "--git-path", "index"]).await?);
    let index = Index(own.with_file_name(format!("moonlog-index-{}", uuid::Uuid::now_v7())));
    match std::fs::copy(&own, index.path()) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(ErrorInfo::new("git_failed", format!("cannot copy {}: {error}", own.display())))
        }
        _ => Ok(index),
    }
}

/// Adds at most `max` untracked files to an index, or a note of each, and tells how many it has left out. A repository
/// within the worktree is left alone: what happens in it is its own.
pub(super) async fn add_untracked(git: &Git, max: usize, note: bool) -> Result<u64, ErrorInfo> {
    let mut tried = 0;
    loop {
        let untracked = git.run(&["ls-files", "--others", "--exclude-standard", "-z"]).await?;
        let names = untracked.split(|byte| *byte == 0).filter(|name| !name.is_empty() && !name.ends_with(b"/"));
        let (temporary, names): (Vec<&[u8]>, Vec<&[u8]>) = names.partition(|name| is_temporary(name));
        // What a write that was cut off has left is no file of anybody's.
        for folder in temporary.iter().filter_map(|name| Path::new(OsStr::from_bytes(name)).parent()) {
            temporary::sweep_path(&git.folder().join(folder));
        }
        let omitted = names.len().saturating_sub(max) as u64;
        let names: Vec<u8> = names.iter().take(max).flat_map(|name| [*name, b"\0"]).flatten().copied().collect();
        if names.is_empty() {
            return Ok(omitted);
        }
        let mut add = vec!["add", "--pathspec-from-file=-", "--pathspec-file-nul"];
        add.extend(note.then_some("--intent-to-add"));
        match git.run_with(&add, &names).await {
            Ok(_) => return Ok(omitted),
            // A file that has gone since it was listed.
            Err(error) if error.code == "git_failed" && tried < TRIES => tried += 1,
            Err(error) => return Err(error),
        }
    }
}

fn is_temporary(path: &[u8]) -> bool {
    temporary::is_temporary(path.rsplit(|byte| *byte == b'/').next().unwrap_or(path))
}

/// Which files differ, and how many have names that are no UTF-8.
async fn raw(git: &Git, base: &str) -> Result<(Vec<Raw>, u64), ErrorInfo> {
    let arguments: Vec<&str> = DIFF.into_iter().chain(["--raw", "-z", base]).collect();
    let output = git.run(&arguments).await?;
    let mut fields = output.split(|byte| *byte == 0).filter(|field| !field.is_empty());
    let (mut raws, mut unreadable) = (BTreeMap::new(), 0);
    while let (Some(facts), Some(path)) = (fields.next(), fields.next()) {
        let facts = String::from_utf8_lossy(facts);
        let facts: Vec<&str> = facts.trim_start_matches(':').split(' ').collect();
        let [_, _, before, _, status] = facts[..] else { continue };
        let Ok(path) = std::str::from_utf8(path) else {
            unreadable += 1;
            continue;
        };
        let op = match status.as_bytes().first() {
            Some(b'A') => FileOp::Created,
            Some(b'D') => FileOp::Deleted,
            _ => FileOp::Edited,
        };
        let before = Some(before.to_owned()).filter(|blob| blob.bytes().any(|byte| byte != b'0'));
        // A file with conflicts stands there twice.
        raws.entry(path.to_owned()).or_insert(Raw { path: path.to_owned(), op, before });
    }
    Ok((raws.into_values().collect(), unreadable))
}

/// How large the files were, by blob.
async fn sizes(git: &Git, raws: &[Raw]) -> Result<BTreeMap<String, u64>, ErrorInfo> {
    let blobs: String = raws.iter().filter_map(|raw| raw.before.as_ref()).map(|blob| format!("{blob}\n")).collect();
    if blobs.is_empty() {
        return Ok(BTreeMap::new());
    }
    let output = git.run_with(&["cat-file", "--batch-check=%(objectname) %(objectsize)"], blobs.as_bytes()).await?;
    let text = String::from_utf8_lossy(&output);
    let lines = text.lines().filter_map(|line| line.split_once(' '));
    Ok(lines.filter_map(|(blob, size)| Some((blob.to_owned(), size.parse().ok()?))).collect())
}

/// Whether a scan says nothing that is not known.
fn is_known(session: &SessionState, workspace: &WorkspaceState, scanned: &WorkspaceScanned) -> bool {
    let known = session.workspace.as_deref().unwrap_or(workspace);
    let same = |file: &ScannedFile| {
        session.changes.get(file.path.as_str()).is_some_and(|change| {
            change.op.as_str() == file.op
                && change.after_hash == file.after_hash
                && change.lines.as_deref() == Some(&*file.lines)
        })
    };
    known.base_commit.as_deref() == Some(&*scanned.base_commit)
        && known.omitted == scanned.omitted
        && session.changes.len() == scanned.files.len()
        && scanned.files.iter().all(same)
}
