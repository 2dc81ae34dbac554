//! Jobs that come of other jobs: an ended one that is run again, taking over what it has done, and a fork, which shares a
//! job's history up to a version and goes on from there.

use crate::{
    request::{CommandError, Fork, Retry, ScriptSource, Submit},
    runner::Runner,
};
use moonlog_core::{
    decide::{decide_fork, decide_retry},
    event::JobSubmitted,
    id::{Hash, JobId},
    json::Json,
    projection::JobState,
};
use std::sync::Arc;

impl Runner {
    /// Runs an ended job again as a new job, which takes over the results that fit: those of operations that have the same
    /// call path, inputs and options, and succeeded.
    ///
    /// # Errors
    /// Where there is no such job, it has not ended, or the new one is refused.
    pub async fn retry(&self, job: &JobId, retry: Retry) -> Result<JobId, CommandError> {
        let state = self.known(job)?;
        let first = decide_retry(&state, 0)?;
        let script = self.script_of(&first, retry.script)?;
        let resume_from = first.resume_from;
        let args = retry.args.or(Some(first.args.clone()));
        let request_hash = retry.idempotency_key.is_some().then(|| hash_of(job, &script, args.as_ref()));
        let idempotency_key = retry.idempotency_key;
        let submit = Submit { args, resume_from, idempotency_key, request_hash, ..like(&first, script) };
        Ok(self.submit(submit).await?.job)
    }

    /// A new job that shares the history of `job` up to a version. What was open there is done by the new job itself.
    ///
    /// # Errors
    /// Where there is no such job or version, or the new one is refused.
    pub async fn fork(&self, job: &JobId, fork: Fork) -> Result<JobId, CommandError> {
        let state = self.known(job)?;
        let shared = decide_fork(&state, fork.at)?;
        let first = &state.submitted;
        let script = self.script_of(first, fork.script)?;
        let forked_from = Some((shared, first.seed));
        let submit = Submit { args: fork.args.or(Some(first.args.clone())), forked_from, ..like(first, script) };
        Ok(self.submit(submit).await?.job)
    }

    fn known(&self, job: &JobId) -> Result<Arc<JobState>, CommandError> {
        self.inner().views.job(job)?.ok_or(CommandError::NoSuchJob)
    }

    fn script_of(&self, job: &JobSubmitted, other: Option<ScriptSource>) -> Result<ScriptSource, CommandError> {
        // Another script goes by the job's name, unless it says another.
        let name = Some(job.workflow.clone());
        Ok(match other {
            Some(ScriptSource::Script { source, name: None }) => ScriptSource::Script { source, name },
            Some(other) => other,
            None => {
                let source = self.inner().source(&job.script_hash).map_err(CommandError::Unavailable)?;
                ScriptSource::Script { source: source.text.to_string(), name }
            }
        })
    }
}

/// What tells one retry under a key from another.
fn hash_of(job: &JobId, script: &ScriptSource, args: Option<&Json>) -> Hash {
    let script = match script {
        ScriptSource::Workflow(text) | ScriptSource::Script { source: text, .. } => text,
    };
    let parts =
        [job.to_string(), Hash::of(script.as_bytes()).to_string(), args.map_or("", |args| args.as_str()).into()];
    Hash::of(parts.join("/").as_bytes())
}

/// What the new job has of the old one.
fn like(first: &JobSubmitted, script: ScriptSource) -> Submit {
    Submit {
        queue: Some(first.queue.clone()),
        priority: first.priority,
        timeout_ms: first.limits.timeout_ms,
        retry: first.retry.clone(),
        budget_tokens: first.limits.budget_tokens,
        concurrency_key: first.concurrency_key.clone(),
        labels: first.labels.clone(),
        session: first.session,
        ..Submit::new(script)
    }
}
