//! `create_workspace`: the session's own place to work in.

use super::{Tool, ToolAnswer, ToolContext, ToolDefinition, files::Files, input, place::Last};
use crate::workspace::{WorkspaceSpec, Workspaces};
use futures_util::future::BoxFuture;
use moonlog_core::error_info::ErrorInfo;
use serde::Deserialize;
use serde_json::{Value, json};
use std::{path::PathBuf, sync::Arc};

const NAME: &str = "create_workspace";

/// See the module.
pub(super) struct CreateWorkspace {
    pub workspaces: Workspaces,
    pub files: Arc<Files>,
}

#[derive(Deserialize)]
struct Input {
    kind: Option<Kind>,
    repository: Option<String>,
    base: Option<String>,
    path: Option<String>,
}

#[derive(Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Kind {
    Worktree,
    Directory,
}

impl Tool for CreateWorkspace {
    fn definition(&self) -> ToolDefinition {
        let description = "Make the session's workspace, in which all tools work from then on: a git worktree of a repository on a \
                           branch of its own, or a directory. Where the session has it already, it is told and nothing is \
                           made; one that is broken or was deleted is made anew. Without input it is the one that the session \
                           is bound to, or a new directory.";
        let properties = json!({
            "kind": { "enum": ["worktree", "directory"], "description": "What it is. Default: by the other fields." },
            "repository": { "type": "string", "minLength": 1, "description": "Of a worktree: a folder of the repository." },
            "base": { "type": "string", "minLength": 1, "description": "Of a worktree: what it begins at. Default HEAD." },
            "path": { "type": "string", "minLength": 1, "description": "Of a directory: one that is there. Default: a new one." },
        });
        ToolDefinition::new(NAME, description, properties, &[])
    }

    fn call<'a>(&'a self, context: &'a ToolContext, input: Value) -> BoxFuture<'a, Result<ToolAnswer, ErrorInfo>> {
        Box::pin(async move {
            let Some(session) = &context.owner.session else {
                let message = "a workspace belongs to a session, and this job has none: tools work in the folders that the \
                               configuration allows (tools.roots)";
                return Err(ErrorInfo::new("no_session", message));
            };
            let spec = self.spec(input::read(input)?).await?;
            Ok(ToolAnswer::of(&self.workspaces.ensure(session, spec).await?))
        })
    }
}

impl CreateWorkspace {
    /// What is asked for. What it names lies where tools may go without a workspace: none can be made of any folder.
    async fn spec(&self, input: Input) -> Result<Option<WorkspaceSpec>, ErrorInfo> {
        let wrong = |why: &str| Err(ErrorInfo::new("invalid_input", format!("{NAME}: {why}")));
        let of_worktree = input.repository.is_some() || input.base.is_some();
        let kind = match (input.kind, of_worktree, input.path.is_some()) {
            (Some(Kind::Worktree) | None, true, true) => {
                return wrong("a worktree has no `path`: its place is chosen for it");
            }
            (Some(Kind::Directory), true, _) => return wrong("a directory has no `repository` and no `base`"),
            (Some(Kind::Worktree), _, true) => return wrong("a worktree has no `path`: its place is chosen for it"),
            (None, false, false) => return Ok(None),
            (kind, true, _) => kind.unwrap_or(Kind::Worktree),
            (kind, false, _) => kind.unwrap_or(Kind::Directory),
        };
        Ok(Some(match kind {
            Kind::Worktree => match input.repository {
                None => return wrong("a worktree needs a `repository`: a folder of it"),
                Some(repository) => {
                    WorkspaceSpec::Worktree { repository: self.allowed(repository).await?, base: input.base }
                }
            },
            Kind::Directory => WorkspaceSpec::Directory {
                path: match input.path {
                    None => None,
                    Some(path) => Some(self.allowed(path).await?),
                },
            },
        }))
    }

    async fn allowed(&self, path: String) -> Result<PathBuf, ErrorInfo> {
        let roots = self.files.own_roots();
        self.files.blocking(move |files| Ok(files.find(&roots, NAME, &path, Last::Follow)?.absolute())).await
    }
}
