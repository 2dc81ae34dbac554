//! Doing what a script asked for: a task for each operation that acts, begun once its `step.started` is durable.

use super::{
    ActiveJob, Stop,
    open::{Doing, Open, StepInput, Wait},
    tool_call::ToolInput,
    turnstile::{Hold, Turnstile},
};
use crate::{
    agent::{self, AgentContext, Asked, OpenWork},
    derived_id::derived_id,
    http,
    inner::Inner,
    process::{
        Owner,
        exec::{self, ExecContext},
    },
    reuse::EarlierResults,
    step_result::StepResult,
    submit::ChildRequest,
    tool::{ToolContext, ToolOutput},
};
use futures_util::FutureExt;
use moonlog_core::{
    error_info::ErrorInfo,
    event::{StepStarted, StreamId},
    id::{JobId, ProcessId, SessionId},
    journal::{idempotency_key, operation_key},
    time::Timestamp,
};
use std::{
    panic::AssertUnwindSafe,
    path::PathBuf,
    sync::{Arc, Mutex},
};
use tokio::{sync::oneshot, task::AbortHandle};

impl ActiveJob {
    /// A step has started: keeps it open, and begins to do what it asks for.
    pub(super) fn began(&mut self, step: StepStarted, position: u64, at: Timestamp) -> Result<(), Stop> {
        let path: Arc<str> = step.path.as_str().into();
        let mut open = Open::new(step, position, at);
        self.look_for(&mut open)?;
        if open.step.kind == "tool" {
            // The call stands in the same append.
            self.begin_call(&mut open);
        }
        if open.step.kind == "workflow" {
            let child = child_id(&self.id, open.step.run, &path, open.step.attempt, at);
            self.children.insert(path.clone(), child);
        }
        self.open.insert(open);
        self.perform(&path);
        Ok(())
    }

    /// Lets a step wait, where what it waits for is there. Only then will its end be heard of by a job without a task.
    pub(super) fn look_for(&self, open: &mut Open) -> Result<(), Stop> {
        if let Some(child) = self.children.get(&*open.step.path) {
            if self.inner.views.job(child)?.is_some() {
                open.doing = Doing::Waiting(Wait::child(child));
            }
        } else if open.step.kind == "process_wait"
            && let Some(process) = StepInput::of(&open.step).process.and_then(|id| id.parse().ok())
            && self.runs(&process)
        {
            open.doing = Doing::Waiting(Wait::process(open, &process));
        }
        Ok(())
    }

    /// Whether the end of a process is still to be heard of.
    fn runs(&self, process: &ProcessId) -> bool {
        let known =
            self.inner.views.with(|all| all.processes().get(process).map(|_| all.processes().is_running(process)));
        // Its start may not be durable yet.
        known.unwrap_or_else(|| self.inner.processes.get(process).is_some_and(|process| process.exit().is_none()))
    }

    /// Begins the tasks of waits that were open when the last task of this job ended.
    pub(super) fn perform_reopened(&mut self) {
        let paths: Vec<Arc<str>> = self
            .open
            .in_order()
            .into_iter()
            .filter(|open| open.needs_task())
            .map(|open| open.step.path.as_str().into())
            .collect();
        for path in paths {
            self.perform(&path);
        }
    }

    /// Begins the task that performs a step, where it needs one.
    pub(super) fn perform(&mut self, path: &Arc<str>) {
        let Some(open) = self.open.get_mut(path).filter(|open| open.needs_task()) else { return };
        let (step, started, position) = (open.step.clone(), open.position, open.acts_behind);
        let started_at = open.started_at;
        let operation = Operation {
            inner: self.inner.clone(),
            job: self.id,
            started,
            started_at,
            position,
            idempotency_key: shown_key(&self.id, &step),
            child: self.children.get(path).copied(),
            earlier: self.earlier.clone(),
            agent: (step.kind == "agent").then(|| self.begin_agent(path)),
            turnstile: Turnstile::new(self.report.clone(), path.clone(), step.attempt),
            session: self.submitted.session,
            nesting: self.submitted.limits.nesting,
            queue: self.submitted.queue.clone(),
            priority: self.submitted.priority,
            tool_context: (step.kind == "tool").then(|| self.tool_context(&step)),
            step,
        };
        // What has ended is let go of.
        while self.performers.try_join_next().is_some() {}
        let report = self.report.clone();
        let path = path.clone();
        let reported = path.clone();
        let task = self.performers.spawn(async move {
            let attempt = operation.step.attempt;
            let performed = match AssertUnwindSafe(operation.perform()).catch_unwind().await {
                Ok(performed) => performed,
                Err(_) => {
                    let error =
                        ErrorInfo::new("internal", "a fault of moonlog's: what performs the operation panicked");
                    Some(Performed::Result(StepResult::failed(error)))
                }
            };
            if let Some(performed) = performed {
                // Nobody listens where the job's task is over; its next one sees what the log holds.
                let _ = report.send(Report { path: reported, attempt, performed });
            }
        });
        if let Some(open) = self.open.get_mut(&path) {
            open.task = Some(task);
        }
    }

