//! Performs the operations of scripts that concern processes.

use super::{
    Owner, Process, ProcessSpec, Processes, SearchOptions,
    exec_input::{ExecInput, OnTimeout, OutputInput, SearchInput, SignalInput, WaitInput},
    exec_result,
    handle::already_exited,
    named::{Named, ended_output, named, no_such_process, with_log},
    recorded::Recording,
    search, signal_name,
};
use crate::StepResult;
use moonlog_core::{
    error_info::ErrorInfo,
    event::{StepOutcome, StreamId},
    id::ProcessId,
    json::Json,
};
use serde::de::DeserializeOwned;
use serde_json::json;
use std::{path::PathBuf, time::Duration};
use tokio::time::{Instant, timeout};

/// What an operation's input does not say.
#[derive(Debug, Clone)]
pub struct ExecContext {
    /// The id of the process, should the operation start one.
    pub process: ProcessId,
    /// The position of the operation's start.
    pub cause: Option<u64>,
    /// Whose it will be. Its job is also where processes are looked for that run no more.
    pub owner: Owner,
    /// What children see as `IDEMPOTENCY_KEY`.
    pub idempotency_key: String,
    /// Where processes run that name no folder, and where relative folders begin. The server's own by default.
    pub workdir: Option<PathBuf>,
}

/// The kinds of operation that [`perform`] knows.
pub const KINDS: [&str; 7] =
    ["exec", "sh", "process", "process_wait", "process_output", "process_search", "process_signal"];

/// Those of [`KINDS`] that start a process.
pub const STARTS: [&str; 3] = ["exec", "sh", "process"];

/// Performs an operation of one of [`KINDS`].
///
/// Where the returned future is dropped, the process that `exec` or `sh` waits for is cancelled.
pub async fn perform(processes: &Processes, kind: &str, input: &Json, context: ExecContext) -> StepResult {
    match performed(processes, kind, input, context).await {
        Ok(result) => result,
        Err(error) => StepResult::failed(error),
    }
}

async fn performed(
    processes: &Processes,
    kind: &str,
    input: &Json,
    context: ExecContext,
) -> Result<StepResult, ErrorInfo> {
    match kind {
        "exec" | "sh" => exec(processes, read(kind, input)?, context).await,
        "process" => background(processes, read(kind, input)?, context).await,
        "process_wait" => wait(processes, read(kind, input)?, &context).await,
        "process_output" => output(processes, read(kind, input)?, &context).await,
        "process_search" => find(processes, read(kind, input)?, &context).await,
        "process_signal" => signal(processes, read(kind, input)?, &context).await,
        _ => Err(ErrorInfo::new("unknown_operation", format!("`{kind}` is no operation on processes"))),
    }
}

fn read<T: DeserializeOwned>(kind: &str, input: &Json) -> Result<T, ErrorInfo> {
    input.to().map_err(|error| ErrorInfo::new("invalid_input", format!("{kind}: {error}")))
}

/// Cancels a process that nobody waits for any more.
struct Attended<'a>(Option<&'a Process>);

impl Drop for Attended<'_> {
    fn drop(&mut self) {
        if let Some(process) = self.0 {
            process.begin_cancel();
        }
    }
}

async fn exec(processes: &Processes, input: ExecInput, context: ExecContext) -> Result<StepResult, ErrorInfo> {
    let started = Instant::now();
    let at_most = Duration::from_millis(input.timeout_ms);
    let (on_timeout, check) = (input.on_timeout, input.check);
    let process = processes.start(spec_of(input, context, false)?).await?;
    let mut attended = Attended(Some(&process));
    let exited = match timeout(at_most.saturating_sub(started.elapsed()), process.exited()).await {
        Ok(exited) => exited,
        Err(_) => match on_timeout {
            OnTimeout::Kill => process.time_out().await,
            OnTimeout::Background => {
                let captured = process.captured();
                match process.background("foreground_timeout").await {
                    Some(exited) => exited,
                    None => {
                        attended.0 = None;
                        return Ok(exec_result::of_backgrounded(&process, captured, started.elapsed(), check));
                    }
                }
            }
        },
    };
    attended.0 = None;
    Ok(exec_result::of_exited(&process, process.captured(), &exited))
}

