//! Results of earlier runs: what may be taken over, and what may not because something before it was done anew.

use super::{Answer, FiberId, Halt, Job, operation::Started};
use crate::Wanted;
use mlua::Lua;
use moonlog_core::{
    event::{EventBody, StepFinished, StepOutcome},
    id::Hash,
    json::Json,
};
use std::sync::Arc;

/// Operations on a process that has ended with its job: their results mean nothing to another one.
const LIVE_KINDS: &[&str] = &["process", "process_wait", "process_output", "process_search", "process_signal", "wait"];

impl Job {
    /// The end of the operation that has begun a moment ago, where an earlier run's result stands for it. It is over then.
    pub(in crate::job) fn take_over(
        &mut self,
        started: &Started,
        kind: &str,
        spec_hash: &Hash,
        resumes: bool,
        cache_ms: Option<u64>,
    ) -> Result<Option<StepFinished>, Halt> {
        let path = &started.path;
        let finish = match self.journal.take_reused(path) {
            Some(finish) => finish,
            None => {
                let resumes = resumes && !LIVE_KINDS.contains(&kind);
                let earlier =
                    self.spec.earlier.as_ref().filter(|_| started.undecided && (resumes || cache_ms.is_some()));
                let Some(earlier) = earlier else { return Ok(None) };
                let Some(found) = earlier.find(&Wanted { path, spec_hash, resumes, cache_ms }) else { return Ok(None) };
                let finish = StepFinished {
                    output: Some(if kind == "agent" { told_as_cached(found.output) } else { found.output }),
                    cached: true,
                    cached_from: Some(found.from),
                    ..self.finish(path, 1, StepOutcome::Ok, None)
                };
                self.push(EventBody::StepFinished(finish.clone()), Some(Arc::clone(path)));
                finish
            }
        };
        self.count_event()?;
        self.forget_open(path, StepOutcome::Ok);
        Ok(Some(finish))
    }

    /// The answer of an operation whose result was taken over.
    pub(in crate::job) fn taken_over(&mut self, lua: &Lua, finish: &StepFinished) -> Result<Answer, Halt> {
        let answer = self.ended(lua, finish, false)?;
        if self.is_full() {
            return self.park_for_flush(answer);
        }
        Ok(answer)
    }

    /// Something in this branch was not taken over: what follows in it may depend on that.
    pub fn did_anew(&mut self, id: FiberId) {
        if let Some(fiber) = self.fibers.get_mut(&id) {
            fiber.fresh = true;
        }
    }

    /// Whether everything before here in the running branch was taken over.
    pub fn is_all_reused(&mut self) -> Result<bool, Halt> {
        Ok(!self.fiber()?.fresh)
    }
}

/// An agent's result says itself whether it was taken over.
fn told_as_cached(output: Json) -> Json {
    let mut value = output.to_value();
    match value.get_mut("info").and_then(|info| info.get_mut("cached")) {
        Some(cached) => {
            *cached = true.into();
            Json::from(value)
        }
        None => output,
    }
}
