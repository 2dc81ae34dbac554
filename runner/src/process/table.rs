//! Processes as clients and tools see them: started at most once under a token, and found by their id whether they
//! run, have ended lately or long ago, by those alone in whose scope they are. What is answered here is durable.

use super::{
    OutputView, ProcessSpec, Processes, SearchOptions,
    handle::already_exited,
    named::{no_such_process, unreadable, with_log},
    recorded::{Recording, lost},
    search::{self, Found},
};
use crate::{locks::Locks, waiters::Waiters, workspace::no_such_session};
use moonlog_core::{
    decide::decide_in_session,
    error_info::ErrorInfo,
    event::{ProcessExited, StreamId},
    id::{JobId, ProcessId, SessionId},
    json::Json,
    projection::{ProcessState, Views, WorkspaceStatus},
};
use serde_json::json;
use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};
use tokio::time::timeout;

/// Whose processes are seen. What is not set does not matter.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ProcessScope {
    /// Those of this session alone.
    pub session: Option<SessionId>,
    /// Those that this job started alone.
    pub job: Option<JobId>,
}

impl ProcessScope {
    /// Every process.
    pub const ALL: Self = Self { session: None, job: None };

    /// Those of a session.
    pub const fn session(session: SessionId) -> Self {
        Self { session: Some(session), job: None }
    }

    fn has(&self, state: &ProcessState) -> bool {
        self.session.is_none_or(|session| state.session == Some(session))
            && self.job.is_none_or(|job| state.job == Some(job))
    }
}

/// The answer to a start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StartedProcess {
    /// The process.
    pub id: ProcessId,
    /// False where the token was known, and this is the process that was started under it.
    pub started: bool,
}

/// All processes of a log. Clones are the same table.
#[derive(Clone)]
pub struct ProcessTable {
    inner: Arc<Inner>,
}

struct Inner {
    processes: Processes,
    views: Views,
    waiters: Arc<Waiters>,
    /// Starts under a token take turns with those whose token falls on the same of these.
    tokens: Locks,
    /// Whether this server records anything. One that only answers has not recorded either what became of the
    /// processes of the server before it.
    records: bool,
}

impl ProcessTable {
    pub(crate) fn new(processes: Processes, views: Views, waiters: Arc<Waiters>, records: bool) -> Self {
        Self { inner: Arc::new(Inner { processes, views, waiters, tokens: Locks::default(), records }) }
    }

    /// Starts a process, unless one was started under its token before. It runs, and that is durable, when this
    /// returns. Nothing happens to it where the returned future is dropped.
    ///
    /// # Errors
    /// As [`Processes::start`]; `client_token_reused` where the token was used for another request; `no_such_session`, `session_closed`.
    pub async fn start(&self, spec: ProcessSpec) -> Result<StartedProcess, ErrorInfo> {
        let table = self.clone();
        let begun = tokio::spawn(async move { table.begin(spec).await });
        begun.await.unwrap_or_else(|_| Err(crate::inner::stopping()))
    }

    async fn begin(&self, spec: ProcessSpec) -> Result<StartedProcess, ErrorInfo> {
        if !self.inner.records {
            return Err(crate::inner::stopping());
        }
        let Some(claim) = &spec.claim else { return self.begin_new(spec).await };
        // The second one finds what the first one has recorded.
        let _turn = self.inner.tokens.of(claim.client_token.as_bytes()).lock().await;
        match self.started_before(&spec)? {
            Some(started) => Ok(started),
            None => self.begin_new(spec).await,
        }
    }

    /// The process that was started under the token, where there is one.
    ///
    /// # Errors
    /// `client_token_reused` where that was another request.
    pub fn started_before(&self, spec: &ProcessSpec) -> Result<Option<StartedProcess>, ErrorInfo> {
        let Some(claim) = &spec.claim else { return Ok(None) };
        match self.inner.views.token_use(&claim.client_token).map_err(|error| unreadable(&error))? {
            None => Ok(None),
            Some(first) if first.request_hash == claim.request_hash => {
                Ok(Some(StartedProcess { id: first.process, started: false }))
            }
            Some(first) => {
                let message = format!("the client token was used for process {} with another body", first.process);
                let details = Json::from(json!({ "process": first.process }));
                Err(ErrorInfo { details: Some(details), ..ErrorInfo::new("client_token_reused", message) })
            }
        }
    }

    async fn begin_new(&self, mut spec: ProcessSpec) -> Result<StartedProcess, ErrorInfo> {
        if let Some(session) = &spec.owner.session {
            spec.workdir = self.workdir_in(session, spec.workdir)?;
        }
        let claims = u64::from(spec.claim.is_some());
        let process = self.inner.processes.start(spec).await?;
        self.applied(process.started_position() + claims).await?;
        Ok(StartedProcess { id: process.id(), started: true })
    }

    /// Where a session's process runs: in its workspace, where it has one.
    fn workdir_in(&self, session: &SessionId, given: Option<PathBuf>) -> Result<Option<PathBuf>, ErrorInfo> {
        let Some(state) = self.inner.views.session(session).map_err(|error| unreadable(&error))? else {
            return Err(no_such_session(session));
        };
        decide_in_session(&state)?;
        let workspace = state.workspace.as_ref().filter(|workspace| workspace.status == WorkspaceStatus::Ready);
        Ok(match workspace.map(|workspace| Path::new(&workspace.requested.path)) {
            Some(path) => Some(given.map_or_else(|| path.to_path_buf(), |given| path.join(given))),
            None => given,
        })
    }

