//! A run: one script from its start, or from its journal, to its end.

use crate::{
    Engine, Input, RunError, RunSpec, RunState, Slice, StopHandle,
    job::{Block, End, Fatal, FiberKind, FiberState, Halt, Job, Scope, answer, mismatch},
    vm::Vm,
};
use mlua::{Function, Value};
use moonlog_core::{
    error_info::ErrorInfo,
    event::Event,
    journal::{Delivery, Entry, Journal, Role},
};
use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, atomic::Ordering},
};

/// While results come from the journal computing is bounded only against scripts that never end.
const REPLAY_FACTOR: u64 = 4;

/// A script that runs, with the VM that it has to itself.
pub struct Run {
    engine: Engine,
    /// `None` once the run is over.
    vm: Option<Vm>,
    stop: StopHandle,
}

impl Run {
    /// Replays all of `history` (the job's events of this run, others are passed over; may be empty), then runs on until
    /// every branch is blocked.
    ///
    /// # Errors
    /// Where the script does not compile or does not fit its history.
    pub fn start(engine: &Engine, spec: RunSpec, history: &[Arc<Event>]) -> Result<(Self, Slice), RunError> {
        let (mut run, main) = Self::prepare(engine, spec, history)?;
        run.begin(main)?;
        let slice = run.pump()?;
        Ok((run, slice))
    }

    /// Delivers `input` and runs on until every branch is blocked.
    ///
    /// # Errors
    /// As for `start`.
    pub fn resume(&mut self, input: Input) -> Result<Slice, RunError> {
        let vm = self.vm()?;
        vm.watch.restart();
        let delivered = match (&mut *vm.job(), input) {
            (Some(job), Input::Finished { event, retry, time }) => {
                job.deliver(&vm.lua, Delivery::Finished { event, retry, time })
            }
            (Some(job), Input::Attempt { event, time }) => job.deliver(&vm.lua, Delivery::Attempt { event, time }),
            (Some(job), Input::Continue) => {
                job.flushed();
                Ok(())
            }
            (None, _) => Ok(()),
        };
        self.settle(delivered)?;
        self.pump()
    }

    /// Stops the run from another thread.
    pub fn stop_handle(&self) -> StopHandle {
        self.stop.clone()
    }

    /// Runs as `start` does; what waits for a flush is given it, as nothing is appended.
    pub(crate) fn finish_replay(&mut self) -> Result<Slice, RunError> {
        let mut slice = self.pump()?;
        while slice.state == RunState::More {
            let more = self.resume(Input::Continue)?;
            slice.intents.extend(more.intents);
            slice.state = more.state;
            if slice.intents.len() > 10_000 {
                break;
            }
        }
        Ok(slice)
    }

    /// What became of each entry of the history.
    pub(crate) fn walked(&self) -> Vec<Entry> {
        let Some(vm) = &self.vm else { return Vec::new() };
        let mut seat = vm.job();
        let Some(job) = seat.as_mut() else { return Vec::new() };
        job.journal.is_over();
        job.journal.entries().to_vec()
    }

    /// The entry that comes next in the history, where one is left.
    pub(crate) fn unmet(&self) -> Option<Entry> {
        let vm = self.vm.as_ref()?;
        vm.job().as_mut().and_then(|job| job.journal.peek().cloned())
    }

    pub(crate) fn prepare(
        engine: &Engine,
        spec: RunSpec,
        history: &[Arc<Event>],
    ) -> Result<(Self, (Function, Value)), RunError> {
        let compiled = engine.compiled(&spec.script_hash, &spec.source).map_err(RunError::Script)?;
        let vm = engine.take().map_err(RunError::Replay)?;
        let stop = spec.stop.clone();
        let name = spec.workflow.clone();
        let budget = spec.budget_total;
        let journal = Journal::new(spec.run, history);
        let limits = engine.shared_limits();
        let mut job = Job::new(spec, Arc::clone(&limits), Arc::clone(&vm.marks), journal, Arc::clone(&stop.0));
        job.chunks = Some(Arc::clone(&compiled));
        let chunk = (|| {
            let args = vm.seat(job, &limits)?;
            let env = vm.globals(args.clone(), budget)?;
            Ok((vm.load(&name, &compiled.main, env)?, args))
        })();
        let run = Self { engine: engine.clone(), vm: Some(vm), stop };
        match chunk {
            Ok(chunk) => Ok((run, chunk)),
            Err(error) => Err(RunError::Replay(fault(&error))),
        }
    }

