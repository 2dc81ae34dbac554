//! A supervisor: starts one command, and sees to it that nothing of it remains.

use super::{
    protocol::{MESSAGE_BYTES, Order, Report, SpawnRequest},
    sys::{self, Ended, Reaped},
};
use nix::{
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::{prctl, signal::SigSet, signalfd::SignalFd},
    unistd::Pid,
};
use std::{
    io::{Read, Write},
    os::{
        fd::{AsFd, OwnedFd},
        unix::{net::UnixStream, process::CommandExt},
    },
    process::{Command, Stdio},
    time::{Duration, Instant},
};

/// How long killing goes on, for processes that do not die: those in a system call that does not return, and those of
/// another user.
const KILL_FOR: Duration = Duration::from_secs(5);

/// Runs as the supervisor until nothing is left to supervise.
pub(super) fn supervise(request: &SpawnRequest, descriptors: [OwnedFd; 4]) -> ! {
    let done = std::panic::catch_unwind(|| run(request, descriptors));
    // The host looks after what was left unless this is 0.
    std::process::exit(i32::from(!done.unwrap_or(false)))
}

/// Whether everything has ended.
fn run(request: &SpawnRequest, [stdin, stdout, stderr, control]: [OwnedFd; 4]) -> bool {
    let _ = prctl::set_name(c"moonlog-watch");
    if prctl::set_child_subreaper(true).is_err() || SigSet::empty().thread_set_mask().is_err() {
        return true;
    }
    let mut control = UnixStream::from(control);
    // Where the server has gone already, nothing is started.
    if !report(&mut control, Report::Starting) || !still_there(&control) {
        return true;
    }
    let started = {
        let mut command = Command::new(&request.program);
        command
            .arg0(&request.arg0)
            .args(&request.args)
            .env_clear()
            .envs(request.env.iter().map(|(name, value)| (name, value)))
            .current_dir(&request.workdir)
            .process_group(0)
            .stdin(Stdio::from(stdin))
            .stdout(Stdio::from(stdout))
            .stderr(Stdio::from(stderr));
        // With the command go our copies of its descriptors.
        command.spawn()
    };
    let pid = match started {
        Ok(child) => child.id() as i32,
        Err(error) => {
            report(&mut control, Report::Failed(error.raw_os_error().unwrap_or(libc::EIO)));
            return true;
        }
    };
    let Ok(children) = sys::child_events() else {
        sys::kill(-pid, libc::SIGKILL);
        return false;
    };
    report(&mut control, Report::Started(pid));
    Supervisor { control, children, main: Some(pid) }.watch()
}

/// Whether the server could be told.
fn report(control: &mut UnixStream, report: Report) -> bool {
    control.write_all(&report.encode()).is_ok()
}

fn still_there(control: &UnixStream) -> bool {
    let mut descriptors = [PollFd::new(control.as_fd(), PollFlags::empty())];
    matches!(poll(&mut descriptors, PollTimeout::ZERO), Ok(0))
}

struct Supervisor {
    control: UnixStream,
    children: SignalFd,
    /// The command, until it has ended.
    main: Option<i32>,
}

impl Supervisor {
    /// Whether everything has ended.
    fn watch(mut self) -> bool {
        loop {
            if self.reap() {
                report(&mut self.control, Report::Gone);
                return true;
            }
            if !self.wait(None) {
                continue;
            }
            match self.order() {
                Some(Order::Signal(signal)) => self.signal(signal),
                // No order is the end of the connection: the server died, or wants this.
                Some(Order::Kill) | None => {
                    let gone = self.kill_all();
                    report(&mut self.control, if gone { Report::Gone } else { Report::Remains });
                    return gone;
                }
            }
        }
    }

    /// Takes note of all that ended. Whether nothing is left.
    fn reap(&mut self) -> bool {
        loop {
            match sys::reap() {
                Reaped::Ended(pid, ended) if self.main.map(Pid::from_raw) == Some(pid) => {
                    self.main = None;
                    let ended = match ended {
                        Ended::Exited(code) => Report::Exited(code),
                        Ended::Signalled(signal) => Report::Signalled(signal),
                    };
                    report(&mut self.control, ended);
                }
                Reaped::Ended(..) => {}
                Reaped::None => return false,
                Reaped::NoChildren => return true,
            }
        }
    }

    /// Waits until a child has ended, or for an order. Whether there is an order.
    fn wait(&self, at_most_ms: Option<u16>) -> bool {
        let mut descriptors = [
            PollFd::new(self.children.as_fd(), PollFlags::POLLIN),
            PollFd::new(self.control.as_fd(), PollFlags::POLLIN),
        ];
        // While everything is being killed, no order matters any more.
        let watched = if at_most_ms.is_some() { &mut descriptors[..1] } else { &mut descriptors[..] };
        let timeout = at_most_ms.map_or(PollTimeout::NONE, PollTimeout::from);
        let _ = poll(watched, timeout);
        let ordered = watched.get(1).is_some_and(|control| control.any().unwrap_or(false));
        while let Ok(Some(_)) = self.children.read_signal() {}
        ordered
    }

    fn order(&mut self) -> Option<Order> {
        let mut bytes = [0; MESSAGE_BYTES];
        self.control.read_exact(&mut bytes).ok()?;
        Order::decode(bytes)
    }

    fn signal(&self, signal: i32) {
        match self.main {
            Some(pid) => sys::kill(-pid, signal),
            // The group's number may be another's by now; the children's cannot, for they have not been reaped.
            None => sys::children().into_iter().for_each(|pid| sys::kill(pid, signal)),
        }
    }

    /// Kills what is there until nothing is. Only children are killed, whose numbers cannot have passed to others:
    /// what they started becomes a child as soon as they have ended.
    fn kill_all(&mut self) -> bool {
        let until = Instant::now() + KILL_FOR;
        loop {
            if let Some(pid) = self.main {
                sys::kill(-pid, libc::SIGKILL);
            }
            sys::children().into_iter().for_each(|pid| sys::kill(pid, libc::SIGKILL));
            if self.reap() {
                return true;
            }
            if Instant::now() >= until {
                return false;
            }
            self.wait(Some(10));
        }
    }
}
