//! Performs `agent`: from a question to an answer, with every turn and call recorded on the way.

use super::{
    budget::{self, Meter},
    calls::Caller,
    chat::{self, Ending, error_info},
    compact, family,
    input::AgentInput,
    interrupt::{Interrupt, Why, interrupt},
    live::LiveAgent,
    model::{ChatRequest, Model, Provider, ToolSpec},
    open_work::OpenWork,
    place::{offered, place},
    recorder::{Halt, Recorder},
    session::{self, Refused, Taken, own_session},
    surroundings::{self, Around},
    system::{self, Surroundings},
    turn::{Act, Outcome, Turns},
};
use crate::{runner::Inner, step_result::StepResult, tool::ToolDefinition};
use moonlog_core::{
    error_info::ErrorInfo,
    event::{ChatCompacted, ChatMessageAdded, ChatUsage, EventBody, NewEvent, StepOutcome},
    id::{JobId, SessionId},
    json::Json,
    message::{Message, Part, Role},
    projection::Conversation,
};
use serde_json::json;
use std::{
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

/// What an agent's input does not say.
pub(crate) struct AgentContext {
    pub(crate) inner: Arc<Inner>,
    pub(crate) job: JobId,
    /// The session that the job runs in.
    pub(crate) job_session: Option<SessionId>,
    pub(crate) run: u32,
    pub(crate) attempt: u32,
    /// The call path of the step.
    pub(crate) step: Arc<str>,
    pub(crate) idempotency_key: String,
    /// What the agent begins and does not end, for who ends it from outside.
    pub(crate) open: Arc<Mutex<OpenWork>>,
}

impl AgentContext {
    /// Notes which turn of a session is begun; gives what was.
    fn take(&self, taken: Option<(SessionId, u32)>) -> Option<(SessionId, u32)> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner).take(taken)
    }
}

/// Performs the operation. `None` where nobody can hear of the result.
pub(crate) async fn perform(context: AgentContext, input: &Json) -> Option<StepResult> {
    let input = match input.to::<AgentInput>() {
        Ok(input) => input,
        Err(error) => return Some(StepResult::failed(ErrorInfo::new("invalid_input", format!("agent: {error}")))),
    };
    match run(&context, &input).await {
        Ok(result) => Some(result),
        Err(Refused::Error(error)) => Some(StepResult::failed(error)),
        Err(Refused::Halt(Halt::TooLarge(why))) => Some(StepResult::failed(ErrorInfo::new("limit_value", why))),
        Err(Refused::Halt(halt)) => {
            tracing::debug!(job = %context.job, step = %context.step, %halt, "an agent was left as it is");
            None
        }
    }
}

async fn run(context: &AgentContext, input: &AgentInput) -> Result<StepResult, Refused> {
    let inner = &*context.inner;
    let schema = input.answer_schema().map_err(Refused::Error)?;
    let model = inner.models.for_agent(input.model.as_deref(), input.backend.as_deref()).map_err(Refused::Error)?;
    let offered = offered(inner, input).map_err(Refused::Error)?;
    let meter = budget::meter(inner, &context.job);
    meter.check().map_err(Refused::Error)?;
    // Its time begins when it may run.
    let _place = family::enter(inner, &context.job, context.run, &context.step).await.map_err(Refused::Error)?;

    let own = own_session(&context.job, context.run, &context.step);
    let session = input.session.unwrap_or(own);
    let (interrupter, interrupt) = interrupt();
    let live = LiveAgent { interrupter: interrupter.clone() };
    let Some(_seat) = inner.agents.take(session, live) else {
        return Err(Refused::Error(session::busy(&session)));
    };
    let Taken { id, conversation, queued, position } =
        session::take(inner, &context.job, own, input, context.attempt == 1).await?;
    let began_with = conversation.turns() + 1;
    context.take(Some((id, began_with)));
    if let Some(ms) = input.timeout_ms {
        tokio::spawn(async move {
            tokio::time::sleep(Duration::from_millis(ms)).await;
            interrupter.ask(Why::TimedOut);
        });
    }
    let recorder = Recorder {
        log: inner.log.clone(),
        job: context.job,
        session: id,
        step: context.step.clone(),
        open: context.open.clone(),
    };
    let (files, root) = match place(context, input, &id, position).await {
        Ok(place) => place,
        Err(error) => {
            context.take(None);
            session::release(inner, &context.job, id, began_with);
            return Err(Refused::Error(error));
        }
    };
    let mut agent = Agent {
        context,
        input,
        model,
        offered,
        meter,
        recorder,
        interrupt,
        files,
        root,
        queued,
        conversation,
        turns: Turns::new(inner.options.agents.steps(input.max_turns, input.max_tool_calls), schema),
        usage: ChatUsage::default(),
        told: String::new(),
        seen_tokens: 0,
    };
    let ended = agent.run().await;
    if context.take(None).is_some() {
        session::release(inner, &context.job, id, began_with);
    }
    ended
}

