//! A checkpoint and what came after it are the fold from the first event, whatever happens to the checkpoint.

use crate::{
    given::*,
    history::{Appends, histories},
};
use moonlog_core::{
    event::*,
    log::{Append, Expected, Log, LogOptions},
    projection::*,
    storage::{Fault, MemoryStorage, Space, Storage, Write},
};
use proptest::{prelude::*, sample::Index};
use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

pub fn open_log(storage: &Arc<MemoryStorage>) -> Log {
    let seconds = AtomicU64::new(0);
    let clock = move || at(seconds.fetch_add(1, Ordering::Relaxed) * 1_000);
    Log::open(storage.clone(), LogOptions::new(clock)).unwrap().0
}

pub fn append(log: &Log, appends: &[(StreamId, Vec<NewEvent>)]) {
    let mut last = 0;
    for (stream, events) in appends {
        last = log.append(Append::new(stream.clone(), Expected::Any, events.clone())).unwrap().last_position;
    }
    log.durable_blocking(last).unwrap();
}

fn all_events(log: &Log) -> Vec<Arc<Event>> {
    log.read(0, usize::MAX).unwrap()
}

pub fn advance(views: &Views, log: &Log) {
    views.advance(&log.read(views.applied(), usize::MAX).unwrap());
}

pub fn options() -> ViewsOptions {
    ViewsOptions { checkpoint_events: 20, ..ViewsOptions::default() }
}

/// Everything that `views` answers is what the fold of the whole log says.
pub fn assert_is_the_fold(views: &Views, log: &Log) {
    let events = all_events(log);
    let mut fold = Projection::new();
    events.iter().for_each(|event| fold.apply(event));
    assert_eq!(views.applied(), fold.applied());
    let ids: Vec<_> =
        events.iter().filter(|e| matches!(e.body, EventBody::JobSubmitted(_))).map(|e| e.job.unwrap()).collect();
    for id in &ids {
        assert_eq!(views.job(id).unwrap().as_ref(), fold.job(id), "{id}");
    }
    for (key, first_use) in fold.keys().iter() {
        assert_eq!(views.idempotent(key).unwrap().as_ref(), Some(first_use));
    }
    for (token, first_use) in fold.tokens().iter() {
        assert_eq!(views.token_use(token).unwrap().as_ref(), Some(first_use));
    }
    for (process, place) in fold.places().iter() {
        assert_eq!(views.process_place(process).unwrap().as_ref(), Some(place));
    }
    views.with(|all| {
        assert_eq!(all.queues(), fold.queues());
        assert_eq!(all.processes(), fold.processes());
        assert_eq!(all.approvals(), fold.approvals());
        assert!(all.sessions().open().eq(fold.sessions().open()));
        assert!(all.live_jobs().eq(fold.live_jobs()));
    });
    assert_sessions_are_the_fold(views, &fold, &events);
    for filter in [
        JobFilter::default(),
        JobFilter { state: Some(JobStatus::Failed), ..JobFilter::default() },
        JobFilter { state: Some(JobStatus::Completed), ..JobFilter::default() },
        JobFilter { state: Some(JobStatus::Cancelled), workflow: Some("ship".into()), ..JobFilter::default() },
        JobFilter { labels: vec!["team".parse().unwrap()], ..JobFilter::default() },
        JobFilter { labels: vec!["team=t1".parse().unwrap()], ..JobFilter::default() },
        JobFilter { queue: Some("default".into()), ..JobFilter::default() },
        JobFilter { parent: ids.first().copied(), ..JobFilter::default() },
        JobFilter { workflow: Some("ship".into()), labels: vec!["team=t1".parse().unwrap()], ..JobFilter::default() },
    ] {
        let wanted: Vec<_> = ids
            .iter()
            .rev()
            .map(|id| fold.job(id).unwrap())
            .filter(|job| filter.fits(job))
            .map(|job| job.view())
            .collect();
        for limit in [1, 3, 200] {
            let (mut listed, mut cursor) = (Vec::new(), None);
            loop {
                let page = views.jobs(&filter, cursor, limit).unwrap();
                assert!(page.items.len() == limit || page.next.is_none(), "only the last page is short");
                listed.extend(page.items);
                cursor = page.next;
                if cursor.is_none() {
                    break;
                }
            }
            assert_eq!(listed, wanted);
        }
    }
}

