//! One life of a server, from its start to its end: a crash at some moment, or a stop.

use crate::{
    agents,
    client::{Client, SCHEDULE},
    disk::Disk,
    host::Host,
    net::{self, Net},
    oracle,
    world::World,
};
use moonlog_core::{
    event::Decision,
    id::Hash,
    json::Json,
    log::{Log, LogOptions, Stepper},
    storage::{Fault, MemoryStorage},
};
use moonlog_runner::{
    QueueOptions, Runner, RunnerOptions, Threads,
    http::{HttpOptions, HttpPolicy},
    process::{HostCommand, ProcessOptions},
    workspace::WorkspaceOptions,
};
use moonlog_scripts::{Library, Limits};
use std::{
    path::PathBuf,
    sync::{Arc, OnceLock, atomic::AtomicI32},
    time::Duration,
};
use tokio::task::JoinSet;

/// Within this time all jobs end that nothing keeps from it.
const ALL_END_WITHIN: Duration = Duration::from_secs(600);

/// How a life goes.
pub struct Plan {
    /// How many things happen from outside.
    pub acts: u64,
    /// After how many writes and syncs the power fails, if it does by itself.
    pub power_fails_after: Option<u64>,
    /// What fails, and after how many of its kind.
    pub fault: Option<(Fault, u64)>,
    /// How it ends otherwise.
    pub end: End,
    /// Whether it is the last: all jobs end in it.
    pub is_last: bool,
}

#[derive(Clone, Copy)]
pub enum End {
    /// It is asked to stop.
    Stop,
    /// It is killed.
    Kill,
    /// The power fails.
    PowerCut,
}

/// Where the files of a run are.
pub struct Places {
    /// Workflows, and the turns of the model.
    pub folder: PathBuf,
    /// Where tools work.
    pub work: PathBuf,
}

/// What does not change from life to life.
#[derive(Clone)]
pub struct Setup {
    pub idle_evict_ms: u64,
    pub concurrency: usize,
    pub checkpoint_events: u64,
    pub index_flush_events: usize,
    pub tail_cache_bytes: usize,
    pub verify_at_open_max_bytes: u64,
}

pub const NARROW: usize = 1;

impl Setup {
    pub fn by_chance(world: &World) -> Self {
        let mut chance = world.chance();
        Self {
            idle_evict_ms: chance.of(&[0, 0, 1, 5, 1_000]),
            concurrency: chance.of(&[1, 2, 4, 16]),
            checkpoint_events: chance.of(&[5, 40, 10_000]),
            index_flush_events: chance.of(&[4, 32, 8_192]),
            tail_cache_bytes: chance.of(&[0, 4 << 10, 4 << 20]),
            verify_at_open_max_bytes: chance.of(&[0, 32 << 20]),
        }
    }

    pub fn log(&self, world: &Arc<World>) -> LogOptions {
        let world = world.clone();
        LogOptions {
            index_flush_events: self.index_flush_events,
            tail_cache_bytes: self.tail_cache_bytes,
            verify_at_open_max_bytes: self.verify_at_open_max_bytes,
            ..LogOptions::new(move || world.now())
        }
    }

    pub fn queues(&self) -> [(String, QueueOptions); 2] {
        let narrow = QueueOptions { concurrency: NARROW, capacity: 100, ..QueueOptions::default() };
        let rated = QueueOptions { concurrency: 1, rate_per_minute: 3, rate_span_ms: 200, ..QueueOptions::default() };
        [("narrow".into(), narrow), ("rated".into(), rated)]
    }

