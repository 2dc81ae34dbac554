//! The simulator: the whole runner, its log and its scripts on one thread, in virtual time, over a disk and commands that do as a
//! seed says. The same seed gives the same log, byte by byte; so a seed that fails shows what it has found as often as it is
//! run.
//!
//! `MOONLOG_SEED=n` runs one seed and prints its log, `MOONLOG_RUNS=n` so many of them.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod agents;
mod client;
mod disk;
#[path = "../life/history.rs"]
#[expect(dead_code, reason = "a failure here lists the whole log, and not the jobs alone")]
mod history;
mod host;
mod life;
mod net;
mod oracle;
mod order;
#[path = "../support/scripts.rs"]
mod scripts;
mod told;
mod world;

use life::{End, Places, Plan, Setup};
use moonlog_core::storage::{Fault, MemoryStorage};
use std::{
    cell::RefCell,
    panic::{self, AssertUnwindSafe, catch_unwind},
    path::Path,
    sync::{
        Arc, Once,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};
use world::World;

/// How many seeds are run where nobody says, and for how long at most new ones are begun.
const RUNS: u64 = 300;
const RUN_FOR: Duration = Duration::from_secs(20);
/// A seed that takes so long is stuck.
const STUCK_AFTER: Duration = Duration::from_secs(120);

/// Workflows that scripts may call.
const WORKFLOWS: [(&str, &str); 3] = [
    ("quick", "return { run = function(args) return args.n end }"),
    ("naps", "return { run = function(args) sleep(args.s or 0.02) return args.n end }"),
    ("fails", "return { run = function() error('no', 0) end }"),
];

thread_local! {
    /// The first panic of this thread, also where somebody caught it.
    static PANIC: RefCell<Option<String>> = const { RefCell::new(None) };
}

fn hear_of_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        panic::set_hook(Box::new(|info| {
            eprintln!("{info}");
            PANIC.with_borrow_mut(|first| {
                first.get_or_insert_with(|| info.to_string());
            });
        }));
    });
}

/// What a run came to.
struct Ran {
    failure: Option<String>,
    fingerprint: String,
    listing: String,
}

fn run(seed: u64, folder: &Path) -> Ran {
    PANIC.set(None);
    let places = Places { folder: folder.to_owned(), work: folder.join(format!("work/{seed}")) };
    let _ = std::fs::remove_dir_all(&places.work);
    std::fs::create_dir_all(&places.work).unwrap();
    let world = Arc::new(World::new(seed));
    let setup = Setup::by_chance(&world);
    let mut memory = Some(MemoryStorage::new());
    let lived = catch_unwind(AssertUnwindSafe(|| {
        let lives = 1 + world.below(4);
        for _ in 0..lives {
            let plan = plan(&world);
            memory = Some(life::live(&world, &setup, &places, plan, memory.take().unwrap()));
            if world.memory().failure.is_some() {
                return;
            }
        }
        let last = Plan { acts: 0, power_fails_after: None, fault: None, end: End::Stop, is_last: true };
        memory = Some(life::live(&world, &setup, &places, last, memory.take().unwrap()));
        if world.memory().failure.is_none()
            && let Err(why) = oracle::check_all(&world, &setup, memory.as_ref().unwrap())
        {
            world.fail(why);
        }
    }));
    let panicked = PANIC.take().or_else(|| lived.err().map(|_| "a panic".into()));
    let failure = panicked.or_else(|| world.memory().failure.take());
    let memory = memory.unwrap_or_default();
    let listing = if failure.is_some() || is_one() { oracle::listing(&world, &setup, &memory) } else { String::new() };
    Ran { failure, fingerprint: oracle::fingerprint(&memory), listing }
}

