//! The conversation: lines, events and Ctrl-C, as they come.

use super::{
    input,
    question::Question,
    screen::Screen,
    typed::{HELP, Typed},
};
use crate::cli::{
    agent_args::Chat,
    client::{Client, segment},
    commands::meant,
    connect::Connection,
    failure::{Failure, Status},
    feed::{self, Feed, Query},
    interrupts::Interrupts,
};
use moonlog_core::event::{Event, EventBody};
use serde_json::{Map, Value, json};
use std::collections::{BTreeSet, VecDeque};
use tokio::sync::mpsc;

/// What is shown.
const TYPES: &str = "chat.*,tool.*,job.completed,job.failed,job.cancelled,job.timed_out,session.closed";
/// How many of the last messages of a session are shown when it is gone on with.
const SHOWN_MESSAGES: usize = 6;
/// How many sessions are looked through for one whose id ends as it was typed.
const SEARCHED: &str = "200";

/// Converses until the person leaves.
pub async fn converse(connection: &Connection, options: &Chat) -> Result<Status, Failure> {
    let client = &connection.client;
    let mut chat = match &options.session {
        Some(text) => Conversation::go_on(client, &resolve(client, text).await?, connection.is_embedded()).await?,
        None => Conversation::begin(client, options).await?,
    };
    chat.run(options).await
}

/// The id of the open session that `text` means.
async fn resolve(client: &Client, text: &str) -> Result<String, Failure> {
    if text.parse::<moonlog_core::id::SessionId>().is_ok() {
        return Ok(text.to_owned());
    }
    let page = client.get_with("/v1/sessions", &[("limit", SEARCHED), ("status", "open")]).await?;
    let ids = page["items"].as_array().into_iter().flatten().filter_map(|session| session["id"].as_str());
    meant("session", "GET /v1/sessions", text, ids)
}

/// Whether the conversation goes on.
#[derive(PartialEq, Eq)]
enum Flow {
    On,
    Leave,
}

struct Conversation<'a> {
    client: &'a Client,
    session: String,
    screen: Screen,
    events: mpsc::Receiver<Result<Event, Failure>>,
    /// Jobs whose ends are still to come.
    turns: BTreeSet<String>,
    questions: VecDeque<Question>,
    /// Messages that were typed here, which need not be shown.
    mine: BTreeSet<String>,
    /// Whether an answer did not come about.
    failed: bool,
}

impl<'a> Conversation<'a> {
    /// A new session.
    async fn begin(client: &'a Client, options: &Chat) -> Result<Self, Failure> {
        let mut agent = Map::new();
        if let Some(model) = &options.model {
            agent.insert("model".into(), json!(model));
        }
        if let Some(system) = &options.system {
            agent.insert("system".into(), json!(system));
        }
        if options.no_tools || !options.tools.is_empty() {
            agent.insert("tools".into(), json!(options.tools));
        }
        let mut body = json!({ "agent": agent, "title": "chat" });
        if let Some(folder) = &options.workspace {
            let path = std::fs::canonicalize(folder).map_err(|error| Failure::file("use", folder, &error))?;
            body["workspace"] = json!({ "kind": "directory", "path": path });
        }
        let session = client.post("/v1/sessions", &body).await?;
        Self::over(client, &session).await
    }

    /// One that is there, with what was said last.
    async fn go_on(client: &'a Client, id: &str, embedded: bool) -> Result<Self, Failure> {
        let session = client.get(&format!("/v1/sessions/{}", segment(id))).await?;
        if session["status"] == "closed" {
            return Err(Failure::failed(format!("session {id} is closed")).hint("`moonlog chat` begins a new one"));
        }
        if let (true, Some(job)) = (embedded, session["turn_job"].as_str()) {
            return Err(Failure::failed(format!(
                "a turn of the session was left open by a server that is gone, in job {job}"
            ))
            .hint("it goes on when a server runs: moonlog serve"));
        }
        let mut chat = Self::over(client, &session).await?;
        chat.recall(&session)?;
        Ok(chat)
    }

    async fn over(client: &'a Client, session: &Value) -> Result<Self, Failure> {
        let id = session["id"].as_str().unwrap_or_default().to_owned();
        let query = Query {
            session: Some(id.clone()),
            types: Some(TYPES.into()),
            after: session["position"].as_u64().map(|position| position.to_string()),
            follow: true,
            ..Query::default()
        };
        let events = feed::events(Feed::open(client, query).await?);
        let mut screen = Screen::new();
        screen.note(&format!("session {id}; /help lists what can be typed"))?;
        Ok(Self {
            client,
            session: id,
            screen,
            events,
            turns: BTreeSet::new(),
            questions: VecDeque::new(),
            mine: BTreeSet::new(),
            failed: false,
        })
    }

