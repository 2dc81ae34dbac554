//! What was measured, round by round.

use crate::report::{Unit, median};
use serde_json::{Map, Value, json};
use std::{collections::BTreeMap, time::Duration};

/// One number of a system.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Measure {
    /// Steps one after the other in one job.
    Steps,
    /// The same, where each asks an HTTP server.
    ActingSteps,
    /// Steps of 64 jobs side by side.
    WideSteps,
    /// Jobs of one step on 64 connections.
    Jobs,
    /// How many times as many of them moonlog does as the best of Restate, by turns.
    JobsByTurns,
    /// What half of these take at most.
    JobsMiddle,
    /// What 99 of 100 take at most.
    JobsSlow,
    /// Jobs of one step on one connection.
    OneByOne,
    /// How many times as many of them moonlog does as the best of DBOS, by turns.
    OneByTurns,
    /// What half of these take at most.
    OneByOneMiddle,
    /// What 99 of 100 take at most.
    OneByOneSlow,
    /// From the start on an empty folder to the end of the first job.
    ColdStart,
    /// From a start after being killed to the end of the first job.
    StartAgain,
    /// The same with 1,000,000 events, killed under load.
    Recovery,
    /// Memory before any load, shared pages divided.
    IdleProportional,
    /// Memory before any load, shared pages counted for each process.
    IdleResident,
    /// The most memory under the load of 64 connections, shared pages divided.
    LoadProportional,
}

impl Measure {
    /// In the order of the report.
    pub const ALL: [Self; 17] = [
        Self::Steps,
        Self::ActingSteps,
        Self::WideSteps,
        Self::Jobs,
        Self::JobsByTurns,
        Self::JobsMiddle,
        Self::JobsSlow,
        Self::OneByOne,
        Self::OneByTurns,
        Self::OneByOneMiddle,
        Self::OneByOneSlow,
        Self::ColdStart,
        Self::StartAgain,
        Self::Recovery,
        Self::IdleProportional,
        Self::IdleResident,
        Self::LoadProportional,
    ];

    /// In the report.
    pub const fn title(self) -> &'static str {
        match self {
            Self::Steps => "a  sequential steps",
            Self::ActingSteps => "a  sequential steps that ask over HTTP",
            Self::WideSteps => "b  steps of 64 jobs x 100",
            Self::Jobs => "c  jobs on 64 connections",
            Self::JobsByTurns => "c    by turns with Restate",
            Self::JobsMiddle => "c    p50",
            Self::JobsSlow => "c    p99",
            Self::OneByOne => "c  jobs on one connection",
            Self::OneByTurns => "c    by turns with DBOS",
            Self::OneByOneMiddle => "c    p50",
            Self::OneByOneSlow => "c    p99",
            Self::ColdStart => "d  cold start to the first job's end",
            Self::StartAgain => "d  the same, killed and started again",
            Self::Recovery => "d  the same, with 1,000,000 events",
            Self::IdleProportional => "e  idle, PSS",
            Self::IdleResident => "e  idle, RSS",
            Self::LoadProportional => "e  under load, PSS",
        }
    }

    /// In JSON.
    pub const fn key(self) -> &'static str {
        match self {
            Self::Steps => "steps_per_s",
            Self::ActingSteps => "http_steps_per_s",
            Self::WideSteps => "wide_steps_per_s",
            Self::Jobs => "jobs_64_per_s",
            Self::JobsByTurns => "jobs_64_by_turns_of_restate",
            Self::JobsMiddle => "jobs_64_p50_ms",
            Self::JobsSlow => "jobs_64_p99_ms",
            Self::OneByOne => "jobs_1_per_s",
            Self::OneByTurns => "jobs_1_by_turns_of_dbos",
            Self::OneByOneMiddle => "jobs_1_p50_ms",
            Self::OneByOneSlow => "jobs_1_p99_ms",
            Self::ColdStart => "cold_start_ms",
            Self::StartAgain => "start_again_ms",
            Self::Recovery => "million_events_start_ms",
            Self::IdleProportional => "idle_pss_mib",
            Self::IdleResident => "idle_rss_mib",
            Self::LoadProportional => "load_pss_mib",
        }
    }

    /// What it is in.
    pub const fn unit(self) -> Unit {
        match self {
            Self::Steps | Self::ActingSteps | Self::WideSteps | Self::Jobs | Self::OneByOne => Unit::PerSecond,
            Self::JobsByTurns | Self::OneByTurns => Unit::Ratio,
            Self::IdleProportional | Self::IdleResident | Self::LoadProportional => Unit::MiB,
            _ => Unit::Ms,
        }
    }

    /// How many times better than `other` a value of this is.
    pub fn times_better(self, value: f64, other: f64) -> f64 {
        if matches!(self.unit(), Unit::PerSecond | Unit::Ratio) { value / other } else { other / value }
    }
}

