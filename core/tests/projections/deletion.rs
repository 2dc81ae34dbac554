//! Deleted jobs: what is folded of a log that they were removed from is what was folded as they were deleted.

use crate::{
    checkpoints::{advance, append, assert_is_the_fold, delete_derived, open_log, options, with_checkpoints},
    given::*,
    history::histories,
};
use moonlog_core::{event::*, id::*, log::Log, projection::*, storage::*};
use proptest::{prelude::*, sample::Index};
use std::{collections::BTreeMap, sync::Arc};

/// The jobs that may be deleted, with the closed sessions that they took part in.
fn deletable(log: &Log) -> Vec<(JobId, Vec<SessionId>)> {
    let events = log.read(0, usize::MAX).unwrap();
    let mut fold = Projection::new();
    events.iter().for_each(|event| fold.apply(event));
    let mut sessions: BTreeMap<JobId, Vec<SessionId>> = BTreeMap::new();
    for event in events.iter().filter(|event| matches!(event.stream, StreamId::Job(_))) {
        let of_it = sessions.entry(event.job.unwrap()).or_default();
        if let Some(session) = event.session.filter(|session| !of_it.contains(session)) {
            of_it.push(session);
        }
    }
    let lives = |job: &JobId| fold.job(job).is_some_and(|job| !job.status.is_ended());
    let is_settled = |id: &SessionId| fold.sessions().get(id).is_some_and(|session| session.is_settled());
    let mut jobs: Vec<_> = fold.jobs().filter(|job| job.status.is_ended()).map(|job| job.id).collect();
    jobs.retain(|id| {
        let job = fold.job(id).unwrap();
        !job.submitted.parent.as_ref().is_some_and(|parent| lives(&parent.job))
            && !fold.live_jobs().any(|other| other.submitted.parent.as_ref().is_some_and(|parent| parent.job == *id))
            && sessions[id].iter().all(is_settled)
    });
    jobs.into_iter().map(|id| (id, sessions.remove(&id).unwrap_or_default())).collect()
}

fn say_deleted(log: &Log, jobs: &[(JobId, Vec<SessionId>)]) {
    let deleted = |(job, sessions): &(JobId, Vec<SessionId>)| {
        let in_sessions = sessions.clone();
        NewEvent::new(EventBody::JobDeleted(JobDeleted { in_sessions, ..JobDeleted::default() })).job(*job)
    };
    append(log, &[(StreamId::System, jobs.iter().map(deleted).collect())]);
}

fn remove(log: &Log, jobs: &[(JobId, Vec<SessionId>)]) {
    let streams: Vec<_> = jobs.iter().map(|(job, _)| StreamId::Job(*job)).collect();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(log.begin_removal()).unwrap().remove(&streams, log.head()).unwrap();
}

fn assert_gone(views: &Views, jobs: &[(JobId, Vec<SessionId>)]) {
    for (job, _) in jobs {
        assert_eq!(views.job(job).unwrap(), None);
        assert!(views.deleted(job).unwrap().is_some(), "it is known that {job} was deleted");
    }
    for n in 0..200 {
        if let Some(first) = views.idempotent(&format!("key {n}")).unwrap() {
            assert!(jobs.iter().all(|(job, _)| first.job != *job), "key {n} is free");
        }
    }
    for n in 0..200 {
        if let Some(place) = views.process_place(&process_id(n)).unwrap() {
            assert!(jobs.iter().all(|(job, _)| place.job != *job), "process {n} is gone");
        }
    }
}

