//! The tree of a job: a fold of its events. No clock, no terminal: times come with the events.

use super::describe;
use crate::cli::paint::harmless;
use moonlog_core::{
    error_info::ErrorInfo,
    event::{Event, EventBody, JobWaiting, ProcessOutcome, StepOutcome, StepStarted},
    id::ProcessId,
    json::Json,
    time::Timestamp,
};
use percent_encoding::percent_decode_str;
use std::collections::{HashMap, VecDeque};

/// How many of the script's log lines are kept.
const LOGS_KEPT: usize = 50;
/// The longest last line of a process that is kept, in bytes.
const LAST_LINE_BYTES: usize = 400;

/// A job as its events tell it.
#[derive(Debug, Default)]
pub struct JobTree {
    /// The job's id, once known.
    pub id: String,
    /// What it runs.
    pub workflow: String,
    /// When it was submitted.
    pub submitted_at: Option<Timestamp>,
    /// When it first started.
    pub started_at: Option<Timestamp>,
    /// 1-based; 0 before it started.
    pub attempt: u32,
    /// What it waits for, where all of it waits.
    pub waiting: Option<JobWaiting>,
    /// When the next attempt is due, where the last one failed.
    pub retry: Option<(Timestamp, ErrorInfo)>,
    /// Whether it was asked to stop.
    pub cancelling: bool,
    /// How it ended, and when.
    pub end: Option<(Timestamp, End)>,
    /// The phases, in order. The first has no title: it holds what came before any.
    pub phases: Vec<Phase>,
    /// The phase it is in.
    pub phase: usize,
    /// The steps and branches.
    pub nodes: Vec<Node>,
    /// The processes.
    pub processes: HashMap<ProcessId, Process>,
    /// The script's last log lines.
    pub logs: VecDeque<Log>,
    /// The open approvals: id and title.
    pub approvals: Vec<(String, String)>,
    /// Processes started, over the job's life.
    pub processes_started: usize,
    run: u32,
    by_path: HashMap<String, usize>,
}

/// How a job ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// With this result.
    Completed(Json),
    /// With this error.
    Failed(ErrorInfo),
    /// On request.
    Cancelled(Option<String>),
    /// It reached this limit.
    TimedOut(String),
}

/// A phase of the script.
#[derive(Debug, Default)]
pub struct Phase {
    /// As the script named it.
    pub title: String,
    /// When it was entered; `None` while it is still to come.
    pub entered_at: Option<Timestamp>,
    /// When the next one was entered, or the job ended.
    pub left_at: Option<Timestamp>,
    /// Its topmost nodes.
    pub roots: Vec<usize>,
}

/// A step, or a branch that holds steps.
#[derive(Debug)]
pub struct Node {
    /// The last segment of its path, readable.
    pub name: String,
    /// The whole path, readable.
    pub path: String,
    /// The operation's kind; empty for a branch.
    pub kind: String,
    /// The operation in words.
    pub words: String,
    /// How it stands.
    pub state: State,
    /// 1-based.
    pub attempt: u32,
    /// When it first started.
    pub started_at: Timestamp,
    /// When it last ended.
    pub ended_at: Option<Timestamp>,
    /// Why it failed.
    pub error: Option<String>,
    /// Whether its result was taken from an earlier run.
    pub cached: bool,
    /// The steps inside it.
    pub children: Vec<usize>,
    /// The processes it started.
    pub processes: Vec<ProcessId>,
}

/// How a step stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// It is being performed.
    Running,
    /// An attempt failed; the next is due then.
    Retrying(Timestamp),
    /// It ended.
    Ended(StepOutcome),
}

/// A process of the job.
#[derive(Debug)]
pub struct Process {
    /// Its command line.
    pub words: String,
    /// The operating system's number.
    pub pid: u32,
    /// When it started.
    pub started_at: Timestamp,
    /// When it ended.
    pub ended_at: Option<Timestamp>,
    /// Whether nobody waits for it.
    pub background: bool,
    /// The last line it wrote.
    pub last_line: String,
}

/// What the script said.
#[derive(Debug)]
pub struct Log {
    /// `debug`, `info`, `warn` or `error`.
    pub level: String,
    /// The text.
    pub message: String,
}

impl JobTree {
    /// The tree of a job of which nothing is known but the phases that its workflow declares.
    pub fn new(phases: &[String]) -> Self {
        let mut tree = Self { phases: vec![Phase::default()], run: 1, ..Self::default() };
        tree.phases.extend(phases.iter().map(|title| Phase { title: title.clone(), ..Phase::default() }));
        tree
    }

