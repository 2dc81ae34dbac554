//! Agents in a simulation: the turns that their model plays, what scripts ask of them, and clients of sessions.

use crate::{client::Client, world::World};
use moonlog_core::{
    decide::{Busy, CreateSession},
    event::SessionConfigured,
    id::SessionId,
    json::Json,
    message::Role,
    projection::{JobStatus, SessionStatus},
};
use moonlog_runner::{
    Runner, RunnerOptions,
    agent::model::{ModelOptions, ModelsOptions, Provider},
    tool::Rule,
};
use serde_json::{Value, json};
use std::{collections::BTreeMap, path::Path, sync::Arc};

/// How many sessions there are in a run, and how many messages.
const SESSIONS: usize = 2;
const MESSAGES: usize = 6;

/// The file of the model's turns.
pub const TURNS: &str = "turns.json";

/// What a script may do besides, with an agent, a tool or a host.
pub const STATEMENTS: [&str; 16] = [
    "agent('plain')",
    "agent('plain', {session = 'own'})",
    "agent('slow', {timeout = '9ms'})",
    "agent('fails')",
    "agent('refused')",
    "agent('files', {tools = {'write_file', 'read_file', 'edit_files'}})",
    "agent('runs', {tools = {'execute', 'process_list'}})",
    "agent('asks', {tools = {'ask_user', 'execute'}})",
    "agent('helped', {tools = {'spawn_agent', 'wait_agent'}})",
    "agent('leaves', {tools = {'spawn_agent', 'execute'}, timeout = '40ms'})",
    "parallel({ function() agent('plain') end, function() agent('runs', {tools = {'execute'}}) end })",
    "pcall(tool, 'execute', {command = 'true'})",
    "pcall(tool, 'write_file', {path = 'a.txt', content = 'from a script'})",
    "pcall(tool, 'read_file', {path = 'a.txt'})",
    "pcall(http.get, 'http://host.test/')",
    "pcall(http.request, {url = 'http://host.test/', method = 'POST', body = 'x', timeout = '30ms', retry = {max = 3, backoff = '2ms'}})",
];

/// The model's turns: those of the scripts' questions, and those of sessions, which have as many as they are asked for.
pub fn turns() -> Value {
    let call = |name: &str, input: Value| json!({ "name": name, "input": input });
    let run = |command: &str| call("execute", json!({ "command": command }));
    let away = |seconds: &str| {
        call("execute", json!({ "command": format!("sleep {seconds}"), "run_in_background": true, "wake": true }))
    };
    let spawn = |prompt: &str| call("spawn_agent", json!({ "prompt": prompt, "description": "helper" }));
    let mut all = vec![
        json!({ "when": "plain", "text": "All is well." }),
        json!({ "when": "slow", "text": "one word and another one", "delay_ms": 4 }),
        json!({ "when": "fails", "error": { "status": 429 } }),
        json!({ "when": "fails", "error": { "status": 503, "retry_after_ms": 5 } }),
        json!({ "when": "fails", "text": "at last" }),
        json!({ "when": "refused", "error": { "status": 400 } }),
        json!({ "when": "files", "tool_calls": [
            call("write_file", json!({ "path": "b.txt", "content": "one\n" })),
            call("read_file", json!({ "path": "a.txt" })),
        ] }),
        json!({ "when": "files", "delay_ms": 1, "tool_calls": [
            call("edit_files", json!({ "edits": [{ "path": "b.txt", "old_text": "one", "new_text": "two" }] })),
        ] }),
        json!({ "when": "files", "text": "written" }),
        json!({ "when": "runs", "tool_calls": [run("true"), run("rm x"), call("process_list", json!({}))] }),
        json!({ "when": "runs", "text": "it ran", "delay_ms": 2 }),
        json!({ "when": "asks", "tool_calls": [call("ask_user", json!({ "question": "Which?" })), run("true")] }),
        json!({ "when": "asks", "text": "I see" }),
        json!({ "when": "helped", "tool_calls": [spawn("plain"), spawn("runs")] }),
        json!({ "when": "helped", "tool_calls": [call("wait_agent", json!({ "timeout": 0.05 }))] }),
        json!({ "when": "helped", "text": "with help" }),
        json!({ "when": "leaves", "tool_calls": [spawn("slow"), away("0.02")] }),
        json!({ "when": "leaves", "text": "I leave it to them" }),
    ];
    for _ in 0..4 * MESSAGES {
        all.extend([
            json!({ "text": "well" }),
            json!({ "tool_calls": [run("true"), call("ask_user", json!({ "question": "So?" }))] }),
            json!({ "text": "slow in words", "delay_ms": 3 }),
            json!({ "tool_calls": [away("0.01"), spawn("plain")], "delay_ms": 1 }),
            json!({ "text": "they go on" }),
            json!({ "tool_calls": [run("rm y"), call("write_file", json!({ "path": "c.txt", "content": "c" }))] }),
        ]);
    }
    all.into()
}

