//! A job while it has a place: one task that drives its script from event to event.
//!
//! `begin` brings the script to where the log ends; the loop below gives it one result at a time; `deliver` records
//! what comes before the script is told; `perform` does what it asks for; `close` ends it. The task holds nothing that
//! the log does not: it can be dropped at any `await`, and begun again.

mod begin;
mod close;
mod deliver;
mod open;
mod perform;

use crate::{dispatcher::Message, runner::Inner, step_result::StepResult};
use close::End;
use futures_util::FutureExt;
use moonlog_core::{
    error_info::ErrorInfo,
    event::StreamId,
    event::{
        Cause, EventBody, JobContinued, JobResumed, JobSubmitted, JobWaiting, NewEvent, StepStarted,
        ToolApprovalDecided, ToolApprovalRequested,
    },
    id::JobId,
    json::Json,
    log::{Append, AppendError, Appended, Expected, Poisoned, ReadError},
    time::Timestamp,
};
use moonlog_scripts::{Input, Run, RunError, RunState, Slice, StopHandle};
use open::{Doing, Open, OpenSteps};
use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    panic::AssertUnwindSafe,
    pin::pin,
    sync::Arc,
    time::Duration,
};
use tokio::{
    sync::{mpsc, oneshot, watch},
    task::JoinSet,
    time::Instant,
};

/// How a job's task ended.
#[derive(Debug)]
pub(crate) enum Leave {
    /// The job has ended, or its attempt has.
    Ended,
    /// It waits, and its virtual machine was dropped. Something is due by itself at `due`.
    Evicted { due: Option<Timestamp> },
    /// It could not go on; the log holds it as it was.
    Abandoned,
}

/// What a job's task is told by the dispatcher. What has come stands in the log: this says only that it is worth a look.
#[derive(Debug, Default, Clone)]
pub(crate) struct Poke {
    /// Grows with each event that the job may wait for.
    pub(crate) count: u64,
    /// The server stops.
    pub(crate) shutdown: bool,
}

/// Why a job's task stops without an end of the job.
#[derive(Debug, thiserror::Error)]
pub(super) enum Stop {
    #[error("the job has ended elsewhere")]
    Closed,
    #[error("the server stops")]
    Shutdown,
    #[error("the log refuses: {0}")]
    Log(String),
    #[error("the job cannot be replayed: {0}")]
    Replay(ErrorInfo),
}

impl From<ReadError> for Stop {
    fn from(error: ReadError) -> Self {
        Self::Log(error.to_string())
    }
}

impl From<Poisoned> for Stop {
    fn from(error: Poisoned) -> Self {
        Self::Log(error.to_string())
    }
}

/// A job that has a task.
pub(super) struct ActiveJob {
    inner: Arc<Inner>,
    id: JobId,
    submitted: Arc<JobSubmitted>,
    attempt: u32,
    /// 1-based over the job's life.
    run: u32,
    args: Json,
    /// When the job's own time is up.
    deadline: Option<Timestamp>,
    /// It was up while the script computed.
    overdue: bool,
    open: OpenSteps,
    /// Signals that nobody has taken yet, oldest first.
    signals: VecDeque<(String, Json)>,
    decisions: HashMap<String, ToolApprovalDecided>,
    /// Child jobs of open `workflow` steps, by the step's path.
    children: BTreeMap<Arc<str>, JobId>,
    cancel: Option<Option<String>>,
    /// The last position that it has appended.
    last_position: u64,
    /// Up to which version of its stream the job has looked for what came from outside.
    seen_version: u64,
    /// How many pokes it has looked after.
    seen_pokes: u64,
    /// Whether `job.waiting` stands in the log with no `job.resumed` behind it.
    waiting: bool,
    finished: VecDeque<(Arc<str>, u32, StepResult)>,
    results: mpsc::UnboundedReceiver<(Arc<str>, u32, StepResult)>,
    report: mpsc::UnboundedSender<(Arc<str>, u32, StepResult)>,
    performers: JoinSet<()>,
    poke: watch::Receiver<Poke>,
}

/// A script after a slice of work, and what the slice gave.
pub(super) type Worked = Result<(Run, Slice), RunError>;

/// How many events one read takes when a job looks for what came from outside.
const LOOK_EVENTS: usize = 256;

/// What comes next for a script that is blocked.
enum Next {
    Input(Input),
    Close(End),
    Evict,
}

