//! Programs made by chance: every combination of steps, branches, retries, timeouts and cancelling must replay, whole and
//! after a crash at any event; and what a recovered job writes must replay too.

use crate::world::{Say, World, listing};
use moonlog_core::event::{StepOutcome, StepStarted};
use moonlog_scripts::{
    Limits, RunState,
    replay::{Outcome, Replay, ReplayOptions},
};

struct Chance(u64);

impl Chance {
    fn below(&mut self, n: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 16) % n
    }

    fn block(&mut self, depth: u32) -> String {
        let n = 1 + self.below(3);
        (0..n).map(|_| self.statement(depth)).collect::<Vec<_>>().join("\n")
    }

    fn statement(&mut self, depth: u32) -> String {
        let kinds = if depth == 0 { 6 } else { 14 };
        match self.below(kinds) {
            0 => "exec('x')".into(),
            1 => "sleep(1)".into(),
            2 => "log(now() .. ' ' .. math.random(1, 1000))".into(),
            3 => "exec('x', nil, {label = 'late'})".into(),
            4 => "step('pure', function() log('in') return math.random() end)".into(),
            5 => "assert(exec('x', nil, {label = 'maybe'}))".into(),
            6 => format!("pcall(function()\n{}\nerror('thrown', 0)\nend)", self.block(depth - 1)),
            7 => {
                let retry = ["nil", "{retry = 2}", "{timeout = 9}", "{retry = 2, timeout = 9}"][self.below(4) as usize];
                let name = ["s", "slow", "t"][self.below(3) as usize];
                let end = ["return {1}", "return now() > 0", "if c.attempt == 1 then error('again', 0) end"]
                    [self.below(3) as usize];
                format!("pcall(step, '{name}', {retry}, function(c)\n{}\n{end}\nend)", self.block(depth - 1))
            }
            8..=10 => {
                let n = 1 + self.below(3);
                let branches: Vec<String> =
                    (0..n).map(|_| format!("function()\n{}\nend", self.block(depth - 1))).collect();
                let join = ["all_done", "all_success", "one_success"][self.below(3) as usize];
                let limit = ["", ", limit = 1", ", limit = 2"][self.below(3) as usize];
                format!("pcall(parallel, {{ {} }}, {{join = '{join}'{limit}}})", branches.join(", "))
            }
            11 => {
                let wait = ["", "h:wait()", "h:wait(1)", "log(h:status())"][self.below(4) as usize];
                format!(
                    "do local h = spawn(function()\n{}\nend) {wait} {} end",
                    self.block(depth - 1),
                    self.statement(0)
                )
            }
            12 => format!("pcall(coroutine.wrap(function()\n{}\nend))", self.block(depth - 1)),
            _ => format!(
                "pipeline({{1, 2}}, function()\n{}\nend, function()\n{}\nend)",
                self.block(depth - 1),
                self.block(0)
            ),
        }
    }
}

fn answers(step: &StepStarted) -> Say {
    match step.kind.as_str() {
        "step" if step.name == "slow" && step.input.as_str().contains("timeout") => {
            Say::Bad(StepOutcome::TimedOut, "timeout")
        }
        "wait" => Say::Bad(StepOutcome::TimedOut, "timeout"),
        _ if step.name == "late" => Say::Late("1"),
        _ if step.name == "maybe" && step.path.len().is_multiple_of(2) => Say::Bad(StepOutcome::Error, "maybe"),
        _ => Say::Ok("1"),
    }
}

#[test]
fn any_program_replays_after_a_crash_at_any_event() {
    const SEED: u64 = 0x5eed_0001;
    let engine = crate::world::engine(Limits::default());
    let mut events = 0;
    let mut failures: Vec<String> = Vec::new();
    for number in 0..programs() {
        let mut chance = Chance(SEED + number * 7919 + 1);
        let depth = 1 + (number % 3) as u32;
        let source = chance.block(depth);
        let mut world = World::new(&source, answers);
        world.engine = engine.clone();
        world.seed = 0;
        world.newest_first = number % 2 == 1;
        world.interrupts = number % 4 >= 2;
        match crash_everywhere(&world) {
            Ok(count) => events += count,
            Err(why) => failures.push(format!("program {number}: {why}\n\n{source}")),
        }
    }
    failures.sort_by_key(String::len);
    assert!(failures.is_empty(), "{} programs fail; the shortest:\n{}", failures.len(), failures[0]);
    assert!(events > 500, "{events} events say little");
}

/// Runs a program, then recovers it from every beginning of its log. Each recovery has to end, with every attempt begun
/// and ended once, and with a log that replays. How many events the first log has.
fn crash_everywhere(world: &World) -> Result<usize, String> {
    let options = ReplayOptions { name: Some("test".into()), ..ReplayOptions::default() };
    let told = world.run(&[]).map_err(|error| error.to_string())?;
    if matches!(told.state, RunState::Blocked | RunState::More) {
        return Err(format!("it hangs\n{}", listing(&told.events)));
    }
    for cut in 1..told.events.len() {
        if World::cuts_an_append(&told.events, cut) {
            continue;
        }
        let again = world.run(&told.events[..cut]);
        let again = again.map_err(|error| format!("cut after {cut}: {error}\n{}", listing(&told.events)))?;
        let log = listing(&again.events);
        if matches!(again.state, RunState::Blocked | RunState::More) {
            return Err(format!("cut after {cut} it hangs\n{log}"));
        }
        let verdict = Replay::run(&world.engine, &world.source, &again.events, &options);
        if verdict.outcome != Outcome::Deterministic {
            return Err(format!("cut after {cut} it does not replay: {:?}\n{log}", verdict.outcome));
        }
        let unpaired = World::unpaired(&again.events);
        if !unpaired.is_empty() {
            return Err(format!("cut after {cut} there are {unpaired:?}\n{log}"));
        }
    }
    Ok(told.events.len())
}

fn programs() -> u64 {
    std::env::var("MOONLOG_TEST_PROGRAMS").ok().and_then(|n| n.parse().ok()).unwrap_or(60)
}
