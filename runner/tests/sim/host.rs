//! What runs commands in a simulation: none runs. Each takes its time, writes, ends, or does not listen, as the seed says.

use crate::world::{Act, World};
use moonlog_core::log::Log;
use moonlog_runner::process::{CommandHost, HostedCommand, HostedEnds, HostedOutput, Order, Report};
use std::{
    fmt,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicI32, Ordering},
    },
    time::Duration,
};

pub struct Host {
    pub world: Arc<World>,
    pub log: Arc<OnceLock<Log>>,
    pub last_pid: AtomicI32,
}

/// What a command does, decided when it starts.
struct Course {
    pid: i32,
    starts_after_ms: u64,
    errno: Option<i32>,
    runs_ms: u64,
    pieces: u64,
    exit: i32,
    ignores_signals: bool,
    gone_after_ms: u64,
}

impl fmt::Debug for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Host")
    }
}

impl CommandHost for Host {
    fn start(&self, command: HostedCommand, ends: HostedEnds) {
        let key = command.env.get("IDEMPOTENCY_KEY").cloned().unwrap_or_default();
        let head = self.log.get().map_or(0, Log::head);
        self.world.memory().acts.push(Act { key, head });
        let course = self.course(&command);
        tokio::spawn(run(course, ends));
    }
}

impl Host {
    fn course(&self, command: &HostedCommand) -> Course {
        let mut chance = self.world.chance();
        let sleep_ms = command.args.first().filter(|_| command.program.ends_with("sleep"));
        let sleep_ms = sleep_ms.and_then(|text| text.parse::<f64>().ok()).map(|seconds| (seconds * 1_000.0) as u64);
        Course {
            pid: self.last_pid.fetch_add(1, Ordering::Relaxed) + 1,
            starts_after_ms: if chance.one_in(4) { chance.below(4) } else { 0 },
            errno: chance.one_in(16).then_some(libc::EAGAIN),
            runs_ms: sleep_ms.unwrap_or_else(|| if chance.one_in(12) { 20_000 } else { chance.below(12) }),
            pieces: chance.below(3),
            exit: i32::from(chance.one_in(4)),
            ignores_signals: chance.one_in(5),
            gone_after_ms: if chance.one_in(5) { chance.below(5) } else { 0 },
        }
    }
}

async fn run(course: Course, ends: HostedEnds) {
    let HostedEnds { reports, mut orders, outputs } = ends;
    let tell = |report| {
        let _ = reports.send(report);
    };
    tell(Report::Starting);
    pause(course.starts_after_ms).await;
    if let Some(errno) = course.errno {
        return tell(Report::Failed(errno));
    }
    tell(Report::Started(course.pid));
    let work = work(&course, outputs);
    tokio::pin!(work);
    let ended = loop {
        tokio::select! {
            biased;
            order = orders.recv() => match order {
                Some(Order::Signal(_)) if course.ignores_signals => {}
                Some(Order::Signal(signal)) => break Report::Signalled(signal),
                Some(Order::Kill) | None => break Report::Signalled(libc::SIGKILL),
            },
            () = &mut work => break Report::Exited(course.exit),
        }
    };
    tell(ended);
    pause(course.gone_after_ms).await;
    tell(Report::Gone);
}

/// Writes now and then, until its time is over.
async fn work(course: &Course, outputs: [HostedOutput; 2]) {
    for piece in 0..course.pieces {
        pause(course.runs_ms / (course.pieces + 1)).await;
        outputs[piece as usize % 2].write(b"a line\n");
    }
    pause(course.runs_ms / (course.pieces + 1)).await;
}

async fn pause(ms: u64) {
    if ms > 0 {
        tokio::time::sleep(Duration::from_millis(ms)).await;
    }
}
