//! Two jobs beside each other: where they part, and what differs. A fold of both streams; the order in which branches of
//! one job happened to run, times, ids and where results were taken from are no differences.

use crate::{
    error_info::ErrorInfo,
    event::{Event, EventBody, StepOutcome},
    id::Hash,
    json::Json,
};
use serde::Serialize;
use std::collections::BTreeMap;

/// Values up to this many bytes are shown; larger ones by size and hash.
const SHOWN_BYTES: usize = 16 << 10;

/// A value of either job.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Sides<T> {
    /// The first job's.
    pub left: T,
    /// The second job's.
    pub right: T,
}

/// Where two jobs part.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Divergence {
    /// The call path of the step; none where it is the arguments or the end.
    pub path: Option<String>,
    /// What differs there: `args`, `kind`, `input`, `attempts`, `outcome`, `output`, `error`, `only_left`, `only_right`,
    /// `end`.
    pub what: &'static str,
    /// The versions in either stream of the events that say so.
    pub versions: Sides<Option<u64>>,
}

/// A step as one job recorded it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct StepSide {
    /// The run.
    pub run: u32,
    /// The version of its first `step.started`.
    pub version: u64,
    /// What kind of operation.
    pub kind: String,
    /// Its inputs and options.
    pub input: Json,
    /// How often it was tried.
    pub attempts: u32,
    /// How it ended; none where it is open.
    pub outcome: Option<StepOutcome>,
    /// What it gave.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub output: Option<Json>,
    /// Why it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<ErrorInfo>,
    /// The version of its last `step.finished`.
    #[serde(skip)]
    ended: Option<u64>,
    /// Its inputs and what it gave, without what no two runs have in common.
    #[serde(skip)]
    settled: (Json, Option<Json>),
}

/// A step that is not the same in both jobs.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct StepDifference {
    /// Its call path.
    pub path: String,
    /// What differs, as in [`Divergence::what`].
    pub what: Vec<&'static str>,
    /// As the first job recorded it.
    pub left: Option<StepSide>,
    /// As the second did.
    pub right: Option<StepSide>,
}

/// How a job ended.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct EndSide {
    /// The type of its last event; none where it has not ended.
    pub event: Option<&'static str>,
    /// What it returned.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub result: Option<Json>,
    /// Why it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<ErrorInfo>,
    #[serde(skip)]
    version: Option<u64>,
}

/// What differs between two jobs. What is absent is the same in both, or there in neither.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Comparison {
    /// Whether nothing differs; another script that did the same is no difference.
    pub same: bool,
    /// Where they part first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first: Option<Divergence>,
    /// The scripts' hashes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub script: Option<Sides<Hash>>,
    /// The arguments.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub args: Option<Sides<Json>>,
    /// The steps, in the order of the first job's, then those of the second alone.
    pub steps: Vec<StepDifference>,
    /// The ends.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub end: Option<Sides<EndSide>>,
}

/// What a job's stream says of it, as far as two jobs are compared by it.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Compared {
    script: Option<Hash>,
    args: Json,
    steps: BTreeMap<(u32, String), StepSide>,
    end: EndSide,
}

impl Compared {
    /// Folds the next event of the job's stream.
    pub fn apply(&mut self, event: &Event) {
        match &event.body {
            EventBody::JobSubmitted(job) => {
                self.script = Some(job.script_hash);
                self.args = job.args.clone();
            }
            EventBody::StepStarted(step) => {
                let side = self.steps.entry((step.run, step.path.clone())).or_insert_with(|| StepSide {
                    run: step.run,
                    version: event.version,
                    kind: step.kind.clone(),
                    input: shown(&step.input),
                    attempts: 0,
                    outcome: None,
                    output: None,
                    error: None,
                    ended: None,
                    settled: (shown(&settled(INPUTS, &step.kind, &step.input)), None),
                });
                side.attempts = side.attempts.max(step.attempt);
                side.outcome = None;
            }
            EventBody::StepFinished(step) => {
                let Some(side) = self.steps.get_mut(&(step.run, step.path.clone())) else { return };
                side.outcome = Some(step.outcome);
                side.output = step.output.as_ref().map(shown);
                side.settled.1 = step.output.as_ref().map(|output| shown(&settled(OUTPUTS, &side.kind, output)));
                // Where it was thrown is told by lines of a script that may have changed.
                side.error = step.error.clone().map(|error| ErrorInfo { traceback: None, ..error });
                side.ended = Some(event.version);
            }
            body if body.is_terminal() => {
                let (result, error) = match body {
                    EventBody::JobCompleted(done) => (Some(shown(&done.result)), None),
                    EventBody::JobFailed(failed) => (None, Some(ErrorInfo { traceback: None, ..failed.error.clone() })),
                    _ => (None, None),
                };
                self.end = EndSide { event: Some(body.name()), result, error, version: Some(event.version) };
            }
            _ => {}
        }
    }