/// How a life goes that is not the last.
fn plan(world: &World) -> Plan {
    let mut chance = world.chance();
    let power_fails_after = match chance.below(8) {
        0 => Some(chance.below(8)),
        1..=3 => Some(chance.below(160)),
        _ => None,
    };
    let fault = chance.one_in(8).then(|| {
        let fault = chance.of(&[Fault::Write, Fault::DiskFull, Fault::Sync]);
        (fault, chance.below(if fault == Fault::Sync { 40 } else { 100 }))
    });
    let end = chance.of(&[End::Stop, End::Kill, End::PowerCut]);
    Plan { acts: 4 + chance.below(24), power_fails_after, fault, end, is_last: false }
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().and_then(|text| text.parse().ok())
}

fn is_one() -> bool {
    number("MOONLOG_SEED").is_some()
}

fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, source) in WORKFLOWS {
        std::fs::write(folder.path().join(format!("{name}.luau")), source).unwrap();
    }
    std::fs::write(folder.path().join(agents::TURNS), agents::turns().to_string()).unwrap();
    folder
}

#[test]
fn whatever_a_seed_does_the_invariants_hold() {
    hear_of_panics();
    let folder = folder();
    let from = number("MOONLOG_FROM").unwrap_or(0);
    let (first, count) = match number("MOONLOG_SEED") {
        Some(seed) => (seed, 1),
        None => (from, number("MOONLOG_RUNS").unwrap_or(RUNS)),
    };
    let is_asked = is_one() || number("MOONLOG_RUNS").is_some();
    let (next, failed, ended, begun) = (AtomicU64::new(0), AtomicU64::new(0), AtomicU64::new(0), Instant::now());
    let threads = std::thread::available_parallelism().map_or(1, usize::from).min(count as usize);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    let is_late = !is_asked && begun.elapsed() > RUN_FOR;
                    if index >= count || is_late || failed.load(Ordering::Relaxed) >= 5 {
                        return;
                    }
                    let seed = first + index;
                    let ran = watched(seed, || run(seed, folder.path()));
                    ended.fetch_add(1, Ordering::Relaxed);
                    if let Some(why) = ran.failure {
                        failed.fetch_add(1, Ordering::Relaxed);
                        eprintln!("{}\nMOONLOG_SEED={seed}: {why}\n", ran.listing);
                    } else if is_one() {
                        eprintln!("{}\n{}", ran.listing, ran.fingerprint);
                    }
                }
            });
        }
    });
    let seconds = begun.elapsed().as_secs_f64();
    let count = ended.into_inner();
    eprintln!("{count} seeds in {seconds:.1} s: {:.0} a minute", count as f64 * 60.0 / seconds);
    assert_eq!(failed.into_inner(), 0, "MOONLOG_SEED=n runs one seed again");
}

/// Ends the process where a seed goes on for ever: a task that never waits cannot be stopped.
fn watched<T>(seed: u64, run: impl FnOnce() -> T) -> T {
    let (done, end) = std::sync::mpsc::channel::<()>();
    std::thread::spawn(move || {
        if end.recv_timeout(STUCK_AFTER) == Err(std::sync::mpsc::RecvTimeoutError::Timeout) {
            eprintln!("MOONLOG_SEED={seed}: it is stuck: something goes on and on, and the time does not");
            std::process::exit(101);
        }
    });
    let ran = run();
    drop(done);
    ran
}

#[test]
fn the_same_seed_gives_the_same_log_byte_by_byte() {
    hear_of_panics();
    let folder = folder();
    let seeds = 0..number("MOONLOG_RUNS").unwrap_or(40).div_ceil(10);
    for seed in seeds {
        // Each on a thread of its own: what is random in a thread is another one's.
        let [first, second] =
            [0, 1].map(|_| std::thread::scope(|scope| scope.spawn(|| run(seed, folder.path())).join().unwrap()));
        assert!(!first.fingerprint.is_empty());
        assert_eq!(first.fingerprint, second.fingerprint, "seed {seed}\n{}\n\n{}", first.listing, second.listing);
    }
}