    /// The main branch, ready to run.
    pub(crate) fn begin(&mut self, (chunk, args): (Function, Value)) -> Result<(), RunError> {
        let vm = self.vm()?;
        let thread = vm.main_thread().map_err(|error| RunError::Replay(fault(&error)))?;
        let begun = match vm.job().as_mut() {
            Some(job) => job.add_fiber(FiberKind::Main, thread, Scope::default()).map(|id| {
                if let Some(fiber) = job.fibers.get_mut(&id) {
                    fiber.resume = (0, Value::Function(chunk), args, Value::Nil);
                }
            }),
            None => Ok(()),
        };
        self.settle(begun)
    }

    fn vm(&self) -> Result<&Vm, RunError> {
        self.vm.as_ref().ok_or_else(|| RunError::Replay(ErrorInfo::new("internal", "the run is over")))
    }

    /// Keeps what stopped a delivery; the pump then ends the run with it.
    fn settle(&self, result: Result<(), Halt>) -> Result<(), RunError> {
        let Err(halt) = result else { return Ok(()) };
        let vm = self.vm()?;
        if let Some(job) = vm.job().as_mut() {
            let fatal = match halt {
                Halt::Fatal(fatal) => fatal,
                Halt::Error(error) => Fatal::Failed(error),
                Halt::Lua(error) => Fatal::Failed(fault(&error)),
            };
            job.set_fatal(&vm.lua, fatal);
        }
        Ok(())
    }

    /// Runs branches, one at a time, until all are blocked and nothing recorded is left to be delivered.
    fn pump(&mut self) -> Result<Slice, RunError> {
        let pumped = catch_unwind(AssertUnwindSafe(|| {
            loop {
                match self.advance()? {
                    Advance::Branch => {}
                    Advance::Blocked => return Ok(RunState::Blocked),
                    Advance::More => return Ok(RunState::More),
                    Advance::Ended(end) => {
                        return Ok(match end {
                            End::Returned(result) => RunState::Returned(result),
                            End::Failed(error) => RunState::Failed(error),
                            End::Continued(args) => RunState::Continued(args),
                        });
                    }
                }
            }
        }));
        let state = match pumped {
            Ok(Ok(state)) => state,
            Ok(Err(error)) => {
                return Err(error);
            }
            Err(panic) => {
                // The VM may be in any state: it is not used again.
                let what = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
                let what = what.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_default();
                if let Some(vm) = self.vm.take() {
                    drop(vm);
                }
                return Err(RunError::Replay(ErrorInfo::new("internal", format!("a fault of moonlog's: {what}"))));
            }
        };
        let vm = self.vm()?;
        let intents = vm.job().as_mut().map(|job| std::mem::take(&mut job.intents)).unwrap_or_default();
        Ok(Slice { intents, state })
    }

    /// Runs one branch, or delivers one recorded event.
    fn advance(&self) -> Result<Advance, RunError> {
        let vm = self.vm()?;
        let (id, thread, resume) = {
            let mut seat = vm.job();
            let Some(job) = seat.as_mut() else {
                return Err(RunError::Replay(ErrorInfo::new("internal", "the run is over")));
            };
            if let Some(ended) = self.stopped(vm, job) {
                return ended;
            }
            let replaying = !job.journal.is_over();
            vm.watch.set_budget_ms(job.limits.cpu_ms * if replaying { REPLAY_FACTOR } else { 1 });
            if replaying {
                match job.deliver_recorded(&vm.lua) {
                    // Its branch may wait on, for the next attempt: then what is recorded next may be of that kind too.
                    Ok(true) if job.ready.is_empty() => return Ok(Advance::Branch),
                    Ok(_) => {}
                    Err(halt) => {
                        drop(seat);
                        self.settle(Err(halt))?;
                        return Ok(Advance::Branch);
                    }
                }
            }
            match job.ready.pop_front() {
                Some(id) => {
                    match job.has_turn(&vm.lua, id) {
                        Ok(true) => {}
                        Ok(false) => return Ok(Advance::Branch),
                        Err(halt) => {
                            drop(seat);
                            self.settle(Err(halt))?;
                            return Ok(Advance::Branch);
                        }
                    }
                    job.current = id;
                    let Some(fiber) = job.fibers.get_mut(&id) else { return Ok(Advance::Branch) };
                    fiber.state = FiberState::Running;
                    let resume = std::mem::replace(&mut fiber.resume, answer(0));
                    (id, fiber.thread.clone(), resume)
                }
                None => {
                    let waited = Self::all_blocked(vm, job);
                    drop(seat);
                    return match waited {
                        Ok(advance) => Ok(advance),
                        Err(halt) => {
                            self.settle(Err(halt))?;
                            Ok(Advance::Branch)
                        }
                    };
                }
            }
        };
        let driven = vm.drive(thread, resume);
        let mut seat = vm.job();
        let Some(job) = seat.as_mut() else { return Ok(Advance::Branch) };
        let result = match driven {
            Ok((0, ..)) => {
                let blocked = job.fibers.get(&id).map(|fiber| fiber.state.clone());
                return Ok(match blocked {
                    Some(FiberState::Blocked(Block::Flush)) => Advance::More,
                    _ => Advance::Branch,
                });
            }
            Ok((1, value, _)) => Ok(value),
            Ok((_, thrown, traceback)) => Err((thrown, traceback)),
            Err(error) => Err((Value::Error(Box::new(error)), None)),
        };
        if job.fatal.is_none() && !job.stop.load(Ordering::Relaxed) {
            let ended = job.fiber_ended(&vm.lua, id, result);
            drop(seat);
            self.settle(ended)?;
        }
        Ok(Advance::Branch)
    }