/// Every row that is stored is one that somebody may still ask for.
fn assert_swept(storage: &MemoryStorage, views: &Views) {
    let keys = storage.keys(Space::Snapshots);
    for process in keys.iter().filter_map(|key| key.strip_prefix(b"v/p/")) {
        let process = ProcessId::from_bytes(process.try_into().unwrap());
        assert!(views.process_place(&process).unwrap().is_some(), "{process} is of a deleted job");
    }
    let is_stored = |prefix: &[u8], name: &str| {
        let key = [prefix, Hash::of(name.as_bytes()).as_bytes()].concat();
        keys.binary_search(&key).is_ok()
    };
    for n in 0..200 {
        let (key, token) = (format!("key {n}"), format!("token {n}"));
        assert!(!is_stored(b"v/k/", &key) || views.idempotent(&key).unwrap().is_some(), "{key}");
        assert!(!is_stored(b"v/t/", &token) || views.token_use(&token).unwrap().is_some(), "{token}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn deleted_jobs_leave_no_trace_in_what_is_folded(
        appends in histories(200),
        cuts in prop::collection::vec(any::<Index>(), 0..4),
        which in prop::collection::vec(any::<bool>(), 1..8),
        how in any::<u8>(),
    ) {
        let (storage, log, views) = with_checkpoints(&appends, &cuts);
        let all = deletable(&log);
        let jobs: Vec<_> = all.into_iter().zip(which.iter().cycle()).filter(|(_, yes)| **yes).map(|(job, _)| job).collect();
        if jobs.is_empty() {
            return Ok(());
        }
        say_deleted(&log, &jobs);
        advance(&views, &log);
        assert_gone(&views, &jobs);
        if how & 1 != 0 {
            views.checkpoint().unwrap();
        }
        remove(&log, &jobs);
        assert_is_the_fold(&views, &log);
        assert_gone(&views, &jobs);
        prop_assert!(log.verify().unwrap().is_sound());
        // A start from the last checkpoint, be it before or after the deletion.
        let reopened = Views::open(&log, options()).unwrap();
        assert_is_the_fold(&reopened, &log);
        assert_gone(&reopened, &jobs);
        reopened.checkpoint().unwrap();
        assert_is_the_fold(&reopened, &log);
        assert_gone(&reopened, &jobs);
        reopened.sweep().unwrap();
        assert_is_the_fold(&reopened, &log);
        assert_gone(&reopened, &jobs);
        assert_swept(&storage, &reopened);
        drop(reopened);
        delete_derived(&storage);
        log.close();
        let log = open_log(&storage);
        let views = Views::open(&log, options()).unwrap();
        assert_is_the_fold(&views, &log);
        assert_gone(&views, &jobs);
    }

    #[test]
    fn a_power_cut_while_a_deletion_is_stored_does_no_harm(
        appends in histories(120),
        cuts in prop::collection::vec(any::<Index>(), 0..3),
        kept in any::<Index>(),
    ) {
        let (storage, log, views) = with_checkpoints(&appends, &cuts);
        let jobs = deletable(&log);
        if jobs.is_empty() {
            return Ok(());
        }
        say_deleted(&log, &jobs);
        advance(&views, &log);
        remove(&log, &jobs);
        views.checkpoint().unwrap();
        let kept = kept.index(storage.unsynced() + 1);
        log.close();
        let storage = Arc::new(storage.after_power_cut(kept));
        let log = open_log(&storage);
        let views = Views::open(&log, options()).unwrap();
        assert_is_the_fold(&views, &log);
        assert_gone(&views, &jobs);
        views.checkpoint().unwrap();
        assert_is_the_fold(&Views::open(&log, options()).unwrap(), &log);
    }
}

#[test]
fn a_job_that_comes_back_is_not_deleted() {
    let storage = Arc::new(MemoryStorage::new());
    let log = open_log(&storage);
    let job = StreamId::Job(job_id(1));
    let life = || vec![(job.clone(), vec![submitted().into(), started(1, 1).into(), completed().into()])];
    append(&log, &life());
    let views = Views::open(&log, options()).unwrap();
    views.checkpoint().unwrap();
    let jobs = [(job_id(1), Vec::new())];
    say_deleted(&log, &jobs);
    advance(&views, &log);
    remove(&log, &jobs);
    for checkpoint in [false, true] {
        if checkpoint {
            views.checkpoint().unwrap();
        }
        assert_gone(&views, &jobs);
    }
    let events = life().pop().unwrap().1;
    let appended =
        log.append(moonlog_core::log::Append::new(job, moonlog_core::log::Expected::NoStream, events)).unwrap();
    log.durable_blocking(appended.last_position).unwrap();
    advance(&views, &log);
    for _ in 0..2 {
        assert_eq!(views.deleted(&job_id(1)).unwrap(), None);
        assert_eq!(views.job(&job_id(1)).unwrap().unwrap().position, appended.last_position);
        assert_is_the_fold(&views, &log);
        views.checkpoint().unwrap();
    }
    assert_is_the_fold(&Views::open(&log, options()).unwrap(), &log);
}

#[test]
fn what_deleted_jobs_leave_is_swept_by_the_checkpoints_that_follow() {
    let storage = Arc::new(MemoryStorage::new());
    let log = open_log(&storage);
    let job = StreamId::Job(job_id(1));
    let of = |body: EventBody| NewEvent::new(body).process(process_id(1));
    let large = format!("{{\"stdin\":\"{}\"}}", "x".repeat(200_000));
    let parts: [Vec<NewEvent>; 3] = [
        vec![submitted().into(), started(1, 1).into(), step("a", "exec", 1, &large).into()],
        vec![of(process_started()), of(token_claimed("t")), of(process_exited())],
        vec![finished("a", 1, StepOutcome::Ok).into(), completed().into()],
    ];
    for part in parts {
        append(&log, &[(job.clone(), part)]);
        // Each server begins with what the one before it stored.
        let views = Views::open(&log, options()).unwrap();
        views.checkpoint().unwrap();
    }
    let prefixes = |storage: &MemoryStorage| {
        let keys = storage.keys(Space::Snapshots);
        keys.iter().map(|key| String::from_utf8_lossy(&key[..key.len().min(4)]).into_owned()).collect::<Vec<_>>()
    };
    let before = prefixes(&storage);
    assert!(["v/e/", "v/p/", "v/t/"].iter().all(|prefix| before.iter().any(|key| key == prefix)), "{before:?}");
    let jobs = [(job_id(1), Vec::new())];
    say_deleted(&log, &jobs);
    remove(&log, &jobs);
    let mut views = Views::open(&log, options()).unwrap();
    views.checkpoint().unwrap();
    for n in 0..12 {
        // Also one that begins in the middle of it.
        if n == 3 {
            views = Views::open(&log, options()).unwrap();
        }
        append(
            &log,
            &[(
                StreamId::Job(job_id(2)),
                vec![if n == 0 { submitted().into() } else { waiting(WaitKind::Sleep).into() }],
            )],
        );
        advance(&views, &log);
        views.checkpoint().unwrap();
    }
    assert_gone(&views, &jobs);
    assert_eq!(prefixes(&storage), ["v/d/", "v/h", "v/l/"], "that it was deleted is known, and nothing more");
    assert_is_the_fold(&views, &log);
}
