//! Deliveries: what the runner says about operations, to the branches that wait for them.

use super::{
    Block, FiberId, FiberKind, FiberState, Halt, Job,
    operation::{error_of, tokens_of},
    status,
};
use mlua::Lua;
use moonlog_core::{
    event::{StepFinished, StepOutcome, StepStarted},
    journal::Delivery,
    time::Timestamp,
};
use std::sync::Arc;

impl Job {
    /// Gives a delivery to its branch. One that nobody waits for any more is passed over.
    pub fn deliver(&mut self, lua: &Lua, delivery: Delivery) -> Result<(), Halt> {
        match delivery {
            Delivery::Finished { event, retry, time } => self.deliver_end(lua, event, retry, time),
            Delivery::Attempt { event, time } => self.deliver_attempt(lua, &event, time),
        }
    }

    fn deliver_end(&mut self, lua: &Lua, event: StepFinished, retry: bool, time: Timestamp) -> Result<(), Halt> {
        let path: Arc<str> = event.path.as_str().into();
        let Some(open) = self.open.get(&path) else { return Ok(()) };
        let (id, check) = (open.fiber, open.check);
        match event.tokens_spent {
            Some(spent) => self.spent = self.spent.max(spent),
            // Before ends told what was spent, an agent's own use was all that counted.
            None if open.agent => self.spent = self.spent.saturating_add(tokens_of(&event)),
            None => {}
        }
        let Some(open) = self.open.get(&path) else { return Ok(()) };
        if open.code {
            if open.attempt == event.attempt {
                return self.deliver_code_end(lua, &path, &event, retry, time);
            }
            return Ok(());
        }
        if retry {
            return Ok(());
        }
        self.now = time;
        self.open.remove(&path);
        let resume = self.ended(lua, &event, check)?;
        self.did_anew(id);
        self.wake(id, resume);
        Ok(())
    }

    /// The runner ends an attempt at a code step: its time is up. What is inside is cancelled.
    fn deliver_code_end(
        &mut self,
        lua: &Lua,
        path: &Arc<str>,
        event: &StepFinished,
        retry: bool,
        time: Timestamp,
    ) -> Result<(), Halt> {
        self.now = time;
        let Some(id) = self.open.get(path).map(|open| open.fiber) else { return Ok(()) };
        let bodies = self.fibers.iter().filter(|(_, fiber)| fiber.kind == FiberKind::Body(Arc::clone(path)));
        let bodies: Vec<FiberId> = bodies.map(|(id, _)| *id).collect();
        self.cancel(lua, &bodies)?;
        self.cancel_inside(lua, &format!("{path}@{}/", event.attempt))?;
        if retry {
            self.await_attempt(path)?;
            return Ok(());
        }
        self.step_over(path, event.outcome);
        let resume = match event.outcome {
            StepOutcome::Ok => self.ended(lua, event, false)?,
            _ => self.throws(lua, &error_of(event))?,
        };
        self.wake(id, resume);
        Ok(())
    }

    fn deliver_attempt(&mut self, lua: &Lua, event: &StepStarted, time: Timestamp) -> Result<(), Halt> {
        let path: Arc<str> = event.path.as_str().into();
        let Some(open) = self.open.get_mut(&path) else { return Ok(()) };
        let id = open.fiber;
        if !open.code || event.attempt <= open.attempt {
            return Ok(());
        }
        open.attempt = event.attempt;
        open.between = false;
        self.now = time;
        self.current = id;
        match self.attempt(lua, &path, event.attempt)? {
            Some((status::WAIT, ..)) => {}
            Some(resume) => self.wake(id, resume),
            // Its own turn, in which it enters the function, comes first.
            None => self.await_recorded(id, path, event.attempt, 3),
        }
        Ok(())
    }

    /// Gives the recorded end of a code step, where that comes next in the journal and its branch waits for it. Its
    /// branch goes first: that is what it did when this was recorded.
    pub fn deliver_recorded(&mut self, lua: &Lua) -> Result<bool, Halt> {
        let Some((path, _)) = self.journal.next_code_finish() else { return Ok(false) };
        let path: Arc<str> = path.into();
        let Some(id) = self.open.get(&path).map(|open| open.fiber) else { return Ok(false) };
        let waits = FiberState::Blocked(Block::Recorded(Arc::clone(&path)));
        if self.fibers.get(&id).is_none_or(|fiber| fiber.state != waits) {
            return Ok(false);
        }
        let Some(finish) = self.journal.take_code_finish() else { return Ok(false) };
        let resume = self.recorded_end(lua, &path, finish)?;
        if resume.0 != status::WAIT
            && let Some(fiber) = self.fibers.get_mut(&id)
        {
            fiber.state = FiberState::Ready;
            fiber.resume = resume;
            self.ready.push_front(id);
        }
        Ok(true)
    }

    /// Lets the branch that waits for a flush go on, before all others.
    pub fn flushed(&mut self) {
        self.unflushed_bytes = 0;
        let parked: Vec<FiberId> = self
            .fibers
            .iter()
            .filter(|(_, fiber)| fiber.state == FiberState::Blocked(Block::Flush))
            .map(|(id, _)| *id)
            .collect();
        for id in parked {
            if let Some(fiber) = self.fibers.get_mut(&id) {
                fiber.state = FiberState::Ready;
                self.ready.push_front(id);
            }
        }
    }
}
