//! The beginning of a job's task: a new attempt, or the log's end again.

use super::{
    ActiveJob, SMALL_BYTES, Stop, Work, Worked,
    close::End,
    history::History,
    open::{Doing, Open, OpenSteps},
    perform::child_id,
    share::share_history,
};
use crate::{
    inner::{Inner, RUNNER},
    reuse::EarlierResults,
    step_result::StepResult,
};
use moonlog_core::event::Event;
use moonlog_core::{
    error_info::ErrorInfo,
    event::{EventBody, JobLogged, JobStarted, JobUsage, NewEvent, StepOutcome},
    id::JobId,
    projection::{JobState, JobStatus, OpenStep},
    time::Timestamp,
};
use moonlog_scripts::{Run, RunError, RunSpec, StopHandle};
use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};
use tokio::{
    sync::{mpsc, watch},
    task::JoinSet,
};

/// How a job goes on.
#[expect(clippy::large_enum_variant, reason = "it is moved once, and the large one is the rule")]
pub(super) enum Begun {
    /// Its script has run to where it is blocked.
    Works(Worked),
    /// It was asked to end, or its time is up: its script is not needed for that, and might not even be replayed.
    Ends(End),
}

impl ActiveJob {
    /// Brings the job to where it can go on. `None` where it has ended.
    pub(super) async fn begin(
        inner: Arc<Inner>,
        id: JobId,
        poke: watch::Receiver<super::Poke>,
        ahead: Option<JobState>,
    ) -> Result<Option<(Self, Begun)>, Stop> {
        let is_ahead = ahead.is_some();
        let known = ahead.map_or_else(|| inner.views.job(&id), |state| Ok(Some(Arc::new(state))))?;
        let Some(mut state) = known else { return Ok(None) };
        if let Some(fork) = &state.submitted.forked_from
            && let Some(position) = share_history(&inner, &id, fork).await?
        {
            inner.applied(position).await?;
            let Some(shared) = inner.views.job(&id)? else { return Ok(None) };
            state = shared;
        }
        // A job that was just submitted has no history worth a read.
        let history = if state.status == JobStatus::Queued && state.version == 1 {
            Some(History::of_submitted((*state).clone()))
        } else {
            let log = inner.log.clone();
            let read = inner.options.threads.begin(move || History::read(&log, &id));
            read.await.map_err(|_| Stop::Shutdown)??
        };
        let Some(mut history) = history.filter(|history| history.state.ended_at.is_none()) else { return Ok(None) };
        let (report, results) = mpsc::unbounded_channel();
        let state = &history.state;
        let had_agents = state.usage != JobUsage::default()
            || state.live_children().next().is_some()
            || state.run > 0 && !super::agents::own_sessions(&inner, &id).is_empty();
        let earlier = Arc::new(EarlierResults::new(inner.clone(), state.submitted.resume_from));
        let mut job = Self {
            pace: inner.sources.pace(&state.submitted.script_hash),
            inner,
            id,
            submitted: state.submitted.clone(),
            attempt: state.attempt,
            run: state.run,
            args: state.args().clone(),
            deadline: state.deadline(),
            open: OpenSteps::default(),
            inbox: std::mem::take(&mut history.inbox),
            children: BTreeMap::new(),
            agents: BTreeMap::new(),
            had_agents,
            turns_left: Vec::new(),
            seen_pokes: 0,
            earlier,
            steps: state.steps,
            submitted_position: state.submitted_position,
            ahead: is_ahead,
            last_position: 0,
            held: Vec::new(),
            seen_version: state.version,
            waiting: state.status == JobStatus::Waiting,
            finished: VecDeque::new(),
            freed: Vec::new(),
            results,
            report,
            performers: JoinSet::new(),
            poke,
        };
        for (path, step) in &history.state.open_steps {
            job.reopen(path, step, &history)?;
        }
        let begun = match job.end_from_outside((job.inner.options.clock)()) {
            Some(end) => Begun::Ends(end),
            None if history.state.status == JobStatus::Queued => {
                Begun::Works(job.start_attempt(history.queued_by).await?)
            }
            None => Begun::Works(job.come_back(history).await?),
        };
        Ok(Some((job, begun)))
    }

    /// Begins an attempt, because of the event at `cause`.
    async fn start_attempt(&mut self, cause: u64) -> Result<Worked, Stop> {
        self.attempt += 1;
        self.run += 1;
        let started = JobStarted { attempt: self.attempt, run: self.run, runner: RUNNER.into() };
        let appended = self.append(vec![NewEvent::new(EventBody::JobStarted(started)).cause(cause)]).await?;
        if self.deadline.is_none() {
            self.deadline = self.submitted.limits.timeout_ms.map(|ms| appended.time.plus_ms(ms));
        }
        self.start_script(appended.time, Vec::new()).await
    }