    /// Shows how the session stands.
    fn recall(&mut self, session: &Value) -> Result<(), Failure> {
        let empty = Vec::new();
        let messages = session["messages"].as_array().unwrap_or(&empty);
        let said: Vec<(&str, String)> = messages.iter().filter_map(spoken).collect();
        for (role, text) in said.iter().skip(said.len().saturating_sub(SHOWN_MESSAGES)) {
            self.screen.note(&if *role == "user" { format!("> {text}") } else { text.clone() })?;
        }
        if let Some(job) = session["turn_job"].as_str() {
            self.turns.insert(job.to_owned());
            self.screen.answer(session["under_way"]["text"].as_str().unwrap_or_default())?;
        }
        for queued in session["queue"].as_array().into_iter().flatten().filter_map(|queued| queued["message"].as_str())
        {
            self.turns.insert(queued.to_owned());
        }
        for asked in session["approvals"].as_array().into_iter().flatten() {
            let text = |name: &str| asked[name].as_str().unwrap_or_default().to_owned();
            self.asked(Question::new(text("job"), text("call_id"), text("name"), asked["input"].clone()))?;
        }
        Ok(())
    }

    async fn run(&mut self, options: &Chat) -> Result<Status, Failure> {
        let mut lines = input::lines();
        let mut interrupts = Interrupts::new();
        let (mut ended, mut interrupted) = (false, false);
        self.screen.prompt()?;
        loop {
            if ended && self.turns.is_empty() {
                break;
            }
            if ended && !self.questions.is_empty() {
                self.screen.warn("nobody is left to answer: the turn is interrupted")?;
                self.questions.clear();
                self.failed = true;
                self.interrupt().await?;
            }
            // Where nobody types, a line waits until what was said before it is answered.
            let takes_line = !ended && (self.screen.interactive || self.turns.is_empty() || !self.questions.is_empty());
            tokio::select! {
                biased;
                () = interrupts.next() => {
                    if std::mem::replace(&mut interrupted, true) {
                        self.failed |= !self.turns.is_empty();
                        break;
                    }
                    if self.turns.is_empty() {
                        self.screen.note("Ctrl-C again leaves")?;
                    } else {
                        self.screen.note("interrupting; Ctrl-C again leaves")?;
                        self.questions.clear();
                        self.interrupt().await?;
                    }
                }
                event = self.events.recv() => match event {
                    Some(event) => {
                        if self.show(&event?)? == Flow::Leave {
                            break;
                        }
                    }
                    None => return Err(Failure::failed("the session's feed has ended")),
                },
                line = lines.recv(), if takes_line => match line {
                    Some(line) => {
                        interrupted = false;
                        if self.typed(&line, options).await? == Flow::Leave {
                            break;
                        }
                    }
                    None => ended = true,
                },
            }
        }
        self.screen.end_line()?;
        Ok(if self.failed && !self.screen.interactive { Status::Failed } else { Status::Done })
    }

    async fn typed(&mut self, line: &str, options: &Chat) -> Result<Flow, Failure> {
        if let Some(question) = self.questions.pop_front() {
            self.decide(&question, line).await?;
            if let Some(next) = self.questions.front() {
                let text = next.text();
                self.screen.ask(&text)?;
            }
            return Ok(Flow::On);
        }
        match Typed::read(line) {
            Typed::Say(text) => self.say(&text).await?,
            Typed::New => {
                let client = self.client;
                *self = Self::begin(client, options).await?;
            }
            Typed::Session => {
                let id = self.session.clone();
                self.screen.note(&id)?;
            }
            Typed::Interrupt => self.interrupt().await?,
            Typed::Help => self.screen.note(HELP)?,
            Typed::Exit => return Ok(Flow::Leave),
            Typed::Unknown(command) => {
                self.screen.warn(&format!("there is no /{command}; /help lists what there is"))?
            }
            Typed::Nothing => {}
        }
        if self.turns.is_empty() {
            self.screen.prompt()?;
        }
        Ok(Flow::On)
    }

    async fn say(&mut self, text: &str) -> Result<(), Failure> {
        let path = format!("/v1/sessions/{}/messages", segment(&self.session));
        match self.client.post(&path, &json!({ "text": text })).await {
            Ok(job) => {
                let id = job["id"].as_str().unwrap_or_default().to_owned();
                self.mine.insert(id.clone());
                self.turns.insert(id);
                Ok(())
            }
            Err(failure) if failure.status == Status::Unreachable => Err(failure),
            Err(failure) => {
                self.failed = true;
                self.screen.warn(&failure.to_string())
            }
        }
    }

