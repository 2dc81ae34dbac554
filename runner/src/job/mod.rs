//! A job while it has a place: one task that drives its script from event to event.
//!
//! `begin` brings the script to where the log ends; the loop below gives it one result at a time; `deliver` records
//! what comes before the script is told; `perform` does what it asks for; `close` ends it. The task holds nothing that
//! the log does not: it can be dropped at any `await`, and begun again.

mod agents;
mod begin;
mod close;
mod deliver;
mod history;
mod inbox;
mod open;
mod perform;
mod record;
mod share;
mod slice;
mod tool_call;
mod turnstile;
mod wait;

pub(crate) use perform::child_id;
pub(crate) use turnstile::{Hold, Turnstile};

use crate::{
    agent::OpenWork, dispatcher::Message, inner::Inner, reuse::EarlierResults, sources::Pace, step_result::StepResult,
};
use begin::Begun;
use close::End;
use futures_util::FutureExt;
use inbox::Inbox;
use moonlog_core::{
    error_info::ErrorInfo,
    event::{EventBody, JobContinued, JobSubmitted, NewEvent, StreamId},
    id::{JobId, SessionId},
    json::Json,
    log::{Append, AppendError, Appended, Expected, Hurry, Poisoned, ReadError},
    projection::{JobState, StepCounts},
    time::Timestamp,
};
use moonlog_scripts::{Input, Run, RunError, RunState, Slice};
use open::OpenSteps;
use perform::Report;
use record::goes_with_end;
use slice::Work;
use std::{
    collections::{BTreeMap, VecDeque},
    panic::AssertUnwindSafe,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
};
use tokio::{
    sync::{mpsc, oneshot, watch},
    task::JoinSet,
};

