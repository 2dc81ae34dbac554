//! Branches of combinators, spawned ones, and their ends.

use super::{
    Answer, Block, End, FiberId, FiberKind, FiberState, Halt, Job, Parked, Scope, SpawnEnd, answer,
    operation::{Begin, spec_hash},
    returns, status,
};
use crate::{thrown, value::to_json};
use mlua::{Lua, Thread, Value};
use moonlog_core::{
    error_info::ErrorInfo,
    event::{EventBody, JobLogged, StepFinished, StepOutcome},
    json::Json,
};
use std::sync::Arc;

impl Job {
    /// A combinator opens: its branches get their call paths, in order.
    pub fn open_branches(&mut self, names: &[String], limit: usize) -> Result<Answer, Halt> {
        self.check_allowed("parallel")?;
        self.check_branches(names.len().min(limit))?;
        let scope = self.scope()?;
        let paths: Vec<Arc<str>> = names.iter().map(|name| scope.segment(name)).collect();
        let fiber = self.fiber()?;
        fiber.branches = paths;
        fiber.branches_fresh = false;
        fiber.inbox.clear();
        Ok(returns(Value::Nil))
    }

    fn check_branches(&self, more: usize) -> Result<(), Halt> {
        let max = self.limits.branches_max as usize;
        // The main branch is not counted.
        if self.fibers.len() - 1 + more > max {
            let message = format!("more than {max} branches would be open at once; give `limit`");
            return Err(Halt::error("limit_branches", message));
        }
        Ok(())
    }

    pub fn free_branches(&self) -> usize {
        (self.limits.branches_max as usize + 1).saturating_sub(self.fibers.len()).max(1)
    }

    pub fn check_items(&self, items: f64) -> Result<Answer, Halt> {
        let max = self.limits.items_max;
        if items > f64::from(max) {
            let message = format!("pipeline: {items} items are more than items_max ({max}); split them");
            return Err(Halt::error("items_max", message));
        }
        Ok(returns(Value::Nil))
    }

    /// Starts the nth branch (1-based) of the running branch's combinator.
    pub fn fork(&mut self, thread: Thread, index: u32, is_pipeline: bool) -> Result<Answer, Halt> {
        self.check_branches(1)?;
        let scope = if is_pipeline {
            Scope::default()
        } else {
            let branches = &self.fiber()?.branches;
            let path = branches.get(index as usize - 1).ok_or_else(|| Halt::fault("no such branch"))?;
            Scope::branch(Arc::clone(path))
        };
        let id = self.add_fiber(FiberKind::Branch(index), thread, scope)?;
        if self.flows.get(&self.current).is_some_and(|flow| flow.depends_on_fresh(index as usize - 1)) {
            self.did_anew(id);
        }
        Ok(returns(Value::Nil))
    }

    /// An item of a pipeline enters a stage: the branch's scope changes.
    pub fn enter_stage(&mut self, item: u32, stage: u32) -> Result<(), Halt> {
        let parent = self.fiber()?.parent.unwrap_or_default();
        let scope = self.fibers.get_mut(&parent).and_then(|fiber| fiber.scopes.last_mut());
        let path = scope.ok_or_else(|| Halt::fault("the pipeline is gone"))?.segment(&format!("{item}.{stage}"));
        self.fiber()?.scopes = vec![Scope::branch(path)];
        Ok(())
    }

    /// The next branch of the running one's combinator that ended; none yet: the branch waits.
    pub fn next_child(&mut self) -> Result<Option<Parked>, Halt> {
        let fiber = self.fiber()?;
        let Some(next) = fiber.inbox.pop_front() else {
            self.block(Block::Children)?;
            return Ok(None);
        };
        fiber.branches_fresh |= next.fresh;
        if let (Some(flow), true) = (self.flows.get_mut(&self.current), next.fresh) {
            flow.note_fresh(next.index as usize - 1);
        }
        Ok(Some(next))
    }

    pub fn close_branches(&mut self) -> Result<(), Halt> {
        let fiber = self.fiber()?;
        fiber.branches.clear();
        fiber.inbox.clear();
        fiber.fresh |= fiber.branches_fresh;
        Ok(())
    }

    /// Cancels the branches of the running one's combinator, and all under them.
    pub fn cancel_children(&mut self, lua: &Lua) -> Result<(), Halt> {
        let current = self.current;
        let children = self
            .fibers
            .iter()
            .filter(|(_, fiber)| fiber.parent == Some(current) && matches!(fiber.kind, FiberKind::Branch(_)));
        let roots: Vec<FiberId> = children.map(|(id, _)| *id).collect();
        self.fiber()?.branches_fresh |= !roots.is_empty();
        self.cancel(lua, &roots)?;
        self.close_branches()
    }

    /// Cancels what was spawned inside a step that failed.
    pub fn cancel_inside(&mut self, lua: &Lua, prefix: &str) -> Result<(), Halt> {
        let inside = self.fibers.iter().filter(|(_, fiber)| {
            fiber.kind == FiberKind::Spawn && fiber.scopes.first().is_some_and(|scope| scope.prefix.starts_with(prefix))
        });
        let roots: Vec<FiberId> = inside.map(|(id, _)| *id).collect();
        self.cancel(lua, &roots)
    }

