//! What is printed: a table with a column for each system, what the issue asks for, and all of it as one line of JSON.

use super::figures::{FLOOR, Figures, Measure, rounded};
use crate::report::{Unit, aligned, shown};
use serde_json::{Value, json};

/// The columns: what stands above them, and how the names of the systems behind them begin. Of several, the best counts.
const COLUMNS: [(&str, &str); 6] = [
    ("moonlog", "moonlog"),
    ("Restate", "Restate"),
    ("DBOS, PostgreSQL", "DBOS, PostgreSQL"),
    ("DBOS, SQLite", "DBOS, SQLite"),
    ("SQLite", "SQLite"),
    (FLOOR, FLOOR),
];

/// What moonlog is to reach.
struct Target {
    title: &'static str,
    key: &'static str,
    measured: Option<f64>,
    unit: Unit,
    goal: f64,
    at_least: bool,
}

/// Prints both forms.
#[expect(clippy::print_stdout, reason = "the report is what this program is for")]
pub fn print(figures: &Figures) {
    println!("{}", text(figures));
    println!("{}", figures.json(targets_json(figures)));
}

fn text(figures: &Figures) -> String {
    let mut lines = vec![std::iter::once("").chain(COLUMNS.map(|(heading, _)| heading)).map(str::to_owned).collect()];
    for measure in Measure::ALL {
        lines.push(line(figures, measure));
    }
    let mut text = "peers: the same work, side by side; (Nx): how many times better moonlog is\n".to_owned();
    text.push_str(&aligned(&lines));
    text.push_str("\n  moonlog beside the rate of fdatasync, measured right before and after\n");
    for measure in [Measure::Steps, Measure::ActingSteps, Measure::WideSteps, Measure::Jobs, Measure::OneByOne] {
        let ratio = shown(figures.of_floor("moonlog", measure), Unit::Ratio);
        text.push_str(&format!("  {:<44}{ratio:>12}\n", measure.title()));
    }
    text.push_str("\n  targets\n");
    for target in targets(figures) {
        let verdict = match target.met() {
            Some(true) => "met",
            Some(false) => "missed",
            None => "not measured",
        };
        let (measured, goal) = (shown(target.measured, target.unit), shown(Some(target.goal), target.unit));
        let bound = if target.at_least { "at least" } else { "at most" };
        text.push_str(&format!("  {:<44}{measured:>12}  {bound} {goal}: {verdict}\n", target.title));
    }
    for (what, reason) in figures.skipped() {
        text.push_str(&format!("  skipped: {what}: {reason}\n"));
    }
    let rounds: Vec<String> =
        figures.rounds_done().iter().map(|(system, rounds)| format!("{system} {rounds}")).collect();
    text.push_str(&format!("  rounds: {}; took {} s\n", rounds.join(", "), figures.seconds()));
    text
}

fn line(figures: &Figures, measure: Measure) -> Vec<String> {
    let ours = figures.value("moonlog", measure);
    let cells = COLUMNS.map(|(_, prefix)| {
        let value = figures.best(prefix, measure);
        match (ours, value) {
            (Some(ours), Some(value)) if prefix != "moonlog" => {
                let times = measure.times_better(ours, value);
                format!("{} ({times:.1}x)", shown(Some(value), measure.unit()))
            }
            _ => shown(value, measure.unit()),
        }
    });
    std::iter::once(measure.title().to_owned()).chain(cells).collect()
}

impl Target {
    /// Whether it is reached, where it was measured.
    fn met(&self) -> Option<bool> {
        self.measured.map(|measured| if self.at_least { measured >= self.goal } else { measured <= self.goal })
    }
}

