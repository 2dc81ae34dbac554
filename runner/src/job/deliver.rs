//! From what has come to what is recorded and given to the script.

use super::{
    ActiveJob, Stop,
    open::{Doing, StepInput},
    tool_call,
};
use crate::{
    agent::{by_default, spent_of_budget},
    step_result::StepResult,
};
use moonlog_core::{
    error_info::ErrorInfo,
    event::{
        Decision, EventBody, NewEvent, RetryPolicy, StepFinished, StepOutcome, StepRetryScheduled, StepStarted,
        WaitKind,
    },
    json::Json,
    projection::JobStatus,
    time::Timestamp,
};
use moonlog_scripts::Input;
use std::sync::Arc;

/// Something that has come for an open step.
pub(super) enum Delivery {
    /// Its result.
    Result { path: Arc<str>, attempt: u32, result: StepResult },
    /// The wait before its next attempt is over.
    NextAttempt { path: Arc<str> },
    /// A tool call was approved.
    Approved { path: Arc<str> },
    /// Nobody has decided in time whether a tool call may be made.
    Undecided { path: Arc<str> },
    /// What an agent waited for is there.
    GoOn { path: Arc<str> },
}

impl ActiveJob {
    /// What has come and is still to be delivered, if anything.
    pub(super) fn take_ready(&mut self, now: Timestamp) -> Result<Option<Delivery>, Stop> {
        if let Some((path, attempt, result)) = self.finished.pop_front() {
            return Ok(Some(Delivery::Result { path, attempt, result }));
        }
        if let Some((path, result)) = self.take_signal() {
            return Ok(Some(self.result(path, result)));
        }
        if let Some(delivery) = self.take_decision() {
            return Ok(Some(delivery));
        }
        if let Some((path, result)) = self.take_child()? {
            return Ok(Some(self.result(path, result)));
        }
        Ok(self.take_due(now))
    }

    fn result(&self, path: Arc<str>, result: StepResult) -> Delivery {
        let attempt = self.open.get(&path).map_or(1, |open| open.step.attempt);
        Delivery::Result { path, attempt, result }
    }

    /// The oldest signal that somebody waits for goes to the oldest waiter.
    fn take_signal(&mut self) -> Option<(Arc<str>, StepResult)> {
        let waiting = self.open.waiting_for(WaitKind::Signal).into_iter();
        waiting.flat_map(|(_, path, wait)| Some((path, wait.name?))).find_map(|(path, name)| {
            let payload = self.inbox.take_signal(&name)?;
            Some((path, StepResult::ok(payload)))
        })
    }

    fn take_decision(&mut self) -> Option<Delivery> {
        self.open.waiting_for(WaitKind::Approval).into_iter().find_map(|(asked, path, _)| {
            if let Some(open) = self.open.get(&path).filter(|open| open.step.kind == "agent") {
                // An earlier attempt may have asked, and a call's id is its own in all the job.
                let decided = open.asks.iter().any(|id| self.inbox.take_decision(id, 0).is_some());
                return decided.then_some(Delivery::GoOn { path });
            }
            let decided = self.inbox.take_decision(&path, asked)?;
            if let Some(open) = self.open.get(&path).filter(|open| open.step.kind == "tool") {
                return Some(match tool_call::refused(&open.step, &decided) {
                    Some(refused) => self.result(path, refused),
                    None => Delivery::Approved { path },
                });
            }
            let approved = decided.decision == Decision::Approved;
            let output = serde_json::json!({ "approved": approved, "by": decided.by, "note": decided.note });
            Some(self.result(path, StepResult::ok(output)))
        })
    }

