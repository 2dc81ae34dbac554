//! A model that reads its turns from a file, for demonstrations and tests. It says that it is one: its events name the
//! backend `scripted`.
//!
//! Which turn it plays follows from how many its conversation has taken already, so the same turn comes again after a
//! crash. Errors before a turn are played to the first attempts at it.
//!
//! Where many agents ask, a turn with `when` is played in those conversations alone whose first question has that text in
//! it. These have only their own turns; all others have those without `when`.

use super::backend::{Backend, ChatRequest, ModelError, Piece, Pieces};
use futures_util::{FutureExt, StreamExt, future::BoxFuture, stream};
use moonlog_core::{event::ChatUsage, json::Json, message::Role};
use serde::Deserialize;
use std::{path::PathBuf, sync::Arc, time::Duration};

/// A turn of the file.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Turn {
    #[serde(default)]
    when: Option<String>,
    #[serde(default)]
    text: Option<String>,
    #[serde(default)]
    reasoning: Option<String>,
    #[serde(default)]
    tool_calls: Vec<Call>,
    #[serde(default)]
    error: Option<Failure>,
    #[serde(default)]
    usage: Option<ChatUsage>,
    #[serde(default)]
    finish_reason: Option<String>,
    /// How long each piece takes.
    #[serde(default)]
    delay_ms: u64,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Call {
    name: String,
    #[serde(default)]
    input: Json,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Failure {
    status: u16,
    #[serde(default)]
    message: String,
    #[serde(default)]
    retry_after_ms: Option<u64>,
}

/// The model. The file is read for each request, so it may be edited while the server runs.
pub(super) struct Scripted {
    file: PathBuf,
}

impl Scripted {
    pub(super) const fn new(file: PathBuf) -> Self {
        Self { file }
    }
}

impl Backend for Scripted {
    fn name(&self) -> &'static str {
        "scripted"
    }

    fn chat(&self, request: Arc<ChatRequest>) -> BoxFuture<'static, Result<Pieces, ModelError>> {
        let file = self.file.clone();
        async move {
            let text = std::fs::read_to_string(&file).map_err(|error| {
                ModelError::new("model_file", format!("the scripted model cannot read {}: {error}", file.display()))
            })?;
            let turns: Vec<Turn> = serde_json::from_str(&text).map_err(|error| {
                ModelError::new("model_file", format!("the scripted model cannot use {}: {error}", file.display()))
            })?;
            let question = first_question(&request);
            let turns = turns_for(&turns, &question);
            let Some(turn) = pick(&turns, request.turn, request.attempt) else {
                let (taken, there) = (request.turn, turns.iter().filter(|turn| turn.error.is_none()).count());
                let begins: String = question.chars().take(QUESTION_SHOWN_CHARS).collect();
                let why = format!(
                    "the scripted model has {there} turns in {} for what begins with `{begins}`, and was asked for turn {taken}",
                    file.display()
                );
                return Err(ModelError::new("model_file", why));
            };
            if let Some(failure) = &turn.error {
                let retry_after = failure.retry_after_ms.map(Duration::from_millis);
                return Err(ModelError::of_status(failure.status, &failure.message, retry_after));
            }
            let (pieces, delay) = (pieces_of(turn, &request), Duration::from_millis(turn.delay_ms));
            let pieces = stream::iter(pieces).then(move |piece| async move {
                if !delay.is_zero() {
                    tokio::time::sleep(delay).await;
                }
                Ok(piece)
            });
            Ok(pieces.boxed())
        }
        .boxed()
    }
}

/// How many turns the text of a file has.
pub(super) fn count(text: &str) -> Result<usize, String> {
    let turns: Vec<Turn> = serde_json::from_str(text).map_err(|error| error.to_string())?;
    Ok(turns.iter().filter(|turn| turn.error.is_none()).count())
}

/// How much of a question is shown that no turn is for.
const QUESTION_SHOWN_CHARS: usize = 80;

/// What the conversation began with.
fn first_question(request: &ChatRequest) -> String {
    let first = request.messages.iter().find(|message| message.role == Role::User);
    first.map(|message| message.text()).unwrap_or_default()
}

/// The turns for a conversation that began so.
fn turns_for<'a>(turns: &'a [Turn], question: &str) -> Vec<&'a Turn> {
    let own = |turn: &&Turn| turn.when.as_ref().is_some_and(|when| question.contains(when.as_str()));
    if turns.iter().any(|turn| own(&turn)) {
        return turns.iter().filter(own).collect();
    }
    turns.iter().filter(|turn| turn.when.is_none()).collect()
}

