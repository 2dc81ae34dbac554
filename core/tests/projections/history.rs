//! Random histories that a server could have written: a small model of a runner that acts as it is told by numbers.

use crate::{given::*, session_history::SessionWorld};
use moonlog_core::{error_info::ErrorInfo, event::*, id::*, json::Json};
use proptest::prelude::*;
use std::sync::Arc;

pub type Appends = Vec<(StreamId, Vec<NewEvent>)>;

/// Histories of up to `actions` actions.
pub fn histories(actions: usize) -> impl Strategy<Value = Appends> {
    prop::collection::vec(any::<(u8, u8, u8)>(), 0..actions).prop_map(|actions| {
        let mut world = World::default();
        for (what, which, how) in actions {
            world.act(what, which as usize, how);
        }
        world.appends
    })
}

#[derive(Default)]
struct World {
    appends: Appends,
    jobs: Vec<Job>,
    processes: u64,
    paused: bool,
    sessions: SessionWorld,
}

struct Job {
    id: JobId,
    session: Option<SessionId>,
    parent: Option<usize>,
    state: At,
    run: u32,
    attempt: u32,
    steps: u32,
    open: Vec<Open>,
    processes: Vec<ProcessId>,
    approvals: Vec<String>,
}

#[derive(Clone, Copy, PartialEq)]
enum At {
    Queued,
    Running,
    Waiting,
    Ended,
}

struct Open {
    path: String,
    kind: &'static str,
    attempt: u32,
    failed: bool,
}

