//! What must hold: the invariants, as far as they can be seen from outside.

use crate::{
    history::History,
    life::Setup,
    order::{check_acts, check_places_in_queues, check_steps},
    told::{check_chats, check_webhooks},
    world::World,
};
use moonlog_core::{
    event::{Event, EventBody, RunnerStopped, StreamId},
    id::{Hash, JobId},
    log::{Append, Expected, Log, Place},
    projection::{Projection, Views, ViewsOptions},
    storage::{Direction, MemoryStorage, Space, Storage},
    time::Timestamp,
};
use moonlog_runner::Runner;
use moonlog_scripts::Limits;
use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    ops::Bound,
    sync::Arc,
};

pub type Check = Result<(), String>;

/// What a view answers is the fold from the first event.
pub fn check_views(world: &World, runner: &Runner) {
    let views = runner.views();
    if let Err(why) = is_the_fold(views, runner.log()) {
        world.fail(format!("a view is not the fold of the log: {why}"));
    }
}

fn is_the_fold(views: &Views, log: &Log) -> Check {
    let (applied, mut fold) = (views.applied(), Projection::new());
    let events = log.read(0, usize::MAX).map_err(|error| error.to_string())?;
    let mut jobs = BTreeSet::new();
    let was_deleted = events.iter().any(|event| matches!(event.body, EventBody::JobDeleted(_)));
    for event in events.iter().take_while(|event| event.position <= applied) {
        fold.apply(event);
        if let (EventBody::JobSubmitted(_), Some(job)) = (&event.body, event.job) {
            jobs.insert(job);
        }
    }
    for job in &jobs {
        let shown = views.job(job).map_err(|error| error.to_string())?;
        if shown.as_ref() != fold.job(job) {
            return Err(format!("at {applied}: job {job}: {shown:?}\n and not {:?}", fold.job(job)));
        }
    }
    for session in fold.sessions().iter() {
        let shown = views.session(&session.id).map_err(|error| error.to_string())?;
        if shown.as_ref() != Some(session) {
            return Err(format!("at {applied}: session {}: {shown:?}\n and not {session:?}", session.id));
        }
    }
    for (key, first) in fold.keys().iter() {
        if views.idempotent(key).map_err(|error| error.to_string())?.as_ref() != Some(first) {
            return Err(format!("at {applied}: key {key}"));
        }
    }
    views.with(|all| {
        let parts = [
            ("queues", all.queues() == fold.queues()),
            ("processes", all.processes() == fold.processes()),
            ("approvals", all.approvals() == fold.approvals()),
            ("schedules", all.schedules() == fold.schedules()),
            // Of events that were deleted, only a view still knows how many were wanted.
            ("webhooks", was_deleted || all.webhooks() == fold.webhooks()),
            ("open sessions", all.sessions().open().eq(fold.sessions().open())),
            ("live jobs", all.live_jobs().eq(fold.live_jobs())),
        ];
        parts.iter().find(|(_, same)| !same).map_or(Ok(()), |(part, _)| Err(format!("at {applied}: {part}")))
    })
}

/// What was acknowledged is there.
pub fn check_memory(world: &World, runner: &Runner) {
    let memory = world.memory();
    let mut wrong = Vec::new();
    for job in memory.jobs.iter().chain(memory.said.keys()) {
        let there = matches!(runner.job(job), Ok(Some(_)));
        match memory.deletes.get(job) {
            None if !there => wrong.push(format!("job {job} was acknowledged, and is not there")),
            Some(true) if there => wrong.push(format!("job {job} was deleted, and is there")),
            _ => {}
        }
    }
    for (key, job) in &memory.keys {
        if memory.deletes.contains_key(job) {
            continue;
        }
        if !runner.views().idempotent(key).is_ok_and(|first| first.is_some_and(|first| first.job == *job)) {
            wrong.push(format!("{key} was told to be job {job}'s"));
        }
    }
    drop(memory);
    wrong.into_iter().for_each(|wrong| world.fail(wrong));
}

