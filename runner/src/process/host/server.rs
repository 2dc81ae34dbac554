//! The host: forks a supervisor for each request.

use super::{
    protocol::{Report, SpawnRequest},
    supervisor::supervise,
    sys::{self, Reaped},
};
use nix::{
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::{prctl, signalfd::SignalFd},
    unistd::{ForkResult, Pid, dup2_stdin, setsid},
};
use std::{
    collections::HashSet,
    fs::File,
    io::{self, Read, Write},
    os::{
        fd::{AsFd, OwnedFd},
        unix::net::UnixStream,
    },
};

/// How often the host looks after its children even if nothing is heard of them, in milliseconds.
const LOOK_EVERY_MS: u16 = 1_000;

/// The longest request, in bytes. The kernel takes less.
pub(super) const REQUEST_MAX_BYTES: usize = 16 << 20;

/// The body of the hidden subcommand `process-host`, which moonlog starts by itself with a socket as standard input.
/// It is to be called before any thread is started.
pub fn host_main() -> ! {
    // Under a test harness a panic would otherwise be caught, and what was forked would go on with the next test.
    let done = std::panic::catch_unwind(run);
    std::process::exit(match done {
        Ok(Ok(())) => 0,
        Ok(Err(error)) => {
            eprintln!("moonlog process-host: {error} (moonlog starts this command by itself)");
            2
        }
        Err(_) => 101,
    })
}

fn run() -> io::Result<()> {
    let socket = UnixStream::from(io::stdin().as_fd().try_clone_to_owned()?);
    socket.local_addr()?;
    dup2_stdin(File::open("/dev/null")?)?;
    // Away from the server's terminal: Ctrl-C is the server's to handle, and no child may ask for a password there.
    // It fails where the host leads a group already, which then is its own.
    let _ = setsid();
    std::env::set_current_dir("/")?;
    let _ = prctl::set_name(c"moonlog-host");
    prctl::set_child_subreaper(true)?;
    sys::default_signals();
    sys::close_on_exec();
    let children = sys::child_events()?;
    Host { socket: Some(socket), children, supervisors: HashSet::new(), orphans: false }.serve()
}

struct Host {
    /// The server. `None` when it has gone.
    socket: Option<UnixStream>,
    children: SignalFd,
    supervisors: HashSet<Pid>,
    /// Whether a supervisor ended without having ended all that it looked after.
    orphans: bool,
}

impl Host {
    fn serve(&mut self) -> io::Result<()> {
        loop {
            self.look_after_children();
            // The supervisors notice by themselves that the server has gone; until they are done, what an ended one
            // leaves behind comes to this process.
            if self.socket.is_none() && self.supervisors.is_empty() && !self.orphans {
                return Ok(());
            }
            if self.wait()? && !self.accept()? {
                self.socket = None;
            }
        }
    }

    /// Waits for anything to happen. Whether the server has something to say.
    fn wait(&self) -> io::Result<bool> {
        let mut descriptors = vec![PollFd::new(self.children.as_fd(), PollFlags::POLLIN)];
        descriptors.extend(self.socket.as_ref().map(|socket| PollFd::new(socket.as_fd(), PollFlags::POLLIN)));
        let timeout = if self.orphans { 20 } else { LOOK_EVERY_MS };
        match poll(&mut descriptors, PollTimeout::from(timeout)) {
            Ok(_) | Err(nix::errno::Errno::EINTR) => {}
            Err(error) => return Err(error.into()),
        }
        Ok(descriptors.get(1).is_some_and(|socket| socket.any().unwrap_or(false)))
    }

    /// Takes one request. Whether there was one.
    fn accept(&mut self) -> io::Result<bool> {
        let Some(socket) = &mut self.socket else { return Ok(false) };
        let mut header = [0; 4];
        let Some(descriptors) = sys::receive_header(socket, &mut header)? else { return Ok(false) };
        let length = u32::from_le_bytes(header) as usize;
        if length > REQUEST_MAX_BYTES {
            return Err(io::Error::other("a request is too long"));
        }
        let mut body = vec![0; length];
        if socket.read_exact(&mut body).is_err() {
            return Ok(false);
        }
        let descriptors: Result<[OwnedFd; 4], _> = descriptors.try_into();
        let (Some(request), Ok(descriptors)) = (SpawnRequest::decode(&body), descriptors) else {
            return Err(io::Error::other("a request cannot be read"));
        };
        match sys::fork() {
            Ok(ForkResult::Parent { child }) => {
                self.supervisors.insert(child);
            }
            Ok(ForkResult::Child) => {
                // A supervisor must not keep the host's connection open: the server would not notice its end.
                self.socket = None;
                supervise(&request, descriptors);
            }
            Err(error) => {
                let [.., control] = descriptors;
                // Where it cannot be told, the server sees the connection close.
                let _ = UnixStream::from(control).write_all(&Report::Failed(error as i32).encode());
            }
        }
        Ok(true)
    }

    fn look_after_children(&mut self) {
        while let Ok(Some(_)) = self.children.read_signal() {}
        while let Reaped::Ended(pid, ended) = sys::reap() {
            if self.supervisors.remove(&pid) && ended != sys::Ended::Exited(0) {
                self.orphans = true;
            }
        }
        // What a supervisor looks after may have stopped it, so as to outlive it.
        self.supervisors.iter().for_each(|pid| sys::kill(pid.as_raw(), libc::SIGCONT));
        if self.orphans {
            let orphans: Vec<i32> =
                sys::children().into_iter().filter(|pid| !self.supervisors.contains(&Pid::from_raw(*pid))).collect();
            orphans.iter().for_each(|pid| sys::kill(*pid, libc::SIGKILL));
            self.orphans = !orphans.is_empty();
        }
    }
}
