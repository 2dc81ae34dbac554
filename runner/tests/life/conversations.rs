//! Sessions: messages that are answered by jobs, in turn; interrupted, taken back, edited.

use crate::{agents::stage, place::Place};
use moonlog_core::{
    decide::{Busy, CreateSession},
    id::{JobId, SessionId},
    json::Json,
    message::{Message, Role},
    projection::{ChatStatus, ChatView, SessionState},
};
use serde_json::json;
use std::sync::Arc;

pub fn session(place: &Place) -> SessionId {
    let create =
        CreateSession { agent: Json::from(json!({ "model": "main", "tools": [] })), ..CreateSession::default() };
    place.block_on(place.runner.create_session(create, None)).unwrap().id
}

pub fn say(place: &Place, session: &SessionId, text: &str, busy: Busy) -> Result<JobId, String> {
    let parts = Json::from(json!([{ "type": "text", "text": text }]));
    place.block_on(place.runner.say(session, parts, busy)).map_err(|error| error.to_string())
}

pub fn state(place: &Place, session: &SessionId) -> Arc<SessionState> {
    place.runner.session(session).unwrap().unwrap()
}

pub fn chat(place: &Place, session: &SessionId) -> ChatView {
    state(place, session).chat.view()
}

/// What was said, without system prompts.
fn said(place: &Place, session: &SessionId) -> Vec<String> {
    let line = |message: &Arc<Message>| format!("{}: {}", message.role.name(), message.text());
    let chat = chat(place, session);
    chat.messages.iter().filter(|message| message.role != Role::System).map(line).collect()
}

pub fn until_idle(place: &Place, session: &SessionId) {
    place.until("an idle session", || {
        let state = state(place, session);
        (state.chat.busy.is_none() && state.jobs.is_empty()).then_some(())
    });
}

#[test]
fn messages_are_answered_in_turn_and_the_snapshot_is_what_the_log_folds_to() {
    let stage = stage(json!([{ "text": "one", "delay_ms": 30 }, { "text": "two" }, { "text": "three" }]));
    let place = &stage.place;
    let session = session(place);
    let jobs: Vec<JobId> =
        ["a", "b", "c"].map(|text| say(place, &session, text, Busy::Queue).unwrap()).into_iter().collect();
    assert!(say(place, &session, "d", Busy::Reject).is_err());
    for job in &jobs {
        assert!(place.result(job).contains("\"text\":"));
    }
    until_idle(place, &session);
    let expected = ["user: a", "assistant: one", "user: b", "assistant: two", "user: c", "assistant: three"];
    assert_eq!(said(place, &session), expected);
    let view = chat(place, &session);
    assert_eq!((view.chat_status, view.turn, view.queue.len()), (ChatStatus::Idle, 3, 0));
    let folded = place.runner.views().session_at(&session, 0, place.runner.views().applied()).unwrap().unwrap();
    assert_eq!(folded, *state(place, &session));
    place.check();
}

#[test]
fn an_interrupted_turn_keeps_what_was_said() {
    let stage = stage(json!([{ "text": "word ".repeat(4_000), "delay_ms": 5 }, { "text": "next" }]));
    let place = &stage.place;
    let session = session(place);
    let first = say(place, &session, "a", Busy::Queue).unwrap();
    place.until("a part of the answer", || chat(place, &session).under_way.filter(|turn| !turn.text.is_empty()));
    let second = say(place, &session, "b", Busy::Interrupt).unwrap();
    assert_eq!(place.result(&first), "{\"interrupted\":true}");
    assert!(place.result(&second).contains("next"));
    until_idle(place, &session);
    let said = said(place, &session);
    assert!(said[1].starts_with("assistant: word word") && said[1].len() < 20_000, "{}", said[1].len());
    assert_eq!(said[2..], ["user: b", "assistant: next"]);
    assert!(place.block_on(place.runner.interrupt(&session)).is_err());
    place.check();
}

#[test]
fn what_waits_can_be_changed_and_taken_back() {
    let stage = stage(json!([{ "text": "word ".repeat(100), "delay_ms": 10 }, { "text": "two" }]));
    let place = &stage.place;
    let session = session(place);
    let first = say(place, &session, "a", Busy::Queue).unwrap();
    let (changed, dropped) =
        (say(place, &session, "b", Busy::Queue).unwrap(), say(place, &session, "c", Busy::Queue).unwrap());
    let parts = Json::from(json!([{ "type": "text", "text": "b2" }]));
    place.block_on(place.runner.change_queued(&session, &changed.to_string(), parts)).unwrap();
    place.block_on(place.runner.drop_queued(&session, &dropped.to_string())).unwrap();
    place.result(&first);
    place.result(&changed);
    until_idle(place, &session);
    let said = said(place, &session);
    assert_eq!((said.len(), said[2].as_str()), (4, "user: b2"));
    assert!(place.block_on(place.runner.drop_queued(&session, &changed.to_string())).is_err());
    place.check();
}

#[test]
fn an_edited_message_takes_back_what_followed() {
    let stage = stage(json!([{ "text": "one" }, { "text": "two" }, { "text": "three" }]));
    let place = &stage.place;
    let session = session(place);
    for text in ["a", "b"] {
        let job = say(place, &session, text, Busy::Queue).unwrap();
        place.result(&job);
        until_idle(place, &session);
    }
    let first = chat(place, &session).messages.iter().find(|message| message.role == Role::User).unwrap().id.clone();
    let parts = Json::from(json!([{ "type": "text", "text": "z" }]));
    let job = place.block_on(place.runner.edit(&session, &first, parts)).unwrap();
    place.result(&job);
    until_idle(place, &session);
    assert_eq!(said(place, &session), ["user: z", "assistant: three"]);
    place.check();
}

#[test]
fn a_message_that_waits_survives_a_crash() {
    let stage = stage(json!([{ "text": "word ".repeat(300), "delay_ms": 10 }, { "text": "two" }]));
    let session = session(&stage.place);
    let first = say(&stage.place, &session, "a", Busy::Queue).unwrap();
    let second = say(&stage.place, &session, "b", Busy::Queue).unwrap();
    stage.place.until_event(&first, "chat.delta");
    std::fs::write(stage.folder.path().join("turns.json"), json!([{ "text": "short" }, { "text": "two" }]).to_string())
        .unwrap();
    let place = stage.place.kill(0);
    place.result(&first);
    place.result(&second);
    until_idle(&place, &session);
    assert_eq!(said(&place, &session), ["user: a", "assistant: short", "user: b", "assistant: two"]);
    place.check();
}
