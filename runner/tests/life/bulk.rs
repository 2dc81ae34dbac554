//! Many jobs at once, by what they have in common.

use crate::place::Place;
use moonlog_core::{
    event::RetryPolicy,
    id::JobId,
    projection::{JobFilter, JobStatus},
};
use moonlog_runner::{Bulk, BulkReport, CommandError, Retry, ScriptSource, Submit};

fn labelled(label: &str) -> JobFilter {
    JobFilter { labels: vec![label.parse().unwrap()], ..JobFilter::default() }
}

fn bulk(filter: JobFilter) -> Bulk {
    Bulk { filter, limit: 1_000, dry_run: false }
}

fn team(name: &'static str) -> impl Fn(&mut Submit) {
    move |submit| drop(submit.labels.insert("team".into(), name.into()))
}

fn cancel(place: &Place, bulk: Bulk) -> BulkReport {
    place.block_on(place.runner.cancel_all(bulk, Some("too many".into()))).unwrap()
}

fn retry(place: &Place, bulk: Bulk, retry: Retry) -> Result<BulkReport, CommandError> {
    place.block_on(place.runner.retry_all(bulk, retry))
}

#[test]
fn jobs_are_cancelled_by_label_and_state_and_no_others_are() {
    let place = Place::start();
    let waiting: Vec<JobId> = (0..3).map(|_| place.submit_with("wait_for('go')", team("a"))).collect();
    let others: Vec<JobId> = (0..2).map(|_| place.submit_with("return wait_for('go')", team("b"))).collect();
    let ended = place.submit_with("return 1", team("a"));
    place.ended(&ended);
    waiting.iter().chain(&others).for_each(|job| place.until_status(job, JobStatus::Waiting));
    let dry = cancel(&place, Bulk { dry_run: true, ..bulk(labelled("team=a")) });
    assert_eq!((dry.matched, dry.done, dry.more), (3, 0, false));
    let mut named = dry.jobs.clone();
    named.sort();
    assert_eq!(named, waiting);
    let few = cancel(&place, Bulk { limit: 1, dry_run: true, filter: labelled("team=a") });
    assert_eq!((few.matched, few.more), (1, true));
    let queued = JobFilter { state: Some(JobStatus::Queued), ..labelled("team=a") };
    assert_eq!(cancel(&place, bulk(queued)).matched, 0);
    let done = cancel(&place, bulk(labelled("team=a")));
    assert_eq!((done.matched, done.done, done.failed.len()), (3, 3, 0));
    for job in &waiting {
        let view = place.ended(job);
        assert_eq!((view.state, view.error.unwrap().message.as_str()), (JobStatus::Cancelled, "too many"));
    }
    assert_eq!(cancel(&place, bulk(labelled("team=a"))).matched, 0);
    for job in &others {
        place.signal(job, "go", "1");
        assert_eq!(place.result(job), "1");
    }
    place.check();
}

#[test]
fn jobs_that_are_out_of_attempts_are_listed_and_run_again_with_another_script() {
    let place = Place::with(|options| options.checkpoint_events = 20);
    let fails = |change: &dyn Fn(&mut Submit)| {
        let job = place.submit_with("error({ code = 'busy', message = 'm' })", |submit| change(submit));
        place.ended(&job);
        job
    };
    let policy = RetryPolicy { max: 2, backoff_ms: 1, factor: 1.0, max_backoff_ms: 1 };
    let exhausted: Vec<JobId> = (0..5).map(|_| fails(&|submit| submit.retry = Some(policy.clone().into()))).collect();
    let once = fails(&|_| {});
    // Most of them are stored by now, and read from there.
    let place = place.restart();
    let filter = JobFilter { state: Some(JobStatus::Failed), exhausted: Some(true), ..JobFilter::default() };
    let listed = place.runner.views().jobs(&filter, None, 100).unwrap().items;
    assert_eq!(listed.iter().rev().map(|job| job.id).collect::<Vec<_>>(), exhausted);
    assert!(listed.iter().all(|job| job.exhausted));
    let rest = JobFilter { exhausted: Some(false), ..JobFilter::default() };
    assert_eq!(place.runner.views().jobs(&rest, None, 100).unwrap().items[0].id, once);
    let script = ScriptSource::Script { source: "return 'mended'".into(), name: None };
    let again = Retry { script: Some(script), args: None, idempotency_key: Some("k".into()) };
    let report = retry(&place, bulk(filter.clone()), again.clone()).unwrap();
    assert_eq!((report.matched, report.done, report.created.len()), (5, 5, 5));
    for (job, new) in exhausted.iter().zip(&report.created) {
        assert_eq!(place.result(new), "\"mended\"");
        assert_eq!(place.ended(new).resumed_from, Some(*job));
    }
    // Under the same key nothing is run twice.
    let same = retry(&place, bulk(filter), again).unwrap();
    assert_eq!(same.created, report.created);
    place.check();
}

#[test]
fn what_is_refused_for_one_does_not_keep_the_others() {
    let place = Place::with(|options| {
        let queue = moonlog_runner::QueueOptions { capacity: 2, ..Default::default() };
        options.queues.insert("small".into(), queue);
    });
    let jobs: Vec<JobId> = (0..4)
        .map(|_| {
            let job = place.submit_with("error('no', 0)", |submit| submit.queue = Some("small".into()));
            place.ended(&job);
            job
        })
        .collect();
    place.block_on(place.runner.pause_queue("small")).unwrap();
    let filter = JobFilter { queue: Some("small".into()), ..JobFilter::default() };
    let report = retry(&place, bulk(filter), Retry::default()).unwrap();
    // They come at once, and as many are taken as there is room for.
    assert_eq!((report.matched, report.done), (jobs.len(), 2), "{report:?}");
    assert!(report.failed.iter().all(|failed| failed.code == "queue_full" && jobs.contains(&failed.id)));
    assert_eq!(report.failed.len(), jobs.len() - report.done);
}
