//! Operations that the runner performs: registered here, ended by a delivery.

use super::{
    Answer, Block, FiberId, Halt, Job, answer,
    intend::{self, CONTINUE, almost},
    status,
};
use mlua::{Lua, Value};
use moonlog_core::{
    error_info::ErrorInfo,
    event::{EventBody, RetryPolicy, StepFinished, StepOutcome, StepStarted},
    id::Hash,
    journal::{BRANCH_CANCELLED, Close},
    json::Json,
};
use std::sync::Arc;

/// An operation or a code step that has begun and has not ended.
#[derive(Debug)]
pub(crate) struct OpenStep {
    pub fiber: FiberId,
    pub code: bool,
    /// What it used counts.
    pub agent: bool,
    /// Of a code step; what the runner performs stays at 1.
    pub attempt: u32,
    /// A code step between two attempts.
    pub between: bool,
    /// How a code step that may be tried again began.
    pub begun: Option<Box<StepStarted>>,
    /// Failures are thrown.
    pub check: bool,
    pub retry: Option<RetryPolicy>,
    /// A code step whose function runs in a branch of its own.
    pub timeout: bool,
    /// A code step that is a step of a flow.
    pub in_flow: bool,
    /// Counts up over the run: what began later is inside, or beside.
    pub order: u64,
}

/// An operation as a script calls it.
pub(crate) struct Call<'a> {
    pub kind: &'a str,
    pub label: Option<&'a str>,
    pub input: &'a Value,
    pub check: bool,
    pub cache_ms: Option<u64>,
}

/// An operation or a code step as it begins.
pub(crate) struct Begin<'a> {
    pub kind: &'a str,
    pub name: &'a str,
    /// Its call path, where that is settled; else it is the next of its name in the scope.
    pub path: Option<Arc<str>>,
    pub input: Json,
    pub spec_hash: Hash,
    pub check: bool,
    pub retry: Option<RetryPolicy>,
}

/// An operation or a code step that has begun.
pub(crate) struct Started {
    pub path: Arc<str>,
    /// Whether nothing is recorded beyond its start: how it goes on is decided now.
    pub undecided: bool,
}

impl Job {
    /// Registers the operation `kind` of the running branch, which then waits for its end. `cache_ms` says how old a
    /// result may be that another job has shared.
    pub fn begin(&mut self, lua: &Lua, call: Call<'_>) -> Result<Answer, Halt> {
        let Call { kind, label, input, check, cache_ms } = call;
        self.check_allowed(kind)?;
        let input = crate::value::to_json(input, kind, &self.marks, self.limits.value_bytes)?;
        // For how long a result is good says nothing of what it is.
        let spec_hash = spec_hash(kind, input.as_str(), None);
        let input = if let Some(ms) = cache_ms { with_cache_ms(&input, ms) } else { input };
        let begin = Begin { kind, name: label.unwrap_or(kind), path: None, input, spec_hash, check, retry: None };
        let started = self.start(begin)?;
        if let Some(finish) = self.take_over(&started, kind, &spec_hash, true, cache_ms)? {
            return self.taken_over(lua, &finish);
        }
        self.block(Block::Operation(started.path))
    }

    /// Emits `step.started` and keeps the step open. The answer is its call path.
    pub fn start(&mut self, begin: Begin<'_>) -> Result<Started, Halt> {
        const NAME_BYTES: usize = 200;
        self.steps += 1;
        if self.steps > self.limits.steps_max {
            let max = self.limits.steps_max;
            let message = format!("the job has begun more than {max} steps; {CONTINUE}");
            return Err(Halt::limit("limit_steps", message));
        }
        let Begin { kind, name, path, input, spec_hash, check, retry } = begin;
        if name.len() > NAME_BYTES {
            return Err(Halt::error("invalid_argument", format!("a step's name is at most {NAME_BYTES} bytes")));
        }
        let path = match path {
            Some(path) => path,
            None => self.scope()?.segment(name),
        };
        let started = StepStarted {
            run: self.spec.run,
            path: path.to_string(),
            name: name.to_owned(),
            kind: kind.to_owned(),
            spec_hash,
            attempt: 1,
            input,
        };
        let begun = retry.as_ref().map(|_| Box::new(started.clone()));
        let was_over = self.journal.is_over();
        self.intend(EventBody::StepStarted(started), Some(Arc::clone(&path)))?;
        if was_over && u64::from(self.steps) == almost(self.limits.steps_max.into()) {
            let max = self.limits.steps_max;
            self.warn(format!("the job has begun {} of at most {max} steps; {CONTINUE}", self.steps));
        }
        self.next_order += 1;
        let (fiber, order, code) = (self.current, self.next_order, kind == "step");
        let agent = kind == "agent";
        let open = OpenStep {
            fiber,
            code,
            agent,
            attempt: 1,
            between: false,
            begun,
            check,
            retry,
            timeout: false,
            in_flow: false,
            order,
        };
        self.open.insert(Arc::clone(&path), open);
        Ok(Started { path, undecided: self.journal.is_over() })
    }

