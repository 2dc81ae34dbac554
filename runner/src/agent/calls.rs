//! The tool calls of one turn: made at once, each recorded when it begins and when it ends, their results told to the
//! model together.

use super::{
    approval::{self, Verdict},
    interrupt::Interrupt,
    recorder::{Halt, Recorder},
    repair::repair,
    tools::ASK_USER,
};
use crate::{
    process::Owner,
    runner::Inner,
    tool::{Decision, ToolContext, ToolDefinition, ToolOutput, finished_events, started_event},
};
use futures_util::future::join_all;
use moonlog_core::{
    error_info::ErrorInfo,
    event::{EventBody, StepOutcome, StreamId, ToolFinished},
    id::SessionId,
    json::Json,
    message::{ToolCall, ToolResult},
    projection::{BegunCall, Conversation, interrupted_output},
};
use serde_json::json;
use std::{path::PathBuf, time::Duration};

/// What the calls of an agent share.
pub(super) struct Caller<'a> {
    pub(super) inner: &'a Inner,
    pub(super) recorder: &'a Recorder,
    /// What the model was offered.
    pub(super) offered: &'a [ToolDefinition],
    /// Whose files are changed.
    pub(super) session: SessionId,
    pub(super) root: Option<PathBuf>,
    /// Stable over attempts.
    pub(super) key: &'a str,
    pub(super) turn: u32,
}

impl Caller<'_> {
    /// Makes the calls. Those that have ended before are not made again; those that are cut short say so.
    pub(super) async fn all(
        &self,
        calls: &[ToolCall],
        conversation: &Conversation,
        interrupt: &Interrupt,
    ) -> Result<Vec<ToolResult>, Halt> {
        let calls = calls.iter().map(|call| self.one(call, conversation.begun().get(&call.call_id), interrupt.clone()));
        join_all(calls).await.into_iter().collect()
    }

    async fn one(
        &self,
        call: &ToolCall,
        begun: Option<&BegunCall>,
        mut interrupt: Interrupt,
    ) -> Result<ToolResult, Halt> {
        let result =
            |outcome, output| ToolResult { call_id: call.call_id.clone(), name: call.name.clone(), outcome, output };
        match begun.map(|begun| &begun.result) {
            Some(Some(ended)) => return Ok(result(ended.outcome, ended.output.clone())),
            // A question that was asked before a restart still waits for its answer.
            Some(None) if call.name == ASK_USER => {}
            Some(None) => return Ok(result(StepOutcome::Interrupted, interrupted_output())),
            None => {}
        }
        let context = self.context(call);
        let input = self.input(call);
        let not_begun = |outcome, error: ErrorInfo| ToolOutput::ended(outcome, error);
        if interrupt.asked().is_some() {
            return Ok(result(StepOutcome::Interrupted, interrupted_output()));
        }
        let refusal = match self.offered.iter().any(|tool| tool.name == call.name) {
            false => Some(self.unknown(&call.name)),
            true => match self.inner.tools.decide(&context, &call.name, &input) {
                Decision::Ask => {
                    let asked = approval::ask(self.inner, self.recorder, call, &input);
                    match tokio::select! { verdict = asked => Some(verdict?), _ = interrupt.wait() => None } {
                        Some(Verdict::Approved) => None,
                        Some(Verdict::Denied(error)) => Some(error),
                        None => return Ok(result(StepOutcome::Interrupted, interrupted_output())),
                    }
                }
                // A refusal is the tool's own answer.
                Decision::Allow | Decision::Deny(_) => None,
            },
        };
        if begun.is_none() {
            let started = started_event(&context, &call.name, &input, Some(self.turn));
            self.recorder.append_durably(vec![started]).await?;
        }
        let output = match refusal {
            Some(error) => not_begun(StepOutcome::Error, error),
            None => {
                let performed = self.inner.tools.perform(&context, &call.name, &input);
                tokio::select! {
                    biased;
                    output = performed => output,
                    _ = interrupt.wait() => {
                        self.recorder.append(vec![EventBody::ToolFinished(cut_short(call))]).await?;
                        return Ok(result(StepOutcome::Interrupted, interrupted_output()));
                    }
                }
            }
        };
        // Recorded at once and not with the others: what has ended is never done again.
        match self.recorder.append_events(finished_events(&context, &output)).await {
            Ok(_) => Ok(result(output.outcome, output.output)),
            Err(Halt::TooLarge(why)) => {
                let output = ToolOutput::ended(StepOutcome::Error, ErrorInfo::new("limit_value", why));
                self.recorder.append_events(finished_events(&context, &output)).await?;
                Ok(result(output.outcome, output.output))
            }
            Err(halt) => Err(halt),
        }
    }

    fn context(&self, call: &ToolCall) -> ToolContext {
        ToolContext {
            owner: Owner {
                stream: StreamId::Job(self.recorder.job),
                job: Some(self.recorder.job),
                session: Some(self.session),
                step: Some(self.recorder.step.clone()),
            },
            root: self.root.clone(),
            idempotency_key: format!("{}/{}", self.key, call.call_id),
            call_id: call.call_id.clone(),
        }
    }

    fn input(&self, call: &ToolCall) -> Json {
        let tool = self.offered.iter().find(|tool| tool.name == call.name);
        tool.map_or_else(|| call.input.clone(), |tool| repair(&call.input, &tool.input_schema))
    }

    fn unknown(&self, name: &str) -> ErrorInfo {
        let names: Vec<&str> = self.offered.iter().map(|tool| tool.name.as_str()).collect();
        let mut near: Vec<(usize, &str)> =
            names.iter().map(|known| (strsim::damerau_levenshtein(name, known), *known)).collect();
        near.sort_unstable();
        let meant: Vec<&str> =
            near.iter().take_while(|(far, _)| *far <= (name.len() / 2).max(3)).take(3).map(|(_, name)| *name).collect();
        let meant = if meant.is_empty() { String::new() } else { format!(" Did you mean {}?", meant.join(" or ")) };
        let there =
            if names.is_empty() { "you have no tools".into() } else { format!("there are {}", names.join(", ")) };
        ErrorInfo::new("unknown_tool", format!("there is no tool `{name}`: {there}.{meant}"))
    }
}

fn cut_short(call: &ToolCall) -> ToolFinished {
    ToolFinished {
        call_id: call.call_id.clone(),
        outcome: StepOutcome::Interrupted,
        output: interrupted_output(),
        truncated: None,
        diff: None,
        latency_ms: 0,
    }
}

/// How long a person has to decide about a call, and what counts where nobody does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ApprovalOptions {
    /// How long.
    pub timeout: Duration,
    /// Whether a call that nobody decided about is made.
    pub default: bool,
}

impl Default for ApprovalOptions {
    fn default() -> Self {
        Self { timeout: Duration::from_secs(3_600), default: false }
    }
}

/// What a denied call gives.
pub(super) fn denied(why: &str) -> ErrorInfo {
    ErrorInfo::new("denied", format!("the call was not approved{why}"))
        .with_details(Json::from(json!({ "approved": false })))
}