/// Runs a job from where its log ends until it has ended, waits for long, or cannot go on; then tells the dispatcher.
pub(crate) async fn run(inner: Arc<Inner>, job: JobId, poke: watch::Receiver<Poke>) {
    let seen = Arc::new(std::sync::atomic::AtomicU64::new(0));
    let leave = match AssertUnwindSafe(drive(inner.clone(), job, poke, seen.clone())).catch_unwind().await {
        Ok(Ok(leave)) => leave,
        Ok(Err(Stop::Closed)) => Leave::Ended,
        Ok(Err(stop @ (Stop::Shutdown | Stop::Log(_)))) => {
            tracing::debug!(%job, %stop, "job left as it is");
            Leave::Abandoned
        }
        Ok(Err(stop @ Stop::Replay(_))) => {
            tracing::error!(%job, %stop, "job left as it is");
            Leave::Abandoned
        }
        Err(_) => {
            tracing::error!(%job, "the job's task panicked; the job is left as it is until the next start");
            Leave::Abandoned
        }
    };
    let pokes = seen.load(std::sync::atomic::Ordering::Relaxed);
    inner.tell(Message::Left { job, leave, pokes });
}

async fn drive(
    inner: Arc<Inner>,
    id: JobId,
    poke: watch::Receiver<Poke>,
    seen_pokes: Arc<std::sync::atomic::AtomicU64>,
) -> Result<Leave, Stop> {
    let Some((mut job, worked)) = ActiveJob::begin(inner, id, poke).await? else { return Ok(Leave::Ended) };
    let leave = job.go_on(worked).await;
    seen_pokes.store(job.seen_pokes, std::sync::atomic::Ordering::Relaxed);
    leave
}

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

/// The request for a decision that stands behind the start of an `approve` step.
fn approval_request(event: &NewEvent) -> Option<NewEvent> {
    let EventBody::StepStarted(step) = &event.body else { return None };
    (step.kind == "approve").then(|| {
        let request =
            ToolApprovalRequested { call_id: step.path.clone(), name: "approve".into(), input: step.input.clone() };
        NewEvent::new(EventBody::ToolApprovalRequested(request)).step(event.step.clone()).cause_before(1)
    })
}

impl ActiveJob {
    /// From slice to slice, until the job ends or waits for long.
    async fn go_on(&mut self, mut worked: Worked) -> Result<Leave, Stop> {
        loop {
            let (mut run, slice) = match worked {
                Ok(worked) => worked,
                Err(RunError::Mismatch(mismatch)) => {
                    let error = ErrorInfo::new("nondeterministic", mismatch.to_string());
                    return self.close(End::Failed(error)).await;
                }
                Err(RunError::Script(error)) => return self.close(End::Failed(error)).await,
                Err(RunError::Replay(error)) => return Err(Stop::Replay(error)),
            };
            if self.poke.borrow().shutdown {
                return Err(Stop::Shutdown);
            }
            let written = self.record(slice.intents).await?;
            if let Some(reason) = self.cancel.take() {
                drop(run);
                return self.close(End::Cancelled(reason)).await;
            }
            if self.overdue {
                drop(run);
                return self.close(End::TimedOut).await;
            }
            let input = match slice.state {
                // The virtual machine goes back before the end is written: another job may want it.
                RunState::Returned(result) => {
                    drop(run);
                    return self.close(End::Completed(result)).await;
                }
                RunState::Failed(error) => {
                    drop(run);
                    return self.close(End::Failed(error)).await;
                }
                RunState::Continued(args) => {
                    drop(run);
                    worked = self.continue_as(args).await?;
                    continue;
                }
                RunState::More => {
                    if let Some(position) = written {
                        self.inner.log.durable(position).await?;
                    }
                    Input::Continue
                }
                RunState::Blocked => match self.next().await? {
                    Next::Input(input) => input,
                    Next::Evict => {
                        self.settle().await?;
                        return Ok(Leave::Evicted { due: self.next_due() });
                    }
                    Next::Close(end) => {
                        drop(run);
                        return self.close(end).await;
                    }
                },
            };
            let stop = run.stop_handle();
            let deadline = self.deadline;
            worked = self.slice(stop, deadline, move || run.resume(input).map(|slice| (run, slice))).await?;
        }
    }