    /// Refuses operations while a workflow is listed.
    pub fn check_allowed(&mut self, what: &str) -> Result<(), Halt> {
        if self.refuse {
            self.refused = true;
            return Err(Halt::error("operation_not_allowed", format!("{what} can only be called in a running job")));
        }
        Ok(())
    }

    /// Refuses child jobs where no level is left.
    pub fn check_nesting(&self) -> Result<(), Halt> {
        if self.spec.nesting == 0 && !self.refuse {
            let message = "this job may have no child jobs: the levels of nesting are used up (limits.nesting)";
            return Err(Halt::error("limit_nesting", message));
        }
        Ok(())
    }

    /// Refuses agents where the job has had too many, and where its budget is used up.
    pub fn check_agents(&mut self) -> Result<(), Halt> {
        if self.refuse {
            return Ok(());
        }
        self.agents += 1;
        if self.agents > self.limits.agents_max {
            let max = self.limits.agents_max;
            return Err(Halt::error("limit_agents", format!("the job has begun more than {max} agents")));
        }
        match self.spec.budget_total {
            Some(total) if self.spent >= total => {
                let spent = self.spent;
                let message = format!("the job's budget of {total} tokens is used up: {spent} were used");
                Err(Halt::error("budget_exhausted", message))
            }
            _ => Ok(()),
        }
    }

    /// The script closes its own operation with `outcome`, where the log does not have its end already.
    pub fn close(&mut self, path: &Arc<str>, attempt: u32, finish: StepFinished) -> Result<(), Halt> {
        match self.journal.close(path, attempt) {
            Close::Recorded => {}
            Close::New => self.push(EventBody::StepFinished(finish), Some(Arc::clone(path))),
            Close::Other(entry) => {
                let now = format!("the end ({:?}) of step `{path}`", finish.outcome);
                let mismatch = intend::mismatch(entry, now, &self.spec.workflow);
                return Err(Halt::Fatal(super::Fatal::Mismatch(Box::new(mismatch))));
            }
        }
        Ok(())
    }

    /// An end without a value.
    pub fn finish(&self, path: &str, attempt: u32, outcome: StepOutcome, error: Option<ErrorInfo>) -> StepFinished {
        StepFinished {
            run: self.spec.run,
            path: path.to_owned(),
            attempt,
            outcome,
            output: None,
            error,
            latency_ms: 0,
            cached: false,
            cached_from: None,
            tokens_spent: None,
        }
    }

    /// Ends all that the branches `doomed` have open, what began last first.
    pub fn cancel_open(&mut self, doomed: &[FiberId]) -> Result<(), Halt> {
        let mut ends: Vec<(u64, Arc<str>, u32, bool)> = self
            .open
            .iter()
            .filter(|(_, open)| doomed.contains(&open.fiber))
            .map(|(path, open)| (open.order, Arc::clone(path), open.attempt, open.between))
            .collect();
        ends.sort_unstable_by_key(|(order, ..)| std::cmp::Reverse(*order));
        for (_, path, mut attempt, between) in ends {
            let begun = self.open.remove(&path).and_then(|open| open.begun);
            if between {
                attempt += 1;
                self.start_cancelled(&path, attempt, begun);
            }
            let error = ErrorInfo::new(BRANCH_CANCELLED, "its branch was cancelled");
            let finish = self.finish(&path, attempt, StepOutcome::Cancelled, Some(error));
            self.close(&path, attempt, finish)?;
            self.close_left_open(&path, attempt);
        }
        Ok(())
    }

    /// A code step between two attempts has nothing open that could be ended: the next attempt begins to be cancelled, so
    /// that nobody begins it later.
    fn start_cancelled(&mut self, path: &Arc<str>, attempt: u32, begun: Option<Box<StepStarted>>) {
        if self.journal.close_before(path, attempt) {
            return;
        }
        let Some(begun) = begun else { return };
        let started = StepStarted { attempt, ..*begun };
        self.push(EventBody::StepStarted(started), Some(Arc::clone(path)));
    }

