//! Replay for the command line: runs a script against a recorded run and says what it found.

use crate::{Engine, Run, RunError, RunSpec, RunState, Slice, link};
use moonlog_core::{
    error_info::ErrorInfo,
    event::{Event, EventBody},
    id::{Hash, JobId},
    journal::{Entry, Met, Mismatch, describe},
    json::Json,
    time::Timestamp,
};
use std::{collections::HashMap, sync::Arc};

/// What to replay, and against what.
#[derive(Debug, Clone, Default)]
pub struct ReplayOptions {
    /// The run of the job; the last that has events where `None`.
    pub run: Option<u32>,
    /// Replay up to this version of the job's stream.
    pub at: Option<u64>,
    /// The workflow's name, for messages; as submitted where `None`.
    pub name: Option<String>,
}

/// What a replay found.
#[derive(Debug, Clone, PartialEq)]
pub struct Verdict {
    /// How it ended.
    pub outcome: Outcome,
    /// What was matched and delivered, in order.
    pub walk: Vec<Walked>,
}

/// How a replay ended.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    /// The script did again what was recorded, and nothing else.
    Deterministic,
    /// It did not.
    Mismatch(Box<Mismatch>),
    /// The script ended otherwise than recorded.
    OtherEnd {
        /// What was recorded.
        recorded: String,
        /// What came of it now.
        now: String,
    },
    /// It could not be replayed: it does not compile, or reached a limit.
    Error(ErrorInfo),
}

/// One event as a replay met it.
#[derive(Debug, Clone, PartialEq)]
pub struct Walked {
    /// The event's position.
    pub position: u64,
    /// Its version in the job's stream.
    pub version: u64,
    /// Its type.
    pub event: &'static str,
    /// The call path that it is about.
    pub step: Option<Arc<str>>,
    /// What it was to the script.
    pub role: Role,
    /// What was delivered, where something was.
    pub value: Option<Json>,
}

/// What an event is to the script that is replayed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// The script asked for it again.
    Matched,
    /// Its result was given to the script.
    Delivered,
    /// It stands inside a recorded step that was not entered again.
    Skipped,
    /// The script did not come this far.
    Unmet,
    /// It is no part of the journal.
    Outside,
}

/// Replays a run of a job from its events.
pub struct Replay;

impl Replay {
    /// Runs `source` (the submitted script, or another) against `events`, the job's stream. Nothing is performed and
    /// nothing is appended.
    pub fn run(engine: &Engine, source: &str, events: &[Arc<Event>], options: &ReplayOptions) -> Verdict {
        let source = &*link(source);
        let at = options.at.unwrap_or(u64::MAX);
        let events: Vec<Arc<Event>> = events.iter().filter(|event| event.version <= at).cloned().collect();
        let Some(plan) = Plan::of(&events, options, source) else {
            let error = ErrorInfo::new("nothing_to_replay", "the job has not started yet: there is nothing to replay");
            return Verdict { outcome: Outcome::Error(error), walk: Vec::new() };
        };
        let Plan { spec, end } = plan;
        let name = spec.workflow.clone();
        let prepared = Run::prepare(engine, spec, &events);
        let (mut run, chunk) = match prepared {
            Ok(prepared) => prepared,
            Err(error) => return Verdict { outcome: Outcome::of(error), walk: Vec::new() },
        };
        let result = run.begin(chunk).and_then(|()| run.finish_replay());
        let outcome = match result {
            Err(RunError::Replay(error)) if matches!(&end, Some(End::Failed(code)) if *code == error.code) => {
                Outcome::Deterministic
            }
            Err(error) => Outcome::of(error),
            Ok(slice) => judge(&slice, run.unmet(), end.as_ref(), &name),
        };
        Verdict { outcome, walk: walk(&events, &run.walked()) }
    }
}

impl Outcome {
    fn of(error: RunError) -> Self {
        match error {
            RunError::Mismatch(mismatch) => Self::Mismatch(mismatch),
            RunError::Replay(error) | RunError::Script(error) => Self::Error(error),
        }
    }
}

/// How the recorded run ended.
enum End {
    Completed(Json),
    Failed(String),
    Continued(Json),
    /// The script had no say in it.
    Stopped,
}

struct Plan {
    spec: RunSpec,
    end: Option<End>,
}

