//! The runner as its clients see it: how it starts and stops, and what it gives to look at.

use crate::{
    agent::{self, CallIds, Families, LiveAgents, Metered, model::Models},
    deletion,
    dispatcher::{Dispatcher, Message},
    inner::{IDLE_MACHINES, Inner},
    locks::Locks,
    memory,
    options::RunnerOptions,
    process::{ProcessOptions, ProcessTable, Processes, lost},
    projector,
    rate::{self, ModelRates, StartRates},
    request::StartError,
    reuse::SharedResults,
    schedule,
    session::{self, Stirred},
    sources::Sources,
    submit::Admission,
    threads::Threads,
    tool::Tools,
    waiters::Waiters,
    webhook::Workers,
    workspace::Workspaces,
};
use moonlog_core::{
    event::{Cause, EventBody, NewEvent, RunnerStarted, RunnerStopped, StreamId},
    id::JobId,
    log::{Append, AppendError, Expected, Log, ReadError},
    projection::{JobState, Views, ViewsOptions},
};
use moonlog_scripts::{Engine, EngineOptions, Library};
use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tokio::{
    runtime::{Handle, RuntimeFlavor},
    sync::{Notify, RwLock, Semaphore, mpsc, oneshot, watch},
};

/// How long a shutdown waits for the tasks of jobs.
const SHUTDOWN_WAIT: Duration = Duration::from_secs(10);

/// Takes jobs and runs them. A handle: clones are the same runner.
#[derive(Clone)]
pub struct Runner {
    inner: Arc<Inner>,
    stop: Arc<watch::Sender<bool>>,
}

impl Runner {
    /// Takes up what the log holds, and begins to run jobs. Where the log takes no events, as on a full disk, jobs stay as
    /// they are, and what is there can be read.
    ///
    /// # Errors
    /// Where the log cannot be read, or the script host cannot be set up.
    pub async fn start(options: RunnerOptions, log: Log, library: Library) -> Result<Self, StartError> {
        deletion::finish(&log, options.threads).await?;
        let views = Views::open(
            &log,
            ViewsOptions { checkpoint_events: options.checkpoint_events, ..ViewsOptions::default() },
        )?;
        let engine = Engine::new(EngineOptions { limits: options.limits.clone(), warm: options.warm_vms });
        let (dispatcher, inbox) = mpsc::unbounded_channel();
        let of_processes = ProcessOptions { threads: options.threads, ..options.processes.clone() };
        let processes = Processes::new(log.clone(), of_processes);
        let waiters = Arc::new(Waiters::default());
        let process_table =
            ProcessTable::new(processes.clone(), views.clone(), waiters.clone(), options.concurrency > 0);
        let workspaces = Workspaces::new(log.clone(), views.clone(), waiters.clone(), options.workspaces.clone());
        let inner = Arc::new(Inner {
            models: Models::new(options.agents.models.clone()),
            agents: LiveAgents::default(),
            metered: Metered::new(log.head()),
            call_ids: CallIds::default(),
            stirred: Stirred::default(),
            families: Families::default(),
            shared: SharedResults::new(options.cache.clone(), views.applied()),
            tools: Tools::new(&processes, &process_table, &workspaces, options.tools.clone(), options.ids.clone()),
            workspaces,
            process_table,
            processes,
            admission: Admission::default(),
            waiters,
            start_rates: Mutex::new(StartRates::new(&options.queues)),
            model_rates: Arc::new(ModelRates::new(&options.agents.models, options.clock.clone())),
            sources: Sources::default(),
            moves_tasks: Handle::current().runtime_flavor() == RuntimeFlavor::MultiThread,
            commands: Locks::default(),
            histories: RwLock::default(),
            spawning: Locks::default(),
            schedules_changed: Notify::new(),
            webhooks: Workers::default(),
            idle_machines: Arc::new(Semaphore::new(IDLE_MACHINES)),
            dispatcher,
            library,
            engine,
            views,
            log,
            options,
        });
        agent::register_tools(&inner);
        if inner.options.concurrency > 0
            && let Err(error) = inner.record_start().await
        {
            // What is there can still be read.
            match inner.log.is_poisoned() {
                Some(poisoned) => tracing::error!(reason = %poisoned, "the server is read-only"),
                None => return Err(error),
            }
        }
        // Folded here, before the projector runs: the dispatcher begins with all that is known.
        loop {
            let events = inner.log.read(inner.views.applied(), 4_096)?;
            if events.is_empty() {
                break;
            }
            inner.shared.apply(&events);
            inner.views.advance(&events);
        }
        inner.waiters.advance(inner.views.applied());
        {
            let mut starts = inner.start_rates.lock().unwrap_or_else(PoisonError::into_inner);
            rate::recover(&inner.log, &inner.views, (inner.options.clock)(), &mut starts, &inner.model_rates)?;
        }
        if inner.options.concurrency > 0 && inner.options.resume_jobs && inner.log.is_poisoned().is_none() {
            inner.settle_sessions().await;
        }
        let (stop, stopped) = watch::channel(false);
        let dispatcher = Dispatcher::new(inner.clone(), inbox);
        if inner.options.concurrency > 0 && inner.options.resume_jobs {
            tokio::spawn(schedule::run(inner.clone(), stopped.clone()));
            tokio::spawn(session::wake_sessions(inner.clone(), stopped.clone()));
        }
        if inner.options.concurrency > 0 && inner.options.resume_jobs && inner.log.is_poisoned().is_none() {
            Workers::begin(&inner);
        }
        if inner.options.concurrency > 0 {
            inner.workspaces.begin(stopped.clone());
        }
        let quiet = Duration::from_millis(inner.options.idle_evict_ms);
        if inner.options.threads == Threads::Pool {
            tokio::spawn(memory::rest(inner.log.clone(), quiet, stopped.clone()));
        }
        tokio::spawn(projector::run(inner.clone(), stopped));
        tokio::spawn(dispatcher.run());
        let runner = Self { inner, stop: Arc::new(stop) };
        if runner.inner.options.concurrency > 0 && runner.inner.log.is_poisoned().is_none() {
            tokio::spawn(deletion::sweep_rest(runner.clone()));
        }
        Ok(runner)
    }

