//! Jobs on 64 connections, moonlog and the best of a peer by turns: where a machine's speed changes by half from minute to minute,
//! only what was measured right beside can be compared.

use super::{
    figures::{Figures, Measure},
    measure::{CONNECTIONS, Measuring},
    system::System,
};
use crate::{Outcome, options::Options, report::median};
use std::path::Path;

/// Both are up, and have done jobs before the first turn; while one is measured, nobody asks the other anything.
pub fn measure(
    options: &Options,
    dir: &Path,
    (ours, theirs): (&dyn System, &dyn System),
    measuring: &mut Measuring,
    figures: &mut Figures,
) -> Outcome {
    let mut up = Vec::new();
    for system in [ours, theirs] {
        let dir = tempfile::Builder::new().prefix("turns-").tempdir_in(dir)?;
        system.set_up(dir.path())?;
        let running = system.start(dir.path())?;
        measuring.first_job(&running)?;
        measuring.jobs(&running, CONNECTIONS)?;
        up.push((running, dir));
    }
    let mut ratios = Vec::new();
    for _ in 0..options.either(9, 5) {
        let mut rates = Vec::new();
        for (running, _) in &up {
            rates.push(measuring.jobs(running, CONNECTIONS)?.0);
        }
        ratios.push(rates[0] / rates[1]);
    }
    eprintln!("jobs on 64 connections by turns, {} over {}: {ratios:.2?}", ours.name(), theirs.name());
    figures.add(ours.name(), Measure::JobsByTurns, median(&ratios));
    Ok(())
}
