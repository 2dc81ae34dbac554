//! Why a process could not be started: every error names the command and what to do.

use moonlog_core::error_info::ErrorInfo;
use std::{ffi::OsStr, io, path::Path};

pub(super) fn not_found(command: &str, path: &OsStr) -> ErrorInfo {
    ErrorInfo::new(
        "command_not_found",
        format!(
            "cannot start `{command}`: no such program in PATH ({}); install it, or give its path",
            path.to_string_lossy()
        ),
    )
}

pub(super) fn no_such_file(command: &str, path: &Path) -> ErrorInfo {
    ErrorInfo::new("command_not_found", format!("cannot start `{command}`: there is no file {}", path.display()))
}

pub(super) fn not_executable(command: &str) -> ErrorInfo {
    ErrorInfo::new(
        "permission_denied",
        format!(
            "cannot start `{command}`: it is not executable for the server's user; chmod +x it, or run its interpreter"
        ),
    )
}

pub(super) fn of_workdir(workdir: &Path, error: &io::Error) -> ErrorInfo {
    let shown = workdir.display();
    match error.kind() {
        io::ErrorKind::PermissionDenied => {
            ErrorInfo::new("permission_denied", format!("cannot run in {shown}: the server's user may not enter it"))
        }
        _ => ErrorInfo::new("no_such_directory", format!("cannot run in {shown}: there is no such directory")),
    }
}

/// What the kernel's answer to the attempt means.
pub(super) fn of_errno(command: &str, errno: i32) -> ErrorInfo {
    let (code, why, retryable) = match errno {
        libc::ENOENT => ("command_not_found", "it, or the interpreter that its first line names, is not there", false),
        libc::EACCES | libc::EPERM => ("permission_denied", "the server's user may not execute it", false),
        libc::ENOEXEC => ("not_executable", "it is no program; a script needs a first line such as #!/bin/sh", false),
        libc::E2BIG => {
            ("arguments_too_large", "its arguments and environment are too large; use stdin or a file", false)
        }
        libc::ENOTDIR => ("no_such_directory", "part of its path is no directory", false),
        libc::EAGAIN => ("too_many_processes", "the system allows no more processes; try again later", true),
        libc::ENOMEM => ("out_of_memory", "the system is out of memory; try again later", true),
        libc::EMFILE | libc::ENFILE => ("too_many_open_files", "no file descriptors are left; raise `ulimit -n`", true),
        libc::ETXTBSY => ("file_busy", "its file is being written", true),
        _ => {
            let error = io::Error::from_raw_os_error(errno);
            return ErrorInfo::new("spawn_failed", format!("cannot start `{command}`: {error}"));
        }
    };
    let error = ErrorInfo::new(code, format!("cannot start `{command}`: {why}"));
    if retryable { error.retryable() } else { error }
}

pub(super) fn of_io(command: &str, error: &io::Error) -> ErrorInfo {
    match error.raw_os_error() {
        Some(errno @ (libc::EMFILE | libc::ENFILE | libc::E2BIG | libc::ENOMEM | libc::EAGAIN)) => {
            of_errno(command, errno)
        }
        _ => host_lost(command, &error.to_string()),
    }
}

pub(super) fn host_lost(command: &str, why: &str) -> ErrorInfo {
    ErrorInfo::new("process_host_lost", format!("cannot start `{command}`: the process host does not work ({why})"))
        .retryable()
}
