//! The runner of the tests: performs operations by a pure function of their start, and records every event.

use moonlog_core::{
    error_info::ErrorInfo,
    event::*,
    id::{Hash, JobId},
    json::Json,
    time::Timestamp,
};
use moonlog_scripts::{Earlier, Engine, EngineOptions, Input, Limits, Run, RunError, RunSpec, RunState, Slice};
use std::{
    sync::Arc,
    time::{Duration, Instant},
};

/// What the tests' world answers to an operation.
#[derive(Clone, Debug)]
pub enum Say {
    /// It ends well, with this JSON.
    Ok(&'static str),
    /// It ends so, with an error of this code.
    Bad(StepOutcome, &'static str),
    /// It fails, but has an output.
    Both(&'static str, &'static str),
    /// It ends last of all.
    Late(&'static str),
    /// It never ends.
    Never,
}

type Perform = fn(&StepStarted) -> Say;

#[derive(Clone)]
pub struct World {
    pub engine: Engine,
    pub source: Arc<str>,
    pub args: Json,
    pub perform: Perform,
    /// What began last ends first.
    pub newest_first: bool,
    pub seed: u64,
    /// Commands that ran at the crash are recorded as interrupted before anything else.
    pub interrupts: bool,
    /// What an earlier run has recorded.
    pub earlier: Option<Arc<dyn Earlier>>,
}

/// How a job ended, with its log.
#[derive(Debug)]
pub struct Told {
    pub state: RunState,
    pub events: Vec<Arc<Event>>,
}

pub fn job() -> JobId {
    JobId::from_bytes([7; 16])
}

pub fn spec(source: &str, args: Json) -> RunSpec {
    RunSpec {
        stop: Default::default(),
        earlier: None,
        job: job(),
        run: 1,
        workflow: "test".into(),
        source: source.into(),
        script_hash: Hash::of(source.as_bytes()),
        args,
        seed: 42,
        started_at: Timestamp::from_micros(1_700_000_000_000_000),
        nesting: 1,
        budget_total: None,
    }
}

pub fn engine(limits: Limits) -> Engine {
    Engine::new(EngineOptions { limits, warm: 2 })
}

/// How a script stands that has nothing to wait for. It is there soon, however it meant to spend the time.
pub fn ended_soon(engine: &Engine, source: &str) -> RunState {
    let begun = Instant::now();
    let state = match Run::start(engine, spec(source, Json::null()), &[]) {
        Ok((_, slice)) => slice.state,
        Err(RunError::Script(error)) => RunState::Failed(error),
        Err(other) => panic!("{source}: {other}"),
    };
    assert!(begun.elapsed() < Duration::from_secs(20), "{source} took {:?}", begun.elapsed());
    state
}

fn event(log: &[Arc<Event>], new: NewEvent) -> Arc<Event> {
    let position = log.len() as u64 + 1;
    Arc::new(Event {
        position,
        stream: StreamId::Job(job()),
        version: position,
        time: Timestamp::from_micros(1_700_000_000_000_000 + (position as i64 - 1) * 1_000_000),
        job: Some(job()),
        session: None,
        process: None,
        step: new.step,
        cause: new.cause.map(|cause| cause.position(position)),
        body: new.body,
        blob: None,
        origin: None,
    })
}

/// An open operation, or a code step whose next attempt is due.
enum Due {
    Operation(StepStarted),
    Timeout(StepStarted),
    Attempt(StepStarted),
}

impl World {
    pub fn new(source: &str, perform: Perform) -> Self {
        let source = source.into();
        let engine = engine(Limits::default());
        Self {
            engine,
            source,
            args: Json::parse("{}").unwrap(),
            perform,
            newest_first: false,
            seed: 42,
            interrupts: false,
            earlier: None,
        }
    }

    /// Runs the script from its start, or on from where `history` ends.
    pub fn run(&self, history: &[Arc<Event>]) -> Result<Told, RunError> {
        let mut log = history.to_vec();
        if log.is_empty() {
            let started = JobStarted { attempt: 1, run: 1, runner: "test".into() };
            log.push(event(&log, EventBody::JobStarted(started).into()));
        }
        let (seed, earlier) = (self.seed, self.earlier.clone());
        let spec = RunSpec { seed, earlier, ..spec(&self.source, self.args.clone()) };
        let (mut run, mut slice) = Run::start(&self.engine, spec, &log)?;
        loop {
            let Slice { intents, state } = slice;
            for intent in intents {
                log.push(event(&log, intent));
            }
            slice = match state {
                RunState::Blocked => match self.next(&log) {
                    Some(due) => run.resume(self.deliver(due, &mut log))?,
                    None => return Ok(Told { state, events: log }),
                },
                RunState::More => run.resume(Input::Continue)?,
                RunState::Returned(ref result) => {
                    let done = JobCompleted { result: result.clone(), usage: JobUsage::default() };
                    log.push(event(&log, EventBody::JobCompleted(done).into()));
                    return Ok(Told { state, events: log });
                }
                RunState::Failed(ref error) => {
                    log.push(event(&log, EventBody::JobFailed(JobFailed { error: error.clone() }).into()));
                    return Ok(Told { state, events: log });
                }
                RunState::Continued(_) => return Ok(Told { state, events: log }),
            };
        }
    }

    /// The next thing that the world does, judged by the log alone.
    fn next(&self, log: &[Arc<Event>]) -> Option<Due> {
        let mut open: Vec<StepStarted> = Vec::new();
        let mut retries: Vec<StepStarted> = Vec::new();
        for event in log {
            match &event.body {
                EventBody::StepStarted(step) => {
                    retries.retain(|retry| retry.path != step.path);
                    open.push(step.clone());
                }
                EventBody::StepFinished(end) => {
                    open.retain(|step| step.path != end.path || step.attempt != end.attempt)
                }
                EventBody::StepRetryScheduled(retry) => {
                    let start = log.iter().find_map(|event| match &event.body {
                        EventBody::StepStarted(step) if step.path == retry.path => Some(step.clone()),
                        _ => None,
                    });
                    retries.push(StepStarted { attempt: retry.attempt + 1, ..start.unwrap() });
                }
                _ => {}
            }
        }
        let mut due: Vec<(bool, Due)> = Vec::new();
        for step in open {
            let says = (self.perform)(&step);
            let late = matches!(says, Say::Late(_));
            match (step.kind.as_str(), says) {
                (_, Say::Never) => {}
                ("step", Say::Bad(StepOutcome::TimedOut, _)) => due.push((true, Due::Timeout(step))),
                ("step", _) => {}
                _ => due.push((late, Due::Operation(step))),
            }
        }
        due.extend(retries.into_iter().map(|step| (false, Due::Attempt(step))));
        if self.newest_first {
            due.reverse();
        }
        due.sort_by_key(|(late, _)| *late);
        due.into_iter().next().map(|(_, due)| due)
    }

    fn deliver(&self, due: Due, log: &mut Vec<Arc<Event>>) -> Input {
        match due {
            Due::Attempt(step) => {
                log.push(event(log, NewEvent::from(EventBody::StepStarted(step.clone()))));
                Input::Attempt { event: step, time: log.last().unwrap().time }
            }
            Due::Operation(step) | Due::Timeout(step) => {
                let (outcome, output, error) = match (self.perform)(&step) {
                    Say::Ok(json) | Say::Late(json) => (StepOutcome::Ok, Some(json), None),
                    Say::Bad(outcome, code) => (outcome, None, Some(code)),
                    Say::Both(json, code) => (StepOutcome::Error, Some(json), Some(code)),
                    Say::Never => unreachable!(),
                };
                let end = StepFinished {
                    run: 1,
                    path: step.path.clone(),
                    attempt: step.attempt,
                    outcome,
                    output: output.map(|json| Json::parse(json).unwrap()),
                    error: error.map(|code| ErrorInfo::new(code, format!("it failed with {code}"))),
                    latency_ms: 1,
                    cached: false,
                    cached_from: None,
                    tokens_spent: None,
                };
                log.push(event(log, NewEvent::from(EventBody::StepFinished(end.clone()))));
                let time = log.last().unwrap().time;
                let policy = step.input.to_value()["retry"].clone();
                let policy: Option<RetryPolicy> = serde_json::from_value(policy).ok();
                let wait = policy.and_then(|policy| policy.wait_ms_after(step.attempt));
                let retry = step.kind == "step" && wait.is_some();
                if let (true, Some(wait_ms)) = (retry, wait) {
                    let error = end.error.clone().unwrap();
                    let (run, path, attempt) = (1, end.path.clone(), end.attempt);
                    let scheduled = StepRetryScheduled { run, path, attempt, wait_ms, error };
                    log.push(event(log, NewEvent::from(EventBody::StepRetryScheduled(scheduled))));
                }
                Input::Finished { event: end, retry, time }
            }
        }
    }

    /// Runs the script, then again with its whole log and with every beginning of its log, each of which must come to
    /// the same end.
    pub fn told(&self) -> Told {
        let told = self.run(&[]).unwrap_or_else(|error| panic!("{error}"));
        let ended = matches!(told.state, RunState::Returned(_) | RunState::Failed(_));
        for cut in 1..=told.events.len() - usize::from(ended) {
            if Self::cuts_an_append(&told.events, cut) {
                continue;
            }
            let again = self.run(&told.events[..cut]);
            let again =
                again.unwrap_or_else(|error| panic!("cut after event {cut}: {error}\n{}", listing(&told.events)));
            let (first, second) = (summary(&told.events), summary(&again.events));
            assert_eq!(told.state, again.state, "cut after event {cut}");
            assert_eq!(first, second, "cut after event {cut} of\n{}", listing(&told.events));
        }
        told
    }

    /// The runner appends the end of an attempt and its retry together: no crash comes between.
    pub fn cuts_an_append(events: &[Arc<Event>], cut: usize) -> bool {
        let last = events.get(cut - 1).map(|event| &event.body);
        let next = events.get(cut).map(|event| &event.body);
        match (last, next) {
            (Some(EventBody::StepFinished(end)), Some(EventBody::StepRetryScheduled(_))) => {
                end.outcome == StepOutcome::TimedOut
            }
            _ => false,
        }
    }

    /// Attempts that have not exactly one start and one end.
    pub fn unpaired(events: &[Arc<Event>]) -> Vec<String> {
        let mut counts: std::collections::BTreeMap<(String, u32), (u32, u32)> = Default::default();
        for event in events {
            match &event.body {
                EventBody::StepStarted(step) => counts.entry((step.path.clone(), step.attempt)).or_default().0 += 1,
                EventBody::StepFinished(step) => counts.entry((step.path.clone(), step.attempt)).or_default().1 += 1,
                _ => {}
            }
        }
        let odd = counts.into_iter().filter(|(_, count)| *count != (1, 1));
        odd.map(|((path, attempt), count)| format!("{path} attempt {attempt}: {count:?}")).collect()
    }

    /// What the script returned, as JSON.
    pub fn result(&self) -> String {
        match self.told().state {
            RunState::Returned(json) => json.to_string(),
            other => panic!("{other:?}"),
        }
    }

    /// The error that the script failed with.
    pub fn error(&self) -> ErrorInfo {
        match self.told().state {
            RunState::Failed(error) => error,
            other => panic!("{other:?}"),
        }
    }
}

/// Every step's starts and ends and every note, without their order: a cut may let branches run in another one.
fn summary(events: &[Arc<Event>]) -> Vec<String> {
    let mut lines: Vec<String> = events.iter().map(|event| line(event)).collect();
    lines.sort();
    lines
}

fn line(event: &Event) -> String {
    let step = event.step.as_deref().unwrap_or("-");
    match &event.body {
        EventBody::StepStarted(s) => format!("start {} {} {}", s.kind, s.path, s.attempt),
        EventBody::StepFinished(s) => format!("end {} {} {:?}", s.path, s.attempt, s.outcome),
        EventBody::StepRetryScheduled(s) => format!("retry {} {} {}", s.path, s.attempt, s.wait_ms),
        EventBody::JobLogged(l) => format!("log {step} {} {}", l.level, l.message),
        EventBody::JobEmitted(e) => format!("emit {step} {} {}", e.name, e.value),
        EventBody::JobPhaseEntered(p) => format!("phase {step} {}", p.title),
        other => other.name().to_owned(),
    }
}

/// The log in lines.
pub fn listing(events: &[Arc<Event>]) -> String {
    events.iter().map(|event| line(event)).collect::<Vec<_>>().join("\n")
}

/// The result of a script whose operations all answer with their own call path.
pub fn eval(source: &str) -> String {
    World::new(source, |_| Say::Ok("null")).result()
}

/// The error of such a script.
pub fn error(source: &str) -> ErrorInfo {
    World::new(source, |_| Say::Ok("null")).error()
}
