//! What a script did in a slice: appended, then acted upon.

use super::{
    ActiveJob, SMALL_BYTES, Stop,
    open::{Doing, Open},
    tool_call::ToolCall,
};
use moonlog_core::event::{Cause, EventBody, NewEvent, StepStarted, ToolApprovalRequested};
use moonlog_scripts::{RunState, Slice};
use std::collections::{HashMap, HashSet};

/// What follows from events of a slice once they are appended.
enum Effect {
    /// An operation was begun, at this offset in the append, and did not end within the slice.
    Began { offset: u64, step: StepStarted },
    /// An operation that was open has ended.
    Ended { path: String },
    /// An attempt failed and the next is to be made. `step` where it was begun within the slice.
    Failed { path: String, step: Option<StepStarted>, wait_ms: u64 },
}

#[derive(Default)]
struct Effects {
    all: Vec<Effect>,
    /// The step that was begun and ended last within the slice.
    ended_within: Option<StepStarted>,
}

impl Effects {
    fn note(&mut self, offset: u64, body: &EventBody, was_open: bool) {
        match body {
            EventBody::StepStarted(step) => self.all.push(Effect::Began { offset, step: step.clone() }),
            EventBody::StepFinished(step) => match self.take_began(&step.path) {
                Some(began) => {
                    // An attempt of it may have failed within the slice: the next was this one.
                    self.all.retain(|effect| !matches!(effect, Effect::Failed { path, .. } if *path == step.path));
                    // Kept for a moment: a scheduled retry may stand right behind it.
                    self.ended_within = Some(began);
                    if was_open {
                        self.all.push(Effect::Ended { path: step.path.clone() });
                    }
                }
                None => self.all.push(Effect::Ended { path: step.path.clone() }),
            },
            EventBody::StepRetryScheduled(retry) => {
                let step = self.ended_within.take().filter(|step| step.path == retry.path);
                if step.is_none() && matches!(self.all.last(), Some(Effect::Ended { path }) if *path == retry.path) {
                    self.all.pop();
                }
                self.all.push(Effect::Failed { path: retry.path.clone(), step, wait_ms: retry.wait_ms });
            }
            _ => {}
        }
    }

    fn take_began(&mut self, path: &str) -> Option<StepStarted> {
        let at =
            self.all.iter().rposition(|effect| matches!(effect, Effect::Began { step, .. } if step.path == path))?;
        match self.all.remove(at) {
            Effect::Began { step, .. } => Some(step),
            _ => None,
        }
    }
}

/// The path of a step that ends with an earlier run's result.
fn reused_path(event: &NewEvent) -> Option<String> {
    match &event.body {
        EventBody::StepFinished(step) if step.cached => Some(step.path.clone()),
        _ => None,
    }
}

/// Whether a slice may be appended together with the job's end: its script has returned, and what it did and gives is so little
/// that no append refuses it for its size. One that was refused would lose the steps with the end.
pub(super) fn goes_with_end(slice: &Slice) -> bool {
    let RunState::Returned(result) = &slice.state else { return false };
    let bytes = |event: &NewEvent| match &event.body {
        EventBody::StepStarted(step) => Some(step.input.as_str().len()),
        EventBody::StepFinished(step) if step.error.is_none() => {
            step.output.as_ref().map(|output| output.as_str().len())
        }
        _ => None,
    };
    let all = slice.intents.iter().try_fold(result.as_str().len(), |sum, event| Some(sum + bytes(event)?));
    all.is_some_and(|bytes| bytes <= SMALL_BYTES)
}

impl ActiveJob {
    /// What stands right behind the start of a step: of an `approve` the question, of a `tool` its call.
    fn companion(&self, event: &NewEvent) -> Option<NewEvent> {
        let EventBody::StepStarted(step) = &event.body else { return None };
        match step.kind.as_str() {
            "approve" => {
                let (call_id, input) = (step.path.clone(), step.input.clone());
                let request = ToolApprovalRequested { call_id, name: "approve".into(), input };
                let request = NewEvent::new(EventBody::ToolApprovalRequested(request));
                Some(request.step(event.step.clone()).cause_before(1))
            }
            "tool" => Some(self.call_or_question(step)),
            _ => None,
        }
    }

