//! The beginning of a job's task: a new attempt, or the log's end again.

use super::{
    ActiveJob, Stop, Worked,
    open::{Doing, Open, OpenSteps},
};
use crate::{
    runner::{Inner, RUNNER},
    step_result::StepResult,
};
use moonlog_core::{
    error_info::ErrorInfo,
    event::{Event, EventBody, JobResumed, JobStarted, StepOutcome, StreamId},
    id::JobId,
    projection::{JobState, JobStatus, OpenStep},
    time::Timestamp,
};
use moonlog_scripts::{Run, RunSpec, StopHandle};
use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    sync::Arc,
};
use tokio::{
    sync::{mpsc, watch},
    task::JoinSet,
};

/// How many events one read of a job's history takes.
const HISTORY_EVENTS: usize = 4_096;

impl ActiveJob {
    /// Brings the job to where it can go on. `None` where it has ended.
    pub(super) async fn begin(
        inner: Arc<Inner>,
        id: JobId,
        poke: watch::Receiver<super::Poke>,
    ) -> Result<Option<(Self, Worked)>, Stop> {
        let Some(state) = inner.views.job(&id)? else { return Ok(None) };
        if state.ended_at.is_some() {
            return Ok(None);
        }
        let (report, results) = mpsc::unbounded_channel();
        let mut job = Self {
            inner,
            id,
            submitted: state.submitted.clone(),
            attempt: state.attempt,
            run: state.run,
            args: state.args().clone(),
            deadline: None,
            overdue: false,
            open: OpenSteps::default(),
            signals: VecDeque::new(),
            decisions: HashMap::new(),
            children: BTreeMap::new(),
            cancel: None,
            seen_pokes: 0,
            last_position: 0,
            seen_version: 0,
            waiting: false,
            finished: VecDeque::new(),
            results,
            report,
            performers: JoinSet::new(),
            poke,
        };
        let fresh = state.status == JobStatus::Queued;
        // A job that was just submitted has no history worth a read.
        let history = if fresh && state.version == 1 { Vec::new() } else { job.read_history()? };
        let state = if history.is_empty() { state } else { JobState::fold(&history).map_or(state, Arc::new) };
        job.seen_version = state.version;
        job.note_history(&history);
        let worked = if fresh { job.start_attempt(&state).await? } else { job.come_back(&state, &history).await? };
        Ok(Some((job, worked)))
    }

    fn read_history(&self) -> Result<Vec<Arc<Event>>, Stop> {
        let mut history: Vec<Arc<Event>> = Vec::new();
        loop {
            let after = history.last().map_or(0, |event| event.version);
            let more = self.inner.log.read_stream(&StreamId::Job(self.id), after, HISTORY_EVENTS)?;
            if more.is_empty() {
                return Ok(history);
            }
            history.extend(more);
        }
    }

    /// Keeps what came from outside and was not taken yet. Signals are taken in order, so those that are left are the
    /// newest.
    fn note_history(&mut self, history: &[Arc<Event>]) {
        let mut waits: HashMap<(u32, &str), String> = HashMap::new();
        let mut taken: HashMap<String, usize> = HashMap::new();
        for event in history {
            match &event.body {
                EventBody::StepStarted(step) if step.kind == "wait_for" => {
                    let name = super::open::StepInput::of(step).signal.unwrap_or_default();
                    waits.insert((step.run, &step.path), name);
                }
                EventBody::StepFinished(step) => {
                    if let Some(name) = waits.remove(&(step.run, step.path.as_str()))
                        && step.outcome == StepOutcome::Ok
                    {
                        *taken.entry(name).or_default() += 1;
                    }
                    self.decisions.remove(&step.path);
                }
                body => self.note(body),
            }
        }
        self.signals.retain(|(name, _)| match taken.get_mut(name) {
            Some(left) if *left > 0 => {
                *left -= 1;
                false
            }
            _ => true,
        });
    }

    async fn start_attempt(&mut self, state: &JobState) -> Result<Worked, Stop> {
        self.attempt += 1;
        self.run += 1;
        let started = JobStarted { attempt: self.attempt, run: self.run, runner: RUNNER.into() };
        let appended = self.append(vec![EventBody::JobStarted(started).into()]).await?;
        self.set_deadline(state.started_at.unwrap_or(appended.time));
        self.start_script(appended.time, Vec::new()).await
    }

    async fn come_back(&mut self, state: &JobState, history: &[Arc<Event>]) -> Result<Worked, Stop> {
        if state.status == JobStatus::Waiting {
            self.append(vec![EventBody::JobResumed(JobResumed {}).into()]).await?;
        }
        let began = history
            .iter()
            .rposition(|event| matches!(event.body, EventBody::JobStarted(_) | EventBody::JobContinued(_)))
            .unwrap_or(0);
        let began_at = history.get(began).map_or(state.submitted_at, |event| event.happened_at());
        self.set_deadline(state.started_at.unwrap_or(began_at));
        for (path, step) in &state.open_steps {
            self.reopen(path, step, history);
        }
        let run_history = history.get(began + 1..).unwrap_or_default().to_vec();
        let worked = self.start_script(began_at, run_history).await?;
        self.perform_reopened();
        Ok(worked)
    }

    fn set_deadline(&mut self, started_at: Timestamp) {
        self.deadline = self.submitted.limits.timeout_ms.map(|ms| started_at.plus_ms(ms));
    }

    /// A step that was open when the last task of this job ended. What was being performed then is recorded as
    /// interrupted before anything else happens to it; what waits goes on waiting.
    fn reopen(&mut self, path: &Arc<str>, step: &OpenStep, history: &[Arc<Event>]) {
        let Ok(at) = history.binary_search_by_key(&step.position, |event| event.position) else { return };
        let EventBody::StepStarted(started) = &history[at].body else { return };
        let mut open = Open::new(started.clone(), step.position, step.started_at);
        if let Some(due) = step.retry_at {
            open.doing = Doing::Backoff(due);
        } else if matches!(open.doing, Doing::Performing) {
            let error = ErrorInfo::new(
                "interrupted",
                format!("the server stopped while `{}` was being performed: what became of it was not seen", step.name),
            );
            let result = StepResult { outcome: StepOutcome::Interrupted, output: None, error: Some(error.retryable()) };
            self.finished.push_back((path.clone(), step.attempt, result));
        }
        self.open.insert(open);
    }

    /// Runs the script from its start over `history` to where it is blocked.
    pub(super) async fn start_script(&mut self, began_at: Timestamp, history: Vec<Arc<Event>>) -> Result<Worked, Stop> {
        let stop = StopHandle::default();
        let source = self.inner.source(&self.submitted.script_hash)?;
        let spec = RunSpec {
            stop: stop.clone(),
            job: self.id,
            run: self.run,
            workflow: self.submitted.workflow.clone(),
            source,
            script_hash: self.submitted.script_hash,
            args: self.args.clone(),
            seed: self.submitted.seed,
            started_at: began_at,
            nesting: self.submitted.limits.nesting,
            budget_total: self.submitted.limits.budget_tokens,
        };
        let engine = self.inner.engine.clone();
        // A replay is not stopped half-way: its end is where the job stands.
        let deadline = self.deadline.filter(|_| history.is_empty());
        self.slice(stop, deadline, move || Run::start(&engine, spec, &history)).await
    }
}
