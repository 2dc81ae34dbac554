//! The tools that agents have for each other and for asking people: `spawn_agent`, `wait_agent`, `agent_status`,
//! `agent_result`, `message_agent`, `interrupt_agent`, `list_agents`, `ask_user`.

use super::{
    approval::{self, Answer},
    open_work::OpenWork,
    recorder::Recorder,
    session::own_session,
    subagents::{self, SPAWN, Spawn},
};
use crate::{
    inner::Inner,
    tool::{Tool, ToolAnswer, ToolContext, ToolDefinition},
};
use futures_util::future::BoxFuture;
use moonlog_core::{
    error_info::ErrorInfo,
    event::{Decision, ToolApprovalDecided},
    json::Json,
};
use serde_json::{Value, json};
use std::{
    sync::{Arc, Mutex, Weak},
    time::Duration,
};

/// How long `wait_agent` waits where nobody says, and at most.
const WAIT_S: f64 = 60.0;
const WAIT_MAX_S: f64 = 3_600.0;

/// What asks a person.
pub(super) const ASK_USER: &str = "ask_user";

/// Which of them.
#[derive(Clone, Copy)]
enum Which {
    Spawn,
    Wait,
    Status,
    Result,
    Message,
    Interrupt,
    List,
    AskUser,
}

struct AgentTool {
    which: Which,
    /// The runner holds its tools, so they do not hold it.
    inner: Weak<Inner>,
}

/// Registers them.
pub(crate) fn register(inner: &Arc<Inner>) {
    let all = [
        Which::Spawn,
        Which::Wait,
        Which::Status,
        Which::Result,
        Which::Message,
        Which::Interrupt,
        Which::List,
        Which::AskUser,
    ];
    for which in all {
        inner.tools.register_own(Arc::new(AgentTool { which, inner: Arc::downgrade(inner) }));
    }
}

impl Tool for AgentTool {
    fn definition(&self) -> ToolDefinition {
        let id = json!({ "type": "string", "description": "The agent's id, from spawn_agent." });
        match self.which {
            Which::Spawn => ToolDefinition::new(
                SPAWN,
                "Start an agent that does a part of the work beside you. Gives its id at once. It knows nothing of your \
                 conversation: say all that it needs in the task.",
                json!({
                    "task": { "type": "string", "minLength": 1, "description": "What it is to do, and what to answer." },
                    "label": { "type": "string", "maxLength": 80, "description": "A name for it." },
                    "model": { "type": "string", "description": "The model it uses. Default: the usual one." },
                    "tools": { "type": "array", "items": { "type": "string" }, "description": "The tools it may use. Default: all." },
                    "max_turns": { "type": "integer", "minimum": 1, "description": "How many turns it may take." },
                    "wake": { "type": "boolean", "description": "In a session: whether its end begins a turn where none is under way." },
                }),
                &["task"],
            ),
            Which::Wait => ToolDefinition::new(
                "wait_agent",
                "Wait until an agent has ended, and get its result. Where the time is up first you are told that it still runs.",
                json!({ "id": id, "timeout": { "type": "number", "minimum": 0, "description": "Seconds. Default 60." } }),
                &["id"],
            ),
            Which::Status => ToolDefinition::new("agent_status", "How an agent stands.", json!({ "id": id }), &["id"]),
            Which::Result => ToolDefinition::new(
                "agent_result",
                "What an agent that has ended answered.",
                json!({ "id": id }),
                &["id"],
            ),
            Which::Message => ToolDefinition::new(
                "message_agent",
                "Tell a running agent something. It hears of it before its next turn.",
                json!({ "id": id, "text": { "type": "string", "minLength": 1, "description": "What to tell it." } }),
                &["id", "text"],
            ),
            Which::Interrupt => {
                ToolDefinition::new("interrupt_agent", "Stop an agent where it stands.", json!({ "id": id }), &["id"])
            }
            Which::List => ToolDefinition::new("list_agents", "The agents that you have started.", json!({}), &[]),
            Which::AskUser => ToolDefinition::new(
                ASK_USER,
                "Ask the user something that you cannot find out, and wait for the answer.",
                json!({
                    "question": { "type": "string", "minLength": 1, "description": "The question." },
                    "options": { "type": "array", "items": { "type": "string" }, "description": "Answers to choose from." },
                }),
                &["question"],
            ),
        }
    }