    fn take_child(&mut self) -> Result<Option<(Arc<str>, StepResult)>, Stop> {
        if self.children.is_empty() {
            return Ok(None);
        }
        for (_, path, _) in self.open.waiting_for(WaitKind::Child) {
            let Some(child) = self.children.get(&path) else { continue };
            let Some(state) = self.inner.views.job(child)? else { continue };
            let result = match state.status {
                JobStatus::Completed => StepResult::ok(state.result.clone().unwrap_or_default()),
                JobStatus::Failed => StepResult::failed(
                    state
                        .error
                        .as_deref()
                        .cloned()
                        .unwrap_or_else(|| ErrorInfo::new("child_failed", "the child job failed")),
                ),
                JobStatus::Cancelled => {
                    StepResult::failed(ErrorInfo::new("cancelled", format!("the child job {child} was cancelled")))
                }
                JobStatus::TimedOut => StepResult {
                    outcome: StepOutcome::TimedOut,
                    output: None,
                    error: Some(ErrorInfo::new("timeout", format!("the child job {child} ran out of time"))),
                },
                JobStatus::Queued | JobStatus::Running | JobStatus::Waiting => continue,
            };
            self.children.remove(&path);
            self.inbox.came = Some(state.position);
            return Ok(Some((path, result)));
        }
        Ok(None)
    }

    fn take_due(&self, now: Timestamp) -> Option<Delivery> {
        let path = self.open.due_at(now)?;
        let open = self.open.get(&path)?;
        let timed_out = |what: &str| StepResult {
            outcome: StepOutcome::TimedOut,
            output: None,
            error: Some(ErrorInfo::new("timeout", format!("{what} was not there in time"))),
        };
        let result = match &open.doing {
            Doing::Backoff(_) => return Some(Delivery::NextAttempt { path }),
            Doing::Code { .. } => StepResult {
                outcome: StepOutcome::TimedOut,
                output: None,
                error: Some(ErrorInfo::new("timeout", format!("step `{}` ran out of time", open.step.name))),
            },
            Doing::Waiting(wait) => match wait.reason {
                WaitKind::Approval if open.step.kind == "agent" => return Some(Delivery::GoOn { path }),
                WaitKind::Approval if open.step.kind == "tool" => return Some(Delivery::Undecided { path }),
                WaitKind::Signal => timed_out(&format!("signal `{}`", wait.name.as_deref().unwrap_or(""))),
                WaitKind::Approval => match StepInput::of(&open.step).default {
                    Some(default) => StepResult::ok(
                        serde_json::json!({ "approved": default, "by": null, "note": "decided by default: time was up" }),
                    ),
                    None => timed_out("a decision"),
                },
                WaitKind::Sleep if open.step.kind == "wait" => timed_out("the branch's end"),
                WaitKind::Process => timed_out("the process's end"),
                _ => StepResult::ok(Json::null()),
            },
            Doing::Performing | Doing::Interrupted | Doing::Looking => return None,
        };
        Some(self.result(path, result))
    }

    /// Records what has come. Gives what the script is to be told, if anything.
    pub(super) async fn deliver(&mut self, delivery: Delivery) -> Result<Option<Input>, Stop> {
        match delivery {
            Delivery::Result { path, attempt, result } => self.deliver_result(&path, attempt, result).await,
            Delivery::NextAttempt { path } => self.next_attempt(&path).await,
            Delivery::Approved { path } => self.start_approved(&path).await.map(|()| None),
            Delivery::Undecided { path } => self.decide_by_default(&path).await,
            Delivery::GoOn { path } => {
                if let Some(open) = self.open.get_mut(&path) {
                    open.asks.clear();
                    open.doing = Doing::Performing;
                }
                self.perform(&path);
                Ok(None)
            }
        }
    }

    /// What counts where nobody has decided about a tool call in time.
    async fn decide_by_default(&mut self, path: &Arc<str>) -> Result<Option<Input>, Stop> {
        let decided = by_default(path, self.inner.options.agents.approvals.default);
        let event = self.step_event(EventBody::ToolApprovalDecided(decided.clone()), path);
        self.append(vec![event]).await?;
        let Some(open) = self.open.get(path) else { return Ok(None) };
        match tool_call::refused(&open.step, &decided) {
            None => self.start_approved(path).await.map(|()| None),
            Some(refused) => {
                let attempt = open.step.attempt;
                self.deliver_result(path, attempt, refused).await
            }
        }
    }

