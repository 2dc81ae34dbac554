//! Events as a server writes them: jobs that run side by side, with steps, processes and what these print.

use moonlog_core::{
    error_info::ErrorInfo,
    event::{
        Event, EventBody, JobCompleted, JobFailed, JobLimits, JobLogged, JobPhaseEntered, JobStarted, JobSubmitted,
        JobUsage, NewEvent, ProcessExited, ProcessOutcome, ProcessOutput, ProcessStarted, StepFinished, StepOutcome,
        StepStarted, StreamId,
    },
    id::{Hash, JobId, ProcessId},
    json::Json,
    time::Timestamp,
};
use std::sync::Arc;

/// How many jobs run at a time.
const SIDE_BY_SIDE: u64 = 64;
/// How many steps a job has; every other one runs a process.
const STEPS: u32 = 8;

/// How many workflows a mixed history has.
pub const WORKFLOWS: u64 = 7;
/// One job in so many of a mixed history fails.
pub const FAILS: u64 = 50;
/// One in so many has a script of its own, and an idempotency key.
const OWN_SCRIPT: u64 = 16;
/// One in so many has a result that is stored as a blob of its own.
const LARGE: u64 = 100;
/// So many jobs after each other share a label.
pub const BATCH: u64 = 1_000;

/// An endless history, one event at a time.
pub struct History {
    jobs: Vec<Job>,
    next: usize,
    begun: u64,
    mixed: bool,
}

/// A job that runs, and what it is going to do, last first.
struct Job {
    id: JobId,
    to_come: Vec<NewEvent>,
}

impl History {
    /// A history from its beginning; it is always the same.
    pub fn new() -> Self {
        Self::of(false)
    }

    /// A history whose jobs differ: workflows, labels, scripts, keys, failures, results that are blobs.
    pub fn mixed() -> Self {
        Self::of(true)
    }

    fn of(mixed: bool) -> Self {
        let jobs = (1..=SIDE_BY_SIDE).map(|nth| Job::new(nth, mixed)).collect();
        Self { jobs, next: 0, begun: SIDE_BY_SIDE, mixed }
    }

    /// How many jobs have ended, at least.
    pub const fn ended(&self) -> u64 {
        self.begun - SIDE_BY_SIDE
    }

    /// What is left to do of the jobs that have begun: a server would take them up otherwise.
    pub fn rest(&mut self) -> Vec<(JobId, NewEvent)> {
        let mut rest = Vec::new();
        for job in &mut self.jobs {
            rest.extend(job.to_come.drain(..).rev().map(|event| (job.id, event)));
            self.begun += 1;
            *job = Job::new(self.begun, self.mixed);
        }
        rest
    }

    /// The next events with their places in a log, behind `position`.
    pub fn events(&mut self, position: u64, count: usize, versions: &mut Versions) -> Vec<Arc<Event>> {
        let place = |(nth, (id, new)): (usize, (JobId, NewEvent))| {
            let position = position + 1 + nth as u64;
            let first = matches!(new.body, EventBody::JobSubmitted(_));
            let slot = &mut versions.0[nth_job(&id) as usize % versions_len()];
            *slot = if first { 1 } else { *slot + 1 };
            Arc::new(Event {
                position,
                stream: StreamId::Job(id),
                version: *slot,
                time: Timestamp::from_micros(1_760_000_000_000_000 + position as i64),
                job: Some(id),
                session: None,
                process: new.process,
                step: new.step,
                cause: None,
                body: new.body,
                origin: None,
                blob: None,
            })
        };
        self.by_ref().take(count).enumerate().map(place).collect()
    }
}

/// The versions of the streams that are being written.
pub struct Versions(Vec<u64>);

impl Versions {
    /// Before the first event.
    pub fn new() -> Self {
        Self(vec![0; versions_len()])
    }
}

/// Far more than there are live jobs, so that no two of those share a place.
const fn versions_len() -> usize {
    SIDE_BY_SIDE as usize * 64
}

impl Iterator for History {
    type Item = (JobId, NewEvent);

    fn next(&mut self) -> Option<Self::Item> {
        self.next = (self.next + 1) % self.jobs.len();
        let job = &mut self.jobs[self.next];
        if job.to_come.is_empty() {
            self.begun += 1;
            *job = Job::new(self.begun, self.mixed);
        }
        job.to_come.pop().map(|event| (job.id, event))
    }
}