/// The options of a runner whose agents play these turns, and work in a folder.
pub fn configure(options: &mut RunnerOptions, turns: &Path, work: &Path) {
    let main = ModelOptions { file: Some(turns.to_owned()), ..ModelOptions::new(Provider::Scripted, "") };
    options.agents.models = ModelsOptions { models: BTreeMap::from([("main".into(), main)]), ..Default::default() };
    options.tools.roots = vec![work.to_owned()];
    options.tools.policy.ask = vec![Rule::parse("execute:rm *").unwrap()];
}

impl Client {
    /// Something happens to a session.
    pub async fn converse(&self) {
        let kind = self.world.below(10);
        let Some(session) = self.session() else { return self.create().await };
        match kind {
            0 => self.create().await,
            1..=5 => self.say(&session).await,
            6 => self.edit(&session).await,
            7 => self.take_back(&session).await,
            8 => drop(self.runner.interrupt(&session).await),
            _ => self.close(session).await,
        }
    }

    async fn close(&self, session: SessionId) {
        if self.world.one_in(4) && self.runner.close_session(&session).await.is_ok() {
            self.world.memory().closed.insert(session);
        }
    }

    fn session(&self) -> Option<SessionId> {
        let sessions = self.world.memory().sessions.clone();
        (!sessions.is_empty()).then(|| sessions[self.world.below(sessions.len() as u64) as usize])
    }

    async fn create(&self) {
        if self.world.memory().sessions.len() >= SESSIONS {
            return;
        }
        let tools = json!(["execute", "ask_user", "write_file", "spawn_agent", "wait_agent"]);
        let agent = Json::from(json!({ "model": "main", "tools": tools }));
        let options = SessionConfigured { wake: self.world.one_in(2), ..SessionConfigured::default() };
        let create = CreateSession { agent, options, ..CreateSession::default() };
        if let Ok(state) = self.runner.create_session(create, None).await {
            self.world.memory().sessions.push(state.id);
        }
    }

    async fn say(&self, session: &SessionId) {
        if self.world.memory().said.len() >= MESSAGES {
            return;
        }
        let busy = self.world.chance().of(&[Busy::Queue, Busy::Queue, Busy::Interrupt, Busy::Reject]);
        if let Ok(job) = self.runner.say(session, words("a word"), busy).await {
            self.world.memory().said.insert(job, *session);
        }
    }

    /// Says the last thing again, in other words.
    async fn edit(&self, session: &SessionId) {
        if self.world.memory().said.len() >= MESSAGES {
            return;
        }
        let Ok(Some(state)) = self.runner.session(session) else { return };
        let messages = state.chat.conversation.messages();
        let Some(last) = messages.iter().rev().find(|message| message.role == Role::User) else { return };
        let id = last.id.clone();
        if let Ok(job) = self.runner.edit(session, &id, words("another word")).await {
            self.world.memory().said.insert(job, *session);
        }
    }

    async fn take_back(&self, session: &SessionId) {
        let Ok(Some(state)) = self.runner.session(session) else { return };
        let Some(queued) = state.chat.queue.iter().next_back().map(|queued| queued.message.clone()) else { return };
        if self.world.one_in(2) {
            let _ = self.runner.change_queued(session, &queued, words("in the end")).await;
        } else {
            let _ = self.runner.drop_queued(session, &queued).await;
        }
    }
}

fn words(text: &str) -> Json {
    Json::from(json!([{ "type": "text", "text": text }]))
}

/// Closes all sessions, which ends what they have left running. False where one is busy, or a job has come meanwhile.
pub async fn close_all(world: &Arc<World>, runner: &Runner) -> bool {
    let is_live = || runner.views().with(|all| all.live_jobs().next().is_some());
    let sessions = world.memory().sessions.clone();
    for session in sessions {
        if world.memory().closed.contains(&session) {
            continue;
        }
        let state = match runner.session(&session) {
            Ok(Some(state)) => state,
            other => {
                world.fail(format!("session {session} was acknowledged, and there is {other:?}"));
                return true;
            }
        };
        // Its closing need not have been acknowledged.
        if state.status == SessionStatus::Closed {
            continue;
        }
        // What a job that failed did not take waits for that job to be tried again.
        let is_waiting = |message: &str| {
            let job = message.parse().ok().and_then(|job| runner.job(&job).ok().flatten());
            job.is_none_or(|job| job.status != JobStatus::Failed)
        };
        let waits = state.chat.queue.iter().any(|queued| is_waiting(&queued.message));
        if state.chat.busy.is_some() || waits || !state.jobs.is_empty() {
            return false;
        }
        let closed = runner.close_session(&session).await;
        if closed.is_ok() {
            world.memory().closed.insert(session);
        }
        if is_live() {
            return false;
        }
        if let Err(error) = closed {
            world.fail(format!("all jobs have ended, and session {session} cannot be closed: {error}"));
        }
    }
    // One whose creation nobody has heard of stays.
    let open = runner.views().with(|all| {
        let own = all.sessions().open().filter(|session| session.agent.as_str().starts_with("{\"job\":"));
        own.map(|session| session.id).collect::<Vec<_>>()
    });
    if !open.is_empty() {
        world.fail(format!("all jobs have ended, and the sessions {open:?} of their agents are open"));
    }
    true
}
