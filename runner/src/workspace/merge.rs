//! Merging what a session did into the branch that its worktree began at. The merge is worked out without touching a
//! file; only one that has no conflicts moves the branch, all at once.

use super::{
    Workspaces,
    git::Git,
    plan::commit_of,
    scan::{add_untracked, copied_index},
    worktree::repository,
};
use moonlog_core::{
    error_info::ErrorInfo,
    event::{EventBody, WorkspaceMerged, WorkspaceRequested},
    id::SessionId,
    json::Json,
    projection::{SessionState, WorkspaceKind, WorkspaceState},
};
use serde::Serialize;
use serde_json::json;
use std::path::{Path, PathBuf};

/// How often a branch may move under our feet before that is an error.
const TRIES: usize = 3;

/// What became of a merge.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Merged {
    /// `fast_forward`, `merge_commit`, or `up_to_date` where there was nothing to merge.
    pub how: String,
    /// The branch that it was merged into.
    pub into: String,
    /// Where that stands now.
    pub commit: String,
    /// The commit that was made of what was not committed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub saved: Option<String>,
    /// The files that changed.
    pub files: Vec<String>,
}

/// A merge that can be done.
struct Plan {
    how: &'static str,
    /// Where the branch stood.
    from: String,
    /// Where it will.
    to: String,
}

impl Workspaces {
    /// Merges a session's worktree into the branch it began at. What is not committed is committed first.
    ///
    /// # Errors
    /// `merge_conflict` with the files in `details`, `base_not_clean` where files of the branch's own checkout are in
    /// the way, `not_mergeable` where there is no such branch; then nothing has changed.
    pub async fn merge(&self, session: &SessionId) -> Result<Merged, ErrorInfo> {
        let (this, session) = (self.clone(), *session);
        let merged = tokio::spawn(async move {
            let _turn = this.shared.sessions.of(session).await;
            this.merge_in_turn(&session).await
        });
        merged.await.unwrap_or_else(|_| Err(ErrorInfo::new("stopping", "the server is stopping").retryable()))
    }

    async fn merge_in_turn(&self, session: &SessionId) -> Result<Merged, ErrorInfo> {
        let state = self.open_session(session)?;
        let workspace = Self::bound(&state)?.clone();
        let not_mergeable = |message: String| Err(ErrorInfo::new("not_mergeable", message));
        if workspace.kind != WorkspaceKind::Worktree {
            return not_mergeable(format!("{} is a directory: its files are changed where they are", workspace.path()));
        }
        if !self.is_healthy(&workspace).await? {
            return not_mergeable(format!("{} is not there, or broken", workspace.path()));
        }
        let Some(into) = workspace.requested.base.as_deref().filter(|base| base.starts_with("refs/heads/")) else {
            let base = workspace.requested.base.as_deref().unwrap_or_default();
            return not_mergeable(format!("the worktree began at {base}, which is no branch of the repository"));
        };
        let shared = repository(&workspace.requested)?;
        let git = self.git(&shared);
        let _turn = self.shared.repositories.of(shared).await;
        self.merge_into(&state, &workspace, &git, into).await
    }

    async fn merge_into(
        &self,
        state: &SessionState,
        workspace: &WorkspaceState,
        git: &Git,
        into: &str,
    ) -> Result<Merged, ErrorInfo> {
        let tree = self.git(Path::new(workspace.path()));
        let own = own_branch(&tree, &workspace.requested).await?;
        let before = commit_of(&tree, "HEAD").await?.unwrap_or_default();
        let message = message("Save the work of", state);
        // Worked out apart from the worktree: where there are conflicts, it stays as it is.
        let saved = commit_of_all(&tree, &before, &message).await?;
        let head = saved.clone().unwrap_or_else(|| before.clone());
        let mut tried = 0;
        loop {
            let Some(plan) = plan(git, into, &head, state).await? else {
                return Ok(Merged {
                    how: "up_to_date".into(),
                    into: into.to_owned(),
                    commit: commit_of(git, into).await?.unwrap_or_default(),
                    saved: None,
                    files: Vec::new(),
                });
            };
            if let Err(error) = self.advance(git, into, &plan).await {
                tried += 1;
                let moved = commit_of(git, into).await?.is_some_and(|now| now != plan.from);
                if moved && tried < TRIES {
                    continue;
                }
                return Err(error);
            }
            if let Some(saved) = &saved {
                take_up(&tree, &own, saved, &before).await?;
            }
            let files = changed_files(git, &plan.from, &plan.to).await?;
            let merged = WorkspaceMerged {
                branch: own,
                into: into.to_owned(),
                how: plan.how.into(),
                commit: plan.to.clone(),
                head,
                saved: saved.clone(),
                files: files.iter().take(self.shared.options.files_max).cloned().collect(),
            };
            self.record(&state.id, vec![EventBody::WorkspaceMerged(merged)]).await?;
            return Ok(Merged { how: plan.how.into(), into: into.to_owned(), commit: plan.to, saved, files });
        }
    }

    /// Moves the branch, with the checkout that has it where there is one.
    async fn advance(&self, git: &Git, into: &str, plan: &Plan) -> Result<(), ErrorInfo> {
        let Some(checkout) = checkout_of(git, into).await? else {
            return git.run(&["update-ref", "-m", "moonlog: merge", into, &plan.to, &plan.from]).await.map(drop);
        };
        // Looks at every file before it changes one, and refuses where one has changes of its own.
        let checkout = self.git(&checkout);
        checkout
            .run(&["merge", "--quiet", "--ff-only", "--no-autostash", "--no-verify-signatures", &plan.to])
            .await
            .map(drop)
            .map_err(|error| {
                if error.code != "git_failed" {
                    return error;
                }
                let message = format!(
                    "{into} is checked out in {}, which is in the way: {}",
                    checkout.folder().display(),
                    error.message
                );
                ErrorInfo::new("base_not_clean", message)
            })
    }
}

