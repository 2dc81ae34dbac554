//! Processes of sessions: where they run, and how long.

use crate::place::Place;
use moonlog_core::{
    event::{EventBody, ProcessOutcome, SessionClosed, SessionCreated, StreamId, WorkspaceCreated, WorkspaceRequested},
    id::{ProcessId, SessionId},
    json::Json,
    log::{Append, Expected},
};
use moonlog_runner::process::{Owner, ProcessScope, ProcessSpec};
use std::time::Duration;

fn spec(session: SessionId, script: &str) -> ProcessSpec {
    let id = ProcessId::from(uuid::Uuid::now_v7());
    ProcessSpec { args: vec!["-c".into(), script.into()], ..ProcessSpec::new(id, "sh", Owner::own(id, Some(session))) }
}

fn append(place: &Place, session: SessionId, bodies: Vec<EventBody>) {
    let events = bodies.into_iter().map(Into::into).collect();
    let appended = place.runner.log().append(Append::new(StreamId::Session(session), Expected::Any, events)).unwrap();
    place.until("the fold", || (place.runner.views().applied() >= appended.last_position).then_some(()));
}

#[test]
fn a_sessions_process_runs_in_its_workspace_and_not_when_it_is_closed() {
    let place = Place::start();
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("sub")).unwrap();
    let path = folder.path().canonicalize().unwrap().display().to_string();
    let session = SessionId::from(uuid::Uuid::now_v7());
    let created = SessionCreated { workspace: Json::null(), agent: Json::null() };
    let requested = WorkspaceRequested {
        kind: "directory".into(),
        path: path.clone(),
        repository: None,
        base: None,
        base_commit: None,
        branch: None,
        recreated: false,
        set_aside: None,
    };
    let made = WorkspaceCreated { path: path.clone(), kind: "directory".into(), base_commit: None };
    let bodies = [EventBody::SessionCreated(created), EventBody::WorkspaceRequested(requested)];
    append(&place, session, bodies.into_iter().chain([EventBody::WorkspaceCreated(made)]).collect());

    let table = place.runner.process_table().clone();
    let scope = ProcessScope::session(session);
    for (workdir, wanted) in [(None, path.clone()), (Some("sub"), format!("{path}/sub")), (Some("/"), "/".into())] {
        let spec = ProcessSpec { workdir: workdir.map(Into::into), ..spec(session, "pwd") };
        let id = place.block_on(table.start(spec)).unwrap().id;
        place.block_on(table.wait(&id, &scope, Duration::from_secs(60))).unwrap().unwrap();
        assert_eq!(place.block_on(table.snapshot(&id, &scope)).unwrap().output, format!("{wanted}\n"));
    }

    let running = place.block_on(table.start(spec(session, "trap '' TERM; sleep 1000"))).unwrap().id;
    let others = place.block_on(table.start(spec(place.session(None), "sleep 1000"))).unwrap().id;
    append(&place, session, vec![EventBody::SessionClosed(SessionClosed {})]);
    assert_eq!(place.block_on(table.start(spec(session, "true"))).unwrap_err().code, "session_closed");
    place.block_on(place.runner.processes().end_session(&session));
    let exited = place.block_on(table.wait(&running, &scope, Duration::from_secs(60))).unwrap().unwrap();
    assert_eq!((exited.outcome, exited.signal.as_deref()), (ProcessOutcome::Killed, Some("SIGKILL")));
    assert!(place.block_on(table.state(&others, &ProcessScope::ALL)).unwrap().is_running());
}
