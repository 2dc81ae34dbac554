//! The tool calls of one turn: made at once, each recorded when it begins and when it ends, their results told to the
//! model together. A turn whose calls all wait for a person is left as it is.

use super::{
    approval::{self, Answer, Verdict},
    at_work::AtWork,
    interrupt::{Interrupt, Interrupter, Why},
    live::Seat,
    recorder::{Halt, Recorder},
    repair::repair,
    tools::{ASK_USER, answer, question},
};
use crate::{
    inner::Inner,
    process::Owner,
    tool::{Decision, ToolContext, ToolDefinition, ToolOutput, finished_events, started_event},
};
use futures_util::future::join_all;
use moonlog_core::{
    error_info::ErrorInfo,
    event::{EventBody, NewEvent, StepOutcome, StreamId},
    id::SessionId,
    json::Json,
    message::{ToolCall, ToolResult},
    projection::{BegunCall, Conversation, interrupted_output},
    time::Timestamp,
};
use serde_json::json;
use std::{
    collections::BTreeSet,
    path::PathBuf,
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

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
    /// Asks the agent to stop, as a decision may.
    pub(super) interrupter: &'a Interrupter,
    /// Whether a call has changed a file.
    pub(super) changed: AtomicBool,
    /// The calls that are known from the log, which holds no secret's value.
    pub(super) recorded: &'a BTreeSet<String>,
}

/// What came of a turn's calls.
pub(super) enum Called {
    /// All have ended.
    Results(Vec<ToolResult>),
    /// Some wait for a person, and nothing else goes on.
    Waits(Asked),
}

/// What calls wait for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Asked {
    /// The calls.
    pub(crate) call_ids: Vec<String>,
    /// The tool of the first of them.
    pub(crate) name: String,
    /// When it goes on by itself.
    pub(crate) due: Timestamp,
}

/// What came of one.
enum CallEnd {
    Result(ToolResult),
    Waits(Timestamp),
}

/// What those wait for that wait.
fn asked(calls: &[ToolCall], ends: &[CallEnd]) -> Option<Asked> {
    let mut asked: Option<Asked> = None;
    for (call, end) in calls.iter().zip(ends) {
        if let CallEnd::Waits(due) = *end {
            let asked = asked.get_or_insert_with(|| Asked { call_ids: Vec::new(), name: call.name.clone(), due });
            asked.call_ids.push(call.call_id.clone());
            asked.due = asked.due.min(due);
        }
    }
    asked
}

