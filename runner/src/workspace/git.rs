//! Running git: its command line, non-interactive, with a limit on time and output. What the user's configuration could
//! make of it (hooks, pagers, signatures, file system monitors) is switched off: these are moonlog's own commands.

use super::WorkspaceOptions;
use moonlog_core::error_info::ErrorInfo;
use std::{
    ffi::OsStr,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWriteExt},
    process::{Child, Command},
    time::timeout,
};

/// How much of what git says of its failure is passed on.
const MESSAGE_MAX_BYTES: usize = 4_096;

/// Settings that hold for every command.
const SETTINGS: [&str; 8] = [
    "core.hooksPath=/dev/null",
    "core.fsmonitor=false",
    "core.quotePath=false",
    "commit.gpgSign=false",
    "gc.auto=0",
    "maintenance.auto=false",
    "submodule.recurse=false",
    "safe.bareRepository=all",
];

/// Git in a folder.
#[derive(Debug, Clone)]
pub(super) struct Git {
    folder: PathBuf,
    index: Option<PathBuf>,
    timeout: Duration,
    output_max_bytes: usize,
}

/// What a command of git's came to.
#[derive(Debug)]
pub(super) struct GitOutput {
    /// Its exit code; `None` where a signal ended it.
    pub(super) code: Option<i32>,
    pub(super) stdout: Vec<u8>,
    stderr: Vec<u8>,
    arguments: String,
}

/// Ends git with all that it has started, wherever it is left.
struct Group(Child);

impl Drop for Group {
    fn drop(&mut self) {
        // Only what was not waited for still has a number of its own.
        if let Some(pid) = self.0.id().and_then(|pid| i32::try_from(pid).ok()) {
            let _ = nix::sys::signal::killpg(nix::unistd::Pid::from_raw(pid), nix::sys::signal::Signal::SIGKILL);
        }
    }
}

impl Git {
    pub(super) fn at(folder: &Path, options: &WorkspaceOptions) -> Self {
        Self {
            folder: folder.to_owned(),
            index: None,
            timeout: Duration::from_millis(options.git_timeout_ms),
            output_max_bytes: options.git_output_max_bytes,
        }
    }

    /// The same with another index than the folder's own.
    pub(super) fn with_index(&self, index: &Path) -> Self {
        Self { index: Some(index.to_owned()), ..self.clone() }
    }

    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Runs a command that is to succeed, and gives what it writes.
    pub(super) async fn run<S: AsRef<OsStr>>(&self, arguments: &[S]) -> Result<Vec<u8>, ErrorInfo> {
        self.run_with(arguments, b"").await
    }

    /// The same with something to read.
    pub(super) async fn run_with<S: AsRef<OsStr>>(&self, arguments: &[S], stdin: &[u8]) -> Result<Vec<u8>, ErrorInfo> {
        let output = self.output(arguments, stdin).await?;
        if output.code == Some(0) { Ok(output.stdout) } else { Err(output.error()) }
    }

    /// Runs a command that is to succeed and writes one line, and gives that.
    pub(super) async fn line<S: AsRef<OsStr>>(&self, arguments: &[S]) -> Result<String, ErrorInfo> {
        let stdout = self.run(arguments).await?;
        Ok(String::from_utf8_lossy(&stdout).trim_end_matches('\n').to_owned())
    }

    /// Whether a command that answers by its exit code says yes.
    pub(super) async fn says<S: AsRef<OsStr>>(&self, arguments: &[S]) -> Result<bool, ErrorInfo> {
        let output = self.output(arguments, b"").await?;
        match output.code {
            Some(0) => Ok(true),
            Some(1) => Ok(false),
            _ => Err(output.error()),
        }
    }

