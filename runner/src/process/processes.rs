//! All processes of a server.

use super::{
    Owner, Process, ProcessOptions, ProcessSpec,
    capture::Capture,
    connected::{self, ChildEnds, Control, OutputEnd, connect},
    environment,
    handle::{self, Shared},
    host::{HostClient, Report, SpawnRequest},
    recorder::{self, Recorder, RecorderState},
    register::Register,
    spawn_error,
    stream_pieces::Pieces,
};
use crate::{
    secret::{Place, Secrets},
    threads::Threads,
};
use moonlog_core::{
    error_info::ErrorInfo,
    event::{Cause, EventBody, NewEvent, ProcessStarted},
    id::{JobId, ProcessId, SessionId},
    log::{Append, AppendError, Expected, Log},
};
use std::{
    ffi::OsString,
    path::Path,
    sync::{Arc, Mutex, atomic::AtomicBool},
    time::Duration,
};
use tokio::{
    io::AsyncWriteExt,
    sync::{mpsc, oneshot, watch},
    time::{Instant, timeout_at},
};

/// Starts processes and knows those that run. Cheap to clone.
#[derive(Clone)]
pub struct Processes {
    inner: Arc<Inner>,
}

struct Inner {
    log: Log,
    options: ProcessOptions,
    base_env: Vec<(OsString, OsString)>,
    host: HostClient,
    register: Arc<Register>,
}

/// A process that nobody has taken yet. Dropped, it is cancelled.
struct Unclaimed(Option<Process>);

impl Drop for Unclaimed {
    fn drop(&mut self) {
        if let Some(process) = &self.0 {
            process.begin_cancel();
        }
    }
}

impl Processes {
    /// Processes whose events go to `log`. The process host is started with the first of them.
    pub fn new(log: Log, options: ProcessOptions) -> Self {
        let base_env = environment::base(&options);
        let host = HostClient::new(options.host.clone());
        Self { inner: Arc::new(Inner { log, options, base_env, host, register: Arc::default() }) }
    }

    /// Starts a process. It runs when this returns, and `process.started` is appended.
    ///
    /// Where the returned future is dropped, the process is cancelled.
    ///
    /// # Errors
    /// Where it could not be started: `command_not_found`, `permission_denied`, `no_such_directory`, ...
    pub async fn start(&self, spec: ProcessSpec) -> Result<Process, ErrorInfo> {
        let id = spec.id;
        let command = spec.command.clone();
        let max = self.inner.options.limits.processes_max;
        self.inner.register.starting(id, &spec.owner, max)?;
        let (reply, started) = oneshot::channel();
        let inner = Arc::clone(&self.inner);
        // A task of its own: what is begun is brought to its end, whatever becomes of who asked for it.
        tokio::spawn(async move {
            let result = inner.start(spec).await.map(|process| Unclaimed(Some(process)));
            if result.is_err() {
                inner.register.not_started(&id);
            }
            // Where nobody takes it, it is dropped here.
            let _ = reply.send(result);
        });
        let mut unclaimed =
            started.await.unwrap_or_else(|_| Err(spawn_error::host_lost(&command, "the server is stopping")))?;
        unclaimed.0.take().ok_or_else(|| spawn_error::host_lost(&command, "it was not handed over"))
    }

    /// A process of which something runs.
    pub fn get(&self, id: &ProcessId) -> Option<Process> {
        self.inner.register.get(id)
    }

    /// The processes of a job of which something runs.
    pub fn of_job(&self, job: &JobId) -> Vec<Process> {
        self.inner.register.of(|owner| owner.dies_with() == Some(*job))
    }

    /// All processes of which something runs.
    pub fn running(&self) -> Vec<Process> {
        self.inner.register.running()
    }

    /// Asks a job's processes to end, and kills what is left of them after the grace period. Returns when none is
    /// left and `process.exited` of each is appended.
    pub async fn cancel_job(&self, job: &JobId) {
        self.inner.register.end_of(|owner| owner.dies_with() == Some(*job), Process::begin_cancel).await;
    }