struct Agent<'a> {
    context: &'a AgentContext,
    input: &'a AgentInput,
    model: Arc<Model>,
    offered: Vec<ToolDefinition>,
    meter: Arc<Meter>,
    recorder: Recorder,
    interrupt: Interrupt,
    /// Whose files are changed: its own session, or that of its job.
    files: SessionId,
    root: Option<PathBuf>,
    /// What the message says that it answers.
    queued: Option<Json>,
    conversation: Conversation,
    turns: Turns,
    usage: ChatUsage,
    /// The system prompt that was recorded last.
    told: String,
    /// How much of its context the last turn filled, by what the provider counted.
    seen_tokens: u64,
}

/// How an agent's run ends.
enum End {
    Done(Outcome),
    Failed(ErrorInfo),
    Interrupted(Why),
}

impl Agent<'_> {
    async fn run(&mut self) -> Result<StepResult, Refused> {
        self.begin().await?;
        let end = self.go_on().await?;
        Ok(self.result(end))
    }

    /// Adds the question, unless an earlier attempt did so already.
    async fn begin(&mut self) -> Result<(), Refused> {
        let id = self.input.queued().map_or_else(|| format!("u-{}", self.context.idempotency_key), Into::into);
        let asked = self.conversation.messages().iter().position(|message| message.id == id);
        match asked {
            Some(at) => self.turns.resume(&self.conversation.messages()[at + 1..]),
            None => {
                let parts =
                    self.input.parts(self.root.as_deref(), self.queued.as_ref()).await.map_err(Refused::Error)?;
                let turn = self.conversation.turns() + 1;
                let event = self.say(Message { id, role: Role::User, parts, turn });
                self.recorder.append_events(vec![event]).await?;
            }
        }
        let recorded = self.conversation.messages().iter().rev().find(|message| message.role == Role::System);
        self.told = recorded.map(|message| message.text()).unwrap_or_default();
        Ok(())
    }

    async fn go_on(&mut self) -> Result<End, Refused> {
        loop {
            if let Some(why) = self.interrupt.asked() {
                return Ok(End::Interrupted(why));
            }
            match self.turns.next(&self.conversation) {
                Act::Chat => {
                    if let Err(error) = self.meter.check() {
                        return Ok(End::Failed(error));
                    }
                    self.make_room().await?;
                    if let Some(end) = self.chat().await? {
                        return Ok(end);
                    }
                }
                Act::Call(calls) => {
                    let turn = self.conversation.turns();
                    let caller = Caller {
                        inner: &self.context.inner,
                        recorder: &self.recorder,
                        offered: &self.offered,
                        session: self.files,
                        root: self.root.clone(),
                        key: &self.context.idempotency_key,
                        turn,
                    };
                    let results = caller.all(&calls, &self.conversation, &self.interrupt).await?;
                    self.turns.called(&calls, &results);
                    let parts = results.into_iter().map(Part::ToolResult).collect();
                    let event = self.say(Message { id: format!("t{turn}"), role: Role::Tool, parts, turn });
                    self.recorder.append_events(vec![event]).await?;
                }
                Act::Say(text) => {
                    let turn = self.conversation.turns();
                    let message =
                        Message { id: format!("n{turn}"), role: Role::User, parts: vec![Part::text(text)], turn };
                    let event = self.say(message);
                    self.recorder.append_events(vec![event]).await?;
                }
                Act::Finish(outcome) => return Ok(End::Done(outcome)),
                Act::Fail(error) => {
                    self.close_calls().await?;
                    return Ok(End::Failed(error));
                }
            }
        }
    }

    /// Puts a summary in the place of what was said before, where the model's context gets full.
    async fn make_room(&mut self) -> Result<(), Halt> {
        let (context, percent) = (self.model.options.context_tokens, self.context.inner.options.agents.compact_percent);
        let before = compact::tokens_of(self.conversation.messages()).max(self.seen_tokens);
        if context == 0 || percent == 0 || before < context * percent / 100 {
            return Ok(());
        }
        let head = self.conversation.head();
        let Some(range) = compact::plan(self.conversation.messages(), head, context) else { return Ok(()) };
        let summary = match self.summary(range.end).await {
            Some(summary) => summary,
            None => compact::digest(&self.conversation.messages()[range.clone()]),
        };
        let (turn, count) = (self.conversation.turns() + 1, range.len() as u64);
        self.conversation.compact(count, &summary, turn);
        self.seen_tokens = 0;
        let compacted = ChatCompacted {
            turn,
            summary,
            messages_before: count,
            tokens_before: before,
            tokens_after: compact::tokens_of(self.conversation.messages()),
        };
        self.recorder.append(vec![EventBody::ChatCompacted(compacted)]).await.map(|_| ())
    }

    /// The model's own summary of its first `end` messages; a model that reads its turns from a file has none.
    async fn summary(&mut self, end: usize) -> Option<String> {
        if self.model.options.provider == Provider::Scripted {
            return None;
        }
        let mut told = Conversation::default();
        for message in &self.conversation.messages()[..end] {
            told.push(Message::clone(message));
        }
        let mut messages = told.for_request();
        let (role, parts) = (Role::User, vec![Part::text(compact::INSTRUCTIONS)]);
        messages.push(Message { id: String::new(), role, parts, turn: 0 });
        let request = ChatRequest {
            system: self.told.clone(),
            messages,
            tools: Vec::new(),
            schema: None,
            turn: self.conversation.turns() + 1,
            attempt: 1,
        };
        let chatted = chat::chat(&self.recorder, &self.model, request, &mut self.interrupt, Vec::new()).await.ok()?;
        self.meter.add(&chatted.usage);
        chat::add(&mut self.usage, &chatted.usage);
        self.recorder.append_events(vec![self.recorder.event(chatted.finished)]).await.ok()?;
        let text = chatted.answer.text.trim();
        (chatted.ending == Ending::Whole && !text.is_empty()).then(|| text.to_owned())
    }

    /// One turn of the model.
    async fn chat(&mut self) -> Result<Option<End>, Refused> {
        let turn = self.conversation.turns() + 1;
        let Around { running, notices } = surroundings::look(self.context, &self.recorder.session, &self.conversation);
        let around =
            Surroundings { root: self.root.as_deref(), has_tools: !self.offered.is_empty(), running: &running };
        let system = system::prompt(self.input.system.as_deref(), self.turns.schema(), &around);
        // What is told now stands in the request that is made now, and in all that follow.
        let mut before: Vec<NewEvent> = notices.into_iter().map(|notice| self.say(notice)).collect();
        if system != self.told {
            let parts = vec![Part::text(system.as_str())];
            before.push(self.say(Message { id: format!("s{turn}"), role: Role::System, parts, turn }));
            self.told.clone_from(&system);
        }
        let request = ChatRequest {
            system,
            messages: self.conversation.for_request(),
            tools: self.offered.iter().map(spec).collect(),
            schema: self.turns.schema().map(|schema| schema.schema().clone()),
            turn,
            attempt: 1,
        };
        let chatted = chat::chat(&self.recorder, &self.model, request, &mut self.interrupt, before).await?;
        self.meter.add(&chatted.usage);
        chat::add(&mut self.usage, &chatted.usage);
        self.seen_tokens = chatted.usage.prompt_tokens + chatted.usage.completion_tokens;
        let (mut events, answer) = (vec![self.recorder.event(chatted.finished)], chatted.answer);
        let end = match chatted.ending {
            Ending::Whole => {
                let calls = answer.tool_calls(turn, |id| self.conversation.knows_call(id));
                let parts = answer.parts(&calls);
                let message = Message { id: format!("a{turn}"), role: Role::Assistant, parts, turn };
                self.turns.answered(&message, answer.finish_reason.as_deref().unwrap_or("stop"));
                events.push(self.say(message));
                None
            }
            Ending::Interrupted(why) => {
                // What was said stays said; calls that are not whole were never made.
                let parts = answer.parts(&[]);
                if !parts.is_empty() {
                    events.push(self.say(Message { id: format!("a{turn}"), role: Role::Assistant, parts, turn }));
                }
                Some(End::Interrupted(why))
            }
            Ending::Failed(error) => Some(End::Failed(error_info(&error))),
        };
        // The answer is durable before it is acted upon.
        self.recorder.append_durably(events).await?;
        Ok(end)
    }

    /// Gives calls that will not be made a result that says so.
    async fn close_calls(&mut self) -> Result<(), Halt> {
        let open = self.conversation.open_calls();
        if open.is_empty() {
            return Ok(());
        }
        let turn = self.conversation.turns();
        let result = |call: moonlog_core::message::ToolCall| {
            Part::ToolResult(moonlog_core::message::ToolResult {
                call_id: call.call_id,
                name: call.name,
                outcome: StepOutcome::Skipped,
                output: Json::from(
                    json!({ "error": { "code": "not_made", "message": "the agent was stopped before this call" } }),
                ),
            })
        };
        let parts = open.into_iter().map(result).collect();
        let event = self.say(Message { id: format!("t{turn}"), role: Role::Tool, parts, turn });
        self.recorder.append_events(vec![event]).await.map(|_| ())
    }

    /// Adds a message to the conversation; the event is still to be appended.
    fn say(&mut self, message: Message) -> NewEvent {
        let added = ChatMessageAdded {
            message: message.id.clone(),
            role: message.role.name().into(),
            parts: serde_json::to_value(&message.parts).map(Json::from).unwrap_or_default(),
            turn: message.turn,
        };
        self.conversation.push(message);
        self.recorder.event(EventBody::ChatMessageAdded(added))
    }

    fn result(&self, end: End) -> StepResult {
        let info = json!({
            "session": self.recorder.session, "usage": self.usage, "turns": self.turns.turns(), "cached": false,
            "model": self.model.name,
        });
        let failed = |outcome, error: ErrorInfo| StepResult {
            outcome,
            output: None,
            error: Some(error.with_details(Json::from(json!({ "info": info })))),
        };
        match end {
            End::Done(Outcome::Text(text)) => StepResult::ok(json!({ "result": text, "info": info })),
            End::Done(Outcome::Value(value)) => StepResult::ok(json!({ "result": value.to_value(), "info": info })),
            End::Failed(error) => failed(StepOutcome::Error, error),
            End::Interrupted(Why::TimedOut) => {
                failed(StepOutcome::TimedOut, ErrorInfo::new("timeout", "the agent's time was up").retryable())
            }
            End::Interrupted(Why::Asked) => {
                failed(StepOutcome::Error, ErrorInfo::new("interrupted", "the agent was interrupted"))
            }
        }
    }
}

fn spec(tool: &ToolDefinition) -> ToolSpec {
    ToolSpec { name: tool.name.clone(), description: tool.description.clone(), input_schema: tool.input_schema.clone() }
}
