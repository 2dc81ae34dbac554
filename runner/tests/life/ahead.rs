//! Jobs whose submitter waits for their end: they begin while their submission is on its way to the disk.

use crate::place::Place;
use moonlog_core::{id::JobId, projection::JobStatus, storage::Fault};
use moonlog_runner::{ScriptSource, Submit, SubmitError};
use std::future::{pending, ready};

fn script(source: &str) -> Submit {
    Submit::new(ScriptSource::Script { source: source.into(), name: Some("test".into()) })
}

fn to_the_end(place: &Place, source: &str) -> JobId {
    place.block_on(place.runner.submit_and_wait(script(source), pending())).unwrap().job
}

#[test]
fn a_job_that_only_computes_takes_one_sync() {
    let place = Place::start();
    let source = "return step('add', function() return 1 + 1 end)";
    let syncs = |job: &dyn Fn() -> JobId| {
        let before = place.storage.syncs();
        assert_eq!(place.result(&job()), "2");
        place.storage.syncs() - before
    };
    // Where the machine is busy, what waits too long for company is written before.
    let ahead = (0..50).map(|_| syncs(&|| to_the_end(&place, source))).min();
    let durable_first = (0..50).map(|_| syncs(&|| place.submit(source))).min();
    assert_eq!((ahead, durable_first), (Some(1), Some(2)), "syncs of a job whose submitter waits, and does not");
    place.check();
}

#[test]
fn nothing_acts_before_its_submission_is_durable_and_known() {
    let place = Place::start();
    let (file, folder) = (place.path().join("made"), place.path().display().to_string());
    let source = format!("sh('touch {folder}/made') return 0");
    to_the_end(&place, "return 1");
    place.storage.hold_syncs();
    let runner = place.runner.clone();
    let submitted = place.spawn(async move { runner.submit_and_wait(script(&source), pending()).await });
    place.storage.wait_for_held_sync();
    assert!(!file.exists() && place.runner.views().with(|all| all.live_jobs().count()) == 0, "nobody knows of it yet");
    place.storage.release_syncs();
    let job = place.block_on(submitted).unwrap().unwrap().job;
    assert_eq!(place.result(&job), "0");
    assert!(file.exists());
    place.check();
}

#[test]
fn one_that_waits_is_there_for_others_as_any_job() {
    let place = Place::start();
    let job = place.block_on(place.runner.submit_and_wait(script("return wait_for('go')"), ready(()))).unwrap().job;
    place.until_status(&job, JobStatus::Waiting);
    place.signal(&job, "go", "7");
    assert_eq!(place.result(&job), "7");
    // Its children find their parent.
    let parent = to_the_end(&place, "return workflow('quick', { n = 3 })");
    assert_eq!(place.result(&parent), "3");
    place.check();
}

#[test]
fn where_no_place_is_free_it_is_queued_as_any_job() {
    let place = Place::with(|options| options.concurrency = 1);
    let first = place.submit("return wait_for('go')");
    place.until_status(&first, JobStatus::Waiting);
    place.block_on(place.runner.pause_queue("default")).unwrap();
    let second = place.block_on(place.runner.submit_and_wait(script("return 2"), ready(()))).unwrap().job;
    let state = place.runner.job(&second).unwrap().unwrap();
    assert_eq!(state.status, JobStatus::Queued);
    place.block_on(place.runner.resume_queue("default")).unwrap();
    assert_eq!(place.result(&second), "2");
    place.cancel(&first);
    place.ended(&first);
    place.check();
}

#[test]
fn where_it_cannot_be_recorded_nobody_is_told_that_it_was() {
    for fault in [Fault::Write, Fault::Sync] {
        let place = Place::start();
        place.storage.inject(fault, 0);
        let refused = place.block_on(place.runner.submit_and_wait(script("return 1"), pending()));
        assert!(matches!(refused, Err(SubmitError::Unavailable(_))), "{fault:?}: {refused:?}");
        let place = place.kill(0);
        assert_eq!(place.runner.views().with(|all| all.live_jobs().count()), 0);
        place.check();
    }
}