fn targets(figures: &Figures) -> Vec<Target> {
    let ratio = |title, key, measured, goal| Target { title, key, measured, unit: Unit::Ratio, goal, at_least: true };
    let times = |title, key, prefix: &str, measure: Measure, goal| {
        let (ours, theirs) = (figures.value("moonlog", measure), figures.best(prefix, measure));
        ratio(title, key, ours.zip(theirs).map(|(ours, theirs)| measure.times_better(ours, theirs)), goal)
    };
    let most = |title, key, measure: Measure, goal| {
        let measured = figures.value("moonlog", measure);
        Target { title, key, measured, unit: measure.unit(), goal, at_least: false }
    };
    let of_floor = figures.of_floor("moonlog", Measure::Steps);
    let by_turns = |measure| figures.value("moonlog", measure);
    vec![
        ratio("a  steps, of the rate of fdatasync", "steps_of_fdatasync", of_floor, 0.8),
        times("a  steps, of Restate's", "steps_of_restate", "Restate", Measure::Steps, 3.0),
        times("b  wide steps, of Restate's", "wide_steps_of_restate", "Restate", Measure::WideSteps, 5.0),
        ratio("c  jobs on 64, of Restate's, by turns", "jobs_64_of_restate", by_turns(Measure::JobsByTurns), 5.0),
        ratio("c  jobs on one, of DBOS's, by turns", "jobs_1_of_dbos", by_turns(Measure::OneByTurns), 3.0),
        most("d  cold start", "cold_start_ms", Measure::ColdStart, 50.0),
        most("d  after kill -9, with 1,000,000 events", "million_events_start_ms", Measure::Recovery, 500.0),
        // 25 MB.
        most("e  idle", "idle_pss_mib", Measure::IdleProportional, 25e6 / f64::from(1 << 20)),
    ]
}

fn targets_json(figures: &Figures) -> Value {
    let target = |target: &Target| {
        let met = target.met();
        let measured = target.measured.map_or(Value::Null, rounded);
        (target.key.to_owned(), json!({ "measured": measured, "target": rounded(target.goal), "met": met }))
    };
    Value::Object(targets(figures).iter().map(target).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figures() -> Figures {
        let mut figures = Figures::new();
        for (floor, rate) in [(1_000.0, 4_000.0), (500.0, 1_000.0), (2_000.0, 6_000.0)] {
            figures.add_beside("moonlog", Measure::Steps, rate, floor);
        }
        figures.add("moonlog", Measure::ColdStart, 20.0);
        figures.add("Restate, 1 partition", Measure::Steps, 400.0);
        figures.add("Restate, 4 partitions", Measure::Steps, 800.0);
        figures.add("Restate, 1 partition", Measure::ColdStart, 1_000.0);
        figures.add("Restate, 4 partitions", Measure::ColdStart, 3_000.0);
        figures.skip("DBOS, PostgreSQL", "there is no PostgreSQL");
        figures
    }

    #[test]
    fn the_best_of_a_peer_stands_beside_the_middle_of_the_rounds() {
        let text = text(&figures());
        let line = |start: &str| text.lines().find(|line| line.trim_start().starts_with(start)).unwrap().to_owned();
        assert!(line("a  sequential steps ").contains("4,000/s"), "{text}");
        assert!(line("a  sequential steps ").contains("800/s (5.0x)"), "{text}");
        assert!(line("d  cold start").contains("1,000 ms (50.0x)"), "{text}");
        assert!(line("a  steps, of the rate").ends_with("3.00x  at least 0.80x: met"), "{text}");
        assert!(line("b  wide").ends_with("not measured"), "{text}");
        assert!(line("skipped").contains("there is no PostgreSQL"), "{text}");
    }

    #[test]
    fn one_line_of_json_has_it_all() {
        let json = figures().json(targets_json(&figures()));
        assert_eq!(json["systems"]["moonlog"]["steps_per_s"], 4_000.0);
        assert_eq!(json["systems"]["moonlog"]["steps_per_s_of_fdatasync"], 3.0);
        assert_eq!(json["targets"]["steps_of_restate"], json!({ "measured": 5.0, "target": 3.0, "met": true }));
        assert_eq!(json["targets"]["idle_pss_mib"]["met"], Value::Null);
        assert_eq!(json["skipped"][0]["what"], "DBOS, PostgreSQL");
        assert!(!json.to_string().contains('\n'));
    }
}