    fn runner(&self, world: &Arc<World>, places: &Places, log: &Log) -> RunnerOptions {
        let log = Arc::new(OnceLock::from(log.clone()));
        let host = Arc::new(Host { world: world.clone(), log: log.clone(), last_pid: AtomicI32::new(100) });
        let mut processes = ProcessOptions::new(HostCommand { program: "nothing".into(), args: Vec::new() });
        processes.hosted = Some(host);
        processes.workdir = "/".into();
        processes.base_env = vec![("PATH".into(), "/usr/bin:/bin".into())];
        let (clock, calendar, ids) = (world.clone(), world.clone(), world.clone());
        let mut options = RunnerOptions {
            concurrency: self.concurrency,
            resume_jobs: true,
            idle_evict_ms: self.idle_evict_ms,
            queues: self.queues().into(),
            nesting: 1,
            checkpoint_events: self.checkpoint_events,
            warm_vms: 4,
            limits: Limits::default(),
            agents: Default::default(),
            submit_max_bytes: 8 << 20,
            processes,
            tools: Default::default(),
            cache: Default::default(),
            workspaces: WorkspaceOptions::new("/nowhere"),
            http: HttpPolicy::hosted(HttpOptions::default(), Arc::new(Net { world: world.clone(), log })).unwrap(),
            config: Json::from_written("{}".into()),
            webhooks: Default::default(),
            repaired: None,
            clock: Arc::new(move || clock.now()),
            ids: Arc::new(move || ids.new_id()),
            threads: Threads::Here,
            bounds: Default::default(),
            calendar: Some(Arc::new(move || calendar.calendar())),
        };
        if world.has_agents {
            agents::configure(&mut options, &places.folder.join(agents::TURNS), &places.work);
            options.webhooks = [("ends".to_owned(), net::webhook())].into();
        }
        options
    }
}

/// Lives, and gives what is left on the disk.
pub fn live(world: &Arc<World>, setup: &Setup, places: &Places, plan: Plan, memory: MemoryStorage) -> MemoryStorage {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    let disk = Arc::new(Disk::new(world.clone(), memory));
    let life = Life { world: world.clone(), setup, places, disk: disk.clone(), plan };
    let left = runtime.block_on(async {
        world.start_clock();
        let left = tokio::select! {
            biased;
            () = disk.died() => disk.leave(false),
            left = life.run() => left,
        };
        world.stop_clock();
        left
    });
    drop(runtime);
    left
}

struct Life<'a> {
    world: Arc<World>,
    setup: &'a Setup,
    places: &'a Places,
    disk: Arc<Disk>,
    plan: Plan,
}

