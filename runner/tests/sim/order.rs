//! What must hold of the order of events: of acts, of steps, and of places in queues.

use crate::{life::NARROW, oracle::Check, world::World};
use moonlog_core::{
    event::{Event, EventBody, RetryPolicy, StepOutcome},
    id::JobId,
    journal::{idempotency_key, operation_key},
};
use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
};

/// Nothing is started outside that the log does not say before, nor more often than it says, nor after its end.
pub fn check_acts(world: &World, events: &[Arc<Event>]) -> Check {
    let memory = world.memory();
    if !memory.deletes.is_empty() {
        // What was deleted cannot be compared.
        return Ok(());
    }
    let mut attempts: HashMap<String, Vec<(u64, Option<u64>)>> = HashMap::new();
    // What is open, with the key that it acts under.
    let mut open: HashMap<(JobId, String), String> = HashMap::new();
    // The keys of agents, by their jobs.
    let mut agents: HashMap<JobId, Vec<String>> = HashMap::new();
    for event in events {
        let Some(job) = event.job else { continue };
        let mut begin = |what: String, key: String| {
            attempts.entry(key.clone()).or_default().push((event.position, None));
            open.insert((job, what), key);
        };
        let ended = match &event.body {
            EventBody::StepStarted(step) => {
                let what = format!("{} {}@{}", step.run, step.path, step.attempt);
                match &*step.kind {
                    kind @ ("exec" | "sh" | "process" | "http") => {
                        begin(what, operation_key(&job, step.run, &step.path, kind));
                    }
                    "tool" => begin(what, idempotency_key(&job, step.run, &step.path)),
                    "agent" => agents.entry(job).or_default().push(idempotency_key(&job, step.run, &step.path)),
                    _ => {}
                }
                None
            }
            EventBody::StepFinished(step) => Some(format!("{} {}@{}", step.run, step.path, step.attempt)),
            EventBody::ToolStarted(call) => {
                for agent in agents.get(&job).into_iter().flatten() {
                    begin(format!("{agent} {}", call.call_id), format!("{agent}/{}", call.call_id));
                }
                None
            }
            EventBody::ToolFinished(call) => {
                for agent in agents.get(&job).into_iter().flatten() {
                    close(&mut attempts, open.remove(&(job, format!("{agent} {}", call.call_id))), event.position);
                }
                None
            }
            _ => None,
        };
        if let Some(what) = ended {
            close(&mut attempts, open.remove(&(job, what)), event.position);
        }
    }
    let mut started: HashMap<&str, usize> = HashMap::new();
    for act in &memory.acts {
        let Some(all) = attempts.get(&act.key) else {
            return Err(format!("{} was started at head {}, and the log knows nothing of it", act.key, act.head));
        };
        // An agent's call that was interrupted may be on its way to the machine still: its end says that nobody saw what came of
        // it.
        let is_agents = act.key.contains('/');
        let open = all
            .iter()
            .any(|(begun, ended)| *begun <= act.head && (is_agents || ended.is_none_or(|ended| ended > act.head)));
        if !open {
            return Err(format!("{} was started at head {} with {all:?}", act.key, act.head));
        }
        let count = started.entry(&act.key).or_default();
        *count += 1;
        if *count > all.len() {
            return Err(format!("{} was started {count} times, with {} attempts in the log", act.key, all.len()));
        }
    }
    Ok(())
}

/// The act under this key has ended.
fn close(attempts: &mut HashMap<String, Vec<(u64, Option<u64>)>>, key: Option<String>, at: u64) {
    if let Some((_, end)) = key.and_then(|key| attempts.get_mut(&key)?.last_mut()) {
        *end = Some(at);
    }
}