/// A log that has failed once takes nothing more.
pub fn check_refusal(world: &World, log: &Log) {
    let stopped = EventBody::RunnerStopped(RunnerStopped { version: String::new() });
    let append = Append::new(StreamId::System, Expected::Any, vec![stopped.into()]);
    if log.is_poisoned().is_some() && log.append(append).is_ok() {
        world.fail("a write failed, and the log takes more");
    }
}

/// All that can be said of a log in which every job has ended.
pub fn check_all(world: &Arc<World>, setup: &Setup, memory: &MemoryStorage) -> Check {
    let text = |error: &dyn std::fmt::Display| error.to_string();
    let open = |without: &[Space]| -> Result<Log, String> {
        let storage = memory.after_power_cut(usize::MAX);
        for space in without {
            storage.clear(*space).map_err(|error| text(&error))?;
        }
        let (log, _, _) = Log::open_stepped(Arc::new(storage), setup.log(world)).map_err(|error| text(&error))?;
        Ok(log)
    };
    let log = open(&[])?;
    let report = log.verify().map_err(|error| text(&error))?;
    if !report.is_sound() {
        return Err(format!("it is not sound: {report:?}"));
    }
    let events = log.read(0, usize::MAX).map_err(|error| text(&error))?;
    // Without anything that is derived, all is the same.
    for without in [&[][..], &[Space::Snapshots], &[Space::Index, Space::Snapshots]] {
        let log = open(without)?;
        let again = log.read(0, usize::MAX).map_err(|error| text(&error))?;
        if again != events {
            return Err(format!("without {without:?} other events are read"));
        }
        let views = Views::open(&log, ViewsOptions::default()).map_err(|error| text(&error))?;
        views.catch_up().map_err(|error| text(&error))?;
        is_the_fold(&views, &log).map_err(|why| format!("without {without:?}: {why}"))?;
    }
    check_places(world, &log)?;
    check_told(world, &events)?;
    check_acts(world, &events)?;
    check_steps(&events)?;
    check_chats(&events)?;
    check_webhooks(world, &events)?;
    check_schedules(&events)?;
    check_places_in_queues(&events)?;
    History::of(&log, Limits::default()).check()
}

/// Positions and versions have no gap, but for what was deleted; times never go backwards.
fn check_places(world: &World, log: &Log) -> Check {
    let places = log.places(0, usize::MAX).map_err(|error| error.to_string())?;
    let mut versions: HashMap<StreamId, u64> = HashMap::new();
    let mut time = Timestamp::from_micros(i64::MIN);
    let deletes = world.memory().deletes.clone();
    for (index, place) in places.iter().enumerate() {
        match place {
            Place::Event(event) => {
                if event.position != index as u64 + 1 {
                    return Err(format!("position {} is the {}th", event.position, index + 1));
                }
                let version = versions.entry(event.stream.clone()).or_insert(0);
                *version += 1;
                if event.version != *version {
                    return Err(format!("version {} of {} is the {version}th", event.version, event.stream));
                }
                if event.time < time {
                    return Err(format!("the time goes backwards at {}", event.position));
                }
                time = event.time;
            }
            Place::Removed(removed) => {
                // A deleted job takes the sessions of its agents along.
                let StreamId::Job(job) = &removed.stream else { continue };
                if !deletes.contains_key(job) {
                    return Err(format!("{job} is removed, and nobody asked for it"));
                }
            }
        }
    }
    Ok(())
}

