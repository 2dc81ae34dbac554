//! A log that takes nothing any more: everybody gets an answer, and the next start goes on.

use crate::place::Place;
use moonlog_core::{json::Json, projection::JobStatus, storage::Fault};
use moonlog_runner::{CommandError, ScriptSource, Submit, SubmitError};
use std::time::Duration;

#[test]
fn nothing_hangs_and_the_next_start_goes_on() {
    for fault in [Fault::Write, Fault::Sync, Fault::DiskFull] {
        let place = Place::start();
        let waits = place.submit("return wait_for('go')");
        let works = place.submit("for i = 1, 1000 do exec('true') sleep('1ms') end return 1");
        place.until_status(&waits, JobStatus::Waiting);
        place.until_event(&works, "process.exited");
        place.storage.inject(fault, 3);
        place.until("poison", || place.runner.log().is_poisoned());
        place.block_on(async {
            let submit = Submit::new(ScriptSource::Script { source: "return 1".into(), name: None });
            assert!(matches!(place.runner.submit(submit).await, Err(SubmitError::Unavailable(_))));
            let signal = place.runner.signal(&waits, "go", Json::null(), None).await;
            assert!(matches!(signal, Err(CommandError::Unavailable(_))), "{signal:?}");
            let cancel = place.runner.cancel(&works, None).await;
            assert!(matches!(cancel, Err(CommandError::Unavailable(_))), "{cancel:?}");
            let enough = tokio::time::sleep(Duration::from_millis(50));
            place.runner.wait(&waits, enough).await.unwrap();
            assert_eq!(place.runner.job(&waits).unwrap().unwrap().status, JobStatus::Waiting);
            let since = std::time::Instant::now();
            place.runner.shutdown().await;
            assert!(since.elapsed() < Duration::from_secs(8), "a stop took {:?}", since.elapsed());
        });
        let place = place.kill(0);
        place.signal(&waits, "go", "1");
        assert_eq!(place.result(&waits), "1");
        place.cancel(&works);
        place.ended(&works);
        place.check();
    }
}

#[test]
fn a_signal_is_answered_when_the_server_stops() {
    let place = Place::start();
    let job = place.submit("while true do wait_for('go') end");
    place.block_on(async {
        let signals = (0..50).map(|_| place.runner.signal(&job, "go", Json::null(), None));
        let (answers, ()) = tokio::join!(futures_util::future::join_all(signals), place.runner.shutdown());
        assert_eq!(answers.len(), 50);
    });
    let place = place.restart();
    place.cancel(&job);
    place.ended(&job);
}