    pub(super) async fn deliver_result(
        &mut self,
        path: &Arc<str>,
        attempt: u32,
        result: StepResult,
    ) -> Result<Option<Input>, Stop> {
        // A result may come for a step that its branch has cancelled meanwhile.
        let Some(open) = self.open.get_mut(path).filter(|open| open.step.attempt == attempt) else { return Ok(None) };
        let now = (self.inner.options.clock)();
        let wait_ms = match result.outcome {
            StepOutcome::Ok | StepOutcome::Cancelled | StepOutcome::Skipped => None,
            outcome => retry_policy(&open.step, outcome).and_then(|retry| retry.wait_ms_after(attempt)),
        };
        let spends = matches!(open.step.kind.as_str(), "agent" | "workflow");
        let finished = StepFinished {
            run: self.run,
            path: path.to_string(),
            attempt,
            outcome: result.outcome,
            output: result.output,
            error: result.error,
            latency_ms: now.ms_since(open.started_at),
            cached: false,
            cached_from: None,
            tokens_spent: spends.then(|| spent_of_budget(&self.inner, &self.id)).flatten(),
        };
        let started = open.position;
        let mut events = open.end_call(finished.outcome, finished.error.as_ref());
        if finished.outcome == StepOutcome::Interrupted {
            events.extend(self.break_off_agent(path, wait_ms.is_some()));
        }
        events.push(self.step_event(EventBody::StepFinished(finished.clone()), path).cause(started));
        if let Some(wait_ms) = wait_ms {
            let error = finished.error.clone().unwrap_or_else(|| ErrorInfo::new("step_failed", "the attempt failed"));
            let retry = StepRetryScheduled { run: self.run, path: path.to_string(), attempt, wait_ms, error };
            events.push(self.step_event(EventBody::StepRetryScheduled(retry), path).cause_before(1));
        }
        let appended = match self.append(events).await {
            Err(Stop::TooLarge(error)) => {
                // Nothing of it was written: the call, too, ends with what is small enough.
                let call =
                    self.open.get(path).filter(|open| open.step.kind == "tool").map(|open| self.new_call(&open.step));
                if let Some(open) = self.open.get_mut(path) {
                    open.call = call;
                }
                let result = StepResult::failed(error);
                return Box::pin(self.deliver_result(path, attempt, result)).await;
            }
            appended => appended?,
        };
        self.end_turns();
        let is_code = self.open.get(path).is_some_and(|open| open.step.kind == "step");
        // What a person was asked goes on with the next attempt; nothing else is open.
        if finished.outcome != StepOutcome::Interrupted || wait_ms.is_none() {
            self.agents.remove(path);
        }
        match wait_ms {
            Some(wait_ms) => {
                if let Some(open) = self.open.get_mut(path) {
                    open.doing = Doing::Backoff(appended.time.plus_ms(wait_ms));
                }
            }
            None => {
                self.open.close(path);
            }
        }
        // A script hears of a performed operation once, when no attempt is left; of its own step each time.
        Ok((wait_ms.is_none() || is_code).then_some(Input::Finished {
            event: finished,
            retry: wait_ms.is_some(),
            time: appended.time,
        }))
    }

    async fn next_attempt(&mut self, path: &Arc<str>) -> Result<Option<Input>, Stop> {
        let Some(open) = self.open.get(path) else { return Ok(None) };
        let step = StepStarted { attempt: open.step.attempt + 1, ..open.step.clone() };
        let mut events = vec![self.step_event(EventBody::StepStarted(step.clone()), path)];
        events.extend((step.kind == "tool").then(|| self.call_or_question(&step)));
        let appended = self.append(events).await?;
        self.began(step.clone(), appended.first_position, appended.time)?;
        Ok((step.kind == "step").then_some(Input::Attempt { event: step, time: appended.time }))
    }

    pub(super) fn step_event(&self, body: EventBody, path: &Arc<str>) -> NewEvent {
        NewEvent::new(body).step(Some(path.clone()))
    }
}

/// When the step is tried again. An agent that a dead server left goes on, also where nobody said so.
fn retry_policy(step: &StepStarted, outcome: StepOutcome) -> Option<RetryPolicy> {
    let interrupted = outcome == StepOutcome::Interrupted && step.kind == "agent";
    StepInput::of(step).retry.or_else(|| interrupted.then_some(AGENT_RETRY))
}

const AGENT_RETRY: RetryPolicy = RetryPolicy { max: 3, backoff_ms: 500, factor: 2.0, max_backoff_ms: 10_000 };
