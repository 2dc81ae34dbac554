//! A job's trace: what took how long inside what, folded from its stream. Spans for the job, its phases, steps, chat
//! turns, tool calls and processes.

use crate::{
    event::{ChatUsage, Event, EventBody, JobUsage, ProcessOutcome, StepOutcome},
    id::{JobId, ProcessId},
    time::Timestamp,
};
use serde::{Serialize, Serializer};
use std::{collections::HashMap, sync::Arc};

/// What a span is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum SpanKind {
    /// The job.
    Job,
    /// A phase of it.
    Phase,
    /// An attempt at a step.
    Step,
    /// A request to a model.
    Turn,
    /// A tool call.
    Tool,
    /// A process.
    Process,
}

/// A stretch of time in which one thing went on.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Span {
    /// Unique within its trace.
    pub id: String,
    /// The span that it stands in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parent: Option<String>,
    /// What it is of.
    pub kind: SpanKind,
    /// What it is called.
    pub name: String,
    /// When it began.
    pub started_at: Timestamp,
    /// When it ended, where it has.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<Timestamp>,
    /// How long it took, in milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub duration_ms: Option<u64>,
    /// How it ended; `running` where it has not.
    pub outcome: String,
    /// The attempt, of a step.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attempt: Option<u32>,
    /// Whether the result was taken from an earlier run, of a step.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub cached: bool,
    /// The model's configured name, of a turn.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// What serves the model, of a turn.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub backend: Option<String>,
    /// From the request to the first token, of a turn.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first_token_ms: Option<u64>,
    /// What it used, of a turn; the sum of its turns, of anything else.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub usage: Option<ChatUsage>,
    /// Which part of the prompt the provider had cached, from 0 to 1.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "rounded")]
    pub cache_hit_rate: Option<f64>,
    /// Why it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// A job's trace.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Trace {
    /// The job.
    pub job: JobId,
    /// Its spans, in the order in which they began: parents before what stands in them.
    pub spans: Vec<Span>,
    /// What all turns used.
    pub usage: JobUsage,
    /// Which part of all prompts the provider had cached, from 0 to 1.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "rounded")]
    pub cache_hit_rate: Option<f64>,
}

/// Which part of a prompt was cached.
fn hit_rate(prompt: u64, cached: u64) -> Option<f64> {
    (prompt > 0).then(|| cached as f64 / prompt as f64)
}

/// Four digits say enough.
fn rounded<S: Serializer>(rate: &Option<f64>, serializer: S) -> Result<S::Ok, S::Error> {
    rate.map(|rate| (rate * 10_000.0).round() / 10_000.0).serialize(serializer)
}

impl Trace {
    /// The trace after these events of the job's stream, the first of which is `job.submitted`.
    pub fn fold<E: AsRef<Event>>(events: impl IntoIterator<Item = E>) -> Option<Self> {
        let mut events = events.into_iter().peekable();
        let first = events.peek()?.as_ref();
        let mut fold = Fold::new(first.job?, first);
        for event in events {
            fold.apply(event.as_ref());
        }
        Some(fold.finish())
    }
}

/// A step's open span and, inside an agent's, the turn that calls belong to.
#[derive(Debug, Default)]
struct OpenStep {
    span: usize,
    turn: Option<usize>,
}

struct Fold {
    trace: Trace,
    phase: Option<usize>,
    steps: HashMap<Arc<str>, OpenStep>,
    tools: HashMap<String, usize>,
    processes: HashMap<ProcessId, usize>,
}

impl Fold {
    fn new(job: JobId, submitted: &Event) -> Self {
        let name = match &submitted.body {
            EventBody::JobSubmitted(submitted) => submitted.workflow.clone(),
            _ => String::new(),
        };
        let root = span("job".into(), None, SpanKind::Job, name, submitted);
        let trace = Trace { job, spans: vec![root], usage: JobUsage::default(), cache_hit_rate: None };
        Self { trace, phase: None, steps: HashMap::new(), tools: HashMap::new(), processes: HashMap::new() }
    }

