//! What runs beside moonlog: git, the process host, a server.

use super::Finding;
use crate::cli::client::Client;
use moonlog_core::{
    id::ProcessId,
    log::{Log, LogOptions},
    storage::MemoryStorage,
};
use moonlog_runner::{
    process::{Owner, ProcessOptions, ProcessSpec, Processes},
    system_clock,
};
use std::{
    process::{Command, Stdio},
    sync::Arc,
    time::Duration,
};

/// How long the process host may take to run a command that does nothing.
const HOST_TIMEOUT: Duration = Duration::from_secs(10);

/// git, which worktrees are made with.
pub fn git() -> Finding {
    const WHAT: &str = "git";
    match Command::new("git").arg("--version").stdin(Stdio::null()).stderr(Stdio::null()).output() {
        Ok(output) if output.status.success() => {
            Finding::ok(WHAT, String::from_utf8_lossy(&output.stdout).trim().to_owned())
        }
        Ok(output) => Finding::warning(WHAT, format!("does not work: {}", output.status)).hint(NEEDED),
        Err(error) => Finding::warning(WHAT, format!("cannot be run: {error}")).hint(NEEDED),
    }
}

const NEEDED: &str = "sessions with worktrees need it: install git, and put it on the PATH";

/// Whether commands can be run: a process host is started, and a command that does nothing through it.
pub async fn process_host(options: ProcessOptions) -> Finding {
    const WHAT: &str = "process host";
    const HINT: &str =
        "commands of scripts and agents cannot be run: look at limits of processes (ulimit -u) and seccomp";
    let run = async {
        let clock = system_clock();
        let (log, _) = Log::open(Arc::new(MemoryStorage::new()), LogOptions::new(move || clock()))
            .map_err(|error| error.to_string())?;
        let processes = Processes::new(log, options);
        let id: ProcessId = uuid::Uuid::now_v7().into();
        let started = processes.start(ProcessSpec::new(id, "true", Owner::own(id, None))).await;
        let exited = match started {
            Ok(process) => process.exited().await,
            Err(error) => return Err(error.message),
        };
        processes.shutdown().await;
        match exited.exit_code {
            Some(0) => Ok(()),
            _ => Err(format!("`true` ended with {:?}", exited.outcome)),
        }
    };
    match tokio::time::timeout(HOST_TIMEOUT, run).await {
        Ok(Ok(())) => Finding::ok(WHAT, "runs commands"),
        Ok(Err(why)) => Finding::wrong(WHAT, why).hint(HINT),
        Err(_) => Finding::wrong(WHAT, format!("ran no command within {HOST_TIMEOUT:?}")).hint(HINT),
    }
}

/// The server that answers.
pub async fn server(client: &Client) -> Finding {
    const WHAT: &str = "server";
    match client.get("/readyz").await {
        Ok(_) => Finding::ok(WHAT, format!("ready at {}", client.base())),
        Err(failure) => {
            let finding = Finding::wrong(WHAT, format!("at {}: {}", client.base(), failure.message));
            match failure.hint {
                Some(hint) => finding.hint(hint),
                None => finding,
            }
        }
    }
}