    /// What differs between this job and `other`.
    pub fn with(&self, other: &Self) -> Comparison {
        let mut parts: Vec<Divergence> = Vec::new();
        let part = |path, what, left, right| Divergence { path, what, versions: Sides { left, right } };
        let args = differ(&self.args, &other.args);
        if args.is_some() {
            parts.push(part(None, "args", Some(1), Some(1)));
        }
        let mut steps = Vec::new();
        for ((run, path), left) in &self.steps {
            let right = other.steps.get(&(*run, path.clone()));
            let what = right.map_or_else(|| vec!["only_left"], |right| left.differs_in(right));
            let Some(first) = what.first().copied() else { continue };
            let at = |side: &StepSide| if BEGUN.contains(&first) { Some(side.version) } else { side.ended };
            parts.push(part(Some(path.clone()), first, at(left), right.and_then(at)));
            steps.push(StepDifference { path: path.clone(), what, left: Some(left.clone()), right: right.cloned() });
        }
        for ((run, path), right) in &other.steps {
            if !self.steps.contains_key(&(*run, path.clone())) {
                parts.push(part(Some(path.clone()), "only_right", None, Some(right.version)));
                let (path, right) = (path.clone(), Some(right.clone()));
                steps.push(StepDifference { path, what: vec!["only_right"], left: None, right });
            }
        }
        steps.sort_by_key(|step| {
            let version = |side: &Option<StepSide>| side.as_ref().map_or(u64::MAX, |side| side.version);
            (version(&step.left), version(&step.right))
        });
        let (left, right) =
            (EndSide { version: None, ..self.end.clone() }, EndSide { version: None, ..other.end.clone() });
        let end = differ(&left, &right);
        if end.is_some() {
            parts.push(part(None, "end", self.end.version, other.end.version));
        }
        let of = |versions: &Sides<Option<u64>>| versions.left.into_iter().chain(versions.right).min();
        let first = parts.into_iter().min_by_key(|part| of(&part.versions).unwrap_or(u64::MAX));
        let script = match (self.script, other.script) {
            (Some(left), Some(right)) => differ(&left, &right),
            _ => None,
        };
        Comparison { same: first.is_none(), first, script, args, steps, end }
    }
}

/// What is settled when a step begins; the rest is when it ends.
const BEGUN: [&str; 4] = ["kind", "input", "only_left", "only_right"];

impl StepSide {
    fn differs_in(&self, other: &Self) -> Vec<&'static str> {
        let parts = [
            ("kind", self.kind != other.kind),
            ("input", self.settled.0 != other.settled.0),
            ("attempts", self.attempts != other.attempts),
            ("outcome", self.outcome != other.outcome),
            ("output", self.settled.1 != other.settled.1),
            ("error", self.error != other.error),
        ];
        parts.into_iter().filter_map(|(what, differs)| differs.then_some(what)).collect()
    }
}

fn differ<T: PartialEq + Clone>(left: &T, right: &T) -> Option<Sides<T>> {
    (left != right).then(|| Sides { left: left.clone(), right: right.clone() })
}

/// What is new in each run: ids, and how long something took. For each kind of step, the fields, and what they stand in.
type Passing = &'static [(&'static str, Option<&'static str>, &'static [&'static str])];

const INPUTS: Passing = &[
    ("process_wait", None, &["process"]),
    ("process_output", None, &["process"]),
    ("process_search", None, &["process"]),
    ("process_signal", None, &["process"]),
    ("tool", Some("input"), &["process_id"]),
    ("agent", None, &["session"]),
];

const OUTPUTS: Passing = &[
    ("exec", None, &["process", "wall_ms"]),
    ("sh", None, &["process", "wall_ms"]),
    ("process", None, &["id"]),
    ("process_wait", None, &["wall_ms"]),
    ("tool", None, &["process_id", "wall_duration_ms"]),
    ("agent", Some("info"), &["session"]),
];

fn settled(passing: Passing, kind: &str, value: &Json) -> Json {
    let Some((_, inside, names)) = passing.iter().find(|(of, ..)| *of == kind) else { return value.clone() };
    let mut tree = value.to_value();
    let held = match inside {
        Some(name) => tree.get_mut(name),
        None => Some(&mut tree),
    };
    if let Some(fields) = held.and_then(|held| held.as_object_mut()) {
        fields.retain(|name, _| !names.contains(&name.as_str()));
    }
    tree.into()
}

fn shown(value: &Json) -> Json {
    let bytes = value.as_str().len();
    if bytes <= SHOWN_BYTES {
        return value.clone();
    }
    serde_json::json!({ "bytes": bytes, "blake3": Hash::of(value.as_str().as_bytes()).to_string() }).into()
}
