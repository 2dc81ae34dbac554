//! What must hold of a log in which every job has ended.

use moonlog_core::{
    event::{Event, EventBody, StepOutcome, StreamId},
    id::JobId,
    log::Log,
};
use moonlog_scripts::{
    Engine, EngineOptions, Limits,
    replay::{Outcome, Replay, ReplayOptions},
};
use std::{
    collections::{BTreeMap, HashMap},
    fmt::Write,
    sync::Arc,
};

pub struct History {
    jobs: BTreeMap<JobId, Vec<Arc<Event>>>,
    sources: HashMap<JobId, String>,
    limits: Limits,
}

impl History {
    pub fn of(log: &Log, limits: Limits) -> Self {
        let mut jobs: BTreeMap<JobId, Vec<Arc<Event>>> = BTreeMap::new();
        let mut sources = HashMap::new();
        for event in log.read(0, 1_000_000).unwrap() {
            let StreamId::Job(job) = event.stream else { continue };
            if let EventBody::JobSubmitted(submitted) = &event.body {
                let source = log.blob(&submitted.script_hash).unwrap().expect("a job's script");
                sources.insert(job, String::from_utf8(source).unwrap());
            }
            jobs.entry(job).or_default().push(event);
        }
        Self { jobs, sources, limits }
    }

    pub fn check(&self) -> Result<(), String> {
        let engine = Engine::new(EngineOptions { limits: self.limits.clone(), ..EngineOptions::default() });
        for (job, events) in &self.jobs {
            let check = self.check_job(events).and_then(|runs| {
                for run in runs {
                    let options = ReplayOptions { run: Some(run), ..ReplayOptions::default() };
                    let verdict = Replay::run(&engine, &self.sources[job], events, &options);
                    if verdict.outcome != Outcome::Deterministic {
                        return Err(format!("run {run} does not replay: {:?}", verdict.outcome));
                    }
                }
                Ok(())
            });
            check.map_err(|why| format!("job {job}: {why}\n{}", self.sources[job]))?;
        }
        Ok(())
    }

    /// Checks the order of one job's events. Gives its runs.
    fn check_job(&self, events: &[Arc<Event>]) -> Result<Vec<u32>, String> {
        let mut runs = Vec::new();
        let mut open: BTreeMap<(u32, &str, u32), u64> = BTreeMap::new();
        let mut closed: BTreeMap<(u32, &str, u32), u64> = BTreeMap::new();
        let mut processes = BTreeMap::new();
        let (mut attempt, mut due, mut waiting) = (0, None, false);
        for (index, event) in events.iter().enumerate() {
            let fail = |why: String| Err(format!("at {}: {why}", event.position));
            let last = index + 1 == events.len();
            if event.body.is_terminal() != last {
                return fail(format!("{} {}", event.body.name(), if last { "is last" } else { "is not last" }));
            }
            if (index == 0) != matches!(event.body, EventBody::JobSubmitted(_)) {
                return fail("job.submitted is not first, or not alone".into());
            }
            match &event.body {
                EventBody::JobStarted(started) => {
                    if started.attempt != attempt + 1 || started.run != runs.len() as u32 + 1 {
                        return fail(format!("attempt {} in run {}", started.attempt, started.run));
                    }
                    if attempt > 0 && due.is_none_or(|due| event.time < due) {
                        return fail(format!("attempt {} begins before its time", started.attempt));
                    }
                    attempt = started.attempt;
                    runs.push(started.run);
                    due = None;
                }
                EventBody::JobContinued(continued) => runs.push(continued.run),
                EventBody::JobRetryScheduled(retry) => {
                    if retry.attempt != attempt || due.is_some() {
                        return fail(format!("attempt {} ends while {attempt} runs", retry.attempt));
                    }
                    due = Some(event.happened_at().plus_ms(retry.wait_ms));
                    waiting = false;
                }
                EventBody::JobWaiting(_) | EventBody::JobResumed(_) => {
                    if waiting == matches!(event.body, EventBody::JobWaiting(_)) {
                        return fail(format!("{} twice", event.body.name()));
                    }
                    waiting = !waiting;
                }
                EventBody::StepStarted(step) => {
                    if Some(&step.run) != runs.last() {
                        return fail(format!("{} of run {} begins in {runs:?}", step.path, step.run));
                    }
                    if waiting {
                        return fail(format!("{} begins while the job waits", step.path));
                    }
                    let key = (step.run, &*step.path, step.attempt);
                    if closed.contains_key(&key) || open.insert(key, event.position).is_some() {
                        return fail(format!("{key:?} begins twice"));
                    }
                    if step.attempt > 1 && !closed.contains_key(&(step.run, &*step.path, step.attempt - 1)) {
                        return fail(format!("{key:?} begins before the attempt before it ended"));
                    }
                }
                EventBody::StepFinished(step) => {
                    let key = (step.run, &*step.path, step.attempt);
                    if open.remove(&key).is_none() {
                        return fail(format!(
                            "{key:?} ends {}",
                            if closed.contains_key(&key) { "twice" } else { "unbegun" }
                        ));
                    }
                    closed.insert(key, event.position);
                    if waiting && step.outcome != StepOutcome::Cancelled {
                        return fail(format!("{key:?} ends while the job waits"));
                    }
                }
                EventBody::ProcessStarted(_) => {
                    processes.insert(event.process, event.position);
                }
                EventBody::ProcessExited(_) if processes.remove(&event.process).is_none() => {
                    return fail("a process ends that has not begun, or again".into());
                }
                _ => {}
            }
            let ends = event.body.is_terminal() || matches!(event.body, EventBody::JobRetryScheduled(_));
            if ends && !(open.is_empty() && processes.is_empty()) {
                return fail(format!("{} with open {open:?} and processes {processes:?}", event.body.name()));
            }
        }
        Ok(runs)
    }

    pub fn listing(&self) -> String {
        let mut text = String::new();
        let mut all: Vec<&Arc<Event>> = self.jobs.values().flatten().collect();
        all.sort_by_key(|event| event.position);
        for event in all {
            let job = event.job.unwrap().to_string();
            let data = event.body.data_json();
            let data: String = data.chars().take(180).collect();
            let _ = writeln!(text, "{:5} {} {} {}", event.position, &job[job.len() - 4..], event.body.name(), data);
        }
        text
    }
}