impl Plan {
    /// What the events say about the run that is to be replayed.
    fn of(events: &[Arc<Event>], options: &ReplayOptions, source: &str) -> Option<Self> {
        let submitted = events.iter().find_map(|event| match &event.body {
            EventBody::JobSubmitted(submitted) => Some((event, submitted)),
            _ => None,
        });
        let mut args = submitted.map_or_else(Json::null, |(_, submitted)| submitted.args.clone());
        let (mut found, mut end) = (None::<(u32, Timestamp, Json)>, None);
        for event in events {
            let begun = match &event.body {
                EventBody::JobStarted(started) => Some(started.run),
                EventBody::JobContinued(continued) => {
                    if found.as_ref().is_some_and(|(run, ..)| options.run.is_none_or(|wanted| *run == wanted)) {
                        end = Some(End::Continued(continued.args.clone()));
                    }
                    args = continued.args.clone();
                    Some(continued.run)
                }
                EventBody::JobCompleted(done) => {
                    end = Some(End::Completed(done.result.clone()));
                    None
                }
                EventBody::JobFailed(failed) => {
                    end = Some(End::Failed(failed.error.code.clone()));
                    None
                }
                EventBody::JobRetryScheduled(retry) => {
                    end = Some(End::Failed(retry.error.code.clone()));
                    None
                }
                EventBody::JobCancelled(_) | EventBody::JobTimedOut(_) => {
                    end = Some(End::Stopped);
                    None
                }
                _ => None,
            };
            let Some(run) = begun else { continue };
            if options.run.is_some() && options.run == found.as_ref().map(|(run, ..)| *run) {
                break;
            }
            // The same run goes on after the server was restarted.
            if found.as_ref().is_none_or(|(known, ..)| *known != run) {
                // Of what a fork shares, when it happened.
                found = Some((run, event.happened_at(), args.clone()));
                end = None;
            }
        }
        let (run, started_at, args) = found.filter(|(run, ..)| options.run.is_none_or(|wanted| *run == wanted))?;
        let submitted = submitted.map(|(event, submitted)| (event.job, submitted));
        let name = options.name.clone().or_else(|| submitted.map(|(_, submitted)| submitted.workflow.clone()));
        let job = submitted.and_then(|(job, _)| job).unwrap_or(JobId::from_bytes([0; 16]));
        let spec = RunSpec {
            stop: Default::default(),
            earlier: None,
            job,
            run,
            workflow: name.unwrap_or_else(|| "script".into()),
            source: source.into(),
            script_hash: Hash::of(source.as_bytes()),
            args,
            seed: submitted.map_or(0, |(_, submitted)| submitted.seed),
            started_at,
            nesting: submitted.map_or(1, |(_, submitted)| submitted.limits.nesting),
            budget_total: submitted.and_then(|(_, submitted)| submitted.limits.budget_tokens),
        };
        Some(Self { spec, end })
    }
}

/// Compares how the script stands now with how the recorded run ended.
fn judge(slice: &Slice, unmet: Option<Entry>, end: Option<&End>, script: &str) -> Outcome {
    let shown = |state: &RunState| match state {
        RunState::Blocked | RunState::More => "the script waits".to_owned(),
        RunState::Returned(result) => format!("the script returned {}", clip(result.as_str())),
        RunState::Failed(error) => format!("the script failed: {}", clip(&error.message)),
        RunState::Continued(args) => format!("the script continued as {}", clip(args.as_str())),
    };
    if let (Some(first), Some(End::Completed(_) | End::Failed(_) | End::Continued(_))) = (slice.intents.first(), end) {
        let mismatch = Mismatch {
            position: None,
            path: first.step.as_deref().unwrap_or_default().to_owned(),
            recorded: "nothing more: the run had ended".into(),
            asked: describe(&first.body),
            script: script.to_owned(),
            line: None,
        };
        return Outcome::Mismatch(Box::new(mismatch));
    }
    let recorded = match (end, &slice.state) {
        // The history ends somewhere in the middle, or was ended from outside: the script may stand anywhere.
        (None | Some(End::Stopped), _) => return Outcome::Deterministic,
        (Some(End::Completed(recorded)), RunState::Returned(now)) if recorded == now => return Outcome::Deterministic,
        (Some(End::Continued(recorded)), RunState::Continued(now)) if recorded == now => return Outcome::Deterministic,
        (Some(End::Failed(code)), RunState::Failed(now)) if *code == now.code => return Outcome::Deterministic,
        // The runner failed the job, closing what was open.
        (Some(End::Failed(_)), RunState::Blocked) if unmet.is_none() => return Outcome::Deterministic,
        (Some(End::Completed(result)), _) => format!("the script returned {}", clip(result.as_str())),
        (Some(End::Continued(args)), _) => format!("the script continued as {}", clip(args.as_str())),
        (Some(End::Failed(code)), _) => format!("the job failed with {code}"),
    };
    Outcome::OtherEnd { recorded, now: shown(&slice.state) }
}

fn clip(text: &str) -> String {
    const SHOWN_CHARS: usize = 300;
    match text.char_indices().nth(SHOWN_CHARS) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// Every event of the stream, with what it was to the script.
fn walk(events: &[Arc<Event>], entries: &[Entry]) -> Vec<Walked> {
    let met: HashMap<u64, Met> = entries.iter().map(|entry| (entry.event.position, entry.met)).collect();
    let walked = events.iter().map(|event| {
        let role = match met.get(&event.position) {
            Some(Met::Matched) => Role::Matched,
            Some(Met::Delivered) => Role::Delivered,
            Some(Met::Skipped) => Role::Skipped,
            Some(Met::Pending) => Role::Unmet,
            None => Role::Outside,
        };
        let value = match &event.body {
            EventBody::StepFinished(finish) if role == Role::Delivered => finish.output.clone(),
            _ => None,
        };
        Walked {
            position: event.position,
            version: event.version,
            event: event.body.name(),
            step: event.step.clone(),
            role,
            value,
        }
    });
    walked.collect()
}