/// What a reader has seen, in its order, is what the log holds.
fn check_told(world: &World, events: &[Arc<Event>]) -> Check {
    let memory = world.memory();
    let log: BTreeMap<u64, &Arc<Event>> = events.iter().map(|event| (event.position, event)).collect();
    let mut last = 0;
    for (position, shown) in &memory.seen {
        if *position <= last {
            return Err(format!("the feed gave {position} behind {last}"));
        }
        last = *position;
        let Some(event) = log.get(position) else { continue };
        if Hash::of(event.to_json(1 << 20).as_bytes()) != *shown {
            return Err(format!(
                "the feed gave something else at {position} than what the log holds: {}",
                event.body.name()
            ));
        }
    }
    let seen: BTreeSet<u64> = memory.seen.iter().map(|(position, _)| *position).collect();
    if let Some(missed) = events.iter().find(|event| event.position <= last && !seen.contains(&event.position)) {
        return Err(format!("the feed left out {}", missed.position));
    }
    let of_job = |job: &JobId, what: &dyn Fn(&EventBody) -> bool| {
        events.iter().filter(|event| event.job == Some(*job) && what(&event.body)).count()
    };
    for (key, job) in memory.signals.iter().filter(|(_, job)| !memory.deletes.contains_key(job)) {
        let signalled = |body: &EventBody| matches!(body, EventBody::JobSignalled(signal) if signal.idempotency_key.as_ref() == Some(key));
        if of_job(job, &signalled) != 1 {
            return Err(format!(
                "signal {key} of job {job} was acknowledged, and stands there {} times",
                of_job(job, &signalled)
            ));
        }
    }
    for job in memory.cancels.iter().filter(|job| !memory.deletes.contains_key(job)) {
        if of_job(job, &|body| matches!(body, EventBody::JobCancelRequested(_))) == 0 {
            return Err(format!("the cancellation of job {job} was acknowledged, and does not stand there"));
        }
    }
    let mut keys = BTreeMap::new();
    for event in events {
        if let EventBody::JobSubmitted(submitted) = &event.body
            && let Some(key) = &submitted.idempotency_key
            && let Some(other) = keys.insert(key.clone(), event.job)
        {
            return Err(format!("{key} has two jobs: {other:?} and {:?}", event.job));
        }
    }
    Ok(())
}

/// A schedule that says that it has fired has submitted its job before.
fn check_schedules(events: &[Arc<Event>]) -> Check {
    let mut submitted = BTreeSet::new();
    for event in events {
        match &event.body {
            EventBody::JobSubmitted(_) => submitted.extend(event.job),
            EventBody::ScheduleFired(fired) if fired.job.is_some_and(|job| !submitted.contains(&job)) => {
                return Err(format!("the firing at {} has no job: {fired:?}", event.position));
            }
            _ => {}
        }
    }
    Ok(())
}

/// What the log is, byte by byte.
pub fn fingerprint(memory: &MemoryStorage) -> String {
    let mut bytes = Vec::new();
    for space in [Space::Frames, Space::Blobs] {
        let entries = memory.scan(space, Bound::Unbounded, Bound::Unbounded, Direction::Forward, usize::MAX).unwrap();
        for (key, value) in entries {
            bytes.extend(key);
            bytes.extend(value);
        }
    }
    Hash::of(&bytes).to_string()
}

/// The log's events, for people.
pub fn listing(world: &Arc<World>, setup: &Setup, memory: &MemoryStorage) -> String {
    match Log::open_stepped(Arc::new(memory.after_power_cut(usize::MAX)), setup.log(world)) {
        Ok((log, _, _)) => {
            let events = log.read(0, usize::MAX).unwrap_or_default();
            events.iter().fold(String::new(), |mut text, event| {
                use std::fmt::Write;
                let data: String = event.body.data_json().chars().take(220).collect();
                let end = |id: Option<String>| id.map_or_else(String::new, |id| id[id.len() - 4..].to_owned());
                let job = end(event.job.map(|job| job.to_string()));
                let session = end(event.session.map(|session| session.to_string()));
                let step = event.step.as_deref().unwrap_or_default();
                let _ = writeln!(
                    text,
                    "{:5} {} {job:4} {session:4} {} {step} {data}",
                    event.position,
                    event.time,
                    event.body.name()
                );
                text
            })
        }
        Err(error) => error.to_string(),
    }
}
