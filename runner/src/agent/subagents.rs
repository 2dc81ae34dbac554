//! Agents that an agent spawns: child jobs with conversations of their own, limited in number and depth, inside their
//! parent's budget. Whoever ends the parent ends them.

use super::session::own_session;
use crate::{
    inner::Inner,
    request::{ScriptSource, Submit},
    session::{SESSION_LABEL, want_wake},
    submit::Parent,
    tool::ToolContext,
};
use moonlog_core::{
    error_info::ErrorInfo,
    event::{ChatMessageQueued, EventBody, NewEvent, StreamId},
    id::{JobId, SessionId},
    json::Json,
    log::{Append, Expected},
    projection::{JobFilter, JobState, JobStatus, LabelFilter, MAIL},
};
use serde_json::{Value, json};
use std::{collections::BTreeMap, sync::Arc, time::Duration};

/// The workflow of a spawned agent.
const SUBAGENT: &str = include_str!("subagent.luau");
pub(super) const WORKFLOW: &str = "subagent";

/// The step that its agent is.
const STEP: &str = "agent";

/// Agents that a job may list.
const LISTED: usize = 200;

/// The tools that leave something running.
pub(super) const SPAWN: &str = "spawn_agent";
pub(super) const EXECUTE: &str = "execute";

/// Whether a job is a spawned agent's.
pub(crate) fn is_spawned(job: &JobState) -> bool {
    job.submitted.workflow == WORKFLOW && job.submitted.parent.is_some()
}

/// What is asked of a new agent.
pub(super) struct Spawn {
    pub(super) task: String,
    pub(super) label: Option<String>,
    /// Whether its end wakes the session, where that is idle by then.
    pub(super) wake: bool,
    pub(super) options: Value,
}

fn failed(error: impl std::fmt::Display) -> ErrorInfo {
    ErrorInfo::new("subagent_failed", error.to_string())
}

/// The job whose agent calls.
fn caller(context: &ToolContext) -> Result<JobId, ErrorInfo> {
    context.owner.job.ok_or_else(|| ErrorInfo::new("no_job", "only an agent within a job has agents of its own"))
}

/// Spawns an agent. Gives its id.
pub(super) async fn spawn(inner: &Inner, context: &ToolContext, spawn: Spawn) -> Result<JobId, ErrorInfo> {
    let parent = caller(context)?;
    let options = &inner.options.agents;
    // Calls of one turn are made at once: the second counts what the first has begun.
    let _turn = inner.spawning.of(parent.as_bytes()).lock().await;
    let running = children(inner, &parent)?.iter().filter(|child| child.ended_at.is_none()).count();
    if running >= options.subagents_max {
        let max = options.subagents_max;
        let message = format!("{max} agents of yours are running, and no more may: wait for one with wait_agent");
        return Err(ErrorInfo::new("limit_subagents", message));
    }
    if depth(inner, &parent) >= options.subagent_depth {
        let message = "an agent that was spawned so deep may spawn no further ones: do the work yourself";
        return Err(ErrorInfo::new("limit_subagent_depth", message));
    }
    let has_workspace = |session: &SessionId| {
        inner.views.session(session).ok().flatten().is_some_and(|state| state.workspace.is_some())
    };
    let child: JobId = inner.new_id().into();
    let mut labels = BTreeMap::from([("agent".into(), spawn.label.unwrap_or_else(|| WORKFLOW.into()))]);
    // Only a session that is woken waits for what outlives the turn.
    if let Some(session) = waking_session(inner, context, spawn.wake) {
        labels.insert(SESSION_LABEL.into(), session.to_string());
        if spawn.wake {
            want_wake(&inner.log, &session, child.to_string())?;
        }
    }
    let submit = Submit {
        args: Some(Json::from(json!({ "task": spawn.task, "options": spawn.options }))),
        session: context.owner.session.filter(has_workspace),
        labels,
        ..Submit::new(ScriptSource::Script { source: SUBAGENT.into(), name: Some(WORKFLOW.into()) })
    };
    let step = context.owner.step.as_deref().unwrap_or_default().to_owned();
    let state = inner.views.job(&parent).ok().flatten();
    let position = state.and_then(|state| state.open_steps.get(step.as_str()).map(|open| open.position));
    let parent = Parent { job: parent, step, position, nesting: 0 };
    inner.admit(submit, child, Some(parent), false).await.map_err(failed)?;
    Ok(child)
}

/// The session whose turn the call belongs to, where it is woken: by itself, or because this call asks for it.
fn waking_session(inner: &Inner, context: &ToolContext, wake: bool) -> Option<SessionId> {
    let state = inner.views.session(context.owner.session.as_ref()?).ok().flatten()?;
    let is_its_turn = state.chat.busy.is_some_and(|(job, _)| Some(job) == context.owner.job);
    let is_shared = inner.views.job(&context.owner.job?).ok().flatten()?.submitted.session == Some(state.id);
    (is_its_turn && is_shared && (wake || state.options.wake)).then_some(state.id)
}

/// The agents that turns of a session have spawned to outlive them, newest first.
pub(super) fn of_session(inner: &Inner, session: &SessionId) -> Result<Vec<Arc<JobState>>, ErrorInfo> {
    let label = LabelFilter { key: SESSION_LABEL.into(), value: Some(session.to_string()) };
    let filter = JobFilter { labels: vec![label], workflow: Some(WORKFLOW.into()), ..JobFilter::default() };
    let page = inner.views.jobs(&filter, None, LISTED).map_err(failed)?;
    Ok(page.items.iter().filter_map(|child| inner.views.job(&child.id).ok().flatten()).collect())
}

