//! Which part of a conversation is put into a summary when the model's context fills up. Pure.
//!
//! The first messages stay as they are, and so do the last ones: what the user said since the last answer, and calls with
//! their results. Between the two a summary stands for what was said; the log keeps it all.

use super::tokens;
use moonlog_core::message::{Message, Part, Role};
use std::{ops::Range, sync::Arc};

/// How much of the context the last messages may fill that stay as they are, in percent.
const TAIL_PERCENT: u64 = 25;

/// Fewer messages are not worth a summary.
const MESSAGES_MIN: usize = 3;

/// How much of a message a digest shows.
const SHOWN_CHARS: usize = 160;

/// Tokens of a conversation.
pub(super) fn tokens_of(messages: &[Arc<Message>]) -> u64 {
    messages.iter().map(|message| tokens::of_message(message)).sum()
}

/// The messages to be put into a summary: those behind the first `head` and before the last. `None` where there is not
/// enough.
pub(super) fn plan(messages: &[Arc<Message>], head: usize, context_tokens: u64) -> Option<Range<usize>> {
    let may = context_tokens * TAIL_PERCENT / 100;
    // Whatever their size: the last answer, with what came behind it.
    let mut from = messages.iter().rposition(|message| message.role == Role::Assistant)?;
    let mut fills = tokens_of(&messages[from..]);
    let mut at = from;
    while at > head {
        at -= 1;
        fills += tokens::of_message(&messages[at]);
        if fills > may {
            break;
        }
        // Results stay with their calls.
        if messages[at].role != Role::Tool {
            from = at;
        }
    }
    (from >= head + MESSAGES_MIN).then_some(head..from)
}

/// What a model is asked for.
pub(super) const INSTRUCTIONS: &str = "Summarise the conversation so far for yourself, so that you can go on without it: \
what was asked, what was decided and why, what was done and found (with paths, names and values), what is open. Be \
complete and brief. Answer with the summary alone.";

/// A summary that needs no model: the beginnings of what was said.
pub(super) fn digest(messages: &[Arc<Message>]) -> String {
    let line = |message: &Arc<Message>| {
        let parts = message.parts.iter().filter_map(|part| match part {
            Part::Text { text } => Some(text.clone()),
            Part::ToolCall(call) => Some(format!("called {} {}", call.name, call.input)),
            Part::ToolResult(result) => Some(format!("{} gave {}", result.name, result.output)),
            Part::Reasoning { .. } | Part::Image { .. } => None,
        });
        let text = parts.collect::<Vec<_>>().join("; ").replace('\n', " ");
        let shown: String = text.chars().take(SHOWN_CHARS).collect();
        format!("- {}: {shown}", message.role.name())
    };
    messages.iter().filter(|message| message.role != Role::System).map(line).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(role: Role, tokens: usize) -> Arc<Message> {
        let parts = vec![Part::text("x".repeat(tokens * 4))];
        Arc::new(Message { id: String::new(), role, parts, turn: 0 })
    }

    #[test]
    fn the_first_and_the_last_stay_and_results_stay_with_their_calls() {
        let (user, said, tool) = (Role::User, Role::Assistant, Role::Tool);
        let of = |roles: &[Role]| roles.iter().map(|role| message(*role, 100)).collect::<Vec<_>>();
        let long = of(&[user, said, tool, said, tool, said, tool, user]);
        for (context, expected) in [(100, Some(1..5)), (1_700, Some(1..5)), (2_500, None), (4_000, None)] {
            assert_eq!(plan(&long, 1, context), expected, "{context}");
        }
        assert_eq!(plan(&of(&[user, said, user]), 1, 10), None);
        assert_eq!(plan(&of(&[user, user]), 2, 10), None);
    }

    #[test]
    fn a_digest_shows_beginnings() {
        assert_eq!(digest(&[message(Role::User, 1), message(Role::System, 1)]), "- user: xxxx");
    }
}
