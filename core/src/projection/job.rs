//! The state of one job, folded from its stream, and from the first and the last event of its children's.

use super::{Child, JobStatus, OpenStep, Pending, Signal, SignalKeys};
use crate::{
    codec::{Decode, Encode},
    error_info::ErrorInfo,
    event::{Event, EventBody, JobCancelRequested, JobSubmitted, JobUsage, JobWaiting, StepFinished, StepOutcome},
    id::JobId,
    json::Json,
    time::Timestamp,
};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, sync::Arc};

/// How many steps a job has had, over all its runs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, Encode, Decode)]
pub struct StepCounts {
    /// Begun, a step with several attempts counted once.
    pub total: u64,
    /// Begun and not ended.
    pub running: u64,
    /// Ended with a result of an earlier job's.
    pub cached: u64,
}

/// What is known of a job.
#[derive(Debug, Clone, PartialEq)]
pub struct JobState {
    /// The job.
    pub id: JobId,
    /// Where it stands.
    pub status: JobStatus,
    /// What was submitted.
    pub submitted: Arc<JobSubmitted>,
    /// The position of `job.submitted`.
    pub submitted_position: u64,
    /// When it was submitted.
    pub submitted_at: Timestamp,
    /// When its first attempt began.
    pub started_at: Option<Timestamp>,
    /// When it ended.
    pub ended_at: Option<Timestamp>,
    /// The attempt that runs or ran last; 0 before the first.
    pub attempt: u32,
    /// The run that runs or ran last; 0 before the first.
    pub run: u32,
    /// When that run began: the time of its `job.started` or `job.continued`.
    pub run_started_at: Option<Timestamp>,
    /// The version of the event that began that run.
    pub run_started_version: u64,
    /// The phase that was entered last in that run.
    pub phase: Option<Arc<str>>,
    /// What it waits for, where it is waiting.
    pub waiting: Option<Box<JobWaiting>>,
    /// The version of the last event in its stream.
    pub version: u64,
    /// The position of that event.
    pub position: u64,
    /// The position of the last event that changed this state; beyond `position` where a child's did.
    pub applied: u64,
    /// What it has used.
    pub usage: JobUsage,
    /// How many steps it has had.
    pub steps: StepCounts,
    /// What it returned.
    pub result: Option<Json>,
    /// Why it ended otherwise, or why its last attempt failed.
    pub error: Option<Box<ErrorInfo>>,
    /// When its next attempt is due, where it is queued for one.
    pub retry_at: Option<Timestamp>,
    /// The request to cancel it, where there is one.
    pub cancel_requested: Option<Box<JobCancelRequested>>,
    /// The arguments that `continue_as` gave, where it did: to the run and to those that retry it.
    pub continued_args: Option<Json>,
    /// The open steps of the run, by call path.
    pub open_steps: BTreeMap<Arc<str>, Arc<OpenStep>>,
    /// What waits to be used; `None` where nothing does.
    pub pending: Option<Box<Pending>>,
    /// The keys it was signalled under; `None` where there are none.
    pub signal_keys: Option<Box<SignalKeys>>,
    /// The step that the last event closed, in case the next one schedules its next attempt.
    pub(super) closing: Option<Box<(Arc<str>, Arc<OpenStep>)>>,
}

impl JobState {
    /// The state after `job.submitted`, or `None` for any other event.
    pub fn from_submitted(event: &Event) -> Option<Self> {
        let EventBody::JobSubmitted(submitted) = &event.body else { return None };
        let state = Self::queued(event.job?, submitted.clone(), event.position, event.happened_at());
        Some(Self { version: event.version, ..state })
    }

    /// The state of a job that was submitted at `position` and `time`, and whose stream has no other event.
    pub fn queued(id: JobId, submitted: Arc<JobSubmitted>, position: u64, time: Timestamp) -> Self {
        Self {
            id,
            status: JobStatus::Queued,
            submitted,
            submitted_position: position,
            submitted_at: time,
            started_at: None,
            ended_at: None,
            attempt: 0,
            run: 0,
            run_started_at: None,
            run_started_version: 0,
            phase: None,
            waiting: None,
            version: 1,
            position,
            applied: position,
            usage: JobUsage::default(),
            steps: StepCounts::default(),
            result: None,
            error: None,
            retry_at: None,
            cancel_requested: None,
            continued_args: None,
            open_steps: BTreeMap::new(),
            pending: None,
            signal_keys: None,
            closing: None,
        }
    }

    /// The state after these events of the job's stream, the first of which is `job.submitted`. What only other
    /// streams tell, the job's children, is missing.
    pub fn fold<E: AsRef<Event>>(events: impl IntoIterator<Item = E>) -> Option<Self> {
        let mut events = events.into_iter();
        let mut state = Self::from_submitted(events.next()?.as_ref())?;
        for event in events {
            state.apply(event.as_ref());
        }
        Some(state)
    }