    /// Appends what the script did, and begins what it asked for. Gives the last position that was written. `with_end`: the
    /// job's end comes right behind, and takes along what nothing follows from.
    pub(super) async fn record(&mut self, intents: Vec<NewEvent>, with_end: bool) -> Result<Option<u64>, Stop> {
        if intents.is_empty() {
            return Ok(None);
        }
        let now = (self.inner.options.clock)();
        let mut effects = Effects::default();
        let mut events = Vec::with_capacity(intents.len());
        // Steps that are started here, by path: a step of pure script may also be finished here.
        let mut started = HashMap::new();
        // Tool calls among them that were not ended here.
        let mut calls = HashMap::new();
        // What is answered by an earlier run's result asks nobody.
        let reused: HashSet<String> = intents.iter().filter_map(reused_path).collect();
        for mut event in intents {
            let mut was_open = false;
            if let EventBody::StepFinished(step) = &event.body {
                events.extend(self.cancel_agent(&step.path));
            }
            match &event.body {
                EventBody::StepStarted(step) => {
                    self.steps.total += 1;
                    started.insert(step.path.clone(), events.len());
                }
                EventBody::StepFinished(step) => {
                    let (outcome, error) = (step.outcome, step.error.as_ref());
                    let call = calls.remove(&step.path).map(|call: Box<ToolCall>| call.end(outcome, error));
                    let open = self.open.get_mut(&step.path).map(|open| open.end_call(outcome, error));
                    events.extend(call.into_iter().chain(open).flatten());
                    let here = started.get(&step.path).map(|at| Cause::Before((events.len() - at) as u32));
                    event.cause = here.or_else(|| Some(Cause::At(self.open.get(&step.path)?.position)));
                }
                EventBody::StepRetryScheduled(_) => event.cause = Some(Cause::Before(1)),
                _ => {}
            }
            if let EventBody::StepFinished(step) = &mut event.body
                && let Some(open) = self.open.get(&step.path)
            {
                was_open = true;
                step.latency_ms = now.ms_since(open.started_at);
                // The script does not count the attempts at what the runner performs. Where it cancels between two of
                // them, the next one begins and ends here: no attempt is ended twice.
                if open.step.kind != "step" {
                    step.attempt = open.step.attempt;
                    if open.is_between_attempts() {
                        step.attempt += 1;
                        let next = StepStarted { attempt: step.attempt, ..open.step.clone() };
                        events.push(NewEvent::new(EventBody::StepStarted(next)).step(event.step.clone()));
                        event.cause = Some(Cause::Before(1));
                    }
                }
            }
            effects.note(events.len() as u64, &event.body, was_open);
            let is_reused = event.step.as_deref().is_some_and(|path| reused.contains(path));
            let companion = self.companion(&event).filter(|_| !is_reused);
            if let (EventBody::StepStarted(step), Some(EventBody::ToolStarted(_))) =
                (&event.body, companion.as_ref().map(|companion| &companion.body))
            {
                calls.insert(step.path.clone(), self.new_call(step));
            }
            events.push(event);
            events.extend(companion);
        }
        self.steps.cached += reused.len() as u64;
        if with_end && effects.all.is_empty() {
            self.held = events;
            return Ok(None);
        }
        let appended = self.append(events).await?;
        self.end_turns();
        let mut left = Vec::new();
        for effect in effects.all {
            match effect {
                Effect::Began { offset, step } => {
                    self.began(step, appended.first_position + offset, appended.time)?;
                }
                Effect::Ended { path } => left.extend(self.cancel_step(&path)),
                Effect::Failed { path, step, wait_ms } => {
                    let step = step.or_else(|| self.open.close(&path).map(|open| open.step));
                    if let Some(step) = step {
                        let mut open = Open::new(step, appended.last_position, appended.time);
                        open.doing = Doing::Backoff(appended.time.plus_ms(wait_ms));
                        self.open.insert(open);
                    }
                }
            }
        }
        // Only when all that has ended is stopped: else it might act while its neighbour's child is waited for.
        for child in left {
            self.cancel_left_child(child).await;
        }
        Ok(Some(appended.last_position))
    }
}