    fn call<'a>(&'a self, context: &'a ToolContext, input: Value) -> BoxFuture<'a, Result<ToolAnswer, ErrorInfo>> {
        Box::pin(async move {
            let inner =
                self.inner.upgrade().ok_or_else(|| ErrorInfo::new("stopping", "the server is stopping").retryable())?;
            // All that these do is told to the log.
            let input = inner.processes.secrets().scrub_value(input);
            let id = input["id"].as_str().unwrap_or_default();
            let answer = match self.which {
                Which::Spawn => {
                    let id = subagents::spawn(&inner, context, spawn_of(&input)).await?;
                    json!({ "id": id, "status": "running" })
                }
                Which::Wait => {
                    let seconds = input["timeout"].as_f64().unwrap_or(WAIT_S).clamp(0.0, WAIT_MAX_S);
                    subagents::wait(&inner, context, id, Duration::from_secs_f64(seconds)).await?
                }
                Which::Status => subagents::status(&inner, context, id, false)?,
                Which::Result => subagents::status(&inner, context, id, true)?,
                Which::Message => {
                    subagents::message(&inner, context, id, input["text"].as_str().unwrap_or_default()).await?
                }
                Which::Interrupt => subagents::interrupt(&inner, context, id).await?,
                Which::List => {
                    let job = context.owner.job.ok_or_else(|| ErrorInfo::new("no_job", "this is no agent's call"))?;
                    let all = subagents::children(&inner, &job)?;
                    json!({ "agents": all.iter().map(|child| subagents::describe(child, false)).collect::<Vec<_>>() })
                }
                Which::AskUser => ask_user(&inner, context, &input).await?,
            };
            Ok(ToolAnswer::of(&answer))
        })
    }
}

fn spawn_of(input: &Value) -> Spawn {
    let known = ["model", "tools", "max_turns"].into_iter().filter(|key| !input[*key].is_null());
    Spawn {
        task: input["task"].as_str().unwrap_or_default().to_owned(),
        label: input["label"].as_str().map(str::to_owned),
        wake: input["wake"].as_bool().unwrap_or(false),
        options: known.map(|key| (key.to_owned(), input[key].clone())).collect::<serde_json::Map<_, _>>().into(),
    }
}

/// A question to a person: answered like an approval, with the answer as its note.
async fn ask_user(inner: &Inner, context: &ToolContext, input: &Value) -> Result<Value, ErrorInfo> {
    let job = context.owner.job.ok_or_else(|| ErrorInfo::new("no_job", "nobody can be asked outside of a job"))?;
    let step = context.owner.step.clone().unwrap_or_else(|| "".into());
    let recorder = Recorder {
        log: inner.log.clone(),
        job,
        session: context.owner.session.unwrap_or_else(|| own_session(&job, 1, &step)),
        step,
        open: Arc::new(Mutex::new(OpenWork::default())),
        secrets: inner.processes.secrets().clone(),
    };
    let asked = question(&Json::from(input.clone()));
    match approval::ask(inner, &recorder, &context.call_id, ASK_USER, &asked, None).await {
        Ok(Answer::Decided(decided, _)) => Ok(answer(&decided)),
        Ok(Answer::Waits(_)) => Err(ErrorInfo::new("interrupted", "nobody has answered")),
        Err(halt) => Err(ErrorInfo::new("interrupted", halt.to_string())),
    }
}

/// What a person is asked.
pub(super) fn question(input: &Json) -> Json {
    let input = input.to_value();
    Json::from(json!({ "title": input["question"], "options": input["options"] }))
}

/// What the model is told that asked.
pub(super) fn answer(decided: &ToolApprovalDecided) -> Value {
    json!({
        "answer": decided.note,
        "approved": decided.decision == Decision::Approved,
        "by": decided.by,
    })
}