impl Life<'_> {
    async fn run(&self) -> MemoryStorage {
        if let Some(operations) = self.plan.power_fails_after {
            self.disk.fail_power_after(operations);
        }
        if let Some((fault, after)) = self.plan.fault {
            self.disk.inject(fault, after);
        }
        let Some(runner) = self.start().await else { return self.end(None).await };
        if self.plan.is_last {
            self.let_all_end(&runner).await;
        } else {
            self.be_used(&runner).await;
        }
        self.end(Some(runner)).await
    }

    /// Starts a server; none where the disk does not let it.
    async fn start(&self) -> Option<Runner> {
        let (log, stepper, report) = match Log::open_stepped(self.disk.clone(), self.setup.log(&self.world)) {
            Ok(opened) => opened,
            Err(error) => {
                if !self.disk.is_faulty() && !self.disk.is_dead() {
                    self.world.fail(format!("the log does not open: {error}"));
                }
                return None;
            }
        };
        if report.is_repaired() || report.index_damage.is_some() {
            self.world.fail(format!("something had to be mended: {report:?}"));
        }
        let told = self.world.memory().head;
        if log.head() < told {
            self.world.fail(format!("the log ends at {}, and {told} could be read before the crash", log.head()));
        }
        if let Some(stepper) = stepper {
            tokio::spawn(drive(self.world.clone(), stepper, log.clone()));
        }
        let options = self.setup.runner(&self.world, self.places, &log);
        let library = Library::new(vec![self.places.folder.clone()]);
        let runner = match Runner::start(options, log, library).await {
            Ok(runner) => runner,
            Err(error) => {
                if !self.disk.is_faulty() && !self.disk.is_dead() {
                    self.world.fail(format!("the runner does not start: {error}"));
                }
                return None;
            }
        };
        oracle::check_views(&self.world, &runner);
        oracle::check_memory(&self.world, &runner);
        tokio::spawn(follow(self.world.clone(), runner.log().clone()));
        Some(runner)
    }

    async fn be_used(&self, runner: &Runner) {
        let mut clients = JoinSet::new();
        for _ in 0..self.plan.acts {
            let pause = if self.world.one_in(3) { self.world.below(16) } else { 0 };
            tokio::time::sleep(Duration::from_millis(pause)).await;
            self.world.dawdle().await;
            clients.spawn(Client { world: self.world.clone(), runner: runner.clone() }.act());
        }
        // Long enough for schedules, now and then.
        let rest = self.world.below(if self.world.one_in(6) { 3_000 } else { 40 });
        tokio::time::sleep(Duration::from_millis(rest)).await;
    }

    /// Whatever jobs wait for comes, until all have ended.
    async fn let_all_end(&self, runner: &Runner) {
        let _ = runner.resume_queue("narrow").await;
        let _ = runner.remove_schedule(SCHEDULE).await;
        // It may have fired in that moment.
        tokio::time::sleep(Duration::from_millis(1_500)).await;
        let begun = tokio::time::Instant::now();
        loop {
            let live: Vec<_> = runner.views().with(|all| all.live_jobs().map(|job| job.id).collect());
            if live.is_empty() && agents::close_all(&self.world, runner).await {
                break;
            }
            if begun.elapsed() > ALL_END_WITHIN {
                let busy = runner.views().with(|all| all.sessions().open().cloned().collect::<Vec<_>>());
                self.world.fail(format!("these jobs do not end: {live:?}, or one of these sessions is busy: {busy:?}"));
                return;
            }
            for job in live {
                let _ = runner.signal(&job, "go", Json::null(), None).await;
            }
            for approval in runner.views().with(|all| all.approvals()) {
                let _ = runner.decide(&approval.job, &approval.id, Decision::Approved, None, None).await;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        self.let_all_be_posted(runner).await;
        let running = runner.processes().running().len();
        if running > 0 {
            self.world.fail(format!("all jobs have ended, and {running} processes run"));
        }
        oracle::check_views(&self.world, runner);
        oracle::check_memory(&self.world, runner);
    }

    /// Whatever is posted is taken, or given up.
    async fn let_all_be_posted(&self, runner: &Runner) {
        let begun = tokio::time::Instant::now();
        loop {
            let events = runner.log().read(0, usize::MAX).unwrap_or_default();
            let is_done = runner.views().with(|all| {
                all.webhooks().iter().all(|state| {
                    let mut wanted = events
                        .iter()
                        .filter(|event| event.origin.is_none() && state.wants(event.position, event.body.name()));
                    state.open.is_empty() && wanted.all(|event| state.has_record(event.position))
                })
            });
            if is_done {
                return;
            }
            if begun.elapsed() > ALL_END_WITHIN {
                return self.world.fail("what webhooks are owed comes to no end");
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    async fn end(&self, runner: Option<Runner>) -> MemoryStorage {
        if let Some(runner) = &runner {
            oracle::check_refusal(&self.world, runner.log());
        }
        match (self.plan.end, runner) {
            (End::Stop, Some(runner)) => {
                runner.shutdown().await;
                // What was written and not synced may be lost all the same.
                self.disk.leave(self.world.one_in(2))
            }
            (End::Kill, _) => self.disk.leave(true),
            _ => self.disk.leave(false),
        }
    }
}

/// The log's writer.
async fn drive(world: Arc<World>, stepper: Stepper, log: Log) {
    let mut index_waits = false;
    loop {
        if !index_waits {
            stepper.work().await;
        }
        world.dawdle().await;
        if !stepper.is_hurried() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        stepper.write();
        world.dawdle().await;
        index_waits = stepper.publish();
        let mut memory = world.memory();
        memory.head = memory.head.max(log.head());
    }
}

/// A reader that goes on where it stopped, over all lives. It waits for the next event and not for the watched head: in which order a
/// watch wakes several is left to chance, and no seed decides it. In all else the projector alone watches the head.
async fn follow(world: Arc<World>, log: Log) {
    loop {
        let after = world.memory().seen.last().map_or(0, |(position, _)| *position);
        let events = match log.read(after, 7) {
            Ok(events) => events,
            Err(error) => return world.fail(format!("the feed cannot be read behind {after}: {error}")),
        };
        let shown = events.iter().map(|event| (event.position, Hash::of(event.to_json(1 << 20).as_bytes())));
        world.memory().seen.extend(shown);
        if events.is_empty() && log.durable(after + 1).await.is_err() {
            return;
        }
    }
}
