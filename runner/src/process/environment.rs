//! The environment of children, and where their programs are.

use super::{ProcessOptions, ProcessSpec, spawn_error};
use crate::secret::{Place, Secrets};
use moonlog_core::error_info::ErrorInfo;
use nix::unistd::{AccessFlags, access};
use std::{
    ffi::{OsStr, OsString},
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
};

/// What keeps programs from asking a person, and from drawing for one.
pub const NON_INTERACTIVE: [(&str, &str); 9] = [
    ("GIT_EDITOR", "true"),
    ("GIT_SEQUENCE_EDITOR", "true"),
    ("EDITOR", "true"),
    ("VISUAL", "true"),
    ("GIT_TERMINAL_PROMPT", "0"),
    ("NO_COLOR", "1"),
    ("TERM", "dumb"),
    ("PAGER", "cat"),
    ("GIT_PAGER", "cat"),
];

/// Where programs are looked for if there is no `PATH`.
const DEFAULT_PATH: &str = "/usr/local/bin:/usr/bin:/bin";

/// The server's environment without what is the server's own: `MOONLOG_*`, the variables that secrets come from, and
/// those that hold its keys.
pub(super) fn base(options: &ProcessOptions) -> Vec<(OsString, OsString)> {
    let withheld = || options.secrets.variables().chain(options.withheld.iter().map(String::as_str));
    let mut base: Vec<_> = options
        .base_env
        .iter()
        .filter(|(name, _)| !name.as_bytes().starts_with(b"MOONLOG_"))
        .filter(|(name, _)| withheld().all(|variable| name != variable))
        .cloned()
        .collect();
    for (name, value) in NON_INTERACTIVE {
        set(&mut base, name.as_ref(), value.into());
    }
    base
}

fn set(env: &mut Vec<(OsString, OsString)>, name: &OsStr, value: OsString) {
    match env.iter_mut().find(|(known, _)| known == name) {
        Some((_, known)) => *known = value,
        None => env.push((name.to_owned(), value)),
    }
}

/// A child's whole environment.
///
/// # Errors
/// `invalid_environment` for a name or value that no environment can hold, or what [`Secrets::resolve`] says.
pub(super) fn of(
    base: &[(OsString, OsString)],
    spec: &ProcessSpec,
    secrets: &Secrets,
) -> Result<Vec<(OsString, OsString)>, ErrorInfo> {
    let mut env = base.to_vec();
    for (name, value) in &spec.env {
        if name.is_empty() || name.contains(['=', '\0']) || value.contains('\0') {
            return Err(ErrorInfo::new(
                "invalid_environment",
                format!("the variable `{name}` cannot be set: names hold no `=`, and neither holds a zero byte"),
            ));
        }
        let value = secrets.resolve(value, Place::Command(&spec.command))?;
        set(&mut env, name.as_ref(), value.into());
    }
    Ok(env)
}

/// The folder that a process runs in, as an absolute path.
pub(super) fn workdir(default: &Path, given: Option<&Path>) -> Result<PathBuf, ErrorInfo> {
    let workdir = given.map_or_else(|| default.to_path_buf(), |given| default.join(given));
    match std::fs::metadata(&workdir) {
        Ok(found) if found.is_dir() => Ok(workdir),
        Ok(_) => {
            Err(ErrorInfo::new("not_a_directory", format!("cannot run in {}: it is no directory", workdir.display())))
        }
        Err(error) => Err(spawn_error::of_workdir(&workdir, &error)),
    }
}

/// The program that `command` means: a path as it is, from `workdir`; a name the way a shell finds it, in the child's
/// own `PATH`.
pub(super) fn program(command: &str, workdir: &Path, env: &[(OsString, OsString)]) -> Result<PathBuf, ErrorInfo> {
    if command.is_empty() || command.contains('\0') {
        return Err(ErrorInfo::new("invalid_command", "a command needs a name without zero bytes"));
    }
    if command.contains('/') {
        let path = workdir.join(command);
        return match std::fs::metadata(&path) {
            Ok(_) if runnable(&path) => Ok(path),
            Ok(_) => Err(spawn_error::not_executable(command)),
            Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => {
                Err(spawn_error::not_executable(command))
            }
            Err(_) => Err(spawn_error::no_such_file(command, &path)),
        };
    }
    let path = env.iter().find(|(name, _)| name == "PATH").map_or(OsStr::new(DEFAULT_PATH), |(_, value)| value);
    let mut found_one = false;
    for folder in std::env::split_paths(path) {
        let candidate = workdir.join(folder).join(command);
        if runnable(&candidate) {
            return Ok(candidate);
        }
        found_one |= candidate.is_file();
    }
    Err(if found_one { spawn_error::not_executable(command) } else { spawn_error::not_found(command, path) })
}

fn runnable(path: &Path) -> bool {
    path.is_file() && access(path, AccessFlags::X_OK).is_ok()
}
