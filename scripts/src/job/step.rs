//! Code steps: a function of the script that is entered once per attempt, and never again once its end is recorded.

use super::{
    Answer, Block, Fiber, FiberId, FiberKind, FiberState, Halt, Job, Scope, answer,
    operation::{Begin, error_of, spec_hash},
    returns, status,
};
use crate::{
    thrown::to_error,
    value::{Nulls, from_json, to_json},
};
use mlua::{Lua, Thread, Value};
use moonlog_core::{
    error_info::ErrorInfo,
    event::{EventBody, RetryPolicy, StepFinished, StepOutcome, StepRetryScheduled},
    journal::{RecordedFinish, idempotency_key},
    json::Json,
};
use std::{collections::VecDeque, fmt::Write, sync::Arc};

/// A code step as a script, or one of its flows, calls it.
pub(crate) struct CodeStep {
    pub name: String,
    /// Its call path, where it is a step of a flow: its branch's own.
    pub path: Option<Arc<str>>,
    /// What kind of step of a flow it is.
    pub kind: Option<String>,
    pub input: Value,
    pub retry: Option<RetryPolicy>,
    pub timeout_ms: Option<u64>,
    /// How old a result may be that another job has shared.
    pub cache_ms: Option<u64>,
}

impl Job {
    /// The script calls `step`.
    pub fn step_begin(&mut self, lua: &Lua, code: CodeStep) -> Result<Answer, Halt> {
        self.check_allowed("step")?;
        let CodeStep { name, path, kind, input, retry, timeout_ms, cache_ms } = code;
        let mut text = String::new();
        if let Some(kind) = kind {
            let _ = write!(text, "\"flow\":{},", Json::of(&kind));
        }
        if !input.is_nil() {
            let input = to_json(&input, "step: input", &self.marks, self.limits.value_bytes)?;
            let _ = write!(text, "\"input\":{input},");
        }
        let _ = write!(text, "\"name\":{}", Json::of(&name));
        let in_flow = path.is_some();
        let path = match path {
            Some(path) => path,
            None => self.scope()?.segment(&name),
        };
        // Its hash covers name and input, but not how often it is tried. Without an input anything may matter: the script,
        // its arguments, and where in it the step stands.
        let is_told = !input.is_nil();
        let spec_hash = if is_told {
            spec_hash("step", &text, None)
        } else {
            spec_hash("step", &format!("{text}\0{path}\0{}", self.spec.args), Some(&self.spec.script_hash))
        };
        text.insert(0, '{');
        if let Some(cache_ms) = cache_ms {
            text.insert_str(1, &format!("\"cache_ms\":{cache_ms},"));
        }
        if let Some(retry) = &retry {
            let _ = write!(text, ",\"retry\":{}", Json::parse(Json::of(retry).as_str()).unwrap_or_default());
        }
        if let Some(timeout_ms) = timeout_ms {
            let _ = write!(text, ",\"timeout_ms\":{timeout_ms}");
        }
        text.push('}');
        let (input, path) = (Json::from_written(text), Some(path));
        let resumes = is_told || self.is_all_reused()?;
        let started = self.start(Begin { kind: "step", name: &name, path, input, spec_hash, check: false, retry })?;
        if let Some(open) = self.open.get_mut(&started.path) {
            open.timeout = timeout_ms.is_some();
            open.in_flow = in_flow;
        }
        if let Some(finish) = self.take_over(&started, "step", &spec_hash, resumes, cache_ms)? {
            return self.taken_over(lua, &finish);
        }
        let (id, path) = (self.current, started.path);
        match self.attempt(lua, &path, 1)? {
            Some(answer) => Ok(answer),
            None => {
                // The function's branch, then this one.
                self.await_recorded(id, path, 1, 2);
                Ok(answer(status::WAIT))
            }
        }
    }

    /// A branch waits for the recorded end of its step. Where the function had a branch of its own and never waited, all that
    /// was ready meanwhile had its turn between the two: so it has here.
    pub fn await_recorded(&mut self, id: FiberId, path: Arc<str>, attempt: u32, turns: u8) {
        let had_branch = self.open.get(&path).is_some_and(|open| open.timeout);
        let by_turns = had_branch && self.journal.ran_through(&path, attempt);
        if let Some(fiber) = self.fibers.get_mut(&id) {
            let block = if by_turns { Block::Turns(path, turns) } else { Block::Recorded(path) };
            fiber.state = FiberState::Blocked(block);
        }
        if by_turns {
            self.ready.push_back(id);
        }
    }