    /// A task has come to its end.
    pub(super) fn performed(&mut self, Report { path, attempt, performed }: Report) {
        match performed {
            Performed::Result(result) => self.finished.push_back((path, attempt, result)),
            Performed::Called(output) => {
                self.finished.push_back((path.clone(), attempt, output.step_result()));
                let open = self.open.get_mut(&path).filter(|open| open.step.attempt == attempt);
                if let Some(call) = open.and_then(|open| open.call.as_mut()) {
                    call.output = Some(*output);
                }
            }
            Performed::Held(hold) => self.held(&path, attempt, hold),
            Performed::Freed(free) => self.freed(&path, attempt, free),
            Performed::Asked(asked) => {
                if let Some(open) = self.open.get_mut(&path).filter(|open| open.step.attempt == attempt) {
                    open.task = None;
                    open.waits_for_person(asked);
                }
            }
            Performed::Submitted(child) => {
                if let Some(open) = self.open.get_mut(&path) {
                    open.doing = Doing::Waiting(Wait::child(&child));
                }
            }
        }
    }

    /// The script has ended an operation itself, by cancelling its branch: what performs it is ended too. Gives the child that
    /// is still to be cancelled, where it has one.
    pub(super) fn cancel_step(&mut self, path: &str) -> Option<LeftChild> {
        // Ending the task that performs it ends the process that it waits for.
        let open = self.open.close(path)?;
        Some(LeftChild { child: self.children.remove(path)?, submitting: open.task })
    }

    /// Cancels a child that its step has left.
    pub(super) async fn cancel_left_child(&self, left: LeftChild) {
        // What submits the child must not do so behind our back.
        while left.submitting.as_ref().is_some_and(|task| !task.is_finished()) {
            tokio::task::yield_now().await;
        }
        self.inner.cancel_child(&left.child, self.submitted.session, "its branch was cancelled").await;
    }
}

/// The key that goes along with what a step does, for the outside world to tell what is repeated.
fn shown_key(job: &JobId, step: &StepStarted) -> String {
    match step.kind.as_str() {
        kind @ ("http" | "exec" | "sh" | "process") => operation_key(job, step.run, &step.path, kind),
        _ => idempotency_key(job, step.run, &step.path),
    }
}

/// What came of performing an operation.
pub(super) enum Performed {
    /// Its result.
    Result(StepResult),
    /// What came of a tool call.
    Called(Box<ToolOutput>),
    /// The child job is there, and the step waits for it.
    Submitted(JobId),
    /// It has come to wait for capacity.
    Held(Hold),
    /// It waits no more.
    Freed(oneshot::Sender<()>),
    /// An agent waits for a person, and for nothing else.
    Asked(Asked),
}

/// The child of a step that was cancelled.
pub(super) struct LeftChild {
    child: JobId,
    /// What may be submitting it.
    submitting: Option<AbortHandle>,
}

/// What a task says at its end.
pub(crate) struct Report {
    pub(super) path: Arc<str>,
    pub(super) attempt: u32,
    pub(super) performed: Performed,
}