/// How a job's task ended.
#[derive(Debug)]
pub(crate) enum Leave {
    /// The job has ended.
    Ended,
    /// Its attempt has, and it is queued for the next.
    AttemptEnded,
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

/// Values up to here are converted in no time.
const SMALL_BYTES: usize = 32 << 10;

/// Why a job's task stops without an end of the job.
#[derive(Debug, thiserror::Error)]
pub(super) enum Stop {
    #[error("the job has ended elsewhere")]
    Closed,
    #[error("the server stops")]
    Shutdown,
    #[error("the log refuses: {0}")]
    Log(String),
    #[error("the log refuses what the job wants recorded: {0}")]
    TooLarge(ErrorInfo),
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
    /// That of its script.
    pace: Arc<Pace>,
    /// When the job's own time is up.
    deadline: Option<Timestamp>,
    open: OpenSteps,
    /// What came from outside and was not used yet.
    inbox: Inbox,
    /// Child jobs of open `workflow` steps, by the step's path.
    children: BTreeMap<Arc<str>, JobId>,
    /// What the agents of open steps have begun and not ended, by the step's path.
    agents: BTreeMap<Arc<str>, Arc<Mutex<OpenWork>>>,
    /// Whether it has or had agents.
    had_agents: bool,
    /// Turns of sessions that agents have left, which end once that stands in the log.
    turns_left: Vec<(SessionId, u32)>,
    /// What it may take over.
    earlier: Arc<EarlierResults>,
    /// How many steps it has begun, and how many of them ended with an earlier run's result.
    steps: StepCounts,
    /// The position of its `job.submitted`.
    submitted_position: u64,
    /// Whether it began before its submission was durable, and the projections may not know it.
    ahead: bool,
    /// The last position that it has appended.
    last_position: u64,
    /// What its script did in its last slice, to be appended together with the end.
    held: Vec<NewEvent>,
    /// Up to which version of its stream the job has looked for what came from outside.
    seen_version: u64,
    /// How many pokes it has looked after.
    seen_pokes: u64,
    /// Whether `job.waiting` stands in the log with no `job.resumed` behind it.
    waiting: bool,
    finished: VecDeque<(Arc<str>, u32, StepResult)>,
    /// Operations that may go on as soon as the job holds a place.
    freed: Vec<oneshot::Sender<()>>,
    results: mpsc::UnboundedReceiver<Report>,
    report: mpsc::UnboundedSender<Report>,
    performers: JoinSet<()>,
    poke: watch::Receiver<Poke>,
}

/// A script after a slice of work, and what the slice gave.
pub(super) type Worked = Result<(Run, Slice), RunError>;

/// What comes next for a script that is blocked.
enum Next {
    Input(Input),
    Close(End),
    Evict,
}

/// Runs a job from where its log ends until it has ended, waits for long, or cannot go on; then tells the dispatcher. `ahead`: its
/// state, where the projections do not have it yet.
pub(crate) async fn run(inner: Arc<Inner>, job: JobId, poke: watch::Receiver<Poke>, ahead: Option<JobState>) {
    let seen = Arc::new(AtomicU64::new(0));
    // Boxed: a task of some kilobytes is moved several times before it runs.
    let driven = Box::pin(drive(inner.clone(), job, poke, ahead, &seen));
    let leave = match AssertUnwindSafe(driven).catch_unwind().await {
        Ok(Ok(leave)) => leave,
        Ok(Err(Stop::Closed)) => Leave::Ended,
        Ok(Err(stop)) => {
            // What stops all jobs was reported once where it came about.
            match stop {
                Stop::Shutdown => tracing::debug!(%job, %stop, "job left as it is"),
                Stop::Log(_) if inner.log.is_poisoned().is_some() => tracing::debug!(%job, %stop, "job left as it is"),
                _ => tracing::error!(%job, %stop, "job left as it is"),
            }
            Leave::Abandoned
        }
        Err(_) => {
            tracing::error!(%job, "the job's task panicked; the job is left as it is until the next start");
            Leave::Abandoned
        }
    };
    inner.tell(Message::Left { job, leave, pokes: seen.load(Ordering::Relaxed) });
}

async fn drive(
    inner: Arc<Inner>,
    id: JobId,
    poke: watch::Receiver<Poke>,
    ahead: Option<JobState>,
    seen_pokes: &AtomicU64,
) -> Result<Leave, Stop> {
    let Some((mut job, begun)) = ActiveJob::begin(inner, id, poke, ahead).await? else { return Ok(Leave::Ended) };
    let mut left = match begun {
        Begun::Works(worked) => job.go_on(worked).await,
        Begun::Ends(end) => job.close(end).await,
    };
    if let Err(Stop::TooLarge(error)) = left {
        left = job.close(End::Failed(error)).await;
    }
    seen_pokes.store(job.seen_pokes, Ordering::Relaxed);
    left
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
            if self.ahead && !slice.only_ends() {
                self.catch_up().await?;
            }
            let with_end = goes_with_end(&slice);
            let written = self.record(slice.intents, with_end).await?;
            let returned = matches!(slice.state, RunState::Returned(_)) && self.inbox.cancel.is_none();
            if !returned && let Some(end) = self.end_from_outside((self.inner.options.clock)()) {
                drop(run);
                return self.close(end).await;
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
                        drop(run);
                        self.settle().await?;
                        return Ok(Leave::Evicted { due: self.next_due() });
                    }
                    Next::Close(end) => {
                        drop(run);
                        return self.close(end).await;
                    }
                },
            };
            let (stop, is_small) = (run.stop_handle(), is_small(&input));
            let run = move || run.resume(input).map(|slice| (run, slice));
            worked = self.slice(Work { stop, is_small, run }).await?;
        }
    }

    /// Waits until the projections know of a job that began ahead of them: who looks at what it does must find it there.
    async fn catch_up(&mut self) -> Result<(), Stop> {
        self.ahead = false;
        Ok(self.inner.applied_at_once(self.last_position).await?)
    }

    /// `continue_as`: the next run begins with a fresh history.
    async fn continue_as(&mut self, args: Json) -> Result<Worked, Stop> {
        let mut events = self.cancel_open_steps();
        self.performers.shutdown().await;
        // What comes of this run's steps is nothing to those of the next one, which may have the same paths.
        while self.results.try_recv().is_ok() {}
        self.finished.clear();
        self.freed.clear();
        self.cancel_children(true).await;
        self.run += 1;
        events.push(EventBody::JobContinued(JobContinued { run: self.run, args: args.clone() }).into());
        let appended = self.append(events).await?;
        self.end_turns();
        self.args = args;
        self.start_script(appended.time, Vec::new()).await
    }

    /// Appends to the job's own stream. What a script does in one slice, and what closes a thousand open branches, may
    /// be more than one append takes: replay goes on behind any first part of it.
    /// Whoever acts on it waits until it is durable; nobody else is in a hurry.
    async fn append(&mut self, events: Vec<NewEvent>) -> Result<Appended, Stop> {
        self.append_in(Hurry::None, events).await
    }

    /// The same for what others wait for.
    async fn append_at_once(&mut self, events: Vec<NewEvent>) -> Result<Appended, Stop> {
        self.append_in(Hurry::AtOnce, events).await
    }

    async fn append_in(&mut self, hurry: Hurry, mut events: Vec<NewEvent>) -> Result<Appended, Stop> {
        for event in &mut events {
            event.session = event.session.or(self.submitted.session);
        }
        let append = Append { stream: StreamId::Job(self.id), expected: Expected::Any, events };
        let appended = self.inner.log.append_when_ready(append, hurry).await.map_err(refused)?;
        self.last_position = appended.last_position;
        Ok(appended)
    }

    /// Returns when all that was appended can be read by the job's next task.
    async fn settle(&self) -> Result<(), Stop> {
        Ok(self.inner.applied(self.last_position).await?)
    }
}

/// Whether it takes no time to give this to a script.
fn is_small(input: &Input) -> bool {
    match input {
        Input::Finished { event, .. } => {
            event.output.as_ref().is_none_or(|output| output.as_str().len() <= SMALL_BYTES)
        }
        Input::Attempt { .. } | Input::Continue => true,
    }
}

fn refused(error: AppendError) -> Stop {
    match error {
        AppendError::Closed { .. } => Stop::Closed,
        AppendError::TooLarge { .. } => Stop::TooLarge(ErrorInfo::new("limit_value", error.to_string())),
        other => Stop::Log(other.to_string()),
    }
}
