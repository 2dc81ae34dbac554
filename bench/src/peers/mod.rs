//! moonlog beside what its users would pick instead: the same work with the same durability, in one run.
//!
//! Each system is started on an empty folder, measured and ended, one after the other, several times over; the floor is measured
//! right before and after each measurement, because a disk's rate moves from minute to minute; jobs on 64 connections, which are a
//! matter of processors, by turns with the best of Restate and of DBOS. What cannot be had here is skipped, with the reason. Peers are
//! installed below `bench/peers/target`, and nowhere else.

mod children;
mod dbos;
mod figures;
mod measure;
mod moonlog;
mod packages;
mod postgres;
mod recovery;
mod restate;
#[cfg(feature = "sqlite")]
mod sqlite;
mod system;
mod table;
mod turns;

use crate::{Outcome, floor::RawFile, options::Options};
use figures::Figures;
use measure::Measuring;
use packages::Packages;
use std::time::{Duration, Instant};
use system::System;

/// How long the rounds may take, building and installing aside.
const TIME: Duration = Duration::from_secs(300);
const QUICK_TIME: Duration = Duration::from_secs(120);

/// Measures them all, and prints how they compare.
pub fn run(options: &Options) -> Outcome {
    let dir = options.temporary_dir()?;
    children::end_with_this_program(dir.path());
    let packages = Packages::of_this_workspace();
    let mut figures = Figures::new();
    let mut systems: Vec<Box<dyn System>> = vec![Box::new(moonlog::Moonlog::new(options)?)];
    let peers: [Box<dyn System>; 5] = [
        Box::new(restate::Restate::new(1)),
        Box::new(dbos::DbosPostgres::default()),
        Box::new(dbos::DbosSqlite::default()),
        // Last: where time runs out, every peer was measured at least once.
        Box::new(restate::Restate::new(2)),
        Box::new(restate::Restate::new(4)),
    ];
    for mut peer in peers {
        eprintln!("preparing {}", peer.name());
        match peer.prepare(&packages) {
            Ok(()) => systems.push(peer),
            Err(reason) => figures.skip(peer.name(), &reason.to_string()),
        }
    }
    let (begun, limit) = (Instant::now(), options.either(TIME, QUICK_TIME));
    let mut raw = RawFile::create(dir.path())?;
    let mut measuring = Measuring::new(options, &mut raw)?;
    recovery::measure(options, dir.path(), &mut measuring, &mut figures)?;
    for round in 0..options.either(3, 1) {
        for system in &systems {
            // What was not measured yet may go past the limit, by what it takes itself.
            if round > 0 && begun.elapsed() + figures.last_round(system.name()) > limit {
                continue;
            }
            let dir = tempfile::Builder::new().prefix("peer-").tempdir_in(dir.path())?;
            eprintln!("round {}: {}", round + 1, system.name());
            let started = Instant::now();
            match measuring.all(system.as_ref(), dir.path(), &mut figures) {
                Ok(()) => figures.round_took(system.name(), started.elapsed()),
                Err(reason) => figures.skip(system.name(), &reason.to_string()),
            }
        }
        #[cfg(feature = "sqlite")]
        sqlite::measure(dir.path(), &mut measuring, &mut figures)?;
    }
    for turns in &turns::ALL {
        if let Err(reason) = turns.measure(options, dir.path(), &systems, &mut measuring, &mut figures) {
            figures.skip(&format!("jobs by turns with {}", turns.peer), &reason.to_string());
        }
    }
    #[cfg(not(feature = "sqlite"))]
    figures.skip("SQLite", "build with --features sqlite");
    figures.took(begun.elapsed());
    table::print(&figures);
    Ok(())
}