    /// Whether the run is over whatever its branches do.
    fn stopped(&self, vm: &Vm, job: &mut Job) -> Option<Result<Advance, RunError>> {
        let failed = |job: &mut Job, error: ErrorInfo| {
            if job.journal.is_over() { Ok(Advance::Ended(End::Failed(error))) } else { Err(RunError::Replay(error)) }
        };
        if let Some(error) = vm.watch.expired() {
            return Some(failed(job, error));
        }
        match job.fatal.clone() {
            Some(Fatal::Mismatch(mismatch)) => Some(Err(RunError::Mismatch(mismatch))),
            Some(Fatal::Failed(error)) => Some(failed(job, error)),
            None if self.stop.0.load(Ordering::Relaxed) => {
                Some(Ok(Advance::Ended(End::Failed(ErrorInfo::new("cancelled", "the job was stopped")))))
            }
            None => None,
        }
    }

    /// No branch is ready: what is recorded next is delivered, or the run waits, or it is over.
    fn all_blocked(vm: &Vm, job: &mut Job) -> Result<Advance, Halt> {
        let alive = job.fibers.values().any(|fiber| fiber.state != FiberState::Blocked(Block::End));
        if let (Some(end), false) = (job.end.clone(), alive) {
            if !matches!(end, End::Failed(_)) {
                job.log_unobserved()?;
            }
            if let Some(entry) = job.journal.peek()
                && entry.role != Role::Closing
            {
                let mismatch = mismatch(entry, "nothing: the script has ended".into(), &job.spec.workflow);
                return Err(Halt::Fatal(Fatal::Mismatch(Box::new(mismatch))));
            }
            return Ok(Advance::Ended(end));
        }
        if let Some(delivery) = job.journal.take_delivery() {
            vm.watch.restart();
            job.deliver(&vm.lua, delivery)?;
            return Ok(Advance::Branch);
        }
        if let Some(entry) = job.journal.peek()
            && entry.role != Role::Closing
        {
            let mismatch = mismatch(entry, "nothing: the script waits".into(), &job.spec.workflow);
            return Err(Halt::Fatal(Fatal::Mismatch(Box::new(mismatch))));
        }
        if !job.awaits_delivery() {
            let message = "every branch of the script waits for another one";
            return Err(Halt::Fatal(Fatal::Failed(ErrorInfo::new("deadlock", message))));
        }
        Ok(Advance::Blocked)
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        if let Some(vm) = self.vm.take() {
            self.engine.give_back(vm);
        }
    }
}

enum Advance {
    /// A branch ran, or something was delivered: look again.
    Branch,
    Blocked,
    More,
    Ended(End),
}

fn fault(error: &mlua::Error) -> ErrorInfo {
    match error {
        mlua::Error::MemoryError(_) => ErrorInfo::new("limit_memory", "the script needs more memory than it may use"),
        other => ErrorInfo::new("internal", format!("a fault of moonlog's: {other}")),
    }
}