impl Caller<'_> {
    /// Makes the calls. Those that have ended before are not made again; those that are cut short say so.
    /// Where they wait for a person, the agent leaves its seat, unless it is interrupted in that moment.
    pub(super) async fn all(
        &self,
        calls: &[ToolCall],
        conversation: &Conversation,
        interrupt: &Interrupt,
        seat: &mut Seat<'_>,
    ) -> Result<Called, Halt> {
        let at_work = AtWork::new();
        // None is left out of the count before it has begun.
        let all = at_work.begin();
        let ends = join_all(calls.iter().map(|call| {
            let begun = conversation.begun().get(&call.call_id);
            self.one(call, begun, interrupt.clone(), &at_work)
        }));
        let ends = tokio::select! {
            biased;
            ends = ends => ends,
            () = async { drop(all); std::future::pending().await } => Vec::new(),
        };
        let ends = ends.into_iter().collect::<Result<Vec<CallEnd>, Halt>>()?;
        if let Some(asked) = asked(calls, &ends)
            && seat.leave_unless_asked()
        {
            return Ok(Called::Waits(asked));
        }
        let mut results = Vec::with_capacity(calls.len());
        for (call, end) in calls.iter().zip(ends) {
            results.push(match end {
                CallEnd::Result(result) => result,
                CallEnd::Waits(_) => self.cut_short(call).await?,
            });
        }
        Ok(Called::Results(results))
    }

    /// Asks a person about a call. `None` where the agent is interrupted meanwhile.
    async fn ask(
        &self,
        call: &ToolCall,
        input: &Json,
        interrupt: &mut Interrupt,
        at_work: &AtWork,
    ) -> Result<Option<Answer>, Halt> {
        let asked = approval::ask(self.inner, self.recorder, &call.call_id, &call.name, input, Some(at_work));
        tokio::select! {
            biased;
            _ = interrupt.wait() => Ok(None),
            answer = asked => answer.map(Some),
        }
    }

    /// Ends a call because its agent is interrupted.
    async fn cut_short(&self, call: &ToolCall) -> Result<ToolResult, Halt> {
        self.recorder.cut_short(&call.call_id).await?;
        Ok(ended_with(call, StepOutcome::Interrupted, interrupted_output()))
    }

    async fn one(
        &self,
        call: &ToolCall,
        begun: Option<&BegunCall>,
        mut interrupt: Interrupt,
        at_work: &AtWork,
    ) -> Result<CallEnd, Halt> {
        let result = |outcome, output| CallEnd::Result(ended_with(call, outcome, output));
        let cut_short = async || self.cut_short(call).await.map(CallEnd::Result);
        match begun.map(|begun| &begun.result) {
            Some(Some(ended)) => return Ok(result(ended.outcome, ended.output.clone())),
            // A question that was asked before still waits for its answer.
            Some(None) if call.name == ASK_USER => {}
            Some(None) => return Ok(result(StepOutcome::Interrupted, interrupted_output())),
            None => {}
        }
        let context = self.context(call);
        let input = self.input(call);
        if interrupt.asked().is_some() {
            return cut_short().await;
        }
        let mut working = Some(at_work.begin());
        let refusal = match self.offered.iter().any(|tool| tool.name == call.name) {
            false => Some(self.unknown(&call.name)),
            true => match self.inner.tools.decide(&context, &call.name, &input) {
                Decision::Ask => {
                    working = None;
                    match self.ask(call, &input, &mut interrupt, at_work).await? {
                        None => return cut_short().await,
                        Some(Answer::Waits(due)) => return Ok(CallEnd::Waits(due)),
                        Some(Answer::Decided(decided, _)) => match Verdict::of(&decided) {
                            Verdict::Approved => None,
                            Verdict::Denied(error) => Some(error),
                            Verdict::Interrupted => {
                                self.interrupter.ask(Why::Asked);
                                return cut_short().await;
                            }
                        },
                    }
                }
                // A refusal is the tool's own answer.
                Decision::Allow | Decision::Deny(_) => None,
            },
        };
        let mut working = working.or_else(|| Some(at_work.begin()));
        if self.recorded.contains(&call.call_id) && self.recorder.secrets.may_be_scrubbed(&call.input) {
            return Ok(result(StepOutcome::Error, Json::from(json!({ "error": not_kept() }))));
        }
        if begun.is_none() {
            let started = started_event(&context, &call.name, &input, Some(self.turn));
            self.recorder.append_durably(vec![self.own(started)]).await?;
        }
        let output = match refusal {
            Some(error) => ToolOutput::ended(StepOutcome::Error, self.recorder.secrets.scrub_error(error)),
            None if call.name == ASK_USER && self.inner.tools.check(&call.name, &input).is_ok() => {
                working.take();
                match self.ask(call, &question(&input), &mut interrupt, at_work).await? {
                    Some(Answer::Waits(due)) => return Ok(CallEnd::Waits(due)),
                    Some(Answer::Decided(decided, asked_at))
                        if !matches!(Verdict::of(&decided), Verdict::Interrupted) =>
                    {
                        let latency_ms = (self.inner.options.clock)().ms_since(asked_at);
                        ToolOutput::answer(answer(&decided), latency_ms)
                    }
                    ended => {
                        if ended.is_some() {
                            self.interrupter.ask(Why::Asked);
                        }
                        return cut_short().await;
                    }
                }
            }
            None => {
                let performed = self.inner.tools.perform(&context, &call.name, &input);
                tokio::select! {
                    biased;
                    output = performed => output,
                    _ = interrupt.wait() => return cut_short().await,
                }
            }
        };
        if !output.changes.is_empty() {
            self.changed.store(true, Ordering::Relaxed);
        }
        // Recorded at once and not with the others: what has ended is never done again.
        let finished = |output: &ToolOutput| finished_events(&context, output).into_iter().map(|event| self.own(event));
        match self.recorder.append_events(finished(&output).collect()).await {
            Ok(_) => Ok(result(output.outcome, output.output)),
            Err(Halt::TooLarge(why)) => {
                let output = ToolOutput::ended(StepOutcome::Error, ErrorInfo::new("limit_value", why));
                self.recorder.append_events(finished(&output).collect()).await?;
                Ok(result(output.outcome, output.output))
            }
            Err(halt) => Err(halt),
        }
    }

    /// A call is the agent's own session's, whosesoever files it changes.
    fn own(&self, event: NewEvent) -> NewEvent {
        match event.body {
            EventBody::FileChanged(_) => event,
            _ => NewEvent { session: Some(self.recorder.session), ..event },
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

/// What a call gives whose input stands in the log only, and not whole. What is left of it would act on something else.
fn not_kept() -> ErrorInfo {
    let message = "the call was not made: its input held a secret's value, or what stands for one in the log, and was not \
                   kept while the call waited; make the call again without the value";
    ErrorInfo::new("secret_not_kept", message)
}

fn ended_with(call: &ToolCall, outcome: StepOutcome, output: Json) -> ToolResult {
    ToolResult { call_id: call.call_id.clone(), name: call.name.clone(), outcome, output }
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
