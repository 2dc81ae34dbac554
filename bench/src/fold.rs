//! How fast events become state.

use crate::{
    Outcome,
    history::{History, Versions},
    options::Options,
    report::{Table, Unit, median},
};
use moonlog_core::projection::Projection;
use std::time::{Duration, Instant};

/// What a start reads at a time.
const BATCH: usize = 4_096;
/// The rate to reach.
const TARGET: f64 = 500_000.0;

/// Folds typical events into all projections.
pub fn run(options: &Options) -> Outcome {
    let events = options.either(1_000_000, 200_000);
    let rates: Vec<f64> = (0..options.either(5, 3)).map(|_| fold(events)).collect();
    let mut table = Table::new(
        "fold",
        "typical events into the projections, in memory",
        &[("rate", Unit::PerSecond), ("of target", Unit::Ratio)],
    );
    table.row(format!("{events} events"), [Some(median(&rates)), Some(median(&rates) / TARGET)]);
    table.note(format!("target {TARGET}/s"));
    table.print();
    Ok(())
}

/// The rate of one fold. Ended jobs stay in memory, as they do between checkpoints.
fn fold(count: usize) -> f64 {
    let (mut history, mut versions) = (History::new(), Versions::new());
    let mut projection = Projection::new();
    let mut time = Duration::ZERO;
    while (projection.applied() as usize) < count {
        let events = history.events(projection.applied(), BATCH, &mut versions);
        let begun = Instant::now();
        for event in &events {
            projection.apply(event);
        }
        time += begun.elapsed();
    }
    projection.applied() as f64 / time.as_secs_f64()
}