/// One attempt at an operation.
struct Operation {
    inner: Arc<Inner>,
    job: JobId,
    step: StepStarted,
    /// The position of its start.
    started: u64,
    /// The time of that.
    started_at: Timestamp,
    /// What must be durable before it acts.
    position: u64,
    idempotency_key: String,
    child: Option<JobId>,
    earlier: Arc<EarlierResults>,
    /// What the agent that is to be performed begins and does not end.
    agent: Option<Arc<Mutex<OpenWork>>>,
    /// Where it says that it waits for capacity.
    turnstile: Turnstile,
    /// The session that the job runs in.
    session: Option<SessionId>,
    nesting: u32,
    queue: String,
    priority: i32,
    tool_context: Option<ToolContext>,
}

impl Operation {
    /// Acts once it is durable that it will. `None` where the result comes from elsewhere, or nothing may be done.
    async fn perform(&self) -> Option<Performed> {
        self.inner.log.durable(self.position).await.ok()?;
        if let Some(context) = &self.tool_context {
            let ToolInput { name, input } = ToolInput::of(&self.step);
            let output = self.inner.tools.perform(context, &name, &input).await;
            return Some(Performed::Called(Box::new(output)));
        }
        let result = match self.step.kind.as_str() {
            "http" => http::perform(&self.step.input, &self.idempotency_key, &self.inner.options.http).await,
            "workflow" => match self.submit_child().await {
                Ok(()) => return self.child.map(Performed::Submitted),
                Err(error) => StepResult::failed(error),
            },
            "agent" => match agent::perform(self.agent_context()?, &self.step.input).await? {
                agent::Left::Ended(result) => result,
                agent::Left::Waits(asked) => return Some(Performed::Asked(asked)),
            },
            _ => match self.workdir().await {
                Err(error) => StepResult::failed(error),
                Ok(workdir) => {
                    let context = ExecContext {
                        process: self.inner.new_id().into(),
                        cause: Some(self.started),
                        workdir,
                        owner: Owner {
                            stream: StreamId::Job(self.job),
                            job: Some(self.job),
                            session: self.session,
                            step: Some(self.step.path.as_str().into()),
                        },
                        idempotency_key: self.idempotency_key.clone(),
                    };
                    exec::perform(&self.inner.processes, &self.step.kind, &self.step.input, context).await
                }
            },
        };
        Some(Performed::Result(result))
    }

    /// Where its processes run: in the session's workspace, where the job is in a session that has one.
    async fn workdir(&self) -> Result<Option<PathBuf>, ErrorInfo> {
        match &self.session {
            Some(session) if exec::STARTS.contains(&&*self.step.kind) => self.inner.workspaces.root(session).await,
            _ => Ok(None),
        }
    }

    fn agent_context(&self) -> Option<AgentContext> {
        Some(AgentContext {
            inner: self.inner.clone(),
            job: self.job,
            job_session: self.session,
            run: self.step.run,
            attempt: self.step.attempt,
            step: self.step.path.as_str().into(),
            idempotency_key: self.idempotency_key.clone(),
            started_at: self.started_at,
            started: self.started,
            open: self.agent.clone()?,
            turnstile: self.turnstile.clone(),
        })
    }

    /// Submits the child job, unless that was done before a restart. Its end is heard of through the projections.
    async fn submit_child(&self) -> Result<(), ErrorInfo> {
        let Some(child) = self.child else { return Ok(()) };
        if matches!(self.inner.views.job(&child), Ok(Some(_))) {
            return Ok(());
        }
        // Where the job that this one resumes had a child, that child's results are taken over too.
        let (earlier, path) = (self.earlier.clone(), self.step.path.clone());
        let resume_from = self.inner.options.threads.begin(move || earlier.child(&path)).await.unwrap_or_default();
        let request = ChildRequest {
            child,
            resume_from,
            parent: self.job,
            step: self.step.path.clone(),
            position: self.started,
            input: self.step.input.clone(),
            nesting: self.nesting,
            queue: self.queue.clone(),
            priority: self.priority,
            session: self.session,
        };
        self.inner.submit_child(request).await
    }
}

/// A child's id follows from its parent's step, so that a step that is begun again after a crash finds its child.
pub(crate) fn child_id(parent: &JobId, run: u32, path: &str, attempt: u32, at: Timestamp) -> JobId {
    derived_id(&format!("{parent}/{run}/{path}/{attempt}"), at)
}