/// A commit of all that the worktree holds, on top of `parent`; `None` where it holds nothing else. Neither its
/// index nor its branch is touched.
async fn commit_of_all(tree: &Git, parent: &str, message: &str) -> Result<Option<String>, ErrorInfo> {
    if tree.run(&["diff", "--name-only", "--diff-filter=U", "-z"]).await?.iter().any(|byte| *byte != 0) {
        let message = "the worktree is in the middle of a merge with conflicts: finish or abort it first";
        return Err(ErrorInfo::new("not_mergeable", message));
    }
    let index = copied_index(tree).await?;
    let apart = tree.with_index(index.path());
    apart.run(&["add", "--update", "--", "."]).await?;
    add_untracked(&apart, usize::MAX, false).await?;
    let content = apart.line(&["write-tree"]).await?;
    if content == tree.line(&["rev-parse", &format!("{parent}^{{tree}}")]).await? {
        return Ok(None);
    }
    tree.line(&["commit-tree", &content, "-p", parent, "-m", message]).await.map(Some)
}

/// What merging comes to; `None` where the branch has it all.
async fn plan(git: &Git, into: &str, head: &str, state: &SessionState) -> Result<Option<Plan>, ErrorInfo> {
    let Some(from) = commit_of(git, into).await? else {
        return Err(ErrorInfo::new("not_mergeable", format!("{into} is no more")));
    };
    if git.says(&["merge-base", "--is-ancestor", head, &from]).await? {
        return Ok(None);
    }
    if git.says(&["merge-base", "--is-ancestor", &from, head]).await? {
        return Ok(Some(Plan { how: "fast_forward", from, to: head.to_owned() }));
    }
    let output = git.output(&["merge-tree", "--write-tree", "--name-only", "-z", &from, head], b"").await?;
    let fields: Vec<_> = output.stdout.split(|byte| *byte == 0).map(String::from_utf8_lossy).collect();
    match output.code {
        Some(0) => {
            let content = fields.first().map(|tree| tree.trim()).unwrap_or_default();
            let message = message("Merge", state);
            let to = git.line(&["commit-tree", content, "-p", &from, "-p", head, "-m", &message]).await?;
            Ok(Some(Plan { how: "merge_commit", from, to }))
        }
        Some(1) => {
            // The tree, the files, an empty field, then what git says about them.
            let files: Vec<_> = fields.iter().skip(1).take_while(|field| !field.is_empty()).collect();
            let names = files.iter().map(|file| file.as_ref()).collect::<Vec<_>>().join(", ");
            let message = format!("{into} has changed the same lines in: {names}; nothing was merged");
            let details = Json::from(json!({ "files": files, "into": into }));
            Err(ErrorInfo::new("merge_conflict", message).with_details(details))
        }
        _ => Err(output.error()),
    }
}

/// The branch that the worktree is on; its agent may have made another one.
async fn own_branch(tree: &Git, requested: &WorkspaceRequested) -> Result<String, ErrorInfo> {
    let output = tree.output(&["symbolic-ref", "--quiet", "--short", "HEAD"], b"").await?;
    match output.code {
        Some(0) => Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned()),
        _ => Err(ErrorInfo::new(
            "not_mergeable",
            format!("no branch is checked out in {}: finish the rebase, or switch to one", requested.path),
        )),
    }
}

/// Makes the commit of all that the worktree holds the one that it is at. Its files are what they are.
async fn take_up(tree: &Git, branch: &str, saved: &str, before: &str) -> Result<(), ErrorInfo> {
    let name = format!("refs/heads/{branch}");
    tree.run(&["update-ref", "-m", "moonlog: save the session's work", &name, saved, before]).await?;
    tree.run(&["reset", "--quiet", "--mixed", "HEAD"]).await.map(drop)
}

/// Where a branch is checked out.
async fn checkout_of(git: &Git, branch: &str) -> Result<Option<PathBuf>, ErrorInfo> {
    let list = git.run(&["worktree", "list", "--porcelain", "-z"]).await?;
    let mut at = None;
    for line in list.split(|byte| *byte == 0).map(String::from_utf8_lossy) {
        match line.split_once(' ') {
            Some(("worktree", path)) => at = Some(PathBuf::from(path)),
            Some(("branch", name)) if name == branch => return Ok(at.filter(|path| path.is_dir())),
            _ => {}
        }
    }
    Ok(None)
}

async fn changed_files(git: &Git, from: &str, to: &str) -> Result<Vec<String>, ErrorInfo> {
    let names = git.run(&["diff", "--no-renames", "--name-only", "-z", from, to]).await?;
    let names = names.split(|byte| *byte == 0).filter(|name| !name.is_empty());
    Ok(names.map(|name| String::from_utf8_lossy(name).into_owned()).collect())
}

/// The message of a commit of moonlog's.
fn message(what: &str, state: &SessionState) -> String {
    let title = state.title.as_ref().map(|title| format!("\n\n{title}")).unwrap_or_default();
    format!("{what} moonlog session {}{title}", state.id)
}
