//! What goes on around an agent, looked at before each turn: what runs in the background, what has ended there since,
//! and what others have to say.

use super::{
    perform::AgentContext,
    subagents::{self, MAIL},
    system::Running,
};
use crate::process::ProcessScope;
use moonlog_core::{
    id::SessionId,
    message::{Message, Part, Role},
    projection::Conversation,
};
use std::collections::BTreeSet;

/// How much of a command line is shown.
const SHOWN_CHARS: usize = 120;

/// What was found.
#[derive(Default)]
pub(super) struct Around {
    /// What runs.
    pub(super) running: Vec<Running>,
    /// What there is to be told, as messages. Each is told once: it is in the conversation from then on.
    pub(super) notices: Vec<Message>,
}

/// Looks around.
pub(super) fn look(context: &AgentContext, session: &SessionId, conversation: &Conversation) -> Around {
    let mut around = Around::default();
    let told: BTreeSet<&str> = conversation.messages().iter().map(|message| message.id.as_str()).collect();
    let called = |name: &str| {
        conversation.messages().iter().any(|message| message.tool_calls().any(|call| call.name == name))
    };
    let turn = conversation.turns() + 1;
    let mut notice = |id: String, text: String| {
        if !told.contains(id.as_str()) {
            around.notices.push(Message { id, role: Role::User, parts: vec![Part::text(text)], turn });
        }
    };
    if called("execute") {
        let scope = ProcessScope { job: Some(context.job), session: None };
        for process in context.inner.process_table.list(&scope) {
            if !process.background || process.step.as_deref() != Some(&*context.step) {
                continue;
            }
            let line = format!("{} {}", process.started.command, process.started.args.join(" "));
            let what: String = line.chars().take(SHOWN_CHARS).collect();
            match &process.exited {
                None => around.running.push(Running { kind: "process", id: process.id.to_string(), what }),
                Some(exited) => {
                    let code = exited.exit_code.map(|code| format!(" with exit code {code}")).unwrap_or_default();
                    notice(format!("notice-{}", process.id), format!("Background process {} has ended{code}: {what}", process.id));
                }
            }
        }
    }
    if called("spawn_agent") {
        for child in subagents::children(&context.inner, &context.job).unwrap_or_default() {
            let what = child.submitted.labels.get("agent").cloned().unwrap_or_default();
            if child.ended_at.is_none() {
                around.running.push(Running { kind: "agent", id: child.id.to_string(), what });
            } else {
                let text = format!("Agent {} ({what}) has ended: {}. Its result: agent_result.", child.id, child.status);
                notice(format!("notice-{}", child.id), text);
            }
        }
    }
    if let Ok(Some(state)) = context.inner.views.session(session) {
        for queued in state.chat.queue.iter().filter(|queued| queued.message.starts_with(MAIL)) {
            let parts = queued.parts.to::<Vec<Part>>().unwrap_or_default();
            if !told.contains(queued.message.as_str()) {
                around.notices.push(Message { id: queued.message.clone(), role: Role::User, parts, turn });
            }
        }
    }
    around
}
