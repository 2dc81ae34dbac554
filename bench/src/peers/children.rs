//! Processes that end when they are not needed any more, when what holds them is dropped, and when this program is interrupted.

use crate::Outcome;
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use std::{
    fs::File,
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::{Mutex, MutexGuard, PoisonError},
    thread,
};
use tokio::signal::unix::{SignalKind, signal};

/// What runs, and how each is told to end at once.
static RUNNING: Mutex<Vec<(Pid, Signal)>> = Mutex::new(Vec::new());

/// A process that is ended when this is dropped.
pub struct Child {
    child: std::process::Child,
    pid: Pid,
    log: PathBuf,
}

impl Child {
    /// Starts `command`. What it prints goes into the file `log`.
    pub fn start(command: Command, log: PathBuf) -> Outcome<Self> {
        Self::ended_by(Signal::SIGKILL, command, log)
    }

    /// The same for one that has children of its own and ends them when it gets `end`.
    pub fn ended_by(end: Signal, mut command: Command, log: PathBuf) -> Outcome<Self> {
        let file = File::create(&log)?;
        command.stdin(Stdio::null()).stdout(file.try_clone()?).stderr(file);
        // A terminal's Ctrl-C is for this program, which ends them in its way.
        command.process_group(0);
        // Held over the start: a signal that comes now finds it in the list.
        let mut running = running();
        let child = command.spawn().map_err(|error| format!("{:?} does not start: {error}", command.get_program()))?;
        let pid = Pid::from_raw(i32::try_from(child.id())?);
        running.push((pid, end));
        Ok(Self { child, pid, log })
    }

    /// Its id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Whether it has ended.
    pub fn has_ended(&mut self) -> bool {
        self.child.try_wait().is_ok_and(|status| status.is_some())
    }

    /// The end of what it has printed.
    pub fn said(&self) -> String {
        let text = std::fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(5)..].join("\n")
    }

    /// As a power cut would.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        let mut running = running();
        if let Some(at) = running.iter().position(|(pid, _)| *pid == self.pid) {
            let (pid, end) = running.remove(at);
            // Nothing else reaps it, so the id is still its own.
            let _ = kill(pid, end);
        }
        drop(running);
        let _ = self.child.wait();
    }
}

fn running() -> MutexGuard<'static, Vec<(Pid, Signal)>> {
    RUNNING.lock().unwrap_or_else(PoisonError::into_inner)
}

/// From now on, Ctrl-C and a request to terminate end every child, remove `scratch`, and end this program.
pub fn end_with_this_program(scratch: &Path) {
    let scratch = scratch.to_path_buf();
    thread::spawn(move || {
        let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() else { return };
        let signalled = runtime.block_on(async {
            let mut interrupt = signal(SignalKind::interrupt())?;
            let mut terminate = signal(SignalKind::terminate())?;
            tokio::select! { _ = interrupt.recv() => {}, _ = terminate.recv() => {} }
            std::io::Result::Ok(())
        });
        if signalled.is_err() {
            return;
        }
        // Never given back: nothing starts from here on.
        let running = running();
        for (pid, end) in running.iter() {
            let _ = kill(*pid, *end);
        }
        for (pid, _) in running.iter() {
            let _ = nix::sys::wait::waitpid(*pid, None);
        }
        let _ = std::fs::remove_dir_all(&scratch);
        std::process::exit(130);
    });
}
