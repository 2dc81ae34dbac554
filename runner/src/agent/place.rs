//! Where an agent works, and with which tools.

use super::{input::AgentInput, perform::AgentContext};
use crate::{inner::Inner, tool::ToolDefinition, workspace::WorkspaceSpec};
use moonlog_core::{error_info::ErrorInfo, id::SessionId};
use std::path::PathBuf;

/// Where an agent works: in a workspace that it asks for, in its session's, in its job's, or where all may. The session
/// is the one whose files are changed. `position` is the last that was written of the agent's session.
pub(super) async fn place(
    context: &AgentContext,
    input: &AgentInput,
    session: &SessionId,
    position: u64,
) -> Result<(SessionId, Option<PathBuf>), ErrorInfo> {
    let inner = &*context.inner;
    if let Some(spec) = &input.workspace {
        let spec = match spec.to::<String>() {
            Ok(path) => Some(WorkspaceSpec::Directory { path: Some(path.into()) }),
            Err(_) => WorkspaceSpec::read(spec)?,
        };
        if let Some(spec) = spec {
            inner
                .applied(position.max(inner.log.head()))
                .await
                .map_err(|error| ErrorInfo::new("log_unavailable", error.to_string()))?;
            return Ok((*session, Some(inner.workspaces.ensure(session, Some(spec)).await?.path)));
        }
    }
    if input.session.is_some()
        && let Some(root) = inner.workspaces.root(session).await?
    {
        return Ok((*session, Some(root)));
    }
    match &context.job_session {
        Some(outer) if outer != session => Ok((*outer, inner.workspaces.root(outer).await?)),
        _ => Ok((*session, None)),
    }
}

/// The tools that an agent may use.
pub(super) fn offered(inner: &Inner, input: &AgentInput) -> Result<Vec<ToolDefinition>, ErrorInfo> {
    let all = inner.tools.definitions();
    let Some(names) = &input.tools else { return Ok(all) };
    let find = |name: &String| {
        all.iter().find(|tool| tool.name == *name).cloned().ok_or_else(|| {
            let known: Vec<&str> = all.iter().map(|tool| tool.name.as_str()).collect();
            ErrorInfo::new("unknown_tool", format!("agent: there is no tool `{name}`: there are {}", known.join(", ")))
        })
    };
    names.iter().map(find).collect()
}