async fn background(processes: &Processes, input: ExecInput, context: ExecContext) -> Result<StepResult, ErrorInfo> {
    let process = processes.start(spec_of(input, context, true)?).await?;
    Ok(StepResult::ok(json!({ "id": process.id() })))
}

fn spec_of(input: ExecInput, context: ExecContext, background: bool) -> Result<ProcessSpec, ErrorInfo> {
    let (command, args) = input.command_line()?;
    let mut env = input.env;
    env.entry("IDEMPOTENCY_KEY".into()).or_insert(context.idempotency_key);
    let workdir = match (context.workdir, input.cwd) {
        (Some(base), Some(cwd)) => Some(base.join(cwd)),
        (base, cwd) => cwd.or(base),
    };
    Ok(ProcessSpec {
        args,
        workdir,
        env,
        stdin: input.stdin.map(String::into_bytes),
        background,
        capture: !background,
        description: input.description,
        cause: context.cause,
        ..ProcessSpec::new(context.process, command, context.owner)
    })
}

/// The process that an operation names: one of the job's, or one with a stream of its own.
async fn of_operation(processes: &Processes, id: &str, context: &ExecContext) -> Result<Named, ErrorInfo> {
    let process: ProcessId = id.parse().map_err(|_| no_such_process(&id))?;
    let of_job = context.owner.job.map(StreamId::Job);
    let streams = of_job.into_iter().chain([StreamId::Process(process)]);
    named(processes, process, streams.map(|stream| (stream, 0))).await?.ok_or_else(|| no_such_process(&process))
}

async fn wait(processes: &Processes, input: WaitInput, context: &ExecContext) -> Result<StepResult, ErrorInfo> {
    let process = match of_operation(processes, &input.process, context).await? {
        Named::Ended(exited, _) => return Ok(StepResult::ok(exec_result::of_wait(&exited))),
        Named::Running(process) => process,
    };
    let exited = match input.timeout_ms {
        None => Some(process.exited().await),
        Some(ms) => match timeout(Duration::from_millis(ms), process.exited()).await {
            Ok(exited) => Some(exited),
            // It may have ended in this moment.
            Err(_) => process.exit(),
        },
    };
    match exited {
        Some(exited) => Ok(StepResult::ok(exec_result::of_wait(&exited))),
        None => {
            let ms = input.timeout_ms.unwrap_or_default();
            let error = ErrorInfo::new("timeout", format!("process {} still runs after {ms} ms", input.process));
            Ok(StepResult { outcome: StepOutcome::TimedOut, output: None, error: Some(error.retryable()) })
        }
    }
}

async fn output(processes: &Processes, input: OutputInput, context: &ExecContext) -> Result<StepResult, ErrorInfo> {
    let view = match of_operation(processes, &input.process, context).await? {
        Named::Running(process) => process.output(),
        Named::Ended(exited, recording) => ended_output(processes, exited, recording).await?,
    };
    Ok(StepResult::ok(exec_result::canonical(&view)))
}

async fn find(processes: &Processes, input: SearchInput, context: &ExecContext) -> Result<StepResult, ErrorInfo> {
    let pattern = search::compile(&input.pattern)?;
    let defaults = SearchOptions::default();
    let options = SearchOptions {
        limit: input.limit.unwrap_or(defaults.limit),
        context: input.context.unwrap_or(defaults.context),
    };
    let recording = match of_operation(processes, &input.process, context).await? {
        Named::Running(process) => Recording::of(&process),
        Named::Ended(_, recording) => recording,
    };
    let found = with_log(processes, move |log| search::search(log, &recording, &pattern, options)).await?;
    Ok(StepResult::ok(exec_result::canonical(&found)))
}

async fn signal(processes: &Processes, input: SignalInput, context: &ExecContext) -> Result<StepResult, ErrorInfo> {
    signal_name::number_of(&input.signal)?;
    match of_operation(processes, &input.process, context).await? {
        Named::Running(process) => process.signal(&input.signal).await?,
        Named::Ended(_, recording) => return Err(already_exited(&recording.process)),
    }
    Ok(StepResult::ok(json!(true)))
}