/// How many agents stand above this one.
fn depth(inner: &Inner, job: &JobId) -> u32 {
    let (mut depth, mut at) = (0, *job);
    while let Ok(Some(state)) = inner.views.job(&at) {
        let Some(parent) = state.submitted.parent.as_ref().filter(|_| state.submitted.workflow == WORKFLOW) else {
            break;
        };
        depth += 1;
        at = parent.job;
    }
    depth
}

/// The agents that a job has spawned, newest first.
pub(super) fn children(inner: &Inner, parent: &JobId) -> Result<Vec<Arc<JobState>>, ErrorInfo> {
    let filter = JobFilter { parent: Some(*parent), workflow: Some(WORKFLOW.into()), ..JobFilter::default() };
    let page = inner.views.jobs(&filter, None, LISTED).map_err(failed)?;
    Ok(page.items.iter().filter_map(|child| inner.views.job(&child.id).ok().flatten()).collect())
}

/// One of them, by its id.
fn child(inner: &Inner, context: &ToolContext, id: &str) -> Result<Arc<JobState>, ErrorInfo> {
    let parent = caller(context)?;
    let state = id.parse::<JobId>().ok().and_then(|id| inner.views.job(&id).ok().flatten());
    let session = context.owner.session.map(|session| session.to_string());
    let is_mine = |state: &Arc<JobState>| {
        let of_session = state.submitted.labels.get(SESSION_LABEL).filter(|_| is_spawned(state));
        state.submitted.parent.as_ref().is_some_and(|of| of.job == parent)
            || of_session.is_some_and(|of| Some(of) == session.as_ref())
    };
    state.filter(is_mine).ok_or_else(|| {
        let known = children(inner, &parent).unwrap_or_default();
        let ids: Vec<String> = known.iter().map(|child| child.id.to_string()).collect();
        let there = if ids.is_empty() { "you have none".into() } else { format!("you have {}", ids.join(", ")) };
        ErrorInfo::new("no_such_agent", format!("there is no agent `{id}` of yours: {there}"))
    })
}

/// An agent in a few words. `result` asks for what it answered.
pub(super) fn describe(state: &JobState, result: bool) -> Value {
    let mut out = json!({
        "id": state.id,
        "label": state.submitted.labels.get("agent"),
        "status": if state.ended_at.is_none() { "running".to_owned() } else { state.status.to_string() },
        "tokens": state.usage.prompt_tokens + state.usage.completion_tokens,
    });
    if result && state.ended_at.is_some() {
        match (&state.result, &state.error) {
            (Some(result), _) => {
                let value = result.to_value();
                out["result"] = value.get("text").cloned().unwrap_or(value);
            }
            (None, Some(error)) => out["error"] = json!({ "code": error.code, "message": error.message }),
            (None, None) => {}
        }
    }
    out
}

/// Waits for an agent's end, but not longer than `at_most`: that it still runs is no error.
pub(super) async fn wait(
    inner: &Inner,
    context: &ToolContext,
    id: &str,
    at_most: Duration,
) -> Result<Value, ErrorInfo> {
    let known = child(inner, context, id)?;
    inner.until_ended(&known.id, tokio::time::sleep(at_most)).await.map_err(failed)?;
    Ok(describe(&*child(inner, context, id)?, true))
}

/// An agent as it stands.
pub(super) fn status(inner: &Inner, context: &ToolContext, id: &str, result: bool) -> Result<Value, ErrorInfo> {
    let state = child(inner, context, id)?;
    if result && state.ended_at.is_none() {
        return Err(ErrorInfo::new("agent_running", "it has no result yet: wait for it with wait_agent").retryable());
    }
    Ok(describe(&state, result))
}

/// Tells an agent something; it hears of it before its next turn.
pub(super) async fn message(inner: &Inner, context: &ToolContext, id: &str, text: &str) -> Result<Value, ErrorInfo> {
    let state = child(inner, context, id)?;
    if state.status != JobStatus::Queued && state.ended_at.is_some() {
        return Err(ErrorInfo::new("agent_ended", "it has ended, and hears nothing any more"));
    }
    let session = session_of(&state);
    let message = format!("{MAIL}{}", inner.new_id());
    let queued = ChatMessageQueued { message, parts: Json::from(json!([{ "type": "text", "text": text }])) };
    let event =
        NewEvent { session: Some(session), ..NewEvent::new(EventBody::ChatMessageQueued(queued)) }.job(state.id);
    inner
        .log
        .append(Append::new(StreamId::Session(session), Expected::Open, vec![event]))
        .map_err(|_| ErrorInfo::new("agent_not_ready", "it has not begun yet: give it a moment").retryable())?;
    Ok(json!({ "id": state.id, "sent": true }))
}

/// Stops an agent where it stands.
pub(super) async fn interrupt(inner: &Inner, context: &ToolContext, id: &str) -> Result<Value, ErrorInfo> {
    let state = child(inner, context, id)?;
    let interrupted = inner.interrupt(&session_of(&state)).await;
    Ok(json!({ "id": state.id, "interrupted": interrupted }))
}

/// The session that a spawned agent speaks in.
fn session_of(state: &JobState) -> SessionId {
    own_session(&state.id, state.run.max(1), STEP)
}
