//! What is measured of each system, and how: the same jobs from the same load generator, with the floor right beside.

use super::{
    children::Child,
    figures::{Figures, Measure},
    system::{Request, Running, System},
};
use crate::{
    Outcome, floor::RawFile, jobs::peer, load::Connection, options::Options, process_tree::Memory, report::quantile,
};
use std::{
    cell::RefCell,
    net::SocketAddr,
    path::Path,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};
use tokio::runtime::Runtime;

/// How many connections submit at a time.
pub const CONNECTIONS: usize = 64;
/// How many steps a job of the wide workload has.
const WIDE_STEPS: usize = 100;
/// What the floor appends, in bytes.
const FLOOR_BYTES: usize = 256;
/// How long the floor is measured, before and after.
const FLOOR_TIME: Duration = Duration::from_millis(100);
/// How long a system that nobody asks anything is given to come to rest.
const REST: Duration = Duration::from_millis(4_000);
/// The most steps that one job is given.
const STEPS_MAX: f64 = 5_000.0;
/// The longest that the wide workload may take; what would take longer is done with a tenth of the steps.
const WIDE_TIME: Duration = Duration::from_secs(6);

/// What measuring takes.
pub struct Measuring<'a> {
    raw: &'a mut RawFile,
    runtime: Runtime,
    /// An HTTP server that says `ok`.
    url: String,
    /// How long each workload goes on.
    pub time: Duration,
}

impl<'a> Measuring<'a> {
    /// With `raw` as the floor.
    pub fn new(options: &Options, raw: &'a mut RawFile) -> Outcome<Self> {
        // The load generator has one thread, which leaves the most of the machine to who is measured.
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let url = runtime.block_on(peer())?;
        Ok(Self { raw, runtime, url, time: Duration::from_millis(options.either(1_000, 600)) })
    }

    /// All of one system, on the empty folder `dir`.
    pub fn all(&mut self, system: &dyn System, dir: &Path, figures: &mut Figures) -> Outcome {
        let name = system.name();
        for _ in 1..system.cold_starts() {
            let dir = tempfile::Builder::new().prefix("cold-").tempdir_in(dir)?;
            system.set_up(dir.path())?;
            drop(self.started(system, dir.path(), Measure::ColdStart, figures)?);
        }
        system.set_up(dir)?;
        drop(self.started(system, dir, Measure::ColdStart, figures)?);
        let running = self.started(system, dir, Measure::StartAgain, figures)?;
        thread::sleep(REST);
        let idle = running.memory();
        figures.add(name, Measure::IdleProportional, mib(idle.proportional));
        figures.add(name, Measure::IdleResident, mib(idle.resident));

        let (rate, beside) = self.beside(|this| this.one_job(&running, None))?;
        figures.add_beside(name, Measure::Steps, rate, beside);
        let (rate, beside) = self.beside(|this| this.one_job(&running, Some(this.url.clone())))?;
        figures.add_beside(name, Measure::ActingSteps, rate, beside);
        let (rate, beside) = self.beside(|this| this.wide(&running))?;
        figures.add_beside(name, Measure::WideSteps, rate, beside);
        let ((rate, each), beside) = self.beside(|this| this.jobs(&running, CONNECTIONS))?;
        figures.add_beside(name, Measure::Jobs, rate, beside);
        figures.add(name, Measure::JobsMiddle, quantile(&each, 0.5));
        figures.add(name, Measure::JobsSlow, quantile(&each, 0.99));
        let ((rate, each), beside) = self.beside(|this| this.jobs(&running, 1))?;
        figures.add_beside(name, Measure::OneByOne, rate, beside);
        figures.add(name, Measure::OneByOneMiddle, quantile(&each, 0.5));
        figures.add(name, Measure::OneByOneSlow, quantile(&each, 0.99));
        figures.add(name, Measure::LoadProportional, mib(self.loaded(&running)?.proportional));
        Ok(())
    }

    /// How often a second the machine can append and sync.
    pub fn floor(&mut self) -> Outcome<f64> {
        Ok(self.raw.rate(&[b'x'; FLOOR_BYTES], FLOOR_TIME)?)
    }

    /// Starts a system, and takes the time until its first job has ended.
    pub fn started(
        &mut self,
        system: &dyn System,
        dir: &Path,
        measure: Measure,
        figures: &mut Figures,
    ) -> Outcome<Running> {
        let begun = Instant::now();
        let running = system.start(dir)?;
        self.first_job(&running)?;
        figures.add(system.name(), measure, begun.elapsed().as_secs_f64() * 1_000.0);
        Ok(running)
    }

    /// Waits until a first job has ended.
    pub fn first_job(&self, running: &Running) -> Outcome {
        self.runtime.block_on(running.first_job())
    }