impl Job {
    fn new(nth: u64, mixed: bool) -> Self {
        let mut to_come = Vec::with_capacity(48);
        let submitted = if mixed { one_of_many(nth) } else { submitted(nth) };
        to_come.push(NewEvent::new(EventBody::JobSubmitted(submitted.into())));
        let runner = "moonlog 0.1.0, Luau 0.700".into();
        to_come.push(NewEvent::new(EventBody::JobStarted(JobStarted { attempt: 1, run: 1, runner })));
        let title = "Build".into();
        to_come.push(NewEvent::new(EventBody::JobPhaseEntered(JobPhaseEntered { title })));
        for step in 1..=STEPS {
            if step % 2 == 0 { process_step(nth, step, &mut to_come) } else { pure_step(step, &mut to_come) }
        }
        let result = Json::from_written(r#"{"built":8,"failed":0,"report":"all is well"}"#.into());
        let completed = |result| EventBody::JobCompleted(JobCompleted { result, usage: JobUsage::default() });
        to_come.push(NewEvent::new(match nth {
            _ if !mixed => completed(result),
            _ if nth.is_multiple_of(FAILS) => {
                let error = ErrorInfo::new("step_failed", "make ended with status 2");
                EventBody::JobFailed(JobFailed { error })
            }
            _ if nth % LARGE == 1 => completed(Json::from_written(format!("\"{nth:040}{}\"", "x".repeat(40_000)))),
            _ => completed(result),
        }));
        to_come.reverse();
        Self { id: job_id(nth), to_come }
    }
}

/// The `nth` job's id; ids grow as those of a server do.
pub fn job_id(nth: u64) -> JobId {
    JobId::from_bytes(id_bytes(0x7000_0000, nth))
}

/// The script that the job of a mixed history was submitted with.
pub fn script(id: &JobId) -> String {
    let nth = nth_job(id);
    if nth.is_multiple_of(OWN_SCRIPT) { format!("return {nth}") } else { "return 1".into() }
}

/// The jobs of a mixed history differ in what lists filter by.
fn one_of_many(nth: u64) -> JobSubmitted {
    let mut one = submitted(nth);
    one.script_hash = Hash::of(script(&job_id(nth)).as_bytes());
    one.workflow = format!("build-{}", nth % WORKFLOWS);
    one.labels.insert("batch".into(), (nth / BATCH).to_string());
    one.idempotency_key = nth.is_multiple_of(OWN_SCRIPT).then(|| format!("commit-{nth:040x}"));
    one
}

fn nth_job(id: &JobId) -> u64 {
    id.as_bytes().last_chunk().map_or(0, |bytes| u64::from_be_bytes(*bytes))
}

fn id_bytes(kind: u64, nth: u64) -> [u8; 16] {
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&(0x019a_b0c2_0000_0000 | kind).to_be_bytes());
    bytes[8..].copy_from_slice(&nth.to_be_bytes());
    bytes
}

fn submitted(nth: u64) -> JobSubmitted {
    JobSubmitted {
        workflow: "build".into(),
        script_hash: Hash::of(b"return 1"),
        args: Json::from_written(format!(r#"{{"commit":"{nth:040x}","path":"."}}"#)),
        idempotency_key: None,
        request_hash: None,
        queue: "default".into(),
        priority: 0,
        run_at: None,
        limits: JobLimits::default(),
        seed: nth,
        parent: None,
        resume_from: None,
        forked_from: None,
        concurrency_key: None,
        retry: None,
        imported: false,
        labels: [("team".to_owned(), "tools".to_owned())].into(),
        session: None,
    }
}

fn step_started(step: u32, kind: &str, input: &str) -> NewEvent {
    let path = format!("build/{kind}:{step}");
    let at = Some(Arc::from(path.as_str()));
    let body = StepStarted {
        run: 1,
        path,
        name: kind.into(),
        kind: kind.into(),
        spec_hash: Hash::ZERO,
        attempt: 1,
        input: Json::from_written(input.into()),
    };
    NewEvent::new(EventBody::StepStarted(body)).step(at)
}

fn step_finished(step: u32, kind: &str, output: &str) -> NewEvent {
    let path = format!("build/{kind}:{step}");
    let at = Some(Arc::from(path.as_str()));
    let body = StepFinished {
        run: 1,
        path,
        attempt: 1,
        outcome: StepOutcome::Ok,
        output: Some(Json::from_written(output.into())),
        error: None,
        latency_ms: 12,
        cached: false,
        cached_from: None,
        tokens_spent: None,
    };
    NewEvent::new(EventBody::StepFinished(body)).step(at)
}

fn pure_step(step: u32, to_come: &mut Vec<NewEvent>) {
    to_come.push(step_started(step, "step", r#"{"name":"count","input":{"files":["a.rs","b.rs"]}}"#));
    to_come.push(step_finished(step, "step", r#"{"lines":1234,"files":2}"#));
    let message = "counted the lines of 2 files".into();
    to_come.push(NewEvent::new(EventBody::JobLogged(JobLogged { level: "info".into(), message })));
}

fn process_step(job: u64, step: u32, to_come: &mut Vec<NewEvent>) {
    let process = ProcessId::from_bytes(id_bytes(0x7100_0000, job * u64::from(STEPS) + u64::from(step)));
    let started = step_started(step, "exec", r#"{"args":["build","--release"],"command":"make","timeout_ms":10000}"#);
    let at = started.step.clone();
    to_come.push(started);
    let of_process = |body| NewEvent::new(body).process(process).step(at.clone());
    to_come.push(of_process(EventBody::ProcessStarted(ProcessStarted {
        command: "make".into(),
        args: vec!["build".into(), "--release".into()],
        workdir: "/srv/checkout".into(),
        pid: 4711,
        background: false,
        description: None,
    })));
    for seq in 1..=2 {
        let text = Some("compiled one more unit of many, without a single warning\n".repeat(4));
        let output = ProcessOutput { fd: 1, seq, text, base64: None, capped: false };
        to_come.push(of_process(EventBody::ProcessOutput(output)));
    }
    to_come.push(of_process(EventBody::ProcessExited(ProcessExited {
        outcome: ProcessOutcome::Exited,
        exit_code: Some(0),
        signal: None,
        wall_ms: 11,
        output_bytes: 456,
        tail: None,
    })));
    to_come.push(step_finished(step, "exec", r#"{"code":0,"ok":true,"stderr":"","stdout":"done\n"}"#));
}