    /// Folds in the job's next event.
    pub fn apply(&mut self, event: &Event) {
        let time = event.happened_at();
        match &event.body {
            EventBody::JobSubmitted(fields) => {
                self.id = event.job.map(|job| job.to_string()).unwrap_or_default();
                self.workflow = harmless(&fields.workflow).into_owned();
                self.submitted_at = Some(time);
            }
            EventBody::JobStarted(fields) => {
                self.started_at.get_or_insert(time);
                self.attempt = fields.attempt;
                self.retry = None;
                self.waiting = None;
                self.begin_run(fields.run);
            }
            EventBody::JobContinued(fields) => self.begin_run(fields.run),
            EventBody::JobRetryScheduled(fields) => {
                self.retry = Some((time.plus_ms(fields.wait_ms), fields.error.clone()));
            }
            EventBody::JobWaiting(fields) => self.waiting = Some(fields.clone()),
            EventBody::JobResumed(_) => self.waiting = None,
            EventBody::JobCancelRequested(_) => self.cancelling = true,
            EventBody::JobPhaseEntered(fields) => self.enter_phase(&fields.title, time),
            EventBody::JobLogged(fields) => {
                if self.logs.len() == LOGS_KEPT {
                    self.logs.pop_front();
                }
                self.logs.push_back(Log { level: fields.level.clone(), message: fields.message.clone() });
            }
            EventBody::StepStarted(fields) => self.start_step(fields, time),
            EventBody::StepFinished(fields) => {
                let Some(node) = self.node_mut(&fields.path) else { return };
                node.state = State::Ended(fields.outcome);
                node.ended_at = Some(time);
                node.cached = fields.cached;
                node.error = fields.error.as_ref().map(|error| first_line(&error.message));
            }
            EventBody::StepRetryScheduled(fields) => {
                let Some(node) = self.node_mut(&fields.path) else { return };
                node.state = State::Retrying(time.plus_ms(fields.wait_ms));
                node.error = Some(first_line(&fields.error.message));
            }
            EventBody::ProcessStarted(fields) => {
                let Some(id) = event.process else { return };
                self.processes_started += 1;
                let words = describe::one_line(&describe::command_line(&fields.command, &fields.args));
                let (pid, background) = (fields.pid, fields.background);
                let process =
                    Process { words, pid, started_at: time, ended_at: None, background, last_line: String::new() };
                self.processes.insert(id, process);
                if let Some(node) = event.step.as_ref().and_then(|path| self.node_mut(path)) {
                    node.processes.push(id);
                }
            }
            EventBody::ProcessOutput(fields) => {
                let process = event.process.and_then(|id| self.processes.get_mut(&id));
                let line = fields.text.as_deref().and_then(|text| text.lines().rfind(|line| !line.trim().is_empty()));
                if let (Some(process), Some(line)) = (process, line) {
                    process.last_line = harmless(cut(line.trim(), LAST_LINE_BYTES)).into_owned();
                }
            }
            EventBody::ProcessBackgrounded(_) => {
                if let Some(process) = event.process.and_then(|id| self.processes.get_mut(&id)) {
                    process.background = true;
                }
            }
            EventBody::ProcessExited(_) => {
                if let Some(process) = event.process.and_then(|id| self.processes.get_mut(&id)) {
                    process.ended_at = Some(time);
                }
            }
            EventBody::ToolApprovalRequested(fields) => {
                let title = fields.input.to_value()["title"].as_str().map_or_else(|| fields.name.clone(), first_line);
                self.approvals.push((fields.call_id.clone(), title));
            }
            EventBody::ToolApprovalDecided(fields) => self.approvals.retain(|(id, _)| *id != fields.call_id),
            EventBody::JobCompleted(fields) => self.end(time, End::Completed(fields.result.clone())),
            EventBody::JobFailed(fields) => self.end(time, End::Failed(fields.error.clone())),
            EventBody::JobCancelled(fields) => self.end(time, End::Cancelled(fields.reason.clone())),
            EventBody::JobTimedOut(fields) => self.end(time, End::TimedOut(fields.limit.clone())),
            _ => {}
        }
    }

    /// The step or branch at this call path.
    pub fn node(&self, path: &str) -> Option<&Node> {
        self.by_path.get(path).map(|&at| &self.nodes[at])
    }

    fn node_mut(&mut self, path: &str) -> Option<&mut Node> {
        self.by_path.get(path).map(|&at| &mut self.nodes[at])
    }

    /// Whether the node or anything inside it is not done.
    pub fn is_open(&self, at: usize) -> bool {
        let node = &self.nodes[at];
        let own = !node.kind.is_empty() && !matches!(node.state, State::Ended(_));
        own || self.has_running_process(node) || node.children.iter().any(|&child| self.is_open(child))
    }

    /// Whether a process that the node started still runs.
    pub fn has_running_process(&self, node: &Node) -> bool {
        node.processes.iter().any(|id| self.processes.get(id).is_some_and(|process| process.ended_at.is_none()))
    }

    /// Whether the node or anything inside it failed in the end.
    pub fn has_failed(&self, at: usize) -> bool {
        let node = &self.nodes[at];
        matches!(node.state, State::Ended(outcome) if is_failure(outcome))
            || node.children.iter().any(|&child| self.has_failed(child))
    }

    /// Steps of the current run: ended ones, and all.
    pub fn steps(&self) -> (usize, usize) {
        let steps = self.nodes.iter().filter(|node| !node.kind.is_empty());
        steps.fold((0, 0), |(ended, all), node| (ended + usize::from(matches!(node.state, State::Ended(_))), all + 1))
    }