const KINDS: [(&str, &str); 6] = [
    ("exec", r#"{"command":"true"}"#),
    ("step", r#"{"name":"s","timeout_ms":90000}"#),
    ("sleep", r#"{"ms":60000}"#),
    ("wait_for", r#"{"signal":"go","timeout_ms":5000}"#),
    ("approve", r#"{"title":"Ship it?"}"#),
    ("process_wait", r#"{"process":"02020202-0202-0202-0000-000000000001"}"#),
];

impl World {
    fn act(&mut self, what: u8, which: usize, how: u8) {
        if what > 220 {
            let jobs = &self.jobs;
            let busy = |id| jobs.iter().any(|job| job.session == Some(id) && job.state != At::Ended);
            return self.appends.extend(self.sessions.act(which, how, busy));
        }
        if what.is_multiple_of(16) || self.jobs.is_empty() {
            return self.submit(None, how);
        }
        // One that lives, mostly: ended ones are left alone.
        let living: Vec<usize> = (0..self.jobs.len()).filter(|i| self.jobs[*i].state != At::Ended).collect();
        if living.is_empty() {
            return self.submit(None, how);
        }
        let index = living[which % living.len()];
        match (self.jobs[index].state, what % 16) {
            (_, 1) => self.signal(index, how),
            (_, 2) => self.pause(),
            (_, 3) => self.detached(index),
            (At::Queued, 4) => self.end(index, how),
            (At::Queued, _) => self.start(index),
            (At::Waiting, 4 | 5) => self.decide(index),
            (At::Waiting, _) => self.put(index, At::Running, vec![EventBody::JobResumed(JobResumed {})]),
            (At::Running, 4) => self.end(index, how),
            (At::Running, 5) => self.retry_job(index),
            (At::Running, 6) => self.continue_as(index),
            (At::Running, 7) => self.process(index, how),
            (At::Running, 8) => self.put(index, At::Waiting, vec![waiting(WaitKind::Sleep)]),
            (At::Running, 9) => self.small(index, how),
            (At::Running, 10 | 11) => self.begin_step(index, how),
            (At::Running, 12) => self.child(index, how),
            (At::Running, _) => self.go_on(index, how),
            (At::Ended, _) => {}
        }
    }

    fn append(&mut self, index: usize, mut events: Vec<NewEvent>) {
        events.iter_mut().for_each(|event| event.session = self.jobs[index].session);
        if !events.is_empty() {
            self.appends.push((StreamId::Job(self.jobs[index].id), events));
        }
    }

    fn put(&mut self, index: usize, state: At, bodies: Vec<EventBody>) {
        self.append(index, bodies.into_iter().map(NewEvent::from).collect());
        self.jobs[index].state = state;
    }

    fn submit(&mut self, parent: Option<(usize, String)>, how: u8) {
        let id = job_id(self.jobs.len() as u64 + 1);
        let mut submission = submission();
        submission.queue = ["default", "slow"][usize::from(how & 1)].into();
        submission.priority = i32::from(how >> 5);
        submission.workflow = ["build", "test", "ship"][usize::from(how % 3)].into();
        submission.concurrency_key = (how & 2 != 0).then(|| "one".into());
        submission.idempotency_key = (how & 4 != 0).then(|| format!("key {}", self.jobs.len()));
        submission.run_at = (how & 8 != 0).then(|| at(90_000));
        submission.limits.timeout_ms = (how & 16 != 0).then_some(100_000);
        if how == 255 {
            submission.args = Json::of(&"large".repeat(20_000));
        }
        submission.labels = [("team".to_owned(), format!("t{}", how % 4))].into();
        submission.parent = parent.as_ref().map(|(i, step)| ParentRef { job: self.jobs[*i].id, step: step.clone() });
        submission.session = self.sessions.any_open(usize::from(how));
        self.jobs.push(Job {
            id,
            session: submission.session,
            parent: parent.map(|(i, _)| i),
            state: At::Queued,
            run: 0,
            attempt: 0,
            steps: 0,
            open: Vec::new(),
            processes: Vec::new(),
            approvals: Vec::new(),
        });
        self.append(self.jobs.len() - 1, vec![EventBody::JobSubmitted(submission.into()).into()]);
    }

    fn start(&mut self, index: usize) {
        let job = &mut self.jobs[index];
        job.run += 1;
        job.attempt += 1;
        let body = started(job.attempt, job.run);
        self.put(index, At::Running, vec![body]);
    }

    fn begin_step(&mut self, index: usize, how: u8) {
        let (kind, input) = KINDS[usize::from(how) % KINDS.len()];
        let job = &mut self.jobs[index];
        job.steps += 1;
        let inside = job.open.iter().rev().find(|open| open.kind == "step" && !open.failed);
        let path = match inside {
            Some(open) if how > 128 => format!("{}@{}/{kind}:{}", open.path, open.attempt, job.steps),
            _ => format!("group/{}/{kind}:{}", how % 3, job.steps),
        };
        self.step_started(index, path, kind, 1, input);
    }

    fn step_started(&mut self, index: usize, path: String, kind: &'static str, attempt: u32, input: &str) {
        let EventBody::StepStarted(mut body) = step(&path, kind, attempt, input) else { unreachable!() };
        body.run = self.jobs[index].run;
        let named = Some(Arc::from(path.as_str()));
        let mut events = vec![NewEvent::new(EventBody::StepStarted(body)).step(named.clone())];
        if kind == "approve" {
            self.jobs[index].approvals.push(path.clone());
            events.push(NewEvent::new(approval_requested(&path)).step(named));
        }
        self.append(index, events);
        self.jobs[index].open.push(Open { path, kind, attempt, failed: false });
    }

    fn child(&mut self, index: usize, how: u8) {
        if self.jobs[index].parent.is_some() {
            return self.begin_step(index, how);
        }
        self.jobs[index].steps += 1;
        let path = format!("workflow:{}", self.jobs[index].steps);
        self.step_started(index, path.clone(), "workflow", 1, r#"{"name":"build"}"#);
        self.submit(Some((index, path)), how);
    }

    /// Ends a step, or begins the next attempt at one that failed.
    fn go_on(&mut self, index: usize, how: u8) {
        if self.jobs[index].open.is_empty() {
            return self.begin_step(index, how);
        }
        let at = usize::from(how) % self.jobs[index].open.len();
        let run = self.jobs[index].run;
        let open = &mut self.jobs[index].open[at];
        if open.failed {
            open.failed = false;
            open.attempt += 1;
            let EventBody::StepStarted(mut body) = step(&open.path, open.kind, open.attempt, "{}") else { return };
            body.run = run;
            return self.append(index, vec![EventBody::StepStarted(body).into()]);
        }
        let outcome =
            [StepOutcome::Ok, StepOutcome::Ok, StepOutcome::Error, StepOutcome::TimedOut][usize::from(how >> 6)];
        let again = outcome != StepOutcome::Ok && how & 1 == 1;
        let EventBody::StepFinished(mut body) = finished(&open.path, open.attempt, outcome) else { return };
        body.run = run;
        body.cached = how == 3;
        let mut events = vec![NewEvent::from(EventBody::StepFinished(body))];
        if again {
            open.failed = true;
            let EventBody::StepRetryScheduled(mut body) = retry(&open.path, open.attempt, 100) else { return };
            body.run = run;
            events.push(EventBody::StepRetryScheduled(body).into());
        } else {
            self.jobs[index].open.remove(at);
        }
        self.append(index, events);
    }

    fn process(&mut self, index: usize, how: u8) {
        if let (Some(process), true) = (self.jobs[index].processes.first().copied(), how & 1 == 1) {
            self.jobs[index].processes.remove(0);
            return self.append(index, vec![output(process), NewEvent::new(process_exited()).process(process)]);
        }
        self.processes += 1;
        let process = process_id(self.processes);
        self.jobs[index].processes.push(process);
        self.append(index, vec![NewEvent::new(process_started()).process(process), output(process)]);
    }

    /// A process that outlives its job.
    fn detached(&mut self, index: usize) {
        self.processes += 1;
        let id = process_id(self.processes);
        let start = NewEvent::new(process_started()).process(id).job(self.jobs[index].id);
        let claim = NewEvent::new(token_claimed(&format!("token {}", self.processes))).process(id);
        self.appends.push((StreamId::Process(id), vec![start, claim, output(id)]));
    }

    fn signal(&mut self, index: usize, how: u8) {
        let key = format!("signal {}", how % 8);
        let events = vec![signalled(["go", "stop"][usize::from(how & 1)], (how & 2 != 0).then_some(&key)).into()];
        self.append(index, events);
    }

    fn decide(&mut self, index: usize) {
        if let Some(approval) = self.jobs[index].approvals.pop() {
            self.append(index, vec![approval_decided(&approval).into()]);
        }
    }

    fn small(&mut self, index: usize, how: u8) {
        let body = match how % 4 {
            0 => EventBody::JobPhaseEntered(JobPhaseEntered { title: format!("phase {how}") }),
            1 => EventBody::JobLogged(JobLogged { level: "info".into(), message: "hello".into() }),
            2 => EventBody::JobCancelRequested(JobCancelRequested { reason: None }),
            _ => EventBody::ChatFinished(ChatFinished {
                turn: 1,
                finish_reason: "stop".into(),
                usage: ChatUsage {
                    prompt_tokens: 5,
                    completion_tokens: 3,
                    cached_tokens: 1,
                    reasoning_tokens: 2,
                    ..ChatUsage::default()
                },
                latency_ms: 9,
                first_token_ms: None,
                error: None,
            }),
        };
        self.append(index, vec![body.into()]);
    }

    fn pause(&mut self) {
        let change = QueueChanged { queue: "slow".into() };
        self.paused = !self.paused;
        let body = if self.paused { EventBody::QueuePaused(change) } else { EventBody::QueueResumed(change) };
        self.appends.push((StreamId::System, vec![body.into()]));
    }

    /// Closes all that is open, as a runner does at the end of a run.
    fn close(&mut self, index: usize) {
        let job = &mut self.jobs[index];
        let run = job.run;
        let mut events: Vec<NewEvent> =
            job.processes.drain(..).map(|process| NewEvent::new(process_exited()).process(process)).collect();
        for open in job.open.drain(..).rev().filter(|open| !open.failed) {
            let EventBody::StepFinished(mut body) = finished(&open.path, open.attempt, StepOutcome::Cancelled) else {
                continue;
            };
            body.run = run;
            events.push(EventBody::StepFinished(body).into());
        }
        job.approvals.clear();
        self.append(index, events);
    }

    fn has_live_children(&self, index: usize) -> bool {
        self.jobs.iter().any(|job| job.parent == Some(index) && job.state != At::Ended)
    }

    fn retry_job(&mut self, index: usize) {
        if self.has_live_children(index) {
            return;
        }
        self.close(index);
        let error = ErrorInfo::new("script_error", "boom");
        let body = JobRetryScheduled { attempt: self.jobs[index].attempt, wait_ms: 1_000, error };
        self.put(index, At::Queued, vec![EventBody::JobRetryScheduled(body)]);
    }

    fn continue_as(&mut self, index: usize) {
        if self.has_live_children(index) {
            return;
        }
        self.close(index);
        self.jobs[index].run += 1;
        let body = JobContinued { run: self.jobs[index].run, args: Json::parse(r#"{"n":2}"#).unwrap() };
        self.put(index, At::Running, vec![EventBody::JobContinued(body)]);
    }

    fn end(&mut self, index: usize, how: u8) {
        if self.has_live_children(index) {
            return;
        }
        self.close(index);
        let body = match how % 4 {
            _ if self.jobs[index].state == At::Queued => EventBody::JobCancelled(JobCancelled { reason: None }),
            0 => EventBody::JobFailed(JobFailed { error: ErrorInfo::new("script_error", "boom") }),
            1 => EventBody::JobCancelled(JobCancelled { reason: Some("enough".into()) }),
            2 => EventBody::JobTimedOut(JobTimedOut { limit: "timeout_ms".into() }),
            _ if how > 200 => EventBody::JobCompleted(JobCompleted {
                result: Json::of(&"result".repeat(15_000)),
                usage: JobUsage::default(),
            }),
            _ => completed(),
        };
        self.put(index, At::Ended, vec![body]);
    }
}

fn output(process: ProcessId) -> NewEvent {
    let output = ProcessOutput { fd: 1, seq: 1, text: Some("hello\n".into()), base64: None, capped: false };
    NewEvent::new(EventBody::ProcessOutput(output)).process(process)
}