    pub(crate) fn inner(&self) -> &Inner {
        &self.inner
    }

    pub(crate) fn shared_inner(&self) -> Arc<Inner> {
        self.inner.clone()
    }

    /// The log.
    pub fn log(&self) -> &Log {
        &self.inner.log
    }

    /// The projections.
    pub fn views(&self) -> &Views {
        &self.inner.views
    }

    /// The workflows.
    pub fn library(&self) -> &Library {
        &self.inner.library
    }

    /// The processes.
    pub fn processes(&self) -> &Processes {
        &self.inner.processes
    }

    /// The processes as clients see them.
    pub fn process_table(&self) -> &ProcessTable {
        &self.inner.process_table
    }

    /// The tools.
    pub fn tools(&self) -> &Tools {
        &self.inner.tools
    }

    /// The workspaces of sessions.
    pub fn workspaces(&self) -> &Workspaces {
        &self.inner.workspaces
    }

    /// The options.
    pub fn options(&self) -> &RunnerOptions {
        &self.inner.options
    }

    /// A job as it stands.
    ///
    /// # Errors
    /// Where the log cannot be read.
    pub fn job(&self, job: &JobId) -> Result<Option<Arc<JobState>>, ReadError> {
        self.inner.views.job(job)
    }

    /// Comes when a job has ended, or when `enough` does; at once where there is no such job.
    ///
    /// # Errors
    /// Where the log cannot be read.
    pub async fn wait(&self, job: &JobId, enough: impl Future<Output = ()>) -> Result<(), ReadError> {
        self.inner.until_ended(job, enough).await
    }

    /// Stops: no job is started any more, running ones are left where their log ends and go on at the next start,
    /// processes are ended, and the log is closed.
    pub async fn shutdown(&self) {
        let inner = &self.inner;
        inner.admission.close();
        let (done, all_left) = oneshot::channel();
        inner.tell(Message::Shutdown(done));
        if tokio::time::timeout(SHUTDOWN_WAIT, all_left).await.is_err() {
            tracing::warn!("some jobs did not stop in time; they go on at the next start where their log ends");
        }
        inner.processes.shutdown().await;
        inner.webhooks.end().await;
        if inner.options.concurrency > 0 {
            inner.record_stop().await;
        }
        self.stop.send_replace(true);
        if let Err(error) = inner.views.checkpoint() {
            tracing::warn!(%error, "no snapshot was written; the next start folds more events");
        }
        inner.log.close();
    }
}

impl Inner {
    /// Records that processes of a dead server are gone. Their trees were ended with it.
    async fn record_lost_processes(&self) -> Result<(), StartError> {
        let left = self.views.with(|projection| projection.processes().running().cloned().collect::<Vec<_>>());
        let now = (self.options.clock)();
        let mut last = None;
        for process in left {
            let exited = lost(process.output_bytes, now.ms_since(process.started_at));
            let event = NewEvent {
                // As of any other end: that it began.
                cause: Some(Cause::At(process.started_position)),
                job: process.job,
                session: process.session,
                step: process.step.clone(),
                ..NewEvent::new(EventBody::ProcessExited(exited))
            }
            .process(process.id);
            let append = Append { stream: process.stream.clone(), expected: Expected::Any, events: vec![event] };
            match self.log.append(append) {
                Ok(appended) => last = Some(appended.last_position),
                // Its job could not wait for it, and has ended: nobody asks any more.
                Err(AppendError::Closed { .. }) => tracing::warn!(process = %process.id, "a process outlived its job"),
                Err(error) => return Err(error.into()),
            }
        }
        if let Some(position) = last {
            self.log.durable(position).await?;
        }
        Ok(())
    }

    /// Records that the server is back, and what became of what the last one left.
    async fn record_start(&self) -> Result<(), StartError> {
        self.record_lost_processes().await?;
        let started = RunnerStarted {
            version: env!("CARGO_PKG_VERSION").into(),
            config: self.options.config.clone(),
            repaired: self.options.repaired.clone(),
        };
        let mut bodies = vec![EventBody::RunnerStarted(started)];
        if self.options.resume_jobs {
            bodies.extend(self.webhooks_configured());
        }
        self.append_system(bodies).await?;
        Ok(())
    }

    /// Records that the server stops.
    async fn record_stop(&self) {
        let stopped = RunnerStopped { version: env!("CARGO_PKG_VERSION").into() };
        match self.append_system(vec![EventBody::RunnerStopped(stopped)]).await {
            Ok(position) => {
                let _ = self.applied(position).await;
            }
            Err(error) => tracing::warn!(%error, "the stop was not recorded"),
        }
    }

    async fn append_system(&self, bodies: Vec<EventBody>) -> Result<u64, StartError> {
        let events = bodies.into_iter().map(NewEvent::from).collect();
        let append = Append { stream: StreamId::System, expected: Expected::Any, events };
        let position = self.log.append(append)?.last_position;
        self.log.durable(position).await?;
        Ok(position)
    }
}