fn assert_sessions_are_the_fold(views: &Views, fold: &Projection, events: &[Arc<Event>]) {
    for session in fold.sessions().iter() {
        assert_eq!(views.session(&session.id).unwrap().as_ref(), Some(session));
        // As of any position it is the fold of what names it up to there.
        let of_it: Vec<_> = events.iter().filter(|event| event.session == Some(session.id)).collect();
        let at = of_it[of_it.len() / 2].position;
        let then = views.session_at(&session.id, 0, at).unwrap().unwrap();
        assert_eq!(then.position, at.min(session.position));
        let prefix = of_it.iter().take_while(|event| event.position <= at.min(session.position));
        assert_eq!(Some(then), SessionState::fold(prefix.map(|event| (*event).clone())));
    }
    for status in [None, Some(SessionStatus::Open), Some(SessionStatus::Closed)] {
        let all = fold.sessions().iter().rev().filter(|s| status.is_none_or(|status| s.status == status));
        let wanted: Vec<_> = all.map(|session| session.summary()).collect();
        let (mut listed, mut cursor) = (Vec::new(), None);
        loop {
            let page = views.sessions(status, cursor, 2).unwrap();
            assert!(page.items.len() == 2 || page.next.is_none(), "only the last page is short");
            listed.extend(page.items);
            cursor = page.next;
            if cursor.is_none() {
                break;
            }
        }
        assert_eq!(listed, wanted);
    }
}

/// Deletes all that can be made anew from the log.
pub fn delete_derived(storage: &MemoryStorage) {
    for space in [Space::Snapshots, Space::Index] {
        let deletes = storage.keys(space).into_iter().map(|key| Write::delete(space, key)).collect();
        storage.write(deletes).unwrap();
    }
}

