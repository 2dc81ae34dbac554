//! Deleted jobs: what goes with them, and deletions that a crash cuts off.

use crate::{agents::stage, place::Place};
use moonlog_core::{
    decide::{Busy, CreateSession},
    event::{EventBody, JobDeleted, NewEvent, StreamId},
    id::{JobId, SessionId},
    json::Json,
    log::{Append, Expected},
    message::Role,
    projection::{JobStatus, ProcessState},
    storage::{Space, Storage, Write},
};
use moonlog_runner::CommandError;
use serde_json::json;

fn delete(place: &Place, job: &JobId) -> Result<(), CommandError> {
    place.block_on(place.runner.delete(job))
}

fn sessions(place: &Place) -> Vec<SessionId> {
    let page = place.runner.views().sessions(None, None, 100).unwrap();
    page.items.iter().map(|session| session.id).collect()
}

fn said(place: &Place, session: &SessionId) -> Vec<String> {
    let state = place.runner.session(session).unwrap().unwrap();
    let messages = state.chat.conversation.messages().iter().filter(|message| message.role != Role::System);
    messages.map(|message| message.text()).collect()
}

/// The same runner over a log without anything that is derived.
fn without_derived(place: Place) -> Place {
    place.block_on(place.runner.shutdown());
    let storage = std::sync::Arc::new(place.storage.after_power_cut(usize::MAX));
    for space in [Space::Snapshots, Space::Index] {
        let deletes = storage.keys(space).into_iter().map(|key| Write::delete(space, key)).collect();
        storage.write(deletes).unwrap();
    }
    storage.sync().unwrap();
    place.over(storage)
}

fn check_sound(place: &Place) {
    let report = place.runner.log().verify().unwrap();
    assert!(report.is_sound(), "{report:?}");
}

#[test]
fn what_an_agent_had_for_itself_goes_with_its_job() {
    let stage = stage(json!([{ "text": "one" }, { "text": "two" }]));
    let place = stage.place;
    let job = place.submit("return agent('What is up?')");
    place.result(&job);
    let [own] = sessions(&place)[..] else { panic!("{:?}", sessions(&place)) };
    delete(&place, &job).unwrap();
    let gone = |place: &Place| {
        assert!(sessions(place).is_empty() && place.runner.session(&own).unwrap().is_none());
        assert!(place.runner.job(&job).unwrap().is_none() && place.events(&job).is_empty());
        let log = place.runner.log();
        assert!(log.read_stream(&StreamId::Session(own), 0, 99).unwrap().is_empty());
        assert!(log.read(0, 999).unwrap().iter().all(|event| event.session.is_none()));
        check_sound(place);
    };
    gone(&place);
    let place = place.restart();
    gone(&place);
    let place = without_derived(place);
    gone(&place);
    assert!(matches!(delete(&place, &job), Err(CommandError::NoSuchJob)));
}

#[test]
fn a_closed_session_stays_without_what_a_deleted_job_said_in_it() {
    let stage = stage(json!([{ "text": "one" }, { "text": "two" }]));
    let place = stage.place;
    let create =
        CreateSession { agent: Json::from(json!({ "model": "main", "tools": [] })), ..CreateSession::default() };
    let session = place.block_on(place.runner.create_session(create, None)).unwrap().id;
    let say = |text: &str| {
        let parts = Json::from(json!([{ "type": "text", "text": text }]));
        let job = place.block_on(place.runner.say(&session, parts, Busy::Queue)).unwrap();
        place.result(&job);
        job
    };
    let (first, _second) = (say("a"), say("b"));
    place.until("an idle session", || {
        let state = place.runner.session(&session).unwrap().unwrap();
        (state.chat.busy.is_none() && state.jobs.is_empty()).then_some(())
    });
    assert_eq!(said(&place, &session), ["a", "one", "b", "two"]);
    assert!(delete(&place, &first).unwrap_err().to_string().contains("close the session first"));
    place.block_on(place.runner.close_session(&session)).unwrap();
    place.until("a closed session", || place.runner.session(&session).unwrap()?.is_settled().then_some(()));
    place.runner.views().checkpoint().unwrap();
    delete(&place, &first).unwrap();
    let left = said(&place, &session);
    assert!(!left.contains(&"one".to_owned()) && left.contains(&"two".to_owned()), "{left:?}");
    let place = place.restart();
    assert_eq!(said(&place, &session), left);
    let place = without_derived(place);
    assert_eq!(said(&place, &session), left);
    check_sound(&place);
}

#[test]
fn a_deletion_that_was_said_and_not_done_is_done_at_the_next_start() {
    let place = Place::start();
    let (kept, job) = (place.submit("return 1"), place.submit("exec('true') return 2"));
    place.result(&kept);
    place.result(&job);
    let body = EventBody::JobDeleted(JobDeleted::default());
    let append = Append::new(StreamId::System, Expected::Any, vec![NewEvent::new(body).job(job)]);
    let log = place.runner.log();
    let position = log.append(append).unwrap().last_position;
    log.durable_blocking(position).unwrap();
    assert!(!place.events(&job).is_empty());
    let place = place.kill(usize::MAX);
    assert!(place.events(&job).is_empty() && place.runner.job(&job).unwrap().is_none());
    assert_eq!(place.runner.log().removed_through().unwrap(), position);
    assert_eq!(place.status(&kept), JobStatus::Completed);
    check_sound(&place);
    // And not again: a job that comes back under its id stays.
    let place = place.restart();
    assert_eq!(place.runner.log().removed_through().unwrap(), position);
}

#[test]
fn a_shared_result_of_a_deleted_job_is_not_found_any_more() {
    let place = Place::start();
    let script = "return exec('cat', { '/proc/sys/kernel/random/uuid' }, { cache = '1h' }).stdout";
    let first = place.submit(script);
    let result = place.result(&first);
    let second = place.submit(script);
    assert_eq!(place.result(&second), result, "shared");
    delete(&place, &first).unwrap();
    let third = place.submit(script);
    let other = place.result(&third);
    assert_ne!(other, result, "done again");
    let place = place.restart();
    assert_eq!(place.result(&place.submit(script)), other);
    // The one that took it over keeps what it took.
    assert_eq!(place.result(&second), result);
    check_sound(&place);
}

#[test]
fn deleted_jobs_leave_no_process_and_take_no_late_event() {
    let place = Place::start();
    let job = place.submit("return exec('echo', { 'x' }).process");
    let process = place.result(&job).trim_matches('"').parse().unwrap();
    let listed = |place: &Place| {
        place
            .runner
            .views()
            .with(|all| all.processes().get(&process).map(|state: &std::sync::Arc<ProcessState>| state.id))
    };
    assert_eq!(listed(&place), Some(process));
    delete(&place, &job).unwrap();
    assert_eq!(listed(&place), None);
    assert_eq!(place.runner.views().process_place(&process).unwrap(), None);
    let late = NewEvent::new(EventBody::JobResumed(moonlog_core::event::JobResumed {}));
    assert!(place.runner.log().append(Append::new(StreamId::Job(job), Expected::Any, vec![late])).is_err());
}
