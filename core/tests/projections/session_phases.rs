//! Where a session may stand, and what may follow: the whole table, and every command on every phase.

use crate::given::*;
use moonlog_core::{decide::*, event::*, projection::*};

fn turn(body: fn(SessionTurn) -> EventBody) -> EventBody {
    body(SessionTurn { job: job_id(1), turn: 1 })
}

/// A session that stands there.
fn given(phase: SessionPhase) -> SessionState {
    let changed = |to: &str| EventBody::SessionStatusChanged(SessionStatusChanged { to: to.into() });
    let bodies = match phase {
        SessionPhase::Idle => vec![changed("archived"), changed("open")],
        SessionPhase::Running => vec![turn(EventBody::SessionTurnStarted)],
        SessionPhase::Waiting => vec![turn(EventBody::SessionTurnStarted), approval_requested("c")],
        SessionPhase::Archived => vec![changed("archived")],
        SessionPhase::Closed => vec![EventBody::SessionClosed(SessionClosed {})],
    };
    let events = std::iter::once(session_created()).chain(bodies);
    let in_session = |body: EventBody| NewEvent::from(body).session(Some(session_id(1)));
    let state = SessionState::fold(sequence([(StreamId::Session(session_id(1)), events.map(in_session).collect())]));
    let state = state.unwrap();
    assert_eq!(state.phase(), phase);
    state
}

#[test]
fn what_may_follow_what() {
    let shown: Vec<String> = SessionPhase::ALL
        .iter()
        .map(|from| {
            let next = SessionPhase::ALL.iter().filter(|next| from.may_become(**next)).map(ToString::to_string);
            format!("{from}: {}", next.collect::<Vec<_>>().join(" "))
        })
        .collect();
    let expected = [
        "idle: running archived closed",
        "running: idle waiting",
        "waiting: idle running",
        "archived: idle closed",
        "closed: ",
    ];
    assert_eq!(shown, expected);
}

#[test]
fn every_command_in_every_phase() {
    fn status(to: SessionStatus) -> impl Fn(&SessionState) -> Result<Vec<EventBody>, Refusal> {
        move |state| decide_change_session(state, ChangeSession { status: Some(to), ..ChangeSession::default() })
    }
    let say = |busy| move |state: &SessionState| decide_message(state, "m".into(), "[]".parse_json(), busy, 1_000);
    type Command = Box<dyn Fn(&SessionState) -> Result<Vec<EventBody>, Refusal>>;
    let commands: [(&str, Command); 6] = [
        ("close", Box::new(decide_close_session)),
        ("to closed", Box::new(status(SessionStatus::Closed))),
        ("to archived", Box::new(status(SessionStatus::Archived))),
        ("to open", Box::new(status(SessionStatus::Open))),
        ("say", Box::new(say(Busy::Queue))),
        ("say if idle", Box::new(say(Busy::Reject))),
    ];
    let mut table = String::new();
    for (name, command) in &commands {
        let outcome = |phase: &SessionPhase| match command(&given(*phase)) {
            Ok(events) if events.is_empty() => "-".to_owned(),
            Ok(events) => events[0].name().to_owned(),
            Err(refusal) => refusal.code().to_uppercase(),
        };
        let row: Vec<String> = SessionPhase::ALL.iter().map(outcome).collect();
        table.push_str(&format!("{name}: {}\n", row.join(", ")));
    }
    let expected = "\
close: session.closed, SESSION_BUSY, SESSION_BUSY, session.closed, SESSION_CLOSED
to closed: session.closed, SESSION_BUSY, SESSION_BUSY, session.closed, SESSION_CLOSED
to archived: session.status_changed, SESSION_BUSY, SESSION_BUSY, -, SESSION_CLOSED
to open: -, -, -, session.status_changed, SESSION_CLOSED
say: chat.message_queued, chat.message_queued, chat.message_queued, SESSION_ARCHIVED, SESSION_CLOSED
say if idle: chat.message_queued, SESSION_BUSY, SESSION_BUSY, SESSION_ARCHIVED, SESSION_CLOSED
";
    assert_eq!(table, expected);
}

trait ParseJson {
    fn parse_json(&self) -> moonlog_core::json::Json;
}

impl ParseJson for str {
    fn parse_json(&self) -> moonlog_core::json::Json {
        moonlog_core::json::Json::parse(self).unwrap()
    }
}

#[test]
fn options_are_changed_one_by_one() {
    let idle = given(SessionPhase::Idle);
    let change = ChangeSession { wake: Some(true), budget_tokens: Some(Some(9)), ..ChangeSession::default() };
    let events = decide_change_session(&idle, change.clone()).unwrap();
    let expected = SessionConfigured { wake: true, budget_tokens: Some(9) };
    assert_eq!(events, [EventBody::SessionConfigured(expected)]);
    let mut changed = idle.clone();
    changed.options = expected;
    assert_eq!(decide_change_session(&changed, change).unwrap(), []);
    let unlimited = ChangeSession { budget_tokens: Some(None), ..ChangeSession::default() };
    let expected = SessionConfigured { wake: true, budget_tokens: None };
    assert_eq!(decide_change_session(&changed, unlimited).unwrap(), [EventBody::SessionConfigured(expected)]);
}

#[test]
fn a_woken_session_counts_until_somebody_speaks() {
    let woken = EventBody::SessionWoken(SessionWoken { job: job_id(2), of: vec!["p".into()] });
    let wanted = EventBody::SessionWakeRequested(SessionWakeRequested { of: "p".into() });
    let added = |id: &str, parts: &str| {
        EventBody::ChatMessageAdded(ChatMessageAdded {
            message: id.into(),
            role: "user".into(),
            parts: parts.parse_json(),
            turn: 1,
        })
    };
    let queued =
        EventBody::ChatMessageQueued(ChatMessageQueued { message: job_id(3).to_string(), parts: "[]".parse_json() });
    let fold = |bodies: &[EventBody]| {
        let events = std::iter::once(session_created()).chain(bodies.iter().cloned()).map(NewEvent::from).collect();
        SessionState::fold(sequence([(StreamId::Session(session_id(1)), events)])).unwrap().chat
    };
    let notice = added("notice-p", r#"[{"type":"text","text":"p has ended"}]"#);
    let state = fold(&[wanted.clone(), woken.clone(), woken.clone()]);
    assert_eq!((state.woken, state.wakes.len()), (2, 1));
    let state = fold(&[wanted, woken, notice, queued]);
    assert_eq!((state.woken, state.wakes.len(), state.conversation.was_told("notice-p")), (0, 0, true));
}
