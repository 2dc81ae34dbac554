//! What goes on around an agent, looked at before each turn: what runs in the background, what has ended there since,
//! and what others have to say.

use super::{
    perform::AgentContext,
    subagents::{self, EXECUTE, SPAWN},
    system::Running,
};
use crate::{inner::Inner, process::ProcessScope};
use moonlog_core::{
    id::{JobId, SessionId},
    message::{Message, Part, Role},
    projection::{Conversation, MAIL, NOTICE, SessionState},
};

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

/// Something that an agent has left running, or that has ended.
struct Beside {
    running: Running,
    /// What there is to say about its end.
    ended: Option<String>,
}

/// Looks around. `shared` says that others speak in the session too: what earlier turns have left is its own.
pub(super) fn look(context: &AgentContext, session: &SessionId, conversation: &Conversation, shared: bool) -> Around {
    let whose = if shared { Whose::Session(*session) } else { Whose::Step(context.job, &context.step) };
    let mut around = Around::default();
    let turn = conversation.turns() + 1;
    for Beside { running, ended } in beside(&context.inner, &whose, conversation) {
        match ended {
            None => around.running.push(running),
            Some(text) => {
                let id = format!("{NOTICE}{}", running.id);
                if !conversation.was_told(&id) {
                    around.notices.push(Message { id, role: Role::User, parts: vec![Part::text(text)], turn });
                }
            }
        }
    }
    if let Ok(Some(state)) = context.inner.views.session(session) {
        for queued in state.chat.queue.iter().filter(|queued| queued.message.starts_with(MAIL)) {
            let parts = queued.parts.to::<Vec<Part>>().unwrap_or_default();
            if !conversation.was_told(&queued.message) {
                around.notices.push(Message { id: queued.message.clone(), role: Role::User, parts, turn });
            }
        }
    }
    around
}

/// What has ended that an idle session wants to be woken for, and was not told of.
pub(crate) fn unheard(inner: &Inner, state: &SessionState) -> Vec<String> {
    let conversation = &state.chat.conversation;
    let all = beside(inner, &Whose::Session(state.id), conversation);
    let wanted = |id: &str| state.options.wake || state.chat.wakes.contains(id);
    let ended = all.into_iter().filter(|beside| beside.ended.is_some()).map(|beside| beside.running.id);
    ended.filter(|id| wanted(id) && !conversation.was_told(&format!("{NOTICE}{id}"))).collect()
}

/// Whose processes and agents are looked for.
enum Whose<'a> {
    Session(SessionId),
    Step(JobId, &'a str),
}

fn beside(inner: &Inner, whose: &Whose<'_>, conversation: &Conversation) -> Vec<Beside> {
    let mut found = Vec::new();
    if conversation.has_called(EXECUTE) {
        let scope = match whose {
            Whose::Session(session) => ProcessScope::session(*session),
            Whose::Step(job, _) => ProcessScope { job: Some(*job), session: None },
        };
        for process in inner.process_table.list(&scope) {
            let is_theirs = match whose {
                // What a client has started there is no agent's.
                Whose::Session(_) => process.job.is_some(),
                Whose::Step(_, step) => process.step.as_deref() == Some(*step),
            };
            if !process.background || !is_theirs {
                continue;
            }
            let line = format!("{} {}", process.started.command, process.started.args.join(" "));
            let what: String = line.chars().take(SHOWN_CHARS).collect();
            let ended = process.exited.as_ref().map(|exited| {
                let code = exited.exit_code.map(|code| format!(" with exit code {code}")).unwrap_or_default();
                format!("Background process {} has ended{code}: {what}", process.id)
            });
            found.push(Beside { running: Running { kind: "process", id: process.id.to_string(), what }, ended });
        }
    }
    if conversation.has_called(SPAWN) {
        let children = match whose {
            Whose::Session(session) => subagents::of_session(inner, session),
            Whose::Step(job, _) => subagents::children(inner, job),
        };
        for child in children.unwrap_or_default() {
            let what = child.submitted.labels.get("agent").cloned().unwrap_or_default();
            let ended = child
                .ended_at
                .map(|_| format!("Agent {} ({what}) has ended: {}. Its result: agent_result.", child.id, child.status));
            found.push(Beside { running: Running { kind: "agent", id: child.id.to_string(), what }, ended });
        }
    }
    found
}
