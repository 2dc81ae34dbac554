//! How long it takes until a job ends again after moonlog was killed with 1,000,000 events in its log.

use super::{
    figures::{Figures, Measure},
    measure::Measuring,
    moonlog::Moonlog,
};
use crate::{
    Outcome,
    history::History,
    options::Options,
    startup::{BEHIND, write},
};
use std::path::Path;

const EVENTS: usize = 1_000_000;

/// Writes a log whose last snapshot is as old as it may get, and kills a server on it under load, several times over.
pub fn measure(options: &Options, dir: &Path, measuring: &mut Measuring, figures: &mut Figures) -> Outcome {
    let dir = tempfile::Builder::new().prefix("long-").tempdir_in(dir)?;
    let (data, moonlog) = (dir.path().join("data"), Moonlog::new(options)?);
    let mut history = History::new();
    write(&data, &mut history, EVENTS - BEHIND, true)?;
    write(&data, &mut history, BEHIND, false)?;
    let mut running = measuring.started(&moonlog, dir.path(), Measure::Recovery, figures)?;
    for _ in 0..options.either(4, 2) {
        measuring.killed_under_load(&mut running)?;
        running = measuring.started(&moonlog, dir.path(), Measure::Recovery, figures)?;
    }
    Ok(())
}