    /// Kills a job's processes with all that they started. Returns when none is left and `process.exited` of each is
    /// appended.
    pub async fn end_job(&self, job: &JobId) {
        self.inner.register.end_of(|owner| owner.dies_with() == Some(*job), Process::begin_kill).await;
        self.inner.register.forget_job(job);
    }

    /// Kills a session's processes with all that they started, but for those of jobs, which end with their jobs.
    /// Returns when none is left and `process.exited` of each is appended.
    pub async fn end_session(&self, session: &SessionId) {
        let of_session = |owner: &Owner| owner.session == Some(*session) && owner.dies_with().is_none();
        self.inner.register.end_of(of_session, Process::begin_kill).await;
    }

    /// Kills every process, refuses to start any more, and lets the process host end.
    pub async fn shutdown(&self) {
        self.inner.register.end_all(Process::begin_kill).await;
        self.inner.host.stop().await;
    }

    /// The secrets that commands may get, and that outputs are scrubbed of.
    pub fn secrets(&self) -> &Arc<Secrets> {
        &self.inner.options.secrets
    }

    pub(crate) fn log(&self) -> &Log {
        &self.inner.log
    }

    /// Where it is read for those who ask.
    pub(crate) fn threads(&self) -> Threads {
        self.inner.options.threads
    }

    pub(super) fn register(&self) -> &Register {
        &self.inner.register
    }
}

impl Inner {
    async fn start(&self, spec: ProcessSpec) -> Result<Process, ErrorInfo> {
        let secrets = &self.options.secrets;
        for arg in std::iter::once(&spec.command).chain(&spec.args) {
            // Every process of the machine can read these.
            Secrets::refuse_in(arg, &format!("an argument of `{}`", spec.command))?;
        }
        let workdir = environment::workdir(&self.options.workdir, spec.workdir.as_deref())?;
        let env = environment::of(&self.base_env, &spec, secrets)?;
        let program = environment::program(&spec.command, &workdir, &env)?;
        if spec.args.iter().any(|arg| arg.contains('\0')) {
            return Err(ErrorInfo::new(
                "invalid_argument",
                format!("cannot start `{}`: an argument holds a zero byte; use stdin or a file", spec.command),
            ));
        }
        let stdin = self.stdin_of(&spec)?;
        let request = SpawnRequest {
            program: program.into(),
            arg0: (&spec.command).into(),
            workdir: workdir.clone().into(),
            args: spec.args.iter().map(OsString::from).collect(),
            env,
        };
        let started = Instant::now();
        let (ends, connected) = connect(stdin.is_some(), self.options.hosted.is_some())
            .map_err(|error| spawn_error::of_io(&spec.command, &error))?;
        let (control, pid) = self.spawn(&spec.command, &request, &ends, started).await?;
        drop(ends);
        let process = self.record(spec, &workdir, pid, started, control, connected.outputs).await?;
        if let (Some(bytes), Some(mut pipe)) = (stdin, connected.stdin) {
            tokio::spawn(async move {
                // A process may end, or close its input, before it has read all of it.
                let _ = pipe.write_all(&bytes).await;
            });
        }
        Ok(process)
    }

    fn stdin_of(&self, spec: &ProcessSpec) -> Result<Option<Vec<u8>>, ErrorInfo> {
        let Some(bytes) = &spec.stdin else { return Ok(None) };
        match std::str::from_utf8(bytes) {
            Ok(text) => {
                let text = self.options.secrets.resolve(text, Place::Command(&spec.command))?;
                Ok(Some(text.into_bytes()))
            }
            Err(_) => Ok(Some(bytes.clone())),
        }
    }