    /// Ends what was left open inside a code step whose recorded end stands for it. All of it stands inside the step
    /// and is passed over on the next replay, so its place in the order does not matter.
    pub fn close_left_open(&mut self, path: &str, attempt: u32) {
        for (path, attempt) in self.journal.left_open(path, attempt).into_iter().rev() {
            let error = ErrorInfo::new(BRANCH_CANCELLED, "the step around it ended");
            let finish = self.finish(&path, attempt, StepOutcome::Cancelled, Some(error));
            self.push(EventBody::StepFinished(finish), Some(path));
        }
    }

    /// Whether anything is open that a delivery can end.
    pub fn awaits_delivery(&self) -> bool {
        !self.open.is_empty()
    }

    /// Parks the running branch until all is flushed, then goes on with `resume`.
    pub fn park_for_flush(&mut self, resume: Answer) -> Result<Answer, Halt> {
        self.fiber()?.resume = resume;
        self.block(Block::Flush)?;
        Ok(answer(status::WAIT))
    }

    /// The answer of an operation that ended.
    pub fn ended(&self, lua: &Lua, finish: &StepFinished, check: bool) -> mlua::Result<Answer> {
        use crate::value::{Nulls, from_json};
        let failed = finish.outcome != StepOutcome::Ok;
        if failed && (check || finish.output.is_none()) {
            let error = error_of(finish);
            if check {
                return self.throws(lua, &error);
            }
            let error = crate::thrown::to_table(lua, &error, &self.marks)?;
            return Ok((status::RETURN, Value::Nil, error, Value::Nil));
        }
        let output = finish.output.as_ref().map_or("null", Json::as_str);
        Ok(super::returns(from_json(lua, output, &self.marks, Nulls::Nil)?))
    }
}

/// What an agent's end says of the tokens that it used, whether it succeeded or not.
pub(crate) fn tokens_of(finish: &StepFinished) -> u64 {
    // What was taken over was paid for before.
    if finish.cached {
        return 0;
    }
    #[derive(serde::Deserialize)]
    struct Usage {
        prompt_tokens: u64,
        completion_tokens: u64,
    }
    #[derive(serde::Deserialize)]
    struct Info {
        usage: Usage,
    }
    #[derive(serde::Deserialize)]
    struct Told {
        info: Info,
    }
    let told = finish.output.as_ref().or_else(|| finish.error.as_ref()?.details.as_ref());
    let told = told.and_then(|told| told.to::<Told>().ok());
    told.map_or(0, |told| told.info.usage.prompt_tokens + told.info.usage.completion_tokens)
}

/// Why a step failed, also where its event does not say.
pub(crate) fn error_of(finish: &StepFinished) -> ErrorInfo {
    finish.error.clone().unwrap_or_else(|| match finish.outcome {
        StepOutcome::TimedOut => ErrorInfo::new("timeout", format!("step `{}` timed out", finish.path)),
        StepOutcome::Cancelled => ErrorInfo::new("cancelled", format!("step `{}` was cancelled", finish.path)),
        StepOutcome::Interrupted => {
            ErrorInfo::new("interrupted", format!("the runner stopped during step `{}`", finish.path)).retryable()
        }
        StepOutcome::Skipped => ErrorInfo::new("skipped", format!("step `{}` was skipped", finish.path)),
        StepOutcome::Ok | StepOutcome::Error => ErrorInfo::new("step_failed", format!("step `{}` failed", finish.path)),
    })
}

/// An operation's input with how long its result is good for others.
fn with_cache_ms(input: &Json, cache_ms: u64) -> Json {
    let mut tree = input.to_value();
    if let Some(fields) = tree.as_object_mut() {
        fields.insert("cache_ms".into(), cache_ms.into());
    }
    Json::from(tree)
}

/// blake3 of kind, inputs and options; of the script too, where the inputs do not say all.
pub(crate) fn spec_hash(kind: &str, input: &str, script: Option<&Hash>) -> Hash {
    let mut hasher = blake3::Hasher::new();
    hasher.update(kind.as_bytes());
    hasher.update(b"\0");
    hasher.update(input.as_bytes());
    if let Some(script) = script {
        hasher.update(b"\0");
        hasher.update(script.as_bytes());
    }
    Hash::from_bytes(*hasher.finalize().as_bytes())
}
