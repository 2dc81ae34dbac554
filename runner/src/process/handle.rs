//! A handle to a process.

use super::{Captured, HeadTail, OutputView, Owner, capture::Capture, signal_name};
use moonlog_core::{error_info::ErrorInfo, event::ProcessExited, id::ProcessId, time::Timestamp};
use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use tokio::sync::{mpsc, oneshot, watch};

/// How long after a process's end it takes at most to hear that nothing of it is left, where that is so.
const LEFT_FOR: Duration = Duration::from_millis(250);

/// A process that was started. Cheap to clone; dropping it changes nothing.
#[derive(Clone)]
pub struct Process {
    pub(super) shared: Arc<Shared>,
}

/// What the handles of a process and the task that records it have in common.
pub(super) struct Shared {
    pub id: ProcessId,
    pub pid: u32,
    pub command: String,
    pub args: Vec<String>,
    pub workdir: String,
    pub description: Option<String>,
    pub owner: Owner,
    /// Where `process.started` stands: its version in the owner's stream, its position, and its time.
    pub started_version: u64,
    pub started_position: u64,
    pub started_at: Timestamp,
    pub background: AtomicBool,
    /// Whether `captures` are kept.
    pub capturing: AtomicBool,
    /// Never full for long: the task that reads it waits for nothing else.
    pub commands: mpsc::UnboundedSender<Command>,
    pub exit: watch::Receiver<Option<ProcessExited>>,
    /// Whether nothing is left, of it and of all that it started.
    pub gone: watch::Receiver<bool>,
    pub output: Mutex<Output>,
    /// Changes with every append.
    pub appended: watch::Receiver<u64>,
}

/// What was written, as far as it is kept in memory.
#[derive(Default)]
pub(super) struct Output {
    pub captures: [Capture; 2],
    pub head_tail: HeadTail,
    /// Whether some of it is not appended yet.
    pub unappended: bool,
    /// Where the last of it stands in the log.
    pub position: Option<u64>,
}

/// What the task that records a process can be asked for.
pub(super) enum Command {
    Signal { number: i32, reply: oneshot::Sender<()> },
    Kill,
    Cancel,
    TimeOut,
    Background { reason: String, reply: oneshot::Sender<()> },
}

impl Shared {
    pub fn output(&self) -> MutexGuard<'_, Output> {
        self.output.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Nobody will ask for all of the output any more.
    pub fn stop_capturing(&self) {
        self.capturing.store(false, Ordering::Release);
        self.output().captures = Default::default();
    }
}

impl Process {
    /// Its id.
    pub fn id(&self) -> ProcessId {
        self.shared.id
    }

    /// The operating system's number for it; also its group's.
    pub fn pid(&self) -> u32 {
        self.shared.pid
    }

    /// The program.
    pub fn command(&self) -> &str {
        &self.shared.command
    }

    /// Its arguments.
    pub fn args(&self) -> &[String] {
        &self.shared.args
    }

    /// Where it runs.
    pub fn workdir(&self) -> &str {
        &self.shared.workdir
    }

    /// What it is for.
    pub fn description(&self) -> Option<&str> {
        self.shared.description.as_deref()
    }

    /// Whose it is.
    pub fn owner(&self) -> &Owner {
        &self.shared.owner
    }

    /// When it was started.
    pub fn started_at(&self) -> Timestamp {
        self.shared.started_at
    }

    /// The position of its `process.started`.
    pub(crate) fn started_position(&self) -> u64 {
        self.shared.started_position
    }

    /// Whether nobody waits for it.
    pub fn is_background(&self) -> bool {
        self.shared.background.load(Ordering::Acquire)
    }

    /// Waits for its end. `process.exited` is appended when this returns.
    pub async fn exited(&self) -> ProcessExited {
        let mut exit = self.shared.exit.clone();
        match exit.wait_for(Option::is_some).await {
            Ok(exit) => exit.clone().unwrap_or_else(unseen),
            // The task that records it is no more: the runtime is shutting down.
            Err(_) => unseen(),
        }
    }

    /// How it ended, where it has.
    pub fn exit(&self) -> Option<ProcessExited> {
        self.shared.exit.borrow().clone()
    }