    /// The turn of a branch comes: whether it runs now. One that waits by turns gives all but the last to others.
    pub fn has_turn(&mut self, lua: &Lua, id: FiberId) -> Result<bool, Halt> {
        let Some(fiber) = self.fibers.get_mut(&id) else { return Ok(false) };
        let FiberState::Blocked(Block::Turns(path, turns)) = &mut fiber.state else { return Ok(true) };
        if *turns > 1 {
            *turns -= 1;
            self.ready.push_back(id);
            return Ok(false);
        }
        let path = Arc::clone(path);
        if self.journal.next_code_finish().is_none_or(|(next, _)| *next != *path) {
            fiber.state = FiberState::Blocked(Block::Recorded(path));
            return Ok(false);
        }
        let Some(finish) = self.journal.take_code_finish() else { return Ok(false) };
        self.current = id;
        let resume = self.recorded_end(lua, &path, finish)?;
        let goes_on = resume.0 != status::WAIT;
        if let Some(fiber) = self.fibers.get_mut(&id).filter(|_| goes_on) {
            fiber.resume = resume;
        }
        Ok(goes_on)
    }

    /// A code step is over that was entered: no attempt at it follows.
    pub fn step_over(&mut self, path: &Arc<str>, outcome: StepOutcome) {
        if let Some(id) = self.forget_open(path, outcome) {
            self.did_anew(id);
        }
    }

    /// An operation or a code step is open no more. A flow is told how its steps ended.
    pub fn forget_open(&mut self, path: &Arc<str>, outcome: StepOutcome) -> Option<FiberId> {
        let open = self.open.remove(path)?;
        if open.in_flow {
            let parent = self.fibers.get(&open.fiber).and_then(|fiber| fiber.parent);
            if let Some(flow) = parent.and_then(|parent| self.flows.get_mut(&parent)) {
                flow.note_end(path, outcome, open.attempt);
            }
        }
        Some(open.fiber)
    }

    /// An attempt at a code step begins: its function is entered, or its recorded end stands for it. `None` where that
    /// end comes later in the journal. The branch that the step belongs to must be the current one.
    pub fn attempt(&mut self, lua: &Lua, path: &Arc<str>, attempt: u32) -> Result<Option<Answer>, Halt> {
        if self.journal.skip_recorded(path, attempt) {
            let by_turns = self.open.get(path).is_some_and(|open| open.timeout);
            let next = !by_turns && self.journal.next_code_finish().is_some_and(|(p, a)| *p == **path && a == attempt);
            return match next.then(|| self.journal.take_code_finish()).flatten() {
                Some(finish) => self.recorded_end(lua, path, finish).map(Some),
                None => Ok(None),
            };
        }
        let with_body = self.open.get(path).is_some_and(|open| open.timeout);
        if !with_body {
            let id = self.open.get(path).map_or(self.current, |open| open.fiber);
            if let Some(fiber) = self.fibers.get_mut(&id) {
                fiber.scopes.push(Scope::step(Arc::clone(path), attempt));
            }
        }
        let key = idempotency_key(&self.spec.job, self.spec.run, path);
        let key = Value::String(lua.create_string(key)?);
        Ok(Some((status::ENTER, key, Value::Integer(attempt.into()), Value::Nil)))
    }

    /// What the recorded end of a code step means to the branch that called it.
    pub fn recorded_end(&mut self, lua: &Lua, path: &Arc<str>, recorded: RecordedFinish) -> Result<Answer, Halt> {
        if let Some(now) = recorded.now {
            self.now = self.now.max(now);
        }
        let finish = recorded.event;
        self.close_left_open(path, finish.attempt);
        let error = error_of(&finish);
        let mut retry = recorded.retry;
        if recorded.last && !retry && matches!(finish.outcome, StepOutcome::Error) {
            // The runner stopped between the end and the retry that belongs to it.
            retry = self.schedule_retry(path, &error);
        }
        if retry {
            return self.await_attempt(path);
        }
        self.step_over(path, finish.outcome);
        match finish.outcome {
            StepOutcome::Ok => {
                let output = finish.output.as_ref().map_or("null", Json::as_str);
                Ok(returns(from_json(lua, output, &self.marks, Nulls::Nil)?))
            }
            _ => Ok(self.throws(lua, &error)?),
        }
    }

    /// The step's branch waits until the next attempt begins.
    pub fn await_attempt(&mut self, path: &Arc<str>) -> Result<Answer, Halt> {
        let mut id = self.current;
        if let Some(open) = self.open.get_mut(path) {
            open.between = true;
            id = open.fiber;
        }
        if let Some(fiber) = self.fibers.get_mut(&id) {
            fiber.state = FiberState::Blocked(Block::Attempt(Arc::clone(path)));
        }
        Ok(answer(status::WAIT))
    }

    /// The function of a step with a timeout runs in a branch of its own.
    pub fn step_body(&mut self, thread: Thread) -> Result<Answer, Halt> {
        let current = self.current;
        let step = self.open.iter().filter(|(_, open)| open.fiber == current && open.code && open.timeout);
        let Some((path, open)) = step.max_by_key(|(_, open)| open.order) else {
            return Err(Halt::fault("no step to enter"));
        };
        let (path, attempt) = (Arc::clone(path), open.attempt);
        let scope = Scope::step(Arc::clone(&path), attempt);
        self.add_fiber(FiberKind::Body(Arc::clone(&path)), thread, scope)?;
        self.block(Block::Body(path))
    }

