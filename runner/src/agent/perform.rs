//! Performs `agent`: from a question to an answer, with every turn and call recorded on the way.

use super::{
    budget::{self, Meters},
    calls::{Asked, Called, Caller},
    check::Check,
    end::End,
    family,
    input::AgentInput,
    interrupt::{Interrupt, Interrupter, Why, interrupt},
    live::Seat,
    model::Model,
    open_work::OpenWork,
    place::{offered, place},
    recorder::{Halt, Recorder},
    session::{self, Refused, Taken, own_session},
    surroundings,
    turn::{Act, Outcome, Turns},
};
use crate::{inner::Inner, job::Turnstile, step_result::StepResult, tool::ToolDefinition};
use moonlog_core::{
    error_info::ErrorInfo,
    event::{ChatMessageAdded, ChatUsage, EventBody, NewEvent, StepOutcome, StreamId},
    id::{JobId, SessionId},
    json::Json,
    log::{Append, Expected},
    message::{Message, Part, Role},
    projection::Conversation,
    time::Timestamp,
};
use serde_json::json;
use std::{
    collections::BTreeSet,
    path::PathBuf,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

/// How many events one read takes.
const READ_EVENTS: usize = 1_024;

/// How an agent leaves its task.
pub(crate) enum Left {
    /// It is done.
    Ended(StepResult),
    /// It waits for a person, and for nothing else: it is to be performed again when there is an answer.
    Waits(Asked),
}

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
    /// When its attempt began.
    pub(crate) started_at: Timestamp,
    /// The position of its `step.started`.
    pub(crate) started: u64,
    /// What the agent begins and does not end, for who ends it from outside.
    pub(crate) open: Arc<Mutex<OpenWork>>,
    /// Where it says that it waits for its model.
    pub(crate) turnstile: Turnstile,
}

impl AgentContext {
    /// Notes which turn of a session is begun, and up to where that stands in the log.
    fn take(&self, taken: (SessionId, u32), position: u64) {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.reach(position);
        open.take(Some(taken));
    }

    /// The turn that was begun is ended by who asks for it.
    fn leave(&self) -> Option<(SessionId, u32)> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner).take(None)
    }

    /// Ends what is open of an agent that cannot go on: what was asked before, where it was taken up again. Gives the
    /// error back.
    fn give_up(&self, error: ErrorInfo) -> ErrorInfo {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((session, turn)) = open.take(None) {
            session::release(&self.inner, &self.job, session, turn);
        }
        let events = open.close(StepOutcome::Cancelled, &error);
        let events: Vec<NewEvent> = events.into_iter().map(|event| event.step(Some(self.step.clone()))).collect();
        if !events.is_empty() {
            let append = Append::new(StreamId::Job(self.job), Expected::Open, events);
            if let Err(error) = self.inner.log.append_long(append) {
                tracing::debug!(job = %self.job, %error, "what an agent had open was not ended");
            }
        }
        error
    }

    /// When it first got to run, as far as that is known.
    fn began_at(&self) -> Timestamp {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let otherwise = if open.is_fresh() { (self.inner.options.clock)() } else { self.started_at };
        open.began_at(otherwise)
    }

    /// Whether it has recorded nothing yet.
    fn is_fresh(&self) -> bool {
        self.open.lock().unwrap_or_else(PoisonError::into_inner).is_fresh()
    }
}

/// Performs the operation. `None` where nobody can hear of the result.
pub(crate) async fn perform(context: AgentContext, input: &Json) -> Option<Left> {
    let failed = |error| Some(Left::Ended(StepResult::failed(error)));
    let input = match input.to::<AgentInput>() {
        Ok(input) => input,
        Err(error) => return failed(ErrorInfo::new("invalid_input", format!("agent: {error}"))),
    };
    match run(&context, &input).await {
        Ok(left) => Some(left),
        Err(Refused::Error(error)) => failed(context.give_up(error)),
        Err(Refused::Halt(Halt::TooLarge(why))) => failed(context.give_up(ErrorInfo::new("limit_value", why))),
        Err(Refused::Halt(halt)) => {
            tracing::debug!(job = %context.job, step = %context.step, %halt, "an agent was left as it is");
            None
        }
    }
}

/// Aborts what it holds when it is dropped.
struct Timer(tokio::task::JoinHandle<()>);

