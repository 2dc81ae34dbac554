//! One turn of a model: its request, the answer as it arrives, and the tries that this takes.

use super::{
    answer::Answer,
    deltas::{Channel, Deltas},
    gate::Allowed,
    interrupt::{Interrupt, Why},
    model::{ChatRequest, Model, ModelError, Piece, Pieces},
    recorder::{Halt, Recorder},
    tokens,
};
use futures_util::StreamExt;
use moonlog_core::{
    error_info::ErrorInfo,
    event::{ChatFinished, ChatRetryScheduled, ChatStarted, ChatUsage, EventBody, NewEvent},
    id::Hash,
    json::Json,
};
use serde_json::json;
use std::{sync::Arc, time::Duration};
use tokio::time::{Instant, sleep_until};

/// An answer larger than this is none.
const ANSWER_MAX_BYTES: usize = 8 << 20;

/// The first wait before a request is tried again; each further one is twice as long.
const BACKOFF: Duration = Duration::from_millis(500);
const BACKOFF_MAX: Duration = Duration::from_secs(30);

/// A provider that asks for more patience than this is not waited for.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(600);

/// How a turn ended.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Ending {
    /// The answer is whole.
    Whole,
    /// It was asked to stop; a part of the answer may be there.
    Interrupted(Why),
    /// There is no answer.
    Failed(ModelError),
}

/// What came of a turn.
#[derive(Debug)]
pub(super) struct Chatted {
    pub(super) answer: Answer,
    pub(super) ending: Ending,
    /// Of all tries.
    pub(super) usage: ChatUsage,
    /// `chat.finished`, still to be appended with what follows from it.
    pub(super) finished: EventBody,
}

/// Asks a model, durably recorded before the request is made. `before` is appended in front of `chat.started`.
pub(super) async fn chat(
    recorder: &Recorder,
    model: &Model,
    request: ChatRequest,
    allowed: Allowed,
    interrupt: &mut Interrupt,
    before: Vec<NewEvent>,
) -> Result<Chatted, Halt> {
    let turn = request.turn;
    let mut events = before;
    events.push(recorder.event(EventBody::ChatStarted(ChatStarted {
        turn,
        model: model.name.clone(),
        backend: model.backend.name().into(),
        request_hash: hash(model, &request),
    })));
    recorder.append_durably(events).await?;
    let mut chat = Chat {
        recorder,
        model,
        allowed,
        interrupt,
        answer: Answer::default(),
        deltas: Deltas::new(turn, &recorder.secrets),
        usage: ChatUsage::default(),
        started: Instant::now(),
        first_token: None,
    };
    let ending = chat.tries(request).await?;
    chat.finish(turn, ending).await
}

/// blake3 of what is sent, in a form that does not depend on the provider.
fn hash(model: &Model, request: &ChatRequest) -> Hash {
    let messages: Vec<_> = request.messages.iter().map(|message| json!([message.role.name(), message.parts])).collect();
    let sent = json!({
        "model": model.options.model, "system": request.system, "messages": messages, "tools": request.tools,
        "schema": request.schema,
    });
    Hash::of(Json::from(sent).as_str().as_bytes())
}

struct Chat<'a> {
    recorder: &'a Recorder,
    model: &'a Model,
    allowed: Allowed,
    interrupt: &'a mut Interrupt,
    answer: Answer,
    deltas: Deltas,
    usage: ChatUsage,
    started: Instant,
    first_token: Option<Instant>,
}