/// A server's read model over a history, with a checkpoint after the events of each part.
pub fn with_checkpoints(appends: &Appends, cuts: &[Index]) -> (Arc<MemoryStorage>, Log, Views) {
    let storage = Arc::new(MemoryStorage::new());
    let log = open_log(&storage);
    let views = Views::open(&log, options()).unwrap();
    let mut cuts: Vec<_> = cuts.iter().map(|cut| cut.index(appends.len() + 1)).collect();
    cuts.sort_unstable();
    let mut from = 0;
    for cut in cuts {
        append(&log, &appends[from..cut]);
        advance(&views, &log);
        views.checkpoint().unwrap();
        from = cut;
    }
    append(&log, &appends[from..]);
    advance(&views, &log);
    (storage, log, views)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn a_checkpoint_and_the_rest_are_the_fold(
        appends in histories(160),
        cuts in prop::collection::vec(any::<Index>(), 0..5),
    ) {
        let (storage, log, views) = with_checkpoints(&appends, &cuts);
        assert_is_the_fold(&views, &log);
        // A start loads the last checkpoint and folds the rest.
        let reopened = Views::open(&log, options()).unwrap();
        assert_is_the_fold(&reopened, &log);
        reopened.checkpoint().unwrap();
        assert_is_the_fold(&reopened, &log);
        prop_assert!(reopened.with(|all| all.live_jobs().count() == all.jobs().count()), "ended jobs left memory");
        let settled = reopened.with(|all| all.sessions().iter().filter(|session| session.is_settled()).count());
        prop_assert_eq!(settled, 0, "settled sessions left memory");
        assert_is_the_fold(&Views::open(&log, options()).unwrap(), &log);
        // What is derived can be deleted.
        delete_derived(&storage);
        log.close();
        let log = open_log(&storage);
        assert_is_the_fold(&Views::open(&log, options()).unwrap(), &log);
    }

    #[test]
    fn a_power_cut_in_a_checkpoint_does_no_harm(
        appends in histories(120),
        cuts in prop::collection::vec(any::<Index>(), 0..3),
        kept in any::<Index>(),
    ) {
        let (storage, log, views) = with_checkpoints(&appends, &cuts);
        storage.sync().unwrap();
        views.checkpoint().unwrap();
        let kept = kept.index(storage.unsynced() + 1);
        log.close();
        let storage = Arc::new(storage.after_power_cut(kept));
        let log = open_log(&storage);
        let views = Views::open(&log, options()).unwrap();
        assert_is_the_fold(&views, &log);
        // And what it left does no harm later.
        views.checkpoint().unwrap();
        end_all(&views, &log);
        assert_is_the_fold(&views, &log);
        views.checkpoint().unwrap();
        assert_is_the_fold(&Views::open(&log, options()).unwrap(), &log);
    }

    #[test]
    fn a_checkpoint_that_fails_changes_nothing(
        appends in histories(120),
        cuts in prop::collection::vec(any::<Index>(), 0..3),
        after in 0..40_u64,
    ) {
        let (storage, log, views) = with_checkpoints(&appends, &cuts);
        storage.sync().unwrap();
        storage.inject(Fault::DiskFull, after);
        let _ = views.checkpoint();
        assert_is_the_fold(&views, &log);
        let storage = Arc::new(storage.after_power_cut(usize::MAX));
        log.close();
        let log = open_log(&storage);
        assert_is_the_fold(&Views::open(&log, options()).unwrap(), &log);
    }
}

/// Ends every job, children first.
fn end_all(views: &Views, log: &Log) {
    let jobs: Vec<_> = views.with(|all| all.live_jobs().rev().cloned().collect());
    let ends = jobs.iter().map(|job| (StreamId::Job(job.id), vec![completed().into()])).collect::<Vec<_>>();
    append(log, &ends);
    advance(views, log);
}