impl Drop for Timer {
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn run(context: &AgentContext, input: &AgentInput) -> Result<Left, Refused> {
    let inner = &*context.inner;
    let schema = input.answer_schema().map_err(Refused::Error)?;
    let model = inner.models.for_agent(input.model.as_deref(), input.backend.as_deref()).map_err(Refused::Error)?;
    let offered = offered(inner, input).map_err(Refused::Error)?;
    let meters = budget::meters(inner, &context.job, input.session.as_ref());
    meters.check(inner).map_err(Refused::Error)?;
    // Its time begins when it may run.
    let _place = family::enter(inner, &context.job, context.run, &context.step).await.map_err(Refused::Error)?;
    let began_at = context.began_at();

    let own = own_session(&context.job, context.run, &context.step);
    let session = input.session.unwrap_or(own);
    let (interrupter, interrupt) = interrupt();
    let Some(seat) = inner.agents.take(session, interrupter.clone()) else {
        return Err(Refused::Error(session::busy(&session)));
    };
    // An agent that has recorded nothing yet has no session of its own.
    let fresh = context.attempt == 1 && context.is_fresh();
    let Taken { id, conversation, queued, began_with, position } =
        session::take(inner, &context.job, own, input, fresh).await?;
    context.take((id, began_with), position);
    inner.call_ids.load(&inner.log, &context.job);
    let deadline = input.timeout_ms.map(|ms| began_at.plus_ms(ms));
    let _timer = deadline.map(|deadline| {
        let left = deadline.as_micros().saturating_sub((inner.options.clock)().as_micros()).max(0) as u64;
        let interrupter = interrupter.clone();
        Timer(tokio::spawn(async move {
            tokio::time::sleep(Duration::from_micros(left)).await;
            interrupter.ask(Why::TimedOut);
        }))
    });
    let recorder = Recorder {
        log: inner.log.clone(),
        job: context.job,
        session: id,
        step: context.step.clone(),
        open: context.open.clone(),
        secrets: inner.processes.secrets().clone(),
    };
    let (files, root) = match place(context, input, &id, position).await {
        Ok(place) => place,
        Err(error) => {
            if context.leave().is_some() {
                session::release(inner, &context.job, id, began_with);
            }
            return Err(Refused::Error(error));
        }
    };
    let recorded = conversation.open_calls().into_iter().map(|call| call.call_id).collect();
    let mut agent = Agent {
        context,
        recorded,
        input,
        model,
        offered,
        meters,
        recorder,
        seat,
        interrupter,
        interrupt,
        deadline,
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
    // Who waits for a person has its session for itself meanwhile.
    if !matches!(ended, Ok(Left::Waits(_))) && context.leave().is_some() {
        session::release(inner, &context.job, id, began_with);
    }
    ended
}

pub(super) struct Agent<'a> {
    pub(super) context: &'a AgentContext,
    pub(super) input: &'a AgentInput,
    pub(super) model: Arc<Model>,
    pub(super) offered: Vec<ToolDefinition>,
    meters: Meters,
    pub(super) recorder: Recorder,
    seat: Seat<'a>,
    interrupter: Interrupter,
    pub(super) interrupt: Interrupt,
    /// When its time is up.
    deadline: Option<Timestamp>,
    /// Whose files are changed: its own session, or that of its job.
    files: SessionId,
    pub(super) root: Option<PathBuf>,
    /// What the message says that it answers.
    queued: Option<Json>,
    pub(super) conversation: Conversation,
    pub(super) turns: Turns,
    pub(super) usage: ChatUsage,
    /// The system prompt that was recorded last.
    pub(super) told: String,
    /// The calls that were open in the log as this agent was begun, or begun again.
    recorded: BTreeSet<String>,
    /// How much of its context the last turn filled, by what the provider counted.
    pub(super) seen_tokens: u64,
}

impl Agent<'_> {
    async fn run(&mut self) -> Result<Left, Refused> {
        if !self.begin().await? {
            return Ok(Left::Ended(self.result(End::Done(Outcome::Text(String::new())))));
        }
        Ok(match self.go_on().await? {
            End::Waits(asked) => Left::Waits(asked),
            end => Left::Ended(self.result(end)),
        })
    }

    /// Counts what a request has used.
    pub(super) fn count(&mut self, usage: &ChatUsage) {
        self.meters.add(usage);
        self.usage.add(usage);
    }

