//! Schedules: fired once each, whatever happens to the server.

use crate::place::{Place, now};
use moonlog_core::{
    event::{CatchUp, EventBody, Overlap, ScheduleFired, ScheduleSet, ScheduleSkipped, StreamId},
    projection::JobStatus,
    time::Timestamp,
};
use moonlog_runner::{CommandError, SetSchedule};
use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

fn set(place: &Place, cron: &str, workflow: &str, change: impl FnOnce(&mut ScheduleSet)) {
    let mut set = ScheduleSet {
        cron: cron.into(),
        workflow: workflow.into(),
        args: moonlog_core::json::Json::from_written("{}".into()),
        time_zone: "UTC".into(),
        ..ScheduleSet::default()
    };
    change(&mut set);
    place.block_on(place.runner.set_schedule(SetSchedule { name: "s".into(), set })).unwrap();
}

fn fired(place: &Place) -> Vec<ScheduleFired> {
    let events = place.runner.log().read_stream(&StreamId::Schedule("s".into()), 0, 10_000).unwrap();
    let fired = events.iter().filter_map(|event| match &event.body {
        EventBody::ScheduleFired(fired) => Some(fired.clone()),
        _ => None,
    });
    fired.collect()
}

fn until_fired(place: &Place, count: usize) -> Vec<ScheduleFired> {
    place.until("a firing", || Some(fired(place)).filter(|fired| fired.len() >= count))
}

#[test]
fn a_schedule_submits_its_workflow_each_time_until_it_is_removed() {
    let place = Place::start();
    set(&place, "* * * * * *", "quick", |set| {
        set.args = moonlog_core::json::Json::parse("{\"n\":7}").unwrap();
        set.labels.insert("team".into(), "x".into());
    });
    let fired = until_fired(&place, 2);
    for fired in &fired {
        let job = fired.job.unwrap();
        assert_eq!(place.result(&job), "7");
        let state = place.runner.job(&job).unwrap().unwrap();
        assert_eq!(state.submitted.labels["schedule"], "s");
        assert_eq!(state.submitted.labels["team"], "x");
    }
    assert!(fired[0].due < fired[1].due);
    place.block_on(place.runner.remove_schedule("s")).unwrap();
    assert!(place.runner.schedule("s").is_none());
    let gone = place.block_on(place.runner.remove_schedule("s"));
    assert!(matches!(gone, Err(CommandError::NotFound(_))));
    place.check();
}

#[test]
fn what_overlaps_is_skipped_queued_or_replaces() {
    for overlap in [Overlap::Skip, Overlap::Queue, Overlap::Replace] {
        let place = Place::start();
        set(&place, "* * * * * *", "waits", |set| set.overlap = overlap);
        let fired = until_fired(&place, 2);
        let first = fired[0].job.unwrap();
        match overlap {
            Overlap::Skip => {
                assert_eq!((fired[1].job, fired[1].skipped), (None, Some(ScheduleSkipped::Overlap)));
                place.until_status(&first, JobStatus::Waiting);
            }
            Overlap::Queue => {
                let second = fired[1].job.unwrap();
                place.until_status(&first, JobStatus::Waiting);
                assert_eq!(place.status(&second), JobStatus::Queued);
                place.signal(&first, "go", "1");
                place.until_status(&second, JobStatus::Waiting);
            }
            Overlap::Replace => {
                place.until_status(&first, JobStatus::Cancelled);
                place.until_event(&fired[1].job.unwrap(), "job.started");
            }
        }
    }
}

#[test]
fn what_was_missed_is_made_up_for_as_was_asked() {
    for (catch_up, submitted) in [(CatchUp::None, 0), (CatchUp::Last, 1), (CatchUp::All, 4)] {
        let ahead_ms = Arc::new(AtomicU64::new(0));
        let shift = ahead_ms.clone();
        let place = Place::with(move |options| {
            let shift = shift.clone();
            options.clock = Arc::new(move || now().plus_ms(shift.load(Ordering::Relaxed)));
        });
        // Due twelve hours from now, each minute of that hour.
        let day_us = 86_400_000_000;
        let noon = Timestamp::from_micros(now().as_micros() / day_us * day_us);
        let hour = (now().ms_since(noon) / 3_600_000 + 12) % 24;
        set(&place, &format!("0-3 {hour} * * *"), "quick", |set| {
            set.catch_up = catch_up;
            // Made up for at once, they overlap.
            set.overlap = Overlap::Queue;
        });
        ahead_ms.store(13 * 3_600_000, Ordering::Relaxed);
        let place = place.kill(0);
        let fired = until_fired(&place, submitted.max(1));
        let jobs = fired.iter().filter(|fired| fired.job.is_some()).count();
        assert_eq!((jobs, fired.len()), (submitted, submitted.max(1)), "{catch_up:?}: {fired:?}");
        if submitted == 0 {
            assert_eq!(fired[0].skipped, Some(ScheduleSkipped::Missed));
        }
        let place = place.restart();
        assert_eq!(self::fired(&place), fired, "once is enough");
    }
}

#[test]
fn each_time_has_one_job_over_kills() {
    let mut place = Place::start();
    set(&place, "* * * * * *", "quick", |set| set.catch_up = CatchUp::All);
    for round in 1..=4 {
        until_fired(&place, round);
        // Whatever was not synced may be lost or kept.
        place = place.kill(round % 3);
    }
    until_fired(&place, 6);
    place.block_on(place.runner.remove_schedule("s")).unwrap();
    let mut times = BTreeMap::new();
    for fired in fired(&place) {
        assert_eq!(fired.skipped, None);
        assert_eq!(times.insert(fired.due.unwrap(), fired.job.unwrap()), None, "fired twice");
        place.ended(&fired.job.unwrap());
    }
    let due: Vec<_> = times.keys().collect();
    assert!(due.windows(2).all(|pair| pair[1].ms_since(*pair[0]) == 1_000), "none is left out: {due:?}");
    let jobs = place.runner.views().with(|all| all.jobs().count());
    assert_eq!(jobs, times.len());
    place.check();
}

#[test]
fn a_refused_job_is_recorded_with_the_reason() {
    let place = Place::with(|options| {
        let full = moonlog_runner::QueueOptions { capacity: 0, ..Default::default() };
        options.queues.insert("full".into(), full);
    });
    set(&place, "* * * * * *", "quick", |set| set.queue = Some("full".into()));
    let fired = until_fired(&place, 1);
    assert_eq!((fired[0].job, fired[0].skipped), (None, Some(ScheduleSkipped::Refused)));
    assert_eq!(fired[0].error.as_ref().unwrap().code, "queue_full");
}
