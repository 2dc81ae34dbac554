//! Jobs of moonlog and of the best of a peer by turns: where a machine's speed changes by half from minute to minute, only what
//! was measured right beside can be compared.

use super::{
    figures::{Figures, Measure},
    measure::{CONNECTIONS, Measuring},
    system::System,
};
use crate::{Outcome, options::Options, report::median};
use std::path::Path;

/// What is compared by turns.
pub struct Turns {
    /// Whose best is compared, by the beginning of its name.
    pub peer: &'static str,
    /// On how many connections.
    pub connections: usize,
    /// What tells which is best.
    pub rate: Measure,
    /// How many times as many moonlog does.
    pub ratio: Measure,
}

/// All of it.
pub const ALL: [Turns; 2] = [
    Turns { peer: "Restate", connections: CONNECTIONS, rate: Measure::Jobs, ratio: Measure::JobsByTurns },
    Turns { peer: "DBOS", connections: 1, rate: Measure::OneByOne, ratio: Measure::OneByTurns },
];

impl Turns {
    /// Both are up, and have done jobs before the first turn; while one is measured, nobody asks the other anything.
    pub fn measure(
        &self,
        options: &Options,
        dir: &Path,
        systems: &[Box<dyn System>],
        measuring: &mut Measuring,
        figures: &mut Figures,
    ) -> Outcome {
        let rate_of = |system: &dyn System| figures.value(system.name(), self.rate).unwrap_or_default();
        let peers = systems.iter().filter(|system| system.name().starts_with(self.peer)).map(AsRef::as_ref);
        let (ours, theirs) = (systems[0].as_ref(), peers.max_by(|a, b| rate_of(*a).total_cmp(&rate_of(*b))));
        let theirs = theirs.ok_or("it was not measured")?;
        eprintln!("by turns: {} on {}", theirs.name(), self.connections);
        let mut up = Vec::new();
        for system in [ours, theirs] {
            let dir = tempfile::Builder::new().prefix("turns-").tempdir_in(dir)?;
            system.set_up(dir.path())?;
            let running = system.start(dir.path())?;
            measuring.first_job(&running)?;
            measuring.jobs(&running, self.connections)?;
            up.push((running, dir));
        }
        let mut ratios = Vec::new();
        for _ in 0..options.either(9, 5) {
            let mut rates = Vec::new();
            for (running, _) in &up {
                rates.push(measuring.jobs(running, self.connections)?.0);
            }
            ratios.push(rates[0] / rates[1]);
        }
        let names = (ours.name(), theirs.name());
        eprintln!("jobs on {} by turns, {} over {}: {ratios:.2?}", self.connections, names.0, names.1);
        figures.add(ours.name(), self.ratio, median(&ratios));
        Ok(())
    }
}
