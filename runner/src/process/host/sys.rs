//! The system calls of host and supervisors for which there is no safe form, or none that takes every signal.

use nix::{
    sys::{
        signal::{SigHandler, SigSet, Signal},
        signalfd::{SfdFlags, SignalFd},
        socket::{ControlMessageOwned, MsgFlags, UnixAddr, recvmsg},
    },
    unistd::{ForkResult, Pid},
};
use std::{
    fs,
    io::{self, IoSliceMut},
    os::{
        fd::{AsRawFd, FromRawFd, OwnedFd, RawFd},
        unix::net::UnixStream,
    },
};

/// How a child ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ended {
    Exited(i32),
    Signalled(i32),
}

/// What there is to know of children.
pub(super) enum Reaped {
    /// This one ended.
    Ended(Pid, Ended),
    /// There are some, and none has ended.
    None,
    /// There are none.
    NoChildren,
}

/// Splits this process in two.
pub(super) fn fork() -> nix::Result<ForkResult> {
    #[expect(unsafe_code, reason = "host and supervisors have one thread, so that any code may run in the child")]
    unsafe {
        nix::unistd::fork()
    }
}

/// Takes note of one child that has ended, if one has. nix's own form fails on realtime signals.
pub(super) fn reap() -> Reaped {
    let mut status = 0;
    loop {
        #[expect(unsafe_code, reason = "the status is written to a variable of ours")]
        let pid = unsafe { libc::waitpid(-1, &raw mut status, libc::WNOHANG | libc::__WALL) };
        return match pid {
            0 => Reaped::None,
            -1 if nix::errno::Errno::last() == nix::errno::Errno::EINTR => continue,
            -1 => Reaped::NoChildren,
            pid if libc::WIFSIGNALED(status) => {
                Reaped::Ended(Pid::from_raw(pid), Ended::Signalled(libc::WTERMSIG(status)))
            }
            pid if libc::WIFEXITED(status) => {
                Reaped::Ended(Pid::from_raw(pid), Ended::Exited(libc::WEXITSTATUS(status)))
            }
            _ => continue,
        };
    }
}

/// Sends any signal to a process, or with a negative number to a group. That there is none is no error.
pub(super) fn kill(pid: i32, signal: i32) {
    // 0 and -1 would mean ourselves and everyone.
    if !(-1..=1).contains(&pid) {
        #[expect(unsafe_code, reason = "the call takes numbers alone")]
        unsafe {
            libc::kill(pid, signal);
        }
    }
}

/// Whatever the server's parent had made it ignore, children shall not.
pub(super) fn default_signals() {
    for signal in Signal::iterator() {
        if !matches!(signal, Signal::SIGKILL | Signal::SIGSTOP | Signal::SIGPIPE) {
            #[expect(unsafe_code, reason = "the default action runs no code of ours")]
            // A signal that cannot be set stays as it is.
            let _ = unsafe { nix::sys::signal::signal(signal, SigHandler::SigDfl) };
        }
    }
}

/// Whatever else the server has open that it did not mean to hand on, children shall not have.
pub(super) fn close_on_exec() {
    #[expect(unsafe_code, reason = "sets a flag of descriptors; the call is Linux's own, so that no C library matters")]
    unsafe {
        libc::syscall(libc::SYS_close_range, 3, libc::c_uint::MAX, libc::CLOSE_RANGE_CLOEXEC);
    }
}

/// A descriptor that is readable when a child has ended. Whatever else is sent to all of a service's processes, such
/// as SIGTERM, is for the server to handle: it is blocked here, since those who are to kill others must not die first.
pub(super) fn child_events() -> nix::Result<SignalFd> {
    SigSet::all().thread_block()?;
    let mut mask = SigSet::empty();
    mask.add(Signal::SIGCHLD);
    SignalFd::with_flags(&mask, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC)
}

/// This process's children, ended ones included.
pub(super) fn children() -> Vec<i32> {
    let me = std::process::id();
    let Ok(tasks) = fs::read_dir("/proc/self/task") else { return Vec::new() };
    let mut listed = false;
    let mut children = Vec::new();
    for task in tasks.flatten() {
        if let Ok(text) = fs::read_to_string(task.path().join("children")) {
            listed = true;
            children.extend(text.split_ascii_whitespace().filter_map(|pid| pid.parse::<i32>().ok()));
        }
    }
    // Kernels without CONFIG_PROC_CHILDREN.
    if !listed && let Ok(all) = fs::read_dir("/proc") {
        let pids = all.flatten().filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
        children.extend(pids.filter(|pid| parent_of(*pid) == Some(me)));
    }
    children
}

fn parent_of(pid: i32) -> Option<u32> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name may hold anything, brackets included; the parent is the second field behind it.
    stat.rsplit_once(')')?.1.split_ascii_whitespace().nth(1)?.parse().ok()
}

/// Reads the first bytes of a request, with the descriptors that come along. `None` at the end.
pub(super) fn receive_header(socket: &UnixStream, header: &mut [u8; 4]) -> io::Result<Option<Vec<OwnedFd>>> {
    let mut space = nix::cmsg_space!([RawFd; 4]);
    let mut descriptors = Vec::new();
    let mut filled = 0;
    while filled < header.len() {
        let mut parts = [IoSliceMut::new(&mut header[filled..])];
        let flags = MsgFlags::MSG_CMSG_CLOEXEC;
        let received = match recvmsg::<UnixAddr>(socket.as_raw_fd(), &mut parts, Some(&mut space), flags) {
            Ok(received) => received,
            Err(nix::errno::Errno::EINTR) => continue,
            Err(error) => return Err(error.into()),
        };
        for message in received.cmsgs()? {
            if let ControlMessageOwned::ScmRights(numbers) = message {
                #[expect(unsafe_code, reason = "the kernel has just made these descriptors for us alone")]
                descriptors.extend(numbers.into_iter().map(|number| unsafe { OwnedFd::from_raw_fd(number) }));
            }
        }
        match received.bytes {
            0 => return Ok(None),
            bytes => filled += bytes,
        }
    }
    Ok(Some(descriptors))
}