    fn apply(&mut self, event: &Event) {
        match &event.body {
            EventBody::JobPhaseEntered(phase) => {
                self.end_phase(event);
                let id = format!("phase/{}", event.position);
                self.phase = Some(self.begin(id, Some(0), SpanKind::Phase, phase.title.clone(), event));
            }
            EventBody::StepStarted(step) => {
                let parent = self.around(&step.path).unwrap_or_else(|| self.phase.unwrap_or(0));
                let id = format!("step/{}/{}/{}", step.run, step.path, step.attempt);
                let at = self.begin(id, Some(parent), SpanKind::Step, step.path.clone(), event);
                self.trace.spans[at].attempt = Some(step.attempt);
                self.steps.insert(step.path.as_str().into(), OpenStep { span: at, turn: None });
            }
            EventBody::StepFinished(step) => {
                if let Some(open) = self.steps.remove(step.path.as_str()) {
                    let error = step.error.as_ref().map(|error| error.message.clone());
                    self.end(open.span, outcome(step.outcome), error, event);
                    self.trace.spans[open.span].cached = step.cached;
                }
            }
            EventBody::ChatStarted(chat) => {
                let parent = self.step_of(event);
                let name = format!("turn {}", chat.turn);
                let at = self.begin(format!("turn/{}", event.position), Some(parent), SpanKind::Turn, name, event);
                self.trace.spans[at].model = Some(chat.model.clone());
                self.trace.spans[at].backend = Some(chat.backend.clone());
                if let Some(open) = event.step.as_ref().and_then(|step| self.steps.get_mut(step)) {
                    open.turn = Some(at);
                }
            }
            EventBody::ChatFinished(chat) => {
                let turn = event.step.as_ref().and_then(|step| self.steps.get(step)).and_then(|open| open.turn);
                if let Some(at) = turn.filter(|at| self.trace.spans[*at].ended_at.is_none()) {
                    let failed = chat.error.as_ref().map(|error| error.message.clone());
                    let outcome = match chat.finish_reason.as_str() {
                        "error" => "error",
                        "interrupted" => "interrupted",
                        _ => "ok",
                    };
                    self.end(at, outcome, failed, event);
                    self.trace.spans[at].first_token_ms = chat.first_token_ms;
                    self.count(at, &chat.usage);
                }
                self.trace.usage.add(&chat.usage);
            }
            EventBody::ToolStarted(tool) => {
                let turn = event.step.as_ref().and_then(|step| self.steps.get(step)).and_then(|open| open.turn);
                let parent = turn.unwrap_or_else(|| self.step_of(event));
                let id = format!("tool/{}", event.position);
                let at = self.begin(id, Some(parent), SpanKind::Tool, tool.name.clone(), event);
                self.tools.insert(tool.call_id.clone(), at);
            }
            EventBody::ToolFinished(tool) => {
                if let Some(at) = self.tools.remove(&tool.call_id) {
                    self.end(at, outcome(tool.outcome), None, event);
                }
            }
            EventBody::ProcessStarted(process) => {
                let Some(id) = event.process else { return };
                let parent = self.step_of(event);
                let at = self.begin(
                    format!("process/{id}"),
                    Some(parent),
                    SpanKind::Process,
                    process.command.clone(),
                    event,
                );
                self.processes.insert(id, at);
            }
            EventBody::ProcessExited(exited) => {
                if let Some(at) = event.process.and_then(|id| self.processes.remove(&id)) {
                    let outcome = match exited.outcome {
                        ProcessOutcome::Exited if exited.exit_code == Some(0) => "ok",
                        ProcessOutcome::Exited => "error",
                        ProcessOutcome::Signalled => "signalled",
                        ProcessOutcome::TimedOut => "timed_out",
                        ProcessOutcome::Killed => "cancelled",
                        ProcessOutcome::Lost => "interrupted",
                    };
                    self.end(at, outcome, None, event);
                }
            }
            EventBody::JobCompleted(_) => self.end_job("ok", None, event),
            EventBody::JobFailed(failed) => self.end_job("error", Some(failed.error.message.clone()), event),
            EventBody::JobCancelled(cancelled) => self.end_job("cancelled", cancelled.reason.clone(), event),
            EventBody::JobTimedOut(_) => self.end_job("timed_out", None, event),
            _ => {}
        }
    }

    fn begin(&mut self, id: String, parent: Option<usize>, kind: SpanKind, name: String, event: &Event) -> usize {
        let parent = parent.map(|at| self.trace.spans[at].id.clone());
        self.trace.spans.push(span(id, parent, kind, name, event));
        self.trace.spans.len() - 1
    }

    fn end(&mut self, at: usize, outcome: &str, error: Option<String>, event: &Event) {
        let span = &mut self.trace.spans[at];
        span.ended_at = Some(event.happened_at());
        span.duration_ms = Some(event.happened_at().ms_since(span.started_at));
        span.outcome = outcome.into();
        span.error = error;
    }

    fn end_phase(&mut self, event: &Event) {
        if let Some(at) = self.phase.take() {
            self.end(at, "ok", None, event);
        }
    }

    fn end_job(&mut self, outcome: &str, error: Option<String>, event: &Event) {
        self.end_phase(event);
        self.end(0, outcome, error, event);
    }

    /// Adds up what a turn used, in it and in all that it stands in.
    fn count(&mut self, mut at: usize, usage: &ChatUsage) {
        loop {
            let span = &mut self.trace.spans[at];
            let sum = span.usage.get_or_insert_default();
            sum.add(usage);
            span.cache_hit_rate = hit_rate(sum.prompt_tokens, sum.cached_tokens);
            let Some(parent) = span.parent.clone() else { return };
            let Some(next) = self.trace.spans.iter().position(|span| span.id == parent) else { return };
            at = next;
        }
    }

    /// The open step that an event belongs to, else the phase, else the job.
    fn step_of(&self, event: &Event) -> usize {
        let open = event.step.as_ref().and_then(|step| self.steps.get(step));
        open.map_or(self.phase.unwrap_or(0), |open| open.span)
    }

    /// The innermost open code step around a call path.
    fn around(&self, path: &str) -> Option<usize> {
        let ends = path.match_indices('@').map(|(at, _)| &path[..at]);
        ends.filter_map(|outer| self.steps.get(outer)).map(|open| open.span).next_back()
    }

    fn finish(mut self) -> Trace {
        self.trace.cache_hit_rate = hit_rate(self.trace.usage.prompt_tokens, self.trace.usage.cached_tokens);
        self.trace
    }
}

fn span(id: String, parent: Option<String>, kind: SpanKind, name: String, event: &Event) -> Span {
    Span {
        id,
        parent,
        kind,
        name,
        started_at: event.happened_at(),
        ended_at: None,
        duration_ms: None,
        outcome: "running".into(),
        attempt: None,
        cached: false,
        model: None,
        backend: None,
        first_token_ms: None,
        usage: None,
        cache_hit_rate: None,
        error: None,
    }
}

const fn outcome(outcome: StepOutcome) -> &'static str {
    match outcome {
        StepOutcome::Ok => "ok",
        StepOutcome::Error => "error",
        StepOutcome::TimedOut => "timed_out",
        StepOutcome::Cancelled => "cancelled",
        StepOutcome::Interrupted => "interrupted",
        StepOutcome::Skipped => "skipped",
    }
}