/// One value of each round, and what the floor did beside.
#[derive(Debug, Default)]
struct Rounds {
    values: Vec<f64>,
    floors: Vec<f64>,
}

/// The floor's name among the systems.
pub const FLOOR: &str = "fdatasync";

/// All of it.
#[derive(Debug, Default)]
pub struct Figures {
    systems: Vec<String>,
    rounds: BTreeMap<(String, Measure), Rounds>,
    skipped: Vec<(String, String)>,
    last_rounds: BTreeMap<String, Duration>,
    rounds_done: BTreeMap<String, u32>,
    took: Duration,
}

impl Figures {
    /// None so far.
    pub fn new() -> Self {
        Self::default()
    }

    /// What a round gave.
    pub fn add(&mut self, system: &str, measure: Measure, value: f64) {
        self.rounds_of(system, measure).values.push(value);
    }

    /// What a round gave, and how often the machine could sync right before and after.
    pub fn add_beside(&mut self, system: &str, measure: Measure, value: f64, floor: f64) {
        let rounds = self.rounds_of(system, measure);
        rounds.values.push(value);
        rounds.floors.push(floor);
        self.add(FLOOR, Measure::Steps, floor);
    }

    /// Something that was not measured, and why.
    pub fn skip(&mut self, system: &str, reason: &str) {
        eprintln!("skipped: {system}: {reason}");
        self.skipped.push((system.to_owned(), reason.to_owned()));
    }

    /// How long one round of a system took.
    pub fn round_took(&mut self, system: &str, time: Duration) {
        self.last_rounds.insert(system.to_owned(), time);
        *self.rounds_done.entry(system.to_owned()).or_default() += 1;
    }

    /// The same; nothing of a system that had none.
    pub fn last_round(&self, system: &str) -> Duration {
        self.last_rounds.get(system).copied().unwrap_or_default()
    }

    /// How many rounds of each system there was time for.
    pub const fn rounds_done(&self) -> &BTreeMap<String, u32> {
        &self.rounds_done
    }

    /// How long all of it took.
    pub fn took(&mut self, time: Duration) {
        self.took = time;
    }

    /// The same in whole seconds.
    pub fn seconds(&self) -> u64 {
        self.took.as_secs()
    }

    /// The middle of the rounds.
    pub fn value(&self, system: &str, measure: Measure) -> Option<f64> {
        self.rounds.get(&(system.to_owned(), measure)).map(|rounds| median(&rounds.values))
    }

    /// The middle of the rounds' ratios to the floor beside.
    pub fn of_floor(&self, system: &str, measure: Measure) -> Option<f64> {
        let rounds = self.rounds.get(&(system.to_owned(), measure))?;
        let ratios: Vec<f64> = rounds.values.iter().zip(&rounds.floors).map(|(value, floor)| value / floor).collect();
        (!ratios.is_empty()).then(|| median(&ratios))
    }

    /// The best value among the systems whose name begins so.
    pub fn best(&self, prefix: &str, measure: Measure) -> Option<f64> {
        let values = self.systems.iter().filter(|system| system.starts_with(prefix));
        values
            .filter_map(|system| self.value(system, measure))
            .reduce(|best, value| if measure.times_better(value, best) > 1.0 { value } else { best })
    }

    /// What was left out, and why.
    pub fn skipped(&self) -> &[(String, String)] {
        &self.skipped
    }

    /// All of it, on one line.
    pub fn json(&self, targets: Value) -> Value {
        let mut systems = Map::new();
        for system in &self.systems {
            let mut values = Map::new();
            for measure in Measure::ALL {
                if let Some(value) = self.value(system, measure) {
                    values.insert(measure.key().into(), rounded(value));
                }
                if let Some(ratio) = self.of_floor(system, measure) {
                    values.insert(format!("{}_of_fdatasync", measure.key()), rounded(ratio));
                }
            }
            systems.insert(system.clone(), values.into());
        }
        let skipped: Vec<Value> =
            self.skipped.iter().map(|(what, reason)| json!({ "what": what, "reason": reason })).collect();
        let took = self.seconds();
        json!({ "benchmark": "peers", "seconds": took, "rounds": self.rounds_done, "systems": systems, "targets": targets, "skipped": skipped })
    }

    fn rounds_of(&mut self, system: &str, measure: Measure) -> &mut Rounds {
        if !self.systems.iter().any(|known| known == system) {
            self.systems.push(system.to_owned());
        }
        self.rounds.entry((system.to_owned(), measure)).or_default()
    }
}

/// Three places are more than a measurement has.
pub fn rounded(value: f64) -> Value {
    json!((value * 1_000.0).round() / 1_000.0)
}