    /// Measures something, and the floor right before and after it.
    pub fn beside<T>(&mut self, act: impl FnOnce(&mut Self) -> Outcome<T>) -> Outcome<(T, f64)> {
        let before = self.floor()?;
        let measured = act(self)?;
        Ok((measured, (before + self.floor()?) / 2.0))
    }

    /// Jobs one after the other, whose steps are one after the other: steps a second. A short one says how long they should be.
    fn one_job(&mut self, running: &Running, url: Option<String>) -> Outcome<f64> {
        let mut connection = self.runtime.block_on(Connection::open(running.address))?;
        let mut run = |steps: usize| -> Outcome<f64> {
            let body = running.request.body(steps, url.as_deref());
            let begun = Instant::now();
            self.runtime.block_on(running.request.submit(&mut connection, &body, steps))?;
            Ok(begun.elapsed().as_secs_f64())
        };
        run(20)?;
        let steps = (100.0 / run(100)? * self.time.as_secs_f64()).clamp(100.0, STEPS_MAX) as usize;
        let (mut done, mut took) = (0, 0.0);
        while took < self.time.as_secs_f64() {
            took += run(steps)?;
            done += steps;
        }
        Ok(done as f64 / took)
    }

    /// So many jobs at a time with so many steps each: steps a second.
    fn wide(&mut self, running: &Running) -> Outcome<f64> {
        let once = |steps: usize| -> Outcome<f64> {
            let mut done = 0;
            let (took, _) =
                self.runtime.block_on(submit(running.address, running.request, CONNECTIONS, steps, |_| {
                    done += 1;
                    done <= CONNECTIONS
                }))?;
            Ok(took)
        };
        let tenth = once(WIDE_STEPS / 10)?;
        let steps = if tenth * 10.0 > WIDE_TIME.as_secs_f64() { WIDE_STEPS / 10 } else { WIDE_STEPS };
        let (mut done, mut took) = (0, 0.0);
        while took < self.time.as_secs_f64() {
            took += once(steps)?;
            done += CONNECTIONS * steps;
        }
        Ok(done as f64 / took)
    }

    /// Jobs of one step on so many connections: how many a second, and how many milliseconds each took.
    pub fn jobs(&mut self, running: &Running, connections: usize) -> Outcome<(f64, Vec<f64>)> {
        let time = self.time;
        let (took, each) =
            self.runtime
                .block_on(submit(running.address, running.request, connections, 1, |elapsed| elapsed < time))?;
        Ok((each.len() as f64 / took, each))
    }

    /// Kills a system while jobs are submitted.
    pub fn killed_under_load(&mut self, running: &mut Running) -> Outcome {
        let (address, request) = (running.address, running.request);
        self.runtime.block_on(async {
            let load = submit(address, request, CONNECTIONS, 1, |_| true);
            let kill = async {
                tokio::time::sleep(self.time / 4).await;
                running.children.iter_mut().for_each(Child::kill);
            };
            // What is submitted fails from then on.
            let _ = futures_util::future::join(load, kill).await;
        });
        Ok(())
    }

    /// The most memory under the same load, which is not measured otherwise.
    fn loaded(&mut self, running: &Running) -> Outcome<Memory> {
        let ended = AtomicBool::new(false);
        thread::scope(|scope| {
            let most = scope.spawn(|| {
                let mut most = Memory::default();
                while !ended.load(Ordering::Relaxed) {
                    let now = running.memory();
                    most = if now.proportional > most.proportional { now } else { most };
                    thread::sleep(Duration::from_millis(50));
                }
                most
            });
            let loaded = self.jobs(running, CONNECTIONS);
            ended.store(true, Ordering::Relaxed);
            let most = most.join().map_err(|_| "the memory could not be read")?;
            loaded.map(|_| most)
        })
    }
}

/// Submits jobs of so many steps on each connection, one after the other, as long as `more` is true of the time since the begin:
/// how many seconds it took, and how many milliseconds each.
async fn submit(
    address: SocketAddr,
    request: Request,
    connections: usize,
    steps: usize,
    more: impl FnMut(Duration) -> bool,
) -> Outcome<(f64, Vec<f64>)> {
    let mut open = Vec::new();
    for _ in 0..connections {
        open.push(Connection::open(address).await?);
    }
    let body = request.body(steps, None);
    let begun = Instant::now();
    let more = RefCell::new(more);
    let jobs = open.into_iter().map(|mut connection| {
        let (body, more) = (&body, &more);
        async move {
            let mut each = Vec::new();
            while (more.borrow_mut())(begun.elapsed()) {
                let begun = Instant::now();
                request.submit(&mut connection, body, steps).await?;
                each.push(begun.elapsed().as_secs_f64() * 1_000.0);
            }
            Outcome::Ok(each)
        }
    });
    let each = futures_util::future::try_join_all(jobs).await?.concat();
    Ok((begun.elapsed().as_secs_f64(), each))
}

fn mib(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}
