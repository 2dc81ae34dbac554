//! Running a slice of a script: on the thread that drives the job while the script is quick, else on a thread where it
//! may compute. A job that is cancelled meanwhile, or whose time is up, has its script stopped.

use super::{ActiveJob, Poke, Stop, Worked, wait};
use crate::{inner::Inner, sources::Pace};
use moonlog_core::{id::JobId, time::Timestamp};
use moonlog_scripts::{StopHandle, as_guest};
use std::{
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::{sync::watch, task::AbortHandle};

/// How long a script may compute on a thread that others wait for, until these are given another one.
const PATIENCE: Duration = Duration::from_millis(1);
/// What is counted as long of a slice as a whole. What it does besides computing, such as copying, goes unwatched.
const LONG: Duration = Duration::from_millis(3);
/// How long the script is held up for another thread to take over.
const TAKE_OVER: Duration = Duration::from_micros(50);

/// What a slice is run with.
pub(super) struct Work<F> {
    /// Stops the script.
    pub(super) stop: StopHandle,
    /// Whether it has little to do besides what the script computes: no history, nothing large.
    pub(super) is_small: bool,
    pub(super) run: F,
}

/// What stops a script whose job is to end.
#[derive(Clone)]
struct Supervision {
    inner: Arc<Inner>,
    job: JobId,
    deadline: Option<Timestamp>,
    poke: watch::Receiver<Poke>,
    stop: StopHandle,
}

impl Supervision {
    /// Returns when it has stopped the script.
    async fn watch(mut self) {
        loop {
            let shutdown = self.poke.borrow_and_update().shutdown;
            let until_late = wait::until(self.deadline, (self.inner.options.clock)());
            let is_cancelled =
                self.inner.views.with(|all| all.job(&self.job).is_some_and(|job| job.cancel_requested.is_some()));
            if shutdown || until_late.is_zero() || is_cancelled {
                return self.stop.stop();
            }
            tokio::select! {
                biased;
                changed = self.poke.changed() => if changed.is_err() { return },
                () = tokio::time::sleep(until_late) => {}
            }
        }
    }
}

impl ActiveJob {
    pub(super) async fn slice<F>(&mut self, work: Work<F>) -> Result<Worked, Stop>
    where
        F: FnOnce() -> Worked + Send + 'static,
    {
        let Work { stop, is_small, run } = work;
        let supervision = Supervision {
            inner: self.inner.clone(),
            job: self.id,
            deadline: self.deadline,
            poke: self.poke.clone(),
            stop,
        };
        let begun = Instant::now();
        let may_stay = is_small && self.inner.moves_tasks && self.pace.is_quick();
        let worked = if may_stay { stay(supervision, &self.pace, run) } else { apart(supervision, run).await? };
        self.pace.took(begun.elapsed() >= LONG);
        // What the script may have been stopped for.
        self.look()?;
        Ok(worked)
    }
}

/// Runs it here. Where it computes for long, the other tasks of this thread go on on another one.
fn stay(supervision: Supervision, pace: &Arc<Pace>, run: impl FnOnce() -> Worked) -> Worked {
    /// Also where the script's host panics.
    struct End(Option<AbortHandle>);
    impl Drop for End {
        fn drop(&mut self) {
            if let Some(task) = &self.0 {
                task.abort();
            }
        }
    }
    let mut supervised = End(None);
    let pace = pace.clone();
    let make_room = move || {
        if supervised.0.is_none() {
            pace.was_slow();
            supervised.0 = Some(tokio::spawn(supervision.clone().watch()).abort_handle());
        }
        // Where nobody has taken over by then, it is done again the next time.
        tokio::task::block_in_place(|| std::thread::sleep(TAKE_OVER));
    };
    as_guest(PATIENCE, make_room, run)
}

/// Runs it on a thread of its own.
async fn apart<F>(supervision: Supervision, run: F) -> Result<Worked, Stop>
where
    F: FnOnce() -> Worked + Send + 'static,
{
    let mut working = supervision.inner.options.threads.begin(run);
    let worked = tokio::select! {
        biased;
        worked = &mut working => worked,
        () = supervision.watch() => working.await,
    };
    match worked {
        Ok(worked) => Ok(worked),
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(_) => Err(Stop::Shutdown),
        },
    }
}