    async fn decide(&mut self, question: &Question, line: &str) -> Result<(), Failure> {
        let path = format!("/v1/jobs/{}/approvals/{}", segment(&question.job), segment(&question.call_id));
        let mut body = question.decision(line);
        if let Some(user) = std::env::var("USER").ok().filter(|user| !user.is_empty()) {
            body["by"] = json!(user);
        }
        match self.client.post(&path, &body).await {
            Ok(_) => Ok(()),
            Err(failure) if failure.status == Status::Unreachable => Err(failure),
            // Somebody else was faster.
            Err(failure) => self.screen.warn(&failure.to_string()),
        }
    }

    async fn interrupt(&mut self) -> Result<(), Failure> {
        let path = format!("/v1/sessions/{}/interrupt", segment(&self.session));
        match self.client.post(&path, &json!({})).await {
            Err(failure) if failure.status == Status::Unreachable => Err(failure),
            // It had ended by itself, which the feed tells.
            Ok(_) | Err(_) => Ok(()),
        }
    }

    fn asked(&mut self, question: Question) -> Result<(), Failure> {
        if self.questions.is_empty() {
            self.screen.ask(&question.text())?;
        }
        self.questions.push_back(question);
        Ok(())
    }

    fn show(&mut self, event: &Event) -> Result<Flow, Failure> {
        let job = event.job.map(|job| job.to_string()).unwrap_or_default();
        match &event.body {
            EventBody::ChatDelta(delta) if delta.channel == "text" => self.screen.answer(&delta.text)?,
            EventBody::ChatDelta(delta) if delta.channel == "reasoning" => self.screen.reasoning(&delta.text),
            EventBody::ChatRetryScheduled(retry) => {
                let wait = retry.wait_ms;
                self.screen.note(&format!("the model's answer broke off; it is asked again in {wait} ms"))?;
            }
            EventBody::ChatFinished(finished) => {
                self.screen.end_line()?;
                if let Some(error) = &finished.error {
                    self.screen.warn(&error.message)?;
                }
            }
            EventBody::ChatCompacted(compacted) => {
                let count = compacted.messages_before;
                self.screen.note(&format!("{count} messages were put into a summary"))?;
            }
            EventBody::ChatMessageAdded(added) if added.role == "user" && !self.mine.contains(&added.message) => {
                let parts = json!({ "role": "user", "parts": added.parts.to_value() });
                if let Some((_, text)) = spoken(&parts) {
                    self.screen.note(&format!("> {text}"))?;
                }
            }
            // Others speak here too.
            EventBody::ChatMessageQueued(queued) if queued.message.parse::<moonlog_core::id::JobId>().is_ok() => {
                self.turns.insert(queued.message.clone());
            }
            EventBody::ChatMessageDropped(dropped) => drop(self.turns.remove(&dropped.message)),
            EventBody::ToolStarted(call) => self.screen.call_started(call),
            EventBody::ToolFinished(call) => self.screen.call_finished(call)?,
            EventBody::ToolApprovalRequested(asked) => {
                let input = asked.input.to_value();
                self.asked(Question::new(job.clone(), asked.call_id.clone(), asked.name.clone(), input))?;
            }
            EventBody::ToolApprovalDecided(decided) => {
                let first = self.questions.front().is_some_and(|question| question.call_id == decided.call_id);
                self.questions.retain(|question| question.call_id != decided.call_id);
                if first {
                    let by = decided.by.as_deref().map(|by| format!(" by {by}")).unwrap_or_default();
                    self.screen.note(&format!("that was decided{by}"))?;
                    if let Some(next) = self.questions.front().map(Question::text) {
                        self.screen.ask(&next)?;
                    }
                }
            }
            EventBody::JobFailed(failed) if self.turns.contains(&job) => {
                self.failed = true;
                self.screen.warn(&failed.error.message)?;
            }
            EventBody::JobTimedOut(_) | EventBody::JobCancelled(_) if self.turns.contains(&job) => {
                self.failed = true;
                self.screen.warn(if matches!(event.body, EventBody::JobCancelled(_)) {
                    "the turn was cancelled"
                } else {
                    "the turn ran out of time"
                })?;
            }
            EventBody::SessionClosed(_) => {
                self.screen.note("the session was closed")?;
                return Ok(Flow::Leave);
            }
            _ => {}
        }
        if event.body.is_terminal() && self.turns.remove(&job) && self.turns.is_empty() {
            self.screen.end_line()?;
            self.screen.prompt()?;
        }
        Ok(Flow::On)
    }
}

/// Who said what, of a message that has words.
fn spoken(message: &Value) -> Option<(&str, String)> {
    let role = message["role"].as_str().filter(|role| matches!(*role, "user" | "assistant"))?;
    let parts = message["parts"].as_array()?.iter();
    let text: Vec<&str> = parts.filter_map(|part| part["text"].as_str().filter(|_| part["type"] == "text")).collect();
    let text = text.join("\n");
    (!text.is_empty()).then_some((role, text))
}