    /// Waits until nothing is left of it and of all that it started, and `process.exited` is appended.
    pub async fn gone(&self) {
        self.exited().await;
        // An error is the end of the task, and with it of everything.
        let _ = self.shared.gone.clone().wait_for(|gone| *gone).await;
    }

    /// What it has written so far, apart by descriptor. Kept in full only while somebody waits for it.
    pub fn captured(&self) -> Captured {
        let output = self.shared.output();
        let [(stdout, cut_out), (stderr, cut_err)] = [&output.captures[0], &output.captures[1]].map(Capture::show);
        Captured { stdout, stderr, truncated: cut_out || cut_err }
    }

    /// What it has written and is recorded so far, for showing.
    pub fn output(&self) -> OutputView {
        let exited = self.exit();
        let (output, truncated) = self.shared.output().head_tail.show();
        OutputView { output, truncated, exited }
    }

    /// The same when all of it is appended, with the position up to which the log must be durable before anybody
    /// outside sees it; `None` where the log took nothing.
    pub(super) async fn appended_output(&self) -> (OutputView, Option<u64>) {
        let mut appended = self.shared.appended.clone();
        loop {
            appended.borrow_and_update();
            let exited = self.exit();
            {
                let output = self.shared.output();
                if !output.unappended {
                    let position = output.position;
                    let (output, truncated) = output.head_tail.show();
                    return (OutputView { output, truncated, exited }, position);
                }
            }
            if appended.changed().await.is_err() {
                // The task that records it is no more.
                return (self.output(), None);
            }
        }
    }

    /// Sends a signal to its group. `name` is a signal's name, with or without `SIG`, or one of `terminate`, `kill`
    /// and `interrupt`. SIGKILL reaches all that it started, in its group or not. Where it has exited and something
    /// that it started has not, the signal goes to that.
    ///
    /// # Errors
    /// `unknown_signal`, or `process_exited`.
    pub async fn signal(&self, name: &str) -> Result<(), ErrorInfo> {
        let number = signal_name::number_of(name)?;
        if self.exit().is_some() {
            // Mostly nothing is left in a moment.
            let gone = self.shared.gone.clone();
            let left = async move { gone.clone().wait_for(|gone| *gone).await.is_ok() };
            if tokio::time::timeout(LEFT_FOR, left).await.is_ok() {
                return Err(already_exited(&self.id()));
            }
        }
        let (reply, replied) = oneshot::channel();
        self.send(Command::Signal { number, reply });
        match replied.await {
            Ok(()) => Ok(()),
            Err(_) => Err(already_exited(&self.id())),
        }
    }

    /// Kills it with all that it started, and waits until nothing is left.
    pub async fn kill(&self) {
        self.send(Command::Kill);
        self.gone().await;
    }

    /// Sends SIGTERM to its group, and after the grace period SIGKILL to all that is left. Returns when nothing is.
    pub async fn cancel(&self) {
        self.begin_cancel();
        self.gone().await;
    }

    /// As [`Self::cancel`], without waiting.
    pub fn begin_cancel(&self) {
        self.send(Command::Cancel);
    }

    /// As [`Self::kill`], without waiting.
    pub fn begin_kill(&self) {
        self.send(Command::Kill);
    }

    /// Kills it with all that it started because its time is up. Without effect on one that has ended.
    pub async fn time_out(&self) -> ProcessExited {
        self.send(Command::TimeOut);
        self.exited().await
    }

    /// Records that nobody waits for it any longer: `requested` or `foreground_timeout`. Where it has just ended, its
    /// end instead, with nothing recorded.
    pub async fn background(&self, reason: &str) -> Option<ProcessExited> {
        let (reply, replied) = oneshot::channel();
        self.send(Command::Background { reason: reason.to_owned(), reply });
        match replied.await {
            Ok(()) => None,
            Err(_) => Some(self.exited().await),
        }
    }

    fn send(&self, command: Command) {
        // Nobody listens where everything has ended.
        let _ = self.shared.commands.send(command);
    }
}

pub(super) fn already_exited(id: &ProcessId) -> ErrorInfo {
    ErrorInfo::new("process_exited", format!("process {id} has exited: there is nothing to signal"))
}

fn unseen() -> ProcessExited {
    super::recorded::lost(0, 0)
}