    /// Cancels branches with all that they started, innermost operations first.
    pub fn cancel(&mut self, lua: &Lua, roots: &[FiberId]) -> Result<(), Halt> {
        let mut doomed: Vec<FiberId> = roots.to_vec();
        // A child's id is always larger than its parent's.
        for (id, fiber) in &self.fibers {
            if fiber.parent.is_some_and(|parent| doomed.contains(&parent)) && !doomed.contains(id) {
                doomed.push(*id);
            }
        }
        self.cancel_open(&doomed)?;
        self.ready.retain(|id| !doomed.contains(id));
        let error = ErrorInfo::new("cancelled", "the branch was cancelled");
        let mut ended = Vec::new();
        for id in doomed {
            let Some(fiber) = self.fibers.remove(&id) else { continue };
            self.flows.remove(&id);
            if fiber.kind == FiberKind::Spawn {
                let path = fiber.scopes.first().map(|scope| Arc::clone(&scope.prefix)).unwrap_or_default();
                let text = Value::Nil;
                let end = SpawnEnd { result: Err(text), error: Some(error.clone()), path, observed: true, fresh: true };
                self.spawn_ends.insert(id, end);
                ended.push(id);
            }
        }
        for id in ended {
            self.spawn_ended(lua, id)?;
        }
        Ok(())
    }

    /// The script calls `spawn`.
    pub fn spawn(&mut self, thread: Thread) -> Result<Answer, Halt> {
        self.check_allowed("spawn")?;
        self.check_branches(1)?;
        let path = self.scope()?.segment("spawn");
        let id = self.add_fiber(FiberKind::Spawn, thread, Scope::branch(path))?;
        Ok(returns(Value::Number(id.into())))
    }