/// The `turn`th answer, or the error that stands before it for this attempt.
fn pick<'a>(turns: &[&'a Turn], turn: u32, attempt: u32) -> Option<&'a Turn> {
    let mut answers = 0;
    let mut errors: Vec<&'a Turn> = Vec::new();
    for &entry in turns {
        if entry.error.is_some() {
            errors.push(entry);
            continue;
        }
        answers += 1;
        if answers == turn {
            return errors.get(attempt as usize - 1).copied().or(Some(entry));
        }
        errors.clear();
    }
    let is_next = answers + 1 == turn;
    errors.get(attempt as usize - 1).or(errors.last()).copied().filter(|_| is_next)
}

fn pieces_of(turn: &Turn, request: &ChatRequest) -> Vec<Piece> {
    let mut pieces = Vec::new();
    for (text, of) in [(&turn.reasoning, Piece::Reasoning as fn(String) -> Piece), (&turn.text, Piece::Text)] {
        pieces.extend(text.iter().flat_map(|text| words(text)).map(|word| of(word.to_owned())));
    }
    for (index, call) in turn.tool_calls.iter().enumerate() {
        let id = format!("call_{}_{}", request.turn, index + 1);
        let (name, arguments) = (Some(call.name.clone()), call.input.to_string());
        pieces.push(Piece::ToolCall { index, id: Some(id), name, arguments, signatures: Vec::new() });
    }
    let usage = turn.usage.clone().unwrap_or_else(|| {
        let said = |message: &moonlog_core::message::Message| crate::agent::tokens::of_message(message);
        let answer: usize = pieces
            .iter()
            .map(|piece| match piece {
                Piece::Text(text) | Piece::Reasoning(text) | Piece::ToolCall { arguments: text, .. } => text.len(),
                _ => 0,
            })
            .sum();
        ChatUsage {
            prompt_tokens: request.messages.iter().map(said).sum::<u64>()
                + crate::agent::tokens::of_bytes(request.system.len()),
            completion_tokens: crate::agent::tokens::of_bytes(answer),
            ..ChatUsage::default()
        }
    });
    pieces.push(Piece::Usage(usage));
    let by_itself = if turn.tool_calls.is_empty() { "stop" } else { "tool_calls" };
    pieces.push(Piece::Finish(turn.finish_reason.clone().unwrap_or_else(|| by_itself.into())));
    pieces
}

/// A text in pieces, each a word with the space behind it.
fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split_inclusive(' ')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn turns(text: &str) -> Vec<Turn> {
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn errors_are_played_to_the_first_attempts_at_the_turn_behind_them() {
        let turns = turns(
            r#"[{"text":"a"},{"error":{"status":429}},{"error":{"status":500}},{"text":"b"},{"error":{"status":400}}]"#,
        );
        let turns = turns_for(&turns, "");
        let shown = |turn, attempt| match pick(&turns, turn, attempt) {
            Some(Turn { error: Some(failure), .. }) => failure.status.to_string(),
            Some(turn) => turn.text.clone().unwrap_or_default(),
            None => "none".into(),
        };
        let table =
            [(1, 1, "a"), (2, 1, "429"), (2, 2, "500"), (2, 3, "b"), (3, 1, "400"), (3, 9, "400"), (4, 1, "none")];
        for (turn, attempt, expected) in table {
            assert_eq!(shown(turn, attempt), expected, "turn {turn}, attempt {attempt}");
        }
    }

    #[test]
    fn turns_of_some_questions_are_played_to_these_alone() {
        let turns = turns(
            r#"[{"when":"plan","text":"p1"},{"text":"a1"},{"when":"check","text":"c1"},{"when":"plan","text":"p2"},{"text":"a2"}]"#,
        );
        let shown = |question: &str, turn| {
            let turn = pick(&turns_for(&turns, question), turn, 1);
            turn.and_then(|turn| turn.text.clone()).unwrap_or_else(|| "none".into())
        };
        let table = [
            ("make a plan", 1, "p1"),
            ("make a plan", 2, "p2"),
            ("make a plan", 3, "none"),
            ("check it", 1, "c1"),
            ("anything", 1, "a1"),
            ("anything", 2, "a2"),
        ];
        for (question, turn, expected) in table {
            assert_eq!(shown(question, turn), expected, "{question} {turn}");
        }
    }
}