    /// The processes of a scope: those that run, then the last that have ended, the newest of each first.
    pub fn list(&self, scope: &ProcessScope) -> Vec<Arc<ProcessState>> {
        let mut found: Vec<_> = self.inner.views.with(|all| {
            let (running, ended) = (all.processes().running(), all.processes().ended());
            running.chain(ended).filter(|state| scope.has(state)).cloned().collect()
        });
        found.iter_mut().for_each(|state| self.settle(state));
        found.sort_by_key(|state| std::cmp::Reverse((state.is_running(), state.started_at, state.id)));
        found
    }

    /// A process as it stands.
    ///
    /// # Errors
    /// `no_such_process` where there is none in the scope.
    pub async fn state(&self, id: &ProcessId, scope: &ProcessScope) -> Result<Arc<ProcessState>, ErrorInfo> {
        if let Some(process) = self.inner.processes.get(id) {
            self.applied(process.started_position()).await?;
        }
        let mut state = match self.inner.views.with(|all| all.processes().get(id).cloned()) {
            Some(state) => state,
            None => Arc::new(self.recorded(id).await?.ok_or_else(|| no_such_process(id))?),
        };
        if !scope.has(&state) {
            return Err(no_such_process(id));
        }
        self.settle(&mut state);
        Ok(state)
    }

    /// What a process has written so far, for showing, and how it ended, where it has.
    ///
    /// # Errors
    /// `no_such_process`
    pub async fn snapshot(&self, id: &ProcessId, scope: &ProcessScope) -> Result<OutputView, ErrorInfo> {
        let state = self.state(id, scope).await?;
        if let Some(process) = self.inner.processes.get(id) {
            let (view, position) = process.appended_output().await;
            match position {
                Some(position) if view.exited.is_some() => self.applied(position).await?,
                Some(position) => self.durable(position).await?,
                None => {}
            }
            return Ok(view);
        }
        self.recorded_end(id).await?;
        let recording = self.recording(&state)?;
        let view = with_log(&self.inner.processes, move |log| recording.view(log)).await?;
        let view = view.ok_or_else(|| no_such_process(id))?;
        Ok(OutputView { exited: view.exited.or_else(|| state.exited.clone()), ..view })
    }

    /// Waits for a process's end, but not longer than `at_most`. `None` where it runs on.
    ///
    /// # Errors
    /// `no_such_process`
    pub async fn wait(
        &self,
        id: &ProcessId,
        scope: &ProcessScope,
        at_most: Duration,
    ) -> Result<Option<ProcessExited>, ErrorInfo> {
        let state = self.state(id, scope).await?;
        let Some(process) = self.inner.processes.get(id) else {
            self.recorded_end(id).await?;
            return Ok(self.state(id, scope).await?.exited.clone().or_else(|| state.exited.clone()));
        };
        let Ok(exited) = timeout(at_most, process.exited()).await else { return Ok(None) };
        if let (_, Some(position)) = process.appended_output().await {
            self.applied(position).await?;
        }
        Ok(Some(exited))
    }

    /// Sends a signal to a process's group: see [`Process::signal`](super::Process::signal).
    ///
    /// # Errors
    /// `no_such_process`, `unknown_signal`, `process_exited`
    pub async fn signal(&self, id: &ProcessId, scope: &ProcessScope, signal: &str) -> Result<(), ErrorInfo> {
        super::signal_name::number_of(signal)?;
        self.state(id, scope).await?;
        match self.inner.processes.get(id) {
            Some(process) => process.signal(signal).await,
            None => Err(already_exited(id)),
        }
    }

    /// Searches all that is recorded of a process's output for lines that match a regular expression.
    ///
    /// # Errors
    /// `no_such_process`, `invalid_pattern`
    pub async fn search(
        &self,
        id: &ProcessId,
        scope: &ProcessScope,
        pattern: &str,
        options: SearchOptions,
    ) -> Result<Found, ErrorInfo> {
        let pattern = search::compile(pattern)?;
        let state = self.state(id, scope).await?;
        self.recorded_end(id).await?;
        let recording = self.recording(&state)?;
        with_log(&self.inner.processes, move |log| search::search(log, &recording, &pattern, options)).await
    }

    /// What runs as far as the log knows was left by a server that died, where this one has started none.
    fn settle(&self, state: &mut Arc<ProcessState>) {
        if state.is_running() && !self.inner.records {
            Arc::make_mut(state).exited = Some(lost(state.output_bytes, 0));
        }
    }

    /// What the log holds of a process that the projections have forgotten.
    async fn recorded(&self, id: &ProcessId) -> Result<Option<ProcessState>, ErrorInfo> {
        let place = self.inner.views.process_place(id).map_err(|error| unreadable(&error))?;
        let (stream, from_version) = match place {
            Some(place) => (StreamId::Job(place.job), place.version),
            None => (StreamId::Process(*id), 0),
        };
        let recording = Recording { stream, process: *id, from_version };
        with_log(&self.inner.processes, move |log| recording.state(log)).await
    }

    /// Where a process's events are.
    fn recording(&self, state: &ProcessState) -> Result<Recording, ErrorInfo> {
        let version = self.inner.processes.log().version_at(&state.stream, state.started_position);
        let from_version = version.map_err(|error| unreadable(&error))?;
        Ok(Recording { stream: state.stream.clone(), process: state.id, from_version })
    }

    /// Returns when the end of a process that has just ended is folded.
    async fn recorded_end(&self, id: &ProcessId) -> Result<(), ErrorInfo> {
        match self.inner.processes.register().get_ended(id).and_then(|ended| ended.position) {
            Some(position) => self.applied(position).await,
            None => Ok(()),
        }
    }

    async fn durable(&self, position: u64) -> Result<(), ErrorInfo> {
        self.inner.processes.log().durable(position).await.map_err(|error| unreadable(&error))
    }

    async fn applied(&self, position: u64) -> Result<(), ErrorInfo> {
        if self.inner.waiters.applied(position).await { Ok(()) } else { self.durable(position).await }
    }
}