    pub fn spawn_status(&self, id: FiberId) -> &'static str {
        match self.spawn_ends.get(&id) {
            None => "running",
            Some(SpawnEnd { result: Ok(_), .. }) => "completed",
            Some(SpawnEnd { error: Some(error), .. }) if error.code == "cancelled" => "cancelled",
            Some(_) => "failed",
        }
    }

    /// The script waits for a spawned branch; with a timeout that is an operation of its own.
    pub fn spawn_wait(&mut self, lua: &Lua, id: FiberId, timeout_ms: Option<u64>) -> Result<Answer, Halt> {
        if id == self.current {
            return Err(Halt::error("deadlock", "a spawned branch cannot wait for itself"));
        }
        if let Some(answer) = self.spawn_answer(lua, id, self.current)? {
            return Ok(answer);
        }
        let operation = match timeout_ms {
            None => None,
            Some(ms) => {
                let input = Json::from_written(format!("{{\"timeout_ms\":{ms}}}"));
                let spec_hash = spec_hash("wait", input.as_str(), None);
                let (kind, name, path) = ("wait", "wait", None);
                Some(self.start(Begin { kind, name, path, input, spec_hash, check: false, retry: None })?.path)
            }
        };
        self.block(Block::Spawn(id, operation))
    }

    fn spawn_answer(&mut self, lua: &Lua, id: FiberId, waiter: FiberId) -> Result<Option<Answer>, Halt> {
        let Some(end) = self.spawn_ends.get_mut(&id) else { return Ok(None) };
        end.observed = true;
        if let (Some(waiter), true) = (self.fibers.get_mut(&waiter), end.fresh) {
            waiter.fresh = true;
        }
        Ok(Some(match &end.result {
            Ok(value) => returns(value.clone()),
            Err(Value::Nil) => {
                let error = ErrorInfo::new("cancelled", "the spawned branch was cancelled");
                (status::RETURN, Value::Nil, thrown::to_table(lua, &error, &self.marks)?, Value::Nil)
            }
            Err(error) => (status::RETURN, Value::Nil, error.clone(), Value::Nil),
        }))
    }

    /// The script calls `continue_as`.
    pub fn continue_as(&mut self, args: &Value) -> Result<Answer, Halt> {
        self.check_allowed("continue_as")?;
        let fiber = self.fiber()?;
        if fiber.kind != FiberKind::Main || fiber.scopes.len() > 1 {
            let message = "continue_as can only be called from the main branch, outside of steps";
            return Err(Halt::error("operation_not_allowed", message));
        }
        let args = to_json(args, "continue_as: args", &self.marks, self.limits.value_bytes)?;
        self.end = Some(End::Continued(args));
        self.block(Block::End)
    }

    /// A branch ended. Whoever waited for it goes on.
    pub fn fiber_ended(
        &mut self,
        lua: &Lua,
        id: FiberId,
        result: Result<Value, (Value, Option<String>)>,
    ) -> Result<(), Halt> {
        let Some(fiber) = self.fibers.remove(&id) else { return Ok(()) };
        self.flows.remove(&id);
        let parent = fiber.parent.unwrap_or_default();
        match fiber.kind {
            FiberKind::Main => {
                let end = match result {
                    Ok(value) => match to_json(&value, "result", &self.marks, self.limits.value_bytes) {
                        Ok(json) => End::Returned(json),
                        Err(bad) => End::Failed(ErrorInfo::new(bad.code, format!("the script's {}", bad.message))),
                    },
                    Err((thrown, traceback)) => End::Failed(thrown::to_error(&thrown, traceback, &self.marks)),
                };
                if let End::Failed(_) = end {
                    let others: Vec<FiberId> = self.fibers.keys().copied().collect();
                    self.cancel(lua, &others)?;
                }
                self.end = Some(end);
            }
            FiberKind::Branch(index) => {
                let result = match result {
                    Ok(value) => Ok(value),
                    Err((thrown, traceback)) => {
                        let error = thrown::to_error(&thrown, traceback, &self.marks);
                        let traceback = match &error.traceback {
                            Some(text) => Value::String(lua.create_string(text)?),
                            None => Value::Nil,
                        };
                        Err((self.caught(lua, thrown, &error)?, traceback))
                    }
                };
                let parent_id = parent;
                if let Some(parent) = self.fibers.get_mut(&parent) {
                    parent.inbox.push_back(Parked { index, fresh: fiber.fresh, result });
                    if parent.state == FiberState::Blocked(Block::Children) {
                        self.wake(parent_id, answer(status::WAIT));
                    }
                }
            }
            FiberKind::Body(path) => {
                let waits = |fiber: &super::Fiber| fiber.state == FiberState::Blocked(Block::Body(Arc::clone(&path)));
                if self.fibers.get(&parent).is_some_and(waits) {
                    let resume = match result {
                        Ok(value) => (status::BODY, Value::Boolean(true), value, Value::Nil),
                        Err((thrown, traceback)) => {
                            let traceback = match traceback {
                                Some(text) => Value::String(lua.create_string(text)?),
                                None => Value::Nil,
                            };
                            (status::BODY, Value::Boolean(false), thrown, traceback)
                        }
                    };
                    self.wake(parent, resume);
                }
            }
            FiberKind::Spawn => {
                let path = fiber.scopes.first().map(|scope| Arc::clone(&scope.prefix)).unwrap_or_default();
                let end = match result {
                    Ok(value) => SpawnEnd { result: Ok(value), error: None, path, observed: false, fresh: fiber.fresh },
                    Err((thrown, traceback)) => {
                        let error = thrown::to_error(&thrown, traceback, &self.marks);
                        let caught = self.caught(lua, thrown, &error)?;
                        SpawnEnd { result: Err(caught), error: Some(error), path, observed: false, fresh: fiber.fresh }
                    }
                };
                self.spawn_ends.insert(id, end);
                self.spawn_ended(lua, id)?;
            }
        }
        Ok(())
    }

    /// What a combinator hands out for a branch that threw: always a table with code, message and retryable that prints as
    /// its message.
    fn caught(&self, lua: &Lua, thrown: Value, error: &ErrorInfo) -> Result<Value, Halt> {
        Ok(match thrown {
            // An error of ours is one already, and a class of the script's own stays what it is.
            Value::Table(table) if table.metatable().is_some() => Value::Table(table),
            Value::Table(table) => Value::Table(thrown::completed(lua, &table, error, &self.marks)?),
            _ => thrown::to_table(lua, error, &self.marks)?,
        })
    }

    /// Wakes those that wait for a spawned branch, and the steps that it held open.
    fn spawn_ended(&mut self, lua: &Lua, id: FiberId) -> Result<(), Halt> {
        let waiting: Vec<(FiberId, Block)> = self
            .fibers
            .iter()
            .filter_map(|(waiter, fiber)| match &fiber.state {
                FiberState::Blocked(block @ Block::Spawn(target, _)) if *target == id => Some((*waiter, block.clone())),
                FiberState::Blocked(Block::Inside) => Some((*waiter, Block::Inside)),
                _ => None,
            })
            .collect();
        for (waiter, block) in waiting {
            let resume = match block {
                Block::Spawn(_, operation) => {
                    if let Some(path) = operation {
                        self.open.remove(&path);
                        let finish = self.finish(&path, 1, StepOutcome::Ok, None);
                        self.close(&path, 1, StepFinished { output: Some(Json::null()), ..finish })?;
                    }
                    self.spawn_answer(lua, id, waiter)?.unwrap_or_else(|| answer(status::WAIT))
                }
                _ => answer(status::WAIT),
            };
            self.wake(waiter, resume);
        }
        Ok(())
    }

    /// Spawned branches that failed with nobody asking are logged, so that no failure is silent.
    pub fn log_unobserved(&mut self) -> Result<(), Halt> {
        let failed: Vec<(Arc<str>, String)> = self
            .spawn_ends
            .values()
            .filter(|end| !end.observed)
            .filter_map(|end| end.error.as_ref().map(|error| (Arc::clone(&end.path), error.message.clone())))
            .collect();
        for (path, message) in failed {
            let message = format!("spawned branch `{path}` failed and nobody waited for it: {message}");
            self.intend(EventBody::JobLogged(JobLogged { level: "error".into(), message }), Some(path))?;
        }
        for end in self.spawn_ends.values_mut() {
            end.observed = true;
        }
        Ok(())
    }
}