    /// Has the host start a process. Once more where the host ended before it could.
    async fn spawn(
        &self,
        command: &str,
        request: &SpawnRequest,
        ends: &ChildEnds,
        started: Instant,
    ) -> Result<(Control, u32), ErrorInfo> {
        let hosted = self.options.hosted.as_deref();
        let until = started + Duration::from_millis(self.options.limits.start_ms);
        for _ in 0..2 {
            let requested = timeout_at(until, connected::request(&self.host, hosted, request, ends)).await;
            let requested = requested.map_err(|_| spawn_error::host_lost(command, "it does not listen"))?;
            let mut control = requested.map_err(|error| spawn_error::of_io(command, &error))?;
            let mut starting = false;
            loop {
                let Ok(report) = timeout_at(until, control.report()).await else {
                    // The next request shall not wait for the same host.
                    self.host.stop().await;
                    return Err(spawn_error::host_lost(command, "it does not answer"));
                };
                match report {
                    Some(Report::Starting) => starting = true,
                    Some(Report::Started(pid)) => return Ok((control, pid.unsigned_abs())),
                    Some(Report::Failed(errno)) => return Err(spawn_error::of_errno(command, errno)),
                    None if !starting => break,
                    _ => return Err(spawn_error::host_lost(command, "the supervisor ended")),
                }
            }
        }
        Err(spawn_error::host_lost(command, "it ended again and again"))
    }

    /// Appends `process.started`, and begins to record. An error closes `control`, which kills the process.
    async fn record(
        &self,
        spec: ProcessSpec,
        workdir: &Path,
        pid: u32,
        started: Instant,
        control: Control,
        outputs: [OutputEnd; 2],
    ) -> Result<Process, ErrorInfo> {
        let body = EventBody::ProcessStarted(ProcessStarted {
            command: self.options.secrets.scrub(&spec.command),
            args: spec.args.iter().map(|arg| self.options.secrets.scrub(arg)).collect(),
            workdir: workdir.to_string_lossy().into_owned(),
            pid,
            background: spec.background,
            description: spec.description.as_deref().map(|text| self.options.secrets.scrub(text)),
        });
        let event = |body| NewEvent {
            body,
            job: spec.owner.job,
            session: spec.owner.session,
            process: Some(spec.id),
            step: spec.owner.step.clone(),
            cause: spec.cause.map(Cause::At),
            origin: None,
        };
        let mut events = vec![event(body)];
        if let Some(claim) = &spec.claim {
            events.push(event(EventBody::ProcessTokenClaimed(claim.clone())).cause_before(1));
        }
        self.log.ready().await;
        let append = Append::new(spec.owner.stream.clone(), Expected::Any, events);
        let appended = self.log.append(append).map_err(|error| not_recorded(&spec.command, &error))?;
        let (commands, receive_commands) = mpsc::unbounded_channel();
        let (exit, watch_exit) = watch::channel(None);
        let (gone, watch_gone) = watch::channel(false);
        let (tell_appended, watch_appended) = watch::channel(appended.last_position);
        let limits = &self.options.limits;
        let output = handle::Output {
            captures: [Capture::new(limits.capture_bytes), Capture::new(limits.capture_bytes)],
            position: Some(appended.last_position),
            ..handle::Output::default()
        };
        let shared = Arc::new(Shared {
            id: spec.id,
            pid,
            command: spec.command,
            args: spec.args,
            workdir: workdir.to_string_lossy().into_owned(),
            description: spec.description,
            owner: spec.owner,
            // Events that stand behind `process.started` in its append.
            started_version: appended.last_version - u64::from(spec.claim.is_some()),
            started_position: appended.first_position,
            started_at: appended.time,
            background: AtomicBool::new(spec.background),
            capturing: AtomicBool::new(spec.capture),
            commands,
            exit: watch_exit,
            gone: watch_gone,
            output: Mutex::new(output),
            appended: watch_appended,
        });
        let process = Process { shared: Arc::clone(&shared) };
        // Before the task runs, which takes it off the register when it is done.
        if !self.register.started(&process) {
            process.begin_kill();
        }
        let recorder = Recorder {
            log: self.log.clone(),
            limits: limits.clone(),
            shared,
            register: Arc::clone(&self.register),
            control,
            commands: receive_commands,
            exit,
            gone,
            appended: tell_appended,
            outputs: outputs.map(|pipe| recorder::Output {
                pipe: Some(pipe),
                pieces: Pieces::new(self.options.secrets.scrubber()),
            }),
            state: RecorderState::new(started, spec.timeout_ms),
        };
        tokio::spawn(recorder.run());
        Ok(process)
    }
}

fn not_recorded(command: &str, error: &AppendError) -> ErrorInfo {
    ErrorInfo::new("not_recorded", format!("`{command}` was not started, since it cannot be recorded: {error}"))
}