    /// Runs a slice of the script on a thread where it may compute. A job that is cancelled meanwhile, or whose time is
    /// up, has its script stopped.
    async fn slice<F>(&mut self, stop: StopHandle, deadline: Option<Timestamp>, work: F) -> Result<Worked, Stop>
    where
        F: FnOnce() -> Worked + Send + 'static,
    {
        let mut working = tokio::task::spawn_blocking(work);
        let left = deadline.map(|deadline| until(deadline, (self.inner.options.clock)()));
        let mut time_up = pin!(tokio::time::sleep(left.unwrap_or_default()));
        let worked = loop {
            tokio::select! {
                worked = &mut working => break worked,
                () = &mut time_up, if left.is_some() && !self.overdue => {
                    self.overdue = true;
                    stop.stop();
                }
                changed = self.poke.changed() => {
                    let looked = if changed.is_err() { Err(Stop::Shutdown) } else { self.look() };
                    if looked.is_err() || self.cancel.is_some() {
                        stop.stop();
                    }
                    if looked.is_err() || changed.is_err() {
                        break working.await;
                    }
                }
            }
        };
        worked.map_err(|error| match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(_) => Stop::Shutdown,
        })
    }

    /// Appends what the script did, and begins what it asked for. Gives the last position that was written.
    async fn record(&mut self, intents: Vec<NewEvent>) -> Result<Option<u64>, Stop> {
        if intents.is_empty() {
            return Ok(None);
        }
        let now = (self.inner.options.clock)();
        let mut effects = Effects::default();
        let mut events = Vec::with_capacity(intents.len());
        // Steps that are started here, by path: a step of pure script may also be finished here.
        let mut started = HashMap::new();
        for mut event in intents {
            let mut was_open = false;
            match &event.body {
                EventBody::StepStarted(step) => drop(started.insert(step.path.clone(), events.len())),
                EventBody::StepFinished(step) => {
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
            let approval = approval_request(&event);
            events.push(event);
            events.extend(approval);
        }
        let appended = self.append(events).await?;
        for effect in effects.all {
            match effect {
                Effect::Began { offset, step } => {
                    self.began(step, appended.first_position + offset, appended.time);
                }
                Effect::Ended { path } => self.cancel_step(&path).await,
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
        Ok(Some(appended.last_position))
    }

    /// Waits for what comes next.
    async fn next(&mut self) -> Result<Next, Stop> {
        let mut evict_at: Option<Instant> = None;
        let mut keep = None;
        loop {
            self.look()?;
            if let Some(reason) = self.cancel.take() {
                return Ok(Next::Close(End::Cancelled(reason)));
            }
            let now = (self.inner.options.clock)();
            if self.deadline.is_some_and(|deadline| deadline <= now) {
                return Ok(Next::Close(End::TimedOut));
            }
            if let Some(delivery) = self.take_ready(now)? {
                self.stop_waiting().await?;
                evict_at = None;
                match self.deliver(delivery).await? {
                    Some(input) => return Ok(Next::Input(input)),
                    None => continue,
                }
            }
            if self.open.is_empty() {
                let error = ErrorInfo::new("internal", "the script is blocked with no operation open");
                return Ok(Next::Close(End::Failed(error)));
            }
            if evict_at.is_none() && self.start_waiting().await? {
                keep = keep.or_else(|| self.inner.keep_machine());
                evict_at = Some(Instant::now() + self.idle_time(now, keep.is_some()));
            }
            let due = self.until_due(now);
            let evict = evict_at.unwrap_or_else(|| Instant::now() + Duration::from_secs(86_400));
            tokio::select! {
                Some(result) = self.results.recv() => self.finished.push_back(result),
                changed = self.poke.changed() => if changed.is_err() { return Err(Stop::Shutdown) },
                () = tokio::time::sleep(due) => {}
                () = tokio::time::sleep_until(evict), if evict_at.is_some() => return Ok(Next::Evict),
            }
        }
    }

    /// Reads what came from outside since the last look, if anything did: signals, decisions, a request to cancel.
    fn look(&mut self) -> Result<(), Stop> {
        let (count, shutdown) = {
            let poke = self.poke.borrow_and_update();
            (poke.count, poke.shutdown)
        };
        if shutdown {
            return Err(Stop::Shutdown);
        }
        if count == self.seen_pokes {
            return Ok(());
        }
        self.seen_pokes = count;
        loop {
            let events = self.inner.log.read_stream(&StreamId::Job(self.id), self.seen_version, LOOK_EVENTS)?;
            let Some(last) = events.last() else { return Ok(()) };
            self.seen_version = last.version;
            events.iter().for_each(|event| self.note(&event.body));
        }
    }

    /// Keeps what came from outside, until the script has taken it.
    fn note(&mut self, body: &EventBody) {
        match body {
            EventBody::JobSignalled(signal) => self.signals.push_back((signal.name.clone(), signal.payload.clone())),
            EventBody::ToolApprovalDecided(decided) => {
                self.decisions.insert(decided.call_id.clone(), decided.clone());
            }
            EventBody::JobCancelRequested(request) => self.cancel = Some(request.reason.clone()),
            _ => {}
        }
    }

    /// Records that the job waits, where all that is open waits, and gives the place back. Gives whether it waits.
    async fn start_waiting(&mut self) -> Result<bool, Stop> {
        let Some((path, wait)) = self.open.all_waiting() else { return Ok(false) };
        if !self.waiting {
            let event = JobWaiting {
                reason: wait.reason,
                step: Some(path.to_string()),
                name: wait.name,
                title: wait.title,
                until: wait.due,
            };
            self.append(vec![self.step_event(EventBody::JobWaiting(event), &path)]).await?;
            self.waiting = true;
            self.inner.tell(Message::Waiting(self.id));
        }
        Ok(true)
    }

    /// Takes a place again, and records that the job goes on.
    async fn stop_waiting(&mut self) -> Result<(), Stop> {
        if !self.waiting {
            return Ok(());
        }
        let (grant, granted) = oneshot::channel();
        self.inner.tell(Message::WantsPlace(self.id, grant));
        let mut poke = self.poke.clone();
        tokio::select! {
            granted = granted => granted.map_err(|_| Stop::Shutdown)?,
            _ = poke.wait_for(|poke| poke.shutdown) => return Err(Stop::Shutdown),
        }
        self.append(vec![EventBody::JobResumed(JobResumed {}).into()]).await?;
        self.waiting = false;
        Ok(())
    }

    /// How long a job that waits keeps its virtual machine: a while, where few do or something is due by then.
    fn idle_time(&self, now: Timestamp, few: bool) -> Duration {
        let idle = Duration::from_millis(self.inner.options.idle_evict_ms);
        let soon = self.next_due().is_some_and(|due| due <= now.plus_ms(self.inner.options.idle_evict_ms));
        if few || soon { idle } else { Duration::ZERO }
    }

    fn next_due(&self) -> Option<Timestamp> {
        [self.open.next_due(), self.deadline].into_iter().flatten().min()
    }

    fn until_due(&self, now: Timestamp) -> Duration {
        const LONGEST: Duration = Duration::from_secs(3600);
        self.next_due().map_or(LONGEST, |due| until(due, now).min(LONGEST))
    }

    /// `continue_as`: the next run begins with a fresh history.
    async fn continue_as(&mut self, args: Json) -> Result<Worked, Stop> {
        let mut events = self.cancel_open_steps();
        self.performers.shutdown().await;
        self.run += 1;
        events.push(EventBody::JobContinued(JobContinued { run: self.run, args: args.clone() }).into());
        let appended = self.append(events).await?;
        self.args = args;
        self.start_script(appended.time, Vec::new()).await
    }

    /// Appends to the job's own stream. What a script does in one slice, and what closes a thousand open branches, may
    /// be more than one append takes: replay goes on behind any first part of it.
    /// Whoever acts on it waits until it is durable; nobody else is in a hurry.
    async fn append(&mut self, events: Vec<NewEvent>) -> Result<Appended, Stop> {
        self.inner.log.ready().await;
        let append = Append { stream: StreamId::Job(self.id), expected: Expected::Any, events };
        let appended = self.inner.log.append_unhurried(append).map_err(refused)?;
        self.last_position = appended.last_position;
        Ok(appended)
    }

    /// The same for what others wait for.
    async fn append_at_once(&mut self, events: Vec<NewEvent>) -> Result<Appended, Stop> {
        self.inner.log.ready().await;
        let append = Append { stream: StreamId::Job(self.id), expected: Expected::Any, events };
        self.inner.log.append_long(append).map_err(refused)
    }

    /// Returns when all that was appended can be read by the job's next task.
    async fn settle(&self) -> Result<(), Stop> {
        Ok(self.inner.applied(self.last_position).await?)
    }
}

fn refused(error: AppendError) -> Stop {
    match error {
        AppendError::Closed { .. } => Stop::Closed,
        other => Stop::Log(other.to_string()),
    }
}

/// How long it is from `now` to `due`.
fn until(due: Timestamp, now: Timestamp) -> Duration {
    Duration::from_micros(due.as_micros().saturating_sub(now.as_micros()).max(0) as u64)
}