    /// Whether a branch that was spawned inside the step's function still runs. The step's branch then waits for it.
    pub fn step_holds(&mut self) -> Result<bool, Halt> {
        let inside = format!("{}/", self.scope()?.prefix);
        let current = self.current;
        let holds = self.fibers.iter().any(|(id, fiber)| {
            *id != current
                && fiber.kind == FiberKind::Spawn
                && fiber.scopes.first().is_some_and(|scope| scope.prefix.starts_with(&inside))
        });
        if holds {
            self.block(Block::Inside)?;
        }
        Ok(holds)
    }

    /// The innermost code step of the running branch, which ends.
    fn ending_step(&mut self) -> Result<(Arc<str>, u32), Halt> {
        let current = self.current;
        let step = self.open.iter().filter(|(_, open)| open.fiber == current && open.code);
        let Some((path, open)) = step.max_by_key(|(_, open)| open.order) else {
            return Err(Halt::fault("no step to end"));
        };
        let (path, attempt, timeout) = (Arc::clone(path), open.attempt, open.timeout);
        if !timeout {
            let fiber = self.fiber()?;
            if fiber.scopes.len() > 1 {
                fiber.scopes.pop();
            }
        }
        Ok((path, attempt))
    }

    /// A step's function returned.
    pub fn step_ok(&mut self, lua: &Lua, value: Value) -> Result<Answer, Halt> {
        let output = match to_json(&value, "the step's result", &self.marks, self.limits.value_bytes) {
            Ok(output) => output,
            Err(bad) => {
                let (path, attempt) = self.ending_step()?;
                let error = ErrorInfo::new(bad.code, format!("step `{path}`: {}", bad.message));
                return self.fail_step(lua, &path, attempt, error, false);
            }
        };
        let (path, attempt) = self.ending_step()?;
        // A replay gives what was recorded, so the first run does too.
        let value = match value {
            Value::Table(_) => from_json(lua, output.as_str(), &self.marks, Nulls::Nil)?,
            Value::Integer(_) | Value::Number(_) => from_json(lua, output.as_str(), &self.marks, Nulls::Nil)?,
            plain => plain,
        };
        let finish = StepFinished { output: Some(output), ..self.finish(&path, attempt, StepOutcome::Ok, None) };
        self.step_over(&path, StepOutcome::Ok);
        self.intend(EventBody::StepFinished(finish), Some(path))?;
        if self.is_full() {
            return self.park_for_flush(returns(value));
        }
        Ok(returns(value))
    }

    /// A step's function threw.
    pub fn step_failed(&mut self, lua: &Lua, thrown: &Value, traceback: Option<String>) -> Result<Answer, Halt> {
        let (path, attempt) = self.ending_step()?;
        let error = to_error(thrown, traceback, &self.marks);
        self.cancel_inside(lua, &format!("{path}@{attempt}/"))?;
        self.fail_step(lua, &path, attempt, error, true)
    }

    fn fail_step(
        &mut self,
        lua: &Lua,
        path: &Arc<str>,
        attempt: u32,
        error: ErrorInfo,
        may_retry: bool,
    ) -> Result<Answer, Halt> {
        let finish = self.finish(path, attempt, StepOutcome::Error, Some(error.clone()));
        self.intend(EventBody::StepFinished(finish), Some(Arc::clone(path)))?;
        if may_retry && self.schedule_retry(path, &error) {
            return self.await_attempt(path);
        }
        self.step_over(path, StepOutcome::Error);
        Ok(self.throws(lua, &error)?)
    }

    /// Schedules the next attempt, where the step's policy has one. What stands in the journal is new here: an attempt
    /// with a recorded end is not entered.
    fn schedule_retry(&mut self, path: &Arc<str>, error: &ErrorInfo) -> bool {
        let Some(open) = self.open.get(path) else { return false };
        let attempt = open.attempt;
        let Some(wait_ms) = open.retry.as_ref().and_then(|retry| retry.wait_ms_after(attempt)) else { return false };
        let retry =
            StepRetryScheduled { run: self.spec.run, path: path.to_string(), attempt, wait_ms, error: error.clone() };
        self.push(EventBody::StepRetryScheduled(retry), Some(Arc::clone(path)));
        true
    }

    /// A new branch of the running one, ready to run.
    pub fn add_fiber(&mut self, kind: FiberKind, thread: Thread, scope: Scope) -> Result<u32, Halt> {
        let id = self.next_fiber;
        self.next_fiber += 1;
        let parent = (kind != FiberKind::Main).then_some(self.current);
        let fiber = Fiber {
            kind,
            parent,
            thread,
            scopes: vec![scope],
            state: FiberState::Ready,
            resume: (status::WAIT, Value::Nil, Value::Nil, Value::Nil),
            branches: Vec::new(),
            inbox: VecDeque::new(),
            fresh: parent.and_then(|parent| self.fibers.get(&parent)).is_some_and(|parent| parent.fresh),
            branches_fresh: false,
        };
        self.fibers.insert(id, fiber);
        self.ready.push_back(id);
        Ok(id)
    }
}