impl Chat<'_> {
    async fn tries(&mut self, mut request: ChatRequest) -> Result<Ending, Halt> {
        loop {
            let sent = Arc::new(request.clone());
            let ending = self.attempt(sent.clone()).await?;
            if let Some(usage) = self.used(&sent, &ending) {
                self.usage.add(&usage);
                self.allowed.used(&self.model.name, &usage);
            }
            let ending = self.without_key(ending);
            let Ending::Failed(error) = &ending else { return Ok(ending) };
            let Some(wait) = self.wait_after(request.attempt, error) else { return Ok(ending) };
            let mut events = self.deltas.rest();
            events.push(EventBody::ChatRetryScheduled(ChatRetryScheduled {
                attempt: request.attempt,
                wait_ms: u64::try_from(wait.as_millis()).unwrap_or(u64::MAX),
                status: error.status,
            }));
            self.recorder.append(events).await?;
            tracing::debug!(model = %self.model.name, %error, ?wait, "a request to a model is tried again");
            tokio::select! {
                biased;
                why = self.interrupt.wait() => return Ok(Ending::Interrupted(why)),
                () = tokio::time::sleep(wait) => {}
            }
            match self.allowed.gate.clone().pass(self.recorder, self.model, request.turn, self.interrupt).await? {
                Ok(allowed) => self.allowed = allowed,
                Err(why) => return Ok(Ending::Interrupted(why)),
            }
            self.answer = Answer::default();
            request.attempt += 1;
        }
    }

    /// What an attempt has used: as the provider says, else estimated where it has answered at all.
    fn used(&self, request: &ChatRequest, ending: &Ending) -> Option<ChatUsage> {
        let said = self.answer.usage.clone().filter(|usage| usage.prompt_tokens + usage.completion_tokens > 0);
        let answered = *ending == Ending::Whole || self.answer.bytes() > 0;
        let mut usage = said.or_else(|| answered.then(|| tokens::estimate(request, self.answer.bytes())))?;
        usage.cost = self.model.options.prices.map(|prices| prices.cost_of(&usage));
        Some(usage)
    }

    /// Servers like to repeat what they refuse: a key is never recorded.
    fn without_key(&self, ending: Ending) -> Ending {
        match (ending, &self.model.options.api_key) {
            (Ending::Failed(mut error), Some(key)) => {
                error.message = error.message.replace(key.reveal(), "***");
                Ending::Failed(error)
            }
            (ending, _) => ending,
        }
    }

    /// How long to wait before the next try, where there is one.
    fn wait_after(&self, attempt: u32, error: &ModelError) -> Option<Duration> {
        if !error.retryable || attempt > self.model.options.max_retries {
            return None;
        }
        match error.retry_after {
            Some(asked) => (asked <= RETRY_AFTER_MAX).then_some(asked),
            None => {
                let wait = BACKOFF.saturating_mul(1 << (attempt - 1).min(10)).min(BACKOFF_MAX);
                // Agents that failed together are not to come back together.
                let whose = Hash::of(format!("{} {attempt}", self.recorder.session).as_bytes());
                let spread = f64::from(whose.as_bytes()[0]) / 255.0;
                Some(wait.mul_f64(0.75 + spread / 2.0))
            }
        }
    }

    /// One try.
    async fn attempt(&mut self, request: Arc<ChatRequest>) -> Result<Ending, Halt> {
        let begun = Instant::now();
        let options = &self.model.options;
        let deadline = begun + options.request_timeout;
        let first_by = begun + options.first_token_timeout;
        let late =
            |what: &str, code: &'static str| ModelError::new(code, format!("the model `{}` {what}", self.model.name));
        let first_late = || {
            late(&format!("gave nothing within {:?}", options.first_token_timeout), "first_token_timeout").retryable()
        };
        let answer_late =
            || late(&format!("did not end its answer within {:?}", options.request_timeout), "request_timeout");
        let idle_late = || late(&format!("fell silent for {:?}", options.idle_timeout), "idle_timeout").retryable();
        let mut pieces: Pieces = tokio::select! {
            biased;
            why = self.interrupt.wait() => return Ok(Ending::Interrupted(why)),
            answered = self.model.backend.chat(request) => match answered {
                Ok(pieces) => pieces,
                Err(error) => return Ok(Ending::Failed(error)),
            },
            () = sleep_until(first_by.min(deadline)) => {
                return Ok(Ending::Failed(if first_by <= deadline { first_late() } else { answer_late() }));
            }
        };
        let (mut seen, mut last) = (false, begun);
        loop {
            let silent_by = if seen { last + options.idle_timeout } else { first_by };
            let due = self.deltas.next_due().unwrap_or(deadline);
            let events = tokio::select! {
                biased;
                why = self.interrupt.wait() => return Ok(Ending::Interrupted(why)),
                piece = pieces.next() => {
                    last = Instant::now();
                    match piece {
                        Some(Ok(piece)) => {
                            seen |= self.take(piece);
                            if self.answer.bytes() > ANSWER_MAX_BYTES {
                                let why = format!("the answer has more than {ANSWER_MAX_BYTES} bytes");
                                return Ok(Ending::Failed(ModelError::new("answer_too_large", why)));
                            }
                            self.deltas.due(last)
                        }
                        Some(Err(error)) => return Ok(Ending::Failed(error)),
                        None => return Ok(Ending::Whole),
                    }
                }
                () = sleep_until(due), if due < deadline => self.deltas.due(Instant::now()),
                () = sleep_until(silent_by.min(deadline)) => {
                    let error = if deadline <= silent_by { answer_late() } else if seen { idle_late() } else { first_late() };
                    return Ok(Ending::Failed(error));
                }
            };
            self.recorder.append(events).await?;
        }
    }

    /// Takes in a piece. Gives whether it is of the answer itself.
    fn take(&mut self, piece: Piece) -> bool {
        let now = Instant::now();
        let said = match &piece {
            Piece::Text(text) => Some((Channel::Text, text.clone())),
            Piece::Reasoning(text) => Some((Channel::Reasoning, text.clone())),
            Piece::ToolCall { name, arguments, .. } => {
                // A call's name stands before its arguments.
                let name = name.as_ref().map(|name| format!("{name} ")).unwrap_or_default();
                Some((Channel::ToolCall, name + arguments))
            }
            Piece::Usage(_) | Piece::Finish(_) | Piece::Heartbeat => None,
        };
        self.answer.push(piece);
        let Some((channel, text)) = said else { return false };
        self.first_token.get_or_insert(now);
        self.deltas.push(channel, &text, now);
        true
    }

    async fn finish(mut self, turn: u32, ending: Ending) -> Result<Chatted, Halt> {
        let rest = self.deltas.rest();
        self.recorder.append(rest).await?;
        let since = |at: Instant| u64::try_from(at.duration_since(self.started).as_millis()).unwrap_or(u64::MAX);
        let (finish_reason, error) = match &ending {
            Ending::Whole => (self.answer.finish_reason.clone().unwrap_or_else(|| "stop".into()), None),
            Ending::Interrupted(Why::Asked) => ("interrupted".into(), None),
            Ending::Interrupted(Why::TimedOut) => {
                ("interrupted".into(), Some(ErrorInfo::new("timeout", "the agent's time was up")))
            }
            Ending::Failed(error) => ("error".into(), Some(error_info(error).with_details(self.answer.arrived()))),
        };
        let finished = EventBody::ChatFinished(ChatFinished {
            turn,
            finish_reason,
            usage: self.usage.clone(),
            latency_ms: since(Instant::now()),
            first_token_ms: self.first_token.map(since),
            error,
        });
        Ok(Chatted { answer: self.answer, ending, usage: self.usage, finished })
    }
}

/// A model's error as events and scripts carry it.
pub(super) fn error_info(error: &ModelError) -> ErrorInfo {
    let info = ErrorInfo::new(error.code, error.message.clone());
    if error.retryable { info.retryable() } else { info }
}