/// Attempts are those that the script allows; what waits stays open over restarts, and no sleep ends early.
pub fn check_steps(events: &[Arc<Event>]) -> Check {
    let mut begun = HashMap::new();
    let mut signals: HashMap<(JobId, String), i64> = HashMap::new();
    for event in events {
        let Some(job) = event.job else { continue };
        let fail = |why: String| Err(format!("at {}: {why}", event.position));
        match &event.body {
            EventBody::JobSignalled(signal) => *signals.entry((job, signal.name.clone())).or_default() += 1,
            EventBody::StepStarted(step) => {
                #[derive(serde::Deserialize)]
                struct Input {
                    retry: Option<RetryPolicy>,
                    ms: Option<u64>,
                    signal: Option<String>,
                }
                let input = step.input.to::<Input>().ok();
                // An agent that a dead server left goes on, also where nobody said so.
                let unsaid = if step.kind == "agent" { 3 } else { 1 };
                let max = input.as_ref().and_then(|input| input.retry.as_ref()).map_or(unsaid, |retry| retry.max);
                if step.attempt > max {
                    return fail(format!("{} has attempt {} of {max}", step.path, step.attempt));
                }
                let due = input.as_ref().and_then(|input| input.ms).map(|ms| event.time.plus_ms(ms));
                let signal = input.and_then(|input| input.signal);
                begun.insert((job, step.run, step.path.clone(), step.attempt), (step.kind.clone(), due, signal));
            }
            EventBody::StepFinished(step) => {
                let Some((kind, due, signal)) = begun.get(&(job, step.run, step.path.clone(), step.attempt)) else {
                    continue;
                };
                let waits = matches!(&**kind, "sleep" | "wait" | "wait_for" | "approve" | "workflow" | "step");
                if waits && step.outcome == StepOutcome::Interrupted {
                    return fail(format!("{}, a {kind}, was interrupted", step.path));
                }
                if let Some(signal) = signal.clone().filter(|_| step.outcome == StepOutcome::Ok && !step.cached) {
                    let left = signals.entry((job, signal)).or_default();
                    *left -= 1;
                    if *left < 0 {
                        return fail(format!("{} was given a signal that was used before", step.path));
                    }
                }
                // What a fork has of another job's past keeps that one's times.
                let is_shared = event.origin.is_some();
                let slept = kind == "sleep" && !is_shared && step.outcome == StepOutcome::Ok && !step.cached;
                if slept && due.is_some_and(|due| event.time < due) {
                    return fail(format!("{} slept too short", step.path));
                }
            }
            _ => {}
        }
    }
    Ok(())
}

/// No more jobs run at once than their queue lets, and one of each concurrency key.
pub fn check_places_in_queues(events: &[Arc<Event>]) -> Check {
    let mut of: HashMap<JobId, (String, Option<String>)> = HashMap::new();
    let (mut running, mut holders): (BTreeSet<JobId>, HashMap<String, JobId>) = Default::default();
    for event in events {
        if matches!(event.body, EventBody::RunnerStarted(_)) {
            running.clear();
        }
        let Some(job) = event.job else { continue };
        if let EventBody::JobSubmitted(submitted) = &event.body {
            of.insert(job, (submitted.queue.clone(), submitted.concurrency_key.clone()));
            continue;
        }
        let Some((queue, key)) = of.get(&job) else { continue };
        let begins = matches!(event.body, EventBody::JobStarted(_) | EventBody::JobResumed(_));
        let ends = event.body.is_terminal() || matches!(event.body, EventBody::JobRetryScheduled(_));
        if begins {
            running.insert(job);
            let limit = if queue == "default" { usize::MAX } else { NARROW };
            let in_queue = running.iter().filter(|job| of.get(job).is_some_and(|(other, _)| other == queue)).count();
            if in_queue > limit {
                return Err(format!("at {}: {in_queue} jobs run in {queue}", event.position));
            }
        }
        if ends || matches!(event.body, EventBody::JobWaiting(_)) {
            running.remove(&job);
        }
        if let Some(key) = key {
            if matches!(event.body, EventBody::JobStarted(_))
                && let Some(other) = holders.insert(key.clone(), job).filter(|other| *other != job)
            {
                return Err(format!("at {}: {job} and {other} run under {key}", event.position));
            }
            if ends && holders.get(key) == Some(&job) {
                holders.remove(key);
            }
        }
    }
    Ok(())
}