/// Ten jobs that wait and ten that have ended, stored.
fn twenty_jobs() -> (Arc<MemoryStorage>, Log) {
    let appends: Appends = (0..20)
        .map(|n| {
            let mut events = vec![submitted(), started(1, 1), step("a", "wait_for", 1, r#"{"signal":"go"}"#)];
            events.extend((n % 2 == 0).then(completed));
            (StreamId::Job(job_id(n)), events.into_iter().map(NewEvent::from).collect())
        })
        .collect();
    let (storage, log, views) = with_checkpoints(&appends, &[]);
    views.checkpoint().unwrap();
    (storage, log)
}

#[test]
fn a_page_looks_at_no_more_rows_than_it_may() {
    let (_, log) = twenty_jobs();
    for page_rows in [1, 3, 10, 11] {
        let views = Views::open(&log, ViewsOptions { page_rows, ..options() }).unwrap();
        for (state, wanted) in [(JobStatus::Failed, 0), (JobStatus::Completed, 10), (JobStatus::Waiting, 0)] {
            let filter = JobFilter { state: Some(state), ..JobFilter::default() };
            let (mut listed, mut pages, mut cursor) = (Vec::new(), 0, None);
            loop {
                let page = views.jobs(&filter, cursor, 4).unwrap();
                assert!(page.items.len() <= page_rows.min(4), "{page_rows} {state}");
                listed.extend(page.items.into_iter().map(|job| job.id));
                pages += 1;
                cursor = page.next;
                if cursor.is_none() {
                    break;
                }
            }
            assert_eq!(listed.len(), wanted, "{page_rows} {state}");
            assert!(listed.is_sorted_by(|newer, older| newer > older));
            assert!(state.is_ended() || pages == 1, "the living are in memory");
        }
    }
    let views = Views::open(&log, ViewsOptions { page_rows: 3, ..options() }).unwrap();
    let (mut all, mut cursor) = (Vec::new(), None);
    loop {
        let page = views.jobs(&JobFilter::default(), cursor, 50).unwrap();
        all.extend(page.items.into_iter().map(|job| job.id));
        cursor = page.next;
        if cursor.is_none() {
            break;
        }
    }
    assert_eq!(all.len(), 20, "living and ended ones together");
    assert!(all.is_sorted_by(|newer, older| newer > older));
}

/// Those of the index are nothing but keys.
fn rows_with_values(storage: &MemoryStorage) -> Vec<Vec<u8>> {
    let mut keys = storage.keys(Space::Snapshots);
    keys.retain(|key| !key.starts_with(b"v/i/"));
    keys
}

#[test]
fn a_damaged_row_is_made_anew() {
    let keys = rows_with_values(&twenty_jobs().0);
    assert_eq!(keys.len(), 21);
    for key in keys {
        let (storage, log) = twenty_jobs();
        storage.tamper(Space::Snapshots, &key, |value| {
            let last = value.len() - 1;
            value[last] ^= 1;
        });
        assert_is_the_fold(&Views::open(&log, options()).unwrap(), &log);
    }
}

#[test]
fn a_damaged_row_that_cannot_be_deleted_is_done_without() {
    for key in rows_with_values(&twenty_jobs().0) {
        let (storage, log) = twenty_jobs();
        storage.tamper(Space::Snapshots, &key, |value| {
            let last = value.len() - 1;
            value[last] ^= 1;
        });
        storage.inject(Fault::DiskFull, 0);
        let views = Views::open(&log, options()).unwrap();
        assert_is_the_fold(&views, &log);
        // What is stored of it stays out of it.
        let _ = views.checkpoint();
        assert_is_the_fold(&views, &log);
    }
}

#[test]
fn a_checkpoint_ahead_of_the_log_is_not_used() {
    let (long, _) = twenty_jobs();
    let storage = Arc::new(MemoryStorage::new());
    let log = open_log(&storage);
    append(&log, &[(StreamId::Job(job_id(0)), vec![submitted().into()])]);
    let rows = long.keys(Space::Snapshots).into_iter().map(|key| {
        let value = long.get(Space::Snapshots, &key).unwrap().unwrap();
        Write::put(Space::Snapshots, key, value)
    });
    storage.write(rows.collect()).unwrap();
    assert_is_the_fold(&Views::open(&log, options()).unwrap(), &log);
    assert_eq!(storage.keys(Space::Snapshots), Vec::<Vec<u8>>::new());
}

#[test]
fn what_large_rows_leave_behind_is_deleted() {
    let storage = Arc::new(MemoryStorage::new());
    let log = open_log(&storage);
    let views = Views::open(&log, options()).unwrap();
    let job = StreamId::Job(job_id(1));
    let large = format!("{{\"stdin\":\"{}\"}}", "x".repeat(200_000));
    let parts = [
        vec![submitted(), started(1, 1), step("a", "exec", 1, &large)],
        vec![finished("a", 1, StepOutcome::Ok)],
        vec![completed()],
    ];
    for part in parts {
        append(&log, &[(job.clone(), part.into_iter().map(NewEvent::from).collect())]);
        advance(&views, &log);
        views.checkpoint().unwrap();
        assert_is_the_fold(&Views::open(&log, options()).unwrap(), &log);
    }
    assert_eq!(rows_with_values(&storage).len(), 2, "the head and the ended job");
}

#[test]
fn a_checkpoint_is_due_by_events_and_by_bytes() {
    let storage = Arc::new(MemoryStorage::new());
    let log = open_log(&storage);
    let views = Views::open(&log, ViewsOptions { checkpoint_events: 10, checkpoint_ended_bytes: 100_000, ..options() })
        .unwrap();
    let run = |n, result: &str| {
        let EventBody::JobCompleted(mut end) = completed() else { unreachable!() };
        end.result = moonlog_core::json::Json::of(result);
        append(&log, &[(StreamId::Job(job_id(n)), vec![submitted().into(), EventBody::JobCompleted(end).into()])]);
        advance(&views, &log);
    };
    run(1, "small");
    assert!(!views.checkpoint_due());
    run(2, &"large".repeat(30_000));
    assert!(views.checkpoint_due());
    views.checkpoint().unwrap();
    assert!(!views.checkpoint_due());
    (3..8).for_each(|n| run(n, "small"));
    assert!(views.checkpoint_due());
}

/// The rows' form and what is folded into them, as a hash. Where this fails, a server that has just been updated
/// would read the rows of the one before: raise `SCHEMA` in `projection/snapshot.rs`, then put the new hash here.
#[test]
fn the_stored_form_is_this_one() {
    let mut first = submission();
    first.idempotency_key = Some("k".into());
    first.labels = [("team".to_owned(), "a".to_owned())].into();
    let mut child = submission();
    child.parent = Some(ParentRef { job: job_id(1), step: "w".into() });
    let process = |body| NewEvent::new(body).process(process_id(1));
    let appends = vec![
        (StreamId::System, vec![EventBody::QueuePaused(QueueChanged { queue: "q".into() }).into()]),
        (StreamId::Job(job_id(1)), vec![EventBody::JobSubmitted(first.into()).into(), started(1, 1).into()]),
        (StreamId::Job(job_id(1)), vec![step("w", "workflow", 1, "{}").into(), process(process_started())]),
        (StreamId::Job(job_id(2)), vec![EventBody::JobSubmitted(child.into()).into()]),
        (StreamId::Job(job_id(1)), vec![step("a", "approve", 1, "{}").into(), approval_requested("a").into()]),
        (StreamId::Job(job_id(1)), vec![signalled("go", Some("s")).into(), process(process_exited())]),
        (StreamId::Job(job_id(1)), vec![step("b", "exec", 1, "{}").into(), waiting(WaitKind::Approval).into()]),
        (StreamId::Job(job_id(1)), vec![finished("b", 1, StepOutcome::Error).into(), retry("b", 1, 5).into()]),
        (
            StreamId::Process(process_id(2)),
            vec![
                NewEvent::new(process_started()).process(process_id(2)),
                NewEvent::new(token_claimed("t")).process(process_id(2)),
            ],
        ),
        (StreamId::Job(job_id(3)), vec![submitted().into(), started(1, 1).into(), completed().into()]),
        (StreamId::Session(session_id(1)), vec![session_created().into(), workspace_requested("worktree").into()]),
        (
            StreamId::Session(session_id(1)),
            vec![file_changed("a", "edited", "@@ -1 +1 @@\n-a\n+b\n", (Some(1), None)).into()],
        ),
        (StreamId::System, vec![webhook_configured("h", &["job.completed"]).into()]),
        (StreamId::System, vec![webhook_retry("h", 3, 1, 3).into(), webhook_failed("h", 4, 4).into()]),
        (
            StreamId::Session(session_id(2)),
            vec![session_created().into(), EventBody::SessionClosed(SessionClosed {}).into()],
        ),
    ];
    let (storage, _, views) = with_checkpoints(&appends, &[]);
    views.checkpoint().unwrap();
    let mut all = Vec::new();
    for key in storage.keys(Space::Snapshots) {
        all.extend(storage.get(Space::Snapshots, &key).unwrap().unwrap());
        all.extend(key);
    }
    insta::assert_snapshot!(moonlog_core::id::Hash::of(&all), @"a5020a5ddff964382dc5227b2e4665d58a560da84773cecbb0aa7b875015a849");
}