    /// Runs a command, whatever its exit code will be.
    pub(super) async fn output<S: AsRef<OsStr>>(&self, arguments: &[S], stdin: &[u8]) -> Result<GitOutput, ErrorInfo> {
        let shown = shown(arguments);
        let mut child = self.command(arguments).spawn().map(Group).map_err(|error| match error.kind() {
            std::io::ErrorKind::NotFound if self.folder.is_dir() => {
                ErrorInfo::new("git_not_found", "git is not installed, or not on the server's PATH")
            }
            _ => ErrorInfo::new("git_failed", format!("`git {shown}` in {}: {error}", self.folder.display())),
        })?;
        let (input, stdout, stderr) = (child.0.stdin.take(), child.0.stdout.take(), child.0.stderr.take());
        let write = async {
            if let Some(mut input) = input {
                // Git may end before it has read all of it; its exit code tells.
                let _ = input.write_all(stdin).await;
            }
        };
        let all = async {
            let ((), stdout, stderr) =
                tokio::join!(write, read(stdout, self.output_max_bytes), read(stderr, MESSAGE_MAX_BYTES));
            (stdout, stderr, child.0.wait().await)
        };
        let Ok(((stdout, cut), (stderr, _), status)) = timeout(self.timeout, all).await else {
            let message = format!("`git {shown}` took longer than {} ms", self.timeout.as_millis());
            return Err(ErrorInfo::new("git_timed_out", message).retryable());
        };
        if cut {
            let message = format!("`git {shown}` writes more than {} bytes", self.output_max_bytes);
            return Err(ErrorInfo::new("git_output_too_large", message));
        }
        let status = status.map_err(|error| ErrorInfo::new("git_failed", format!("`git {shown}`: {error}")))?;
        Ok(GitOutput { code: status.code(), stdout, stderr, arguments: shown })
    }

    fn command<S: AsRef<OsStr>>(&self, arguments: &[S]) -> Command {
        let mut command = Command::new("git");
        for (name, _) in std::env::vars_os() {
            let own = name.to_string_lossy();
            // Where the server was started by git, they would point elsewhere; and its secrets are its own.
            if own.starts_with("GIT_") || own.starts_with("MOONLOG_") {
                command.env_remove(&name);
            }
        }
        for (name, value) in crate::process::NON_INTERACTIVE {
            command.env(name, value);
        }
        command.envs([
            ("LC_ALL", "C"),
            ("GIT_OPTIONAL_LOCKS", "0"),
            ("GIT_LITERAL_PATHSPECS", "1"),
            ("GIT_AUTHOR_NAME", "moonlog"),
            ("GIT_AUTHOR_EMAIL", "moonlog@localhost"),
            ("GIT_COMMITTER_NAME", "moonlog"),
            ("GIT_COMMITTER_EMAIL", "moonlog@localhost"),
        ]);
        if let Some(index) = &self.index {
            command.env("GIT_INDEX_FILE", index);
        }
        for setting in SETTINGS {
            command.args(["-c", setting]);
        }
        command.args(arguments).current_dir(&self.folder);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
        command
    }
}

impl GitOutput {
    /// What it says, where it is a failure.
    pub(super) fn error(&self) -> ErrorInfo {
        let said = String::from_utf8_lossy(&self.stderr);
        let said = if said.trim().is_empty() { "it says nothing" } else { said.trim() };
        let code = if said.contains("dubious ownership") { "repository_not_trusted" } else { "git_failed" };
        let exit = self.code.map_or_else(|| "a signal".to_owned(), |code| format!("exit code {code}"));
        ErrorInfo::new(code, format!("`git {}` failed ({exit}): {said}", self.arguments))
    }
}

fn shown<S: AsRef<OsStr>>(arguments: &[S]) -> String {
    let shown: Vec<_> = arguments.iter().take(8).map(|argument| argument.as_ref().to_string_lossy()).collect();
    let more = if arguments.len() > shown.len() { " ..." } else { "" };
    format!("{}{more}", shown.join(" "))
}

/// Reads to the end, or to `max` bytes and on without keeping it: then the second is true.
async fn read(pipe: Option<impl AsyncRead + Unpin>, max: usize) -> (Vec<u8>, bool) {
    let mut bytes = Vec::new();
    let Some(mut pipe) = pipe else { return (bytes, false) };
    // What cannot be read is missed by whoever reads it.
    let _ = (&mut pipe).take(max as u64 + 1).read_to_end(&mut bytes).await;
    let cut = bytes.len() > max;
    bytes.truncate(max);
    if cut {
        let _ = tokio::io::copy(&mut pipe, &mut tokio::io::sink()).await;
    }
    (bytes, cut)
}