    /// What this attempt has used already, where it is taken up again.
    fn used_before(&self) -> Result<ChatUsage, Halt> {
        let (log, stream) = (&self.recorder.log, StreamId::Job(self.context.job));
        let failed = |error: moonlog_core::log::ReadError| Halt::Log(error.to_string());
        let mut version = log.version_at(&stream, self.context.started).map_err(failed)?;
        let mut used = ChatUsage::default();
        loop {
            let events = log.read_stream(&stream, version, READ_EVENTS).map_err(failed)?;
            let Some(last) = events.last() else { return Ok(used) };
            version = last.version;
            for event in events.iter().filter(|event| event.step.as_ref() == Some(&self.context.step)) {
                if let EventBody::ChatFinished(finished) = &event.body {
                    used.add(&finished.usage);
                }
            }
        }
    }

    /// Adds the question, unless an earlier attempt did so already. Gives whether there is anything to be done.
    async fn begin(&mut self) -> Result<bool, Refused> {
        let recorded = self.conversation.messages().iter().rev().find(|message| message.role == Role::System);
        self.told = recorded.map(|message| message.text()).unwrap_or_default();
        if self.input.is_woken() {
            // What it is to be told is told like all that goes on around an agent.
            let said = self.conversation.messages().iter().rfind(|message| message.role != Role::System);
            // Where it has begun before, what it has asked a person has its answer now.
            let is_asked = !self.context.is_fresh() && !self.conversation.open_calls().is_empty();
            let is_open = is_asked || said.is_some_and(|message| message.role != Role::Assistant);
            let around = surroundings::look(self.context, &self.recorder.session, &self.conversation, true);
            self.usage = self.used_before()?;
            return Ok(is_open || !around.notices.is_empty());
        }
        let id = self.input.queued().map_or_else(|| format!("u-{}", self.context.idempotency_key), Into::into);
        let asked = self.conversation.messages().iter().position(|message| message.id == id);
        match asked {
            Some(at) => {
                self.turns.resume(&self.conversation.messages()[at + 1..]);
                self.usage = self.used_before()?;
            }
            None => {
                let parts =
                    self.input.parts(&self.context.inner.tools, self.root.as_deref(), self.queued.as_ref()).await;
                let parts = parts.map_err(Refused::Error)?;
                let turn = self.conversation.turns() + 1;
                let event = self.say(Message { id, role: Role::User, parts, turn });
                self.recorder.append_events(vec![event]).await?;
            }
        }
        Ok(true)
    }

    async fn go_on(&mut self) -> Result<End, Refused> {
        loop {
            if let Some(why) = self.interrupt.asked() {
                self.recorder.cut_all_short().await?;
                return Ok(End::Interrupted(why));
            }
            match self.turns.next(&self.conversation) {
                Act::Chat => {
                    if let Err(error) = self.meters.check(&self.context.inner) {
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
                        interrupter: &self.interrupter,
                        changed: AtomicBool::new(false),
                        recorded: &self.recorded,
                    };
                    let called = caller.all(&calls, &self.conversation, &self.interrupt, &mut self.seat).await?;
                    let changed = caller.changed.load(Ordering::Relaxed);
                    let results = match called {
                        Called::Results(results) => results,
                        Called::Waits(asked) => {
                            let due = self.deadline.map_or(asked.due, |deadline| deadline.min(asked.due));
                            return Ok(End::Waits(Asked { due, ..asked }));
                        }
                    };
                    self.turns.called(&calls, &results);
                    let parts = results.into_iter().map(Part::ToolResult).collect();
                    let event = self.say(Message { id: format!("t{turn}"), role: Role::Tool, parts, turn });
                    self.recorder.append_events(vec![event]).await?;
                    if changed {
                        self.check().await?;
                    }
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

    /// Runs the check command, where there is one, and adds what it complains of.
    async fn check(&mut self) -> Result<(), Halt> {
        let inner = &self.context.inner;
        let Some(command) = self.input.check_command(&inner.options.agents.check.command) else { return Ok(()) };
        let command = command.to_owned();
        let (session, root) = (self.files, self.root.clone());
        let check = Check { inner, recorder: &self.recorder, session, root };
        let Some(text) = check.run(&command, &mut self.interrupt).await else { return Ok(()) };
        let turn = self.conversation.turns();
        let event = self.say(Message { id: format!("c{turn}"), role: Role::User, parts: vec![Part::text(text)], turn });
        self.recorder.append_events(vec![event]).await.map(drop)
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
    pub(super) fn say(&mut self, message: Message) -> NewEvent {
        let added = ChatMessageAdded {
            message: message.id.clone(),
            role: message.role.name().into(),
            parts: serde_json::to_value(&message.parts).map(Json::from).unwrap_or_default(),
            turn: message.turn,
        };
        self.conversation.push(message);
        self.recorder.event(EventBody::ChatMessageAdded(added))
    }
}