    /// Steps under these nodes.
    pub fn steps_under(&self, roots: &[usize]) -> usize {
        let count = |&at: &usize| {
            let node = &self.nodes[at];
            usize::from(!node.kind.is_empty()) + self.steps_under(&node.children)
        };
        roots.iter().map(count).sum()
    }

    fn end(&mut self, time: Timestamp, end: End) {
        if let Some(phase) = self.phases.get_mut(self.phase) {
            phase.left_at.get_or_insert(time);
        }
        self.waiting = None;
        self.retry = None;
        self.approvals.clear();
        self.end = Some((time, end));
    }

    /// Each run starts its steps anew.
    fn begin_run(&mut self, run: u32) {
        if run == self.run {
            return;
        }
        let titles: Vec<String> = self.phases.iter().skip(1).map(|phase| phase.title.clone()).collect();
        self.phases = Self::new(&titles).phases;
        self.phase = 0;
        self.run = run;
        self.nodes.clear();
        self.by_path.clear();
    }

    fn enter_phase(&mut self, title: &str, time: Timestamp) {
        if let Some(phase) = self.phases.get_mut(self.phase) {
            phase.left_at.get_or_insert(time);
        }
        let title = first_line(title);
        // A declared phase that is still to come; else a new one, behind those that were entered.
        let declared = self.phases.iter().position(|phase| phase.title == title && phase.entered_at.is_none());
        let at = declared.unwrap_or_else(|| {
            let behind = self.phases.iter().rposition(|phase| phase.entered_at.is_some()).map_or(1, |at| at + 1);
            self.phases.insert(behind, Phase { title, ..Phase::default() });
            behind
        });
        self.phases[at].entered_at = Some(time);
        self.phase = at;
    }

    fn start_step(&mut self, fields: &StepStarted, time: Timestamp) {
        let at = self.place(&fields.path, time);
        let node = &mut self.nodes[at];
        node.kind.clone_from(&fields.kind);
        node.words = describe::operation(&fields.kind, &fields.input.to_value());
        node.state = State::Running;
        node.attempt = fields.attempt;
        node.ended_at = None;
    }

    /// The node at `path`, made with its branches where they are not there yet.
    fn place(&mut self, path: &str, time: Timestamp) -> usize {
        if let Some(&at) = self.by_path.get(path) {
            return at;
        }
        let (parent, segment) = path.rsplit_once('/').map_or((None, path), |(parent, last)| (Some(parent), last));
        let parent = parent.map(|parent| self.place(without_attempt(parent), time));
        let at = self.nodes.len();
        self.nodes.push(Node {
            name: readable(segment),
            path: readable(path),
            kind: String::new(),
            words: String::new(),
            state: State::Running,
            attempt: 1,
            started_at: time,
            ended_at: None,
            error: None,
            cached: false,
            children: Vec::new(),
            processes: Vec::new(),
        });
        self.by_path.insert(path.to_owned(), at);
        match parent {
            Some(parent) => self.nodes[parent].children.push(at),
            None => {
                if let Some(phase) = self.phases.get_mut(self.phase) {
                    phase.roots.push(at);
                }
            }
        }
        at
    }
}

/// Whether this outcome is worth a person's look.
pub const fn is_failure(outcome: StepOutcome) -> bool {
    matches!(outcome, StepOutcome::Error | StepOutcome::TimedOut | StepOutcome::Interrupted)
}

/// How a process ended, in words.
pub fn exit_words(exited: &moonlog_core::event::ProcessExited) -> String {
    match (exited.outcome, exited.exit_code, exited.signal.as_deref()) {
        (ProcessOutcome::Exited, Some(code), _) => format!("exit code {code}"),
        (ProcessOutcome::TimedOut, ..) => "timed out".to_owned(),
        (ProcessOutcome::Killed, ..) => "killed".to_owned(),
        (ProcessOutcome::Lost, ..) => "lost: the server died".to_owned(),
        (_, _, Some(signal)) => format!("ended by {signal}"),
        _ => "ended".to_owned(),
    }
}

/// Steps inside a step stand under `<step>@<attempt>`.
fn without_attempt(path: &str) -> &str {
    match path.rsplit_once('@') {
        Some((step, attempt)) if !attempt.is_empty() && attempt.bytes().all(|b| b.is_ascii_digit()) => step,
        _ => path,
    }
}

fn readable(path: &str) -> String {
    harmless(&percent_decode_str(path).decode_utf8_lossy()).into_owned()
}

/// The first line of a text, harmless to a terminal.
pub fn first_line(text: &str) -> String {
    harmless(text.trim().lines().next().unwrap_or_default()).into_owned()
}

fn cut(text: &str, bytes: usize) -> &str {
    let end = (0..=bytes.min(text.len())).rev().find(|&at| text.is_char_boundary(at)).unwrap_or(0);
    &text[..end]
}