    /// Whether it failed because it is out of attempts: one that would have been tried again, had it any left.
    pub fn is_exhausted(&self) -> bool {
        let retry = self.submitted.retry.as_ref().filter(|_| self.status == JobStatus::Failed);
        let code = self.error.as_ref().map_or("", |error| error.code.as_str());
        retry.is_some_and(|retry| retry.is_exhausted(self.attempt, code))
    }

    /// The arguments of the current run.
    pub fn args(&self) -> &Json {
        self.continued_args.as_ref().unwrap_or(&self.submitted.args)
    }

    /// Folds the next event of the job's stream.
    pub fn apply(&mut self, event: &Event) {
        self.version = event.version;
        self.position = event.position;
        self.applied = event.position;
        let closing = self.closing.take();
        match &event.body {
            EventBody::StepStarted(step) => {
                let path = match &event.step {
                    Some(path) if **path == *step.path => path.clone(),
                    _ => step.path.as_str().into(),
                };
                self.steps.total += u64::from(step.attempt == 1);
                self.open_steps.insert(path, Arc::new(OpenStep::new(step, event.happened_at(), event.position)));
                self.steps.running = self.open_steps.len() as u64;
            }
            EventBody::StepFinished(finished) => self.step_finished(finished),
            EventBody::StepRetryScheduled(retry) => {
                if let Some(closing) = closing.filter(|closing| *closing.0 == *retry.path) {
                    let (path, mut step) = *closing;
                    Arc::make_mut(&mut step).retry_at = Some(event.happened_at().plus_ms(retry.wait_ms));
                    self.open_steps.insert(path, step);
                    self.steps.running = self.open_steps.len() as u64;
                }
            }
            EventBody::ProcessStarted(_) => {
                if let Some(process) = event.process {
                    self.pending_mut().processes.insert(process);
                }
            }
            EventBody::ProcessExited(_) => {
                if let Some(process) = event.process {
                    self.use_up(|pending| {
                        pending.processes.remove(&process);
                    });
                }
            }
            EventBody::JobStarted(started) => {
                self.status = JobStatus::Running;
                self.attempt = started.attempt;
                self.started_at.get_or_insert(event.happened_at());
                self.retry_at = None;
                self.error = None;
                self.begin_run(started.run, event);
            }
            EventBody::JobContinued(continued) => {
                self.status = JobStatus::Running;
                self.continued_args = Some(continued.args.clone());
                self.begin_run(continued.run, event);
            }
            EventBody::JobRetryScheduled(retry) => {
                self.status = JobStatus::Queued;
                self.waiting = None;
                self.retry_at = Some(event.happened_at().plus_ms(retry.wait_ms));
                self.error = Some(Box::new(retry.error.clone()));
                self.close_steps();
            }
            EventBody::JobWaiting(waiting) => {
                self.status = JobStatus::Waiting;
                self.waiting = Some(Box::new(waiting.clone()));
            }
            EventBody::JobResumed(_) => {
                self.status = JobStatus::Running;
                self.waiting = None;
            }
            EventBody::JobPhaseEntered(phase) => self.phase = Some(phase.title.as_str().into()),
            EventBody::JobSignalled(signalled) => {
                let signal = Signal { name: signalled.name.as_str().into(), position: event.position };
                self.pending_mut().signals.push_back(signal);
                if let Some(key) = &signalled.idempotency_key {
                    self.signal_keys.get_or_insert_default().signalled(key, signalled);
                }
            }
            EventBody::JobCancelRequested(request) => {
                self.cancel_requested.get_or_insert_with(|| Box::new(request.clone()));
            }
            EventBody::ToolApprovalRequested(request) => {
                let (time, position, step) = (event.happened_at(), event.position, event.step.clone());
                self.pending_mut().request(request, step.as_deref(), time, position);
            }
            EventBody::ToolApprovalDecided(decided) => self.use_up(|pending| pending.decide(decided)),
            EventBody::ToolFinished(tool) => self.use_up(|pending| pending.settle(&tool.call_id)),
            EventBody::ChatFinished(chat) => {
                self.usage.add(&chat.usage);
            }
            EventBody::JobCompleted(completed) => {
                self.result = Some(completed.result.clone());
                self.usage = completed.usage.clone();
                self.end(JobStatus::Completed, event.happened_at(), None);
            }
            EventBody::JobFailed(failed) => {
                self.end(JobStatus::Failed, event.happened_at(), Some(failed.error.clone()))
            }
            EventBody::JobCancelled(cancelled) => {
                let message = cancelled.reason.as_deref().unwrap_or("the job was cancelled");
                self.end(JobStatus::Cancelled, event.happened_at(), Some(ErrorInfo::new("cancelled", message)));
            }
            EventBody::JobTimedOut(timed_out) => {
                let message = format!("the job reached its limit {}", timed_out.limit);
                self.end(JobStatus::TimedOut, event.happened_at(), Some(ErrorInfo::new("timed_out", message)));
            }
            // Of no concern to the job's state; listed so that a new type makes one think.
            EventBody::JobSubmitted(_)
            | EventBody::JobLogged(_)
            | EventBody::JobEmitted(_)
            | EventBody::SessionCreated(_)
            | EventBody::SessionTurnStarted(_)
            | EventBody::SessionTurnEnded(_)
            | EventBody::SessionClosed(_)
            | EventBody::ChatMessageAdded(_)
            | EventBody::ChatMessageQueued(_)
            | EventBody::ChatMessageDropped(_)
            | EventBody::ChatStarted(_)
            | EventBody::ChatRetryScheduled(_)
            | EventBody::ChatDelta(_)
            | EventBody::ChatCompacted(_)
            | EventBody::ChatWaiting(_)
            | EventBody::ToolStarted(_)
            | EventBody::ProcessOutput(_)
            | EventBody::ProcessBackgrounded(_)
            | EventBody::ProcessStalled(_)
            | EventBody::ProcessTokenClaimed(_)
            | EventBody::WorkspaceCreated(_)
            | EventBody::WorkspaceCollisionDetected(_)
            | EventBody::FileChanged(_)
            | EventBody::WorkspaceRequested(_)
            | EventBody::WorkspaceScanned(_)
            | EventBody::WorkspaceClosed(_)
            | EventBody::WorkspaceMerged(_)
            | EventBody::WorkspaceReverted(_)
            | EventBody::WorkspaceFailed(_)
            | EventBody::WorkspaceOrphanFound(_)
            | EventBody::SessionDescribed(_)
            | EventBody::SessionConfigured(_)
            | EventBody::SessionStatusChanged(_)
            | EventBody::SessionWakeRequested(_)
            | EventBody::SessionWoken(_)
            | EventBody::ScheduleSet(_)
            | EventBody::ScheduleFired(_)
            | EventBody::ScheduleRemoved(_)
            | EventBody::RunnerStarted(_)
            | EventBody::RunnerStopped(_)
            | EventBody::QueuePaused(_)
            | EventBody::QueueResumed(_)
            | EventBody::WebhookConfigured(_)
            | EventBody::WebhookDelivered(_)
            | EventBody::WebhookRetryScheduled(_)
            | EventBody::WebhookFailed(_)
            | EventBody::JobDeleted(_) => {}
        }
    }

