//! Jobs that other jobs submit.

use super::Inner;
use crate::{
    agent::left_of_budget,
    request::{ScriptSource, Submit},
};
use moonlog_core::{
    error_info::ErrorInfo,
    event::JobRetryPolicy,
    id::{JobId, SessionId},
    json::Json,
};
use serde::Deserialize;
use std::collections::BTreeMap;

/// What a `workflow` step asks for.
pub(crate) struct ChildRequest {
    pub(crate) child: JobId,
    pub(crate) resume_from: Option<JobId>,
    pub(crate) parent: JobId,
    pub(crate) step: String,
    /// The position of the step's start.
    pub(crate) position: u64,
    pub(crate) input: Json,
    pub(crate) nesting: u32,
    pub(crate) queue: String,
    pub(crate) priority: i32,
    pub(crate) session: Option<SessionId>,
}

/// The input of a `workflow` step.
#[derive(Deserialize)]
struct ChildInput {
    name: String,
    #[serde(default)]
    args: Option<Json>,
    #[serde(default)]
    opts: ChildOptions,
}

#[derive(Default, Deserialize)]
struct ChildOptions {
    queue: Option<String>,
    priority: Option<i32>,
    timeout_ms: Option<u64>,
    retry: Option<JobRetryPolicy>,
    #[serde(default)]
    labels: BTreeMap<String, String>,
}

/// Who submits a child.
pub(crate) struct Parent {
    pub(crate) job: JobId,
    pub(crate) step: String,
    /// The position of the step's start, where it is known.
    pub(crate) position: Option<u64>,
    /// What is left of it for the child.
    pub(crate) nesting: u32,
}

impl Inner {
    /// Submits a child of a job, unless it is there already.
    pub(crate) async fn submit_child(&self, request: ChildRequest) -> Result<(), ErrorInfo> {
        let input: ChildInput = request
            .input
            .to()
            .map_err(|error| ErrorInfo::new("invalid_input", format!("workflow cannot be called so: {error}")))?;
        if request.nesting == 0 {
            return Err(ErrorInfo::new(
                "limit_nesting",
                format!(
                    "`{}` was not started: the levels of child jobs are used up (limits.nesting in moonlog.toml)",
                    input.name
                ),
            ));
        }
        let submit = Submit {
            args: input.args,
            queue: Some(input.opts.queue.unwrap_or(request.queue)),
            priority: input.opts.priority.unwrap_or(request.priority),
            timeout_ms: input.opts.timeout_ms,
            retry: input.opts.retry,
            labels: input.opts.labels,
            resume_from: request.resume_from,
            session: request.session,
            budget_tokens: left_of_budget(self, &request.parent),
            ..Submit::new(ScriptSource::Workflow(input.name))
        };
        let parent = Parent {
            job: request.parent,
            step: request.step,
            position: Some(request.position),
            nesting: request.nesting - 1,
        };
        match self.admit(submit, request.child, Some(parent), false).await {
            Ok(_) => Ok(()),
            Err(error) => Err(ErrorInfo::new(error.code(), error.to_string())),
        }
    }
}