    /// Replays the run. Only when that went well does the job go on: one that cannot be replayed is left as it was.
    async fn come_back(&mut self, history: History) -> Result<Worked, Stop> {
        let history_is_shared = history.is_shared();
        let worked = self.start_script(history.began_at, history.run).await?;
        if let (Some(fork), true) = (&self.submitted.forked_from, history_is_shared) {
            // The first event that is the fork's own: from here on, what it begins is its own doing. Whoever comes back after a
            // crash has to know that something was begun.
            let message = format!("goes on from version {} of job {}", fork.at, fork.job);
            let body = EventBody::JobLogged(JobLogged { level: "info".into(), message });
            let line = self.append(vec![NewEvent::new(body).cause(self.submitted_position)]).await?;
            self.inner.applied_at_once(line.last_position).await?;
        }
        if self.waiting && !matches!(worked, Err(RunError::Replay(_))) {
            let child = self.ended_child()?;
            self.resume(self.inbox.came_since_waiting().max(child)).await?;
        }
        self.perform_reopened();
        Ok(worked)
    }

    /// The position of the end of a child that a step waits for, where one has ended.
    fn ended_child(&self) -> Result<Option<u64>, Stop> {
        let mut ended = None;
        for child in self.children.values() {
            let state = self.inner.views.job(child)?.filter(|state| state.ended_at.is_some());
            ended = state.map(|state| state.position).max(ended);
        }
        Ok(ended)
    }

    /// A step that was open when the last task of this job ended. What was being performed then is recorded as
    /// interrupted before anything else happens to it; what waits goes on waiting.
    fn reopen(&mut self, path: &Arc<str>, step: &OpenStep, history: &History) -> Result<(), Stop> {
        let Some(event) = history.at(step.position) else { return Ok(()) };
        let EventBody::StepStarted(started) = &event.body else { return Ok(()) };
        // Not when it happened: what a fork shares began for it when it was copied.
        let mut open = Open::new(started.clone(), step.position, event.time);
        if step.kind == "workflow".into() {
            let child = child_id(&self.id, step.run, path, step.attempt, step.started_at);
            self.children.insert(path.clone(), child);
        }
        self.look_for(&mut open)?;
        if open.step.kind == "tool" {
            let asked = history.state.approval(path).is_some();
            self.reopen_call(&mut open, history.has_call(path, step.position), asked);
        }
        let mut asked = None;
        if open.step.kind == "agent" && !history.is_shared() {
            asked = self.reopen_agent(&open, &history.state)?;
        }
        if let Some(due) = step.retry_at {
            open.doing = Doing::Backoff(due);
        } else if let Some(asked) = asked {
            open.waits_for_person(asked);
        } else if matches!(open.doing, Doing::Performing) && !history.is_shared() {
            open.doing = Doing::Interrupted;
            let error = ErrorInfo::new(
                "interrupted",
                format!("the server stopped while `{}` was being performed: what became of it was not seen", step.name),
            );
            let result = StepResult { outcome: StepOutcome::Interrupted, output: None, error: Some(error.retryable()) };
            self.finished.push_back((path.clone(), step.attempt, result));
        }
        self.open.insert(open);
        Ok(())
    }

    /// Runs the script from its start over `history` to where it is blocked.
    pub(super) async fn start_script(&mut self, began_at: Timestamp, history: Vec<Arc<Event>>) -> Result<Worked, Stop> {
        let stop = StopHandle::default();
        let inner = self.inner.clone();
        let hash = self.submitted.script_hash;
        // Results of an earlier job are read from the log.
        let is_small = history.is_empty()
            && self.submitted.resume_from.is_none()
            && self.args.as_str().len() <= SMALL_BYTES
            && inner.sources.has(&hash)
            && inner.engine.has_compiled(&hash);
        let (submitted, id, run, args, handle) =
            (self.submitted.clone(), self.id, self.run, self.args.clone(), stop.clone());
        let earlier = self.earlier.clone();
        let run = move || {
            let source = inner.source(&hash).map_err(RunError::Replay)?;
            let spec = RunSpec {
                stop: handle,
                earlier: Some(earlier),
                job: id,
                run,
                workflow: submitted.workflow.clone(),
                source: source.text,
                script_hash: hash,
                args,
                seed: submitted.seed,
                started_at: began_at,
                nesting: submitted.limits.nesting,
                budget_total: submitted.limits.budget_tokens,
            };
            Run::start(&inner.engine, spec, &history)
        };
        self.slice(Work { stop, is_small, run }).await
    }
}