    /// Folds the `job.submitted` of a child.
    pub(super) fn child_submitted(&mut self, child: JobId, step: &str, position: u64) {
        self.applied = position;
        self.pending_mut().children.push(Child { job: child, step: step.into(), ended: false });
    }

    /// Folds the terminal event of a child.
    pub(super) fn child_ended(&mut self, child: JobId, position: u64) {
        self.applied = position;
        let open_steps = std::mem::take(&mut self.open_steps);
        self.use_up(|pending| {
            pending.children.iter_mut().filter(|c| c.job == child).for_each(|c| c.ended = true);
            pending.children.retain(|c| !c.ended || open_steps.contains_key(&*c.step));
        });
        self.open_steps = open_steps;
    }

    fn begin_run(&mut self, run: u32, event: &Event) {
        self.run = run;
        self.run_started_at = Some(event.happened_at());
        self.run_started_version = event.version;
        self.waiting = None;
        self.phase = None;
        self.close_steps();
        self.use_up(Pending::begin_run);
    }

    fn close_steps(&mut self) {
        self.open_steps = BTreeMap::new();
        self.steps.running = 0;
    }

    fn step_finished(&mut self, finished: &StepFinished) {
        self.steps.cached += u64::from(finished.cached);
        let Some((path, step)) = self.open_steps.remove_entry(finished.path.as_str()) else { return };
        self.steps.running = self.open_steps.len() as u64;
        if self.pending.is_some() {
            match &*step.kind {
                "wait_for" if finished.outcome == StepOutcome::Ok => {
                    let signal = step.signal().unwrap_or_default();
                    self.use_up(|pending| pending.consume_signal(&signal));
                }
                "approve" | "tool" => self.use_up(|pending| pending.settle(&path)),
                "workflow" => self.use_up(|pending| pending.children.retain(|c| !c.ended || *c.step != *path)),
                _ => {}
            }
        }
        if !matches!(finished.outcome, StepOutcome::Ok | StepOutcome::Skipped) {
            self.closing = Some(Box::new((path, step)));
        }
    }

    fn end(&mut self, status: JobStatus, time: Timestamp, error: Option<ErrorInfo>) {
        self.status = status;
        self.ended_at = Some(time);
        self.error = error.map(Box::new);
        self.waiting = None;
        self.retry_at = None;
        self.pending = None;
        self.close_steps();
    }

    fn pending_mut(&mut self) -> &mut Pending {
        self.pending.get_or_insert_default()
    }

    /// Changes what is pending, and lets go of it when nothing is left.
    fn use_up(&mut self, change: impl FnOnce(&mut Pending)) {
        if let Some(pending) = &mut self.pending {
            change(pending);
            if pending.is_empty() {
                self.pending = None;
            }
        }
    }
}
