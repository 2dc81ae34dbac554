//! SQLite with a write-ahead log that is synced at each commit: one row for each step, and nothing else.

use super::{
    figures::{Figures, Measure},
    measure::Measuring,
};
use crate::{
    Outcome,
    floor::rate_of,
    sqlite::{Sqlite, SqliteWriter},
};
use std::{path::Path, time::Instant};

const NAME: &str = "SQLite";
const ROW_BYTES: usize = 256;
const WRITERS: usize = 64;
const ROWS_EACH: usize = 100;

/// One row after the other, and rows of 64 writers, of which those that wait share a transaction.
pub fn measure(dir: &Path, measuring: &mut Measuring, figures: &mut Figures) -> Outcome {
    let dir = tempfile::Builder::new().prefix("sqlite-").tempdir_in(dir)?;
    let row = [b'x'; ROW_BYTES];
    let mut sqlite = Sqlite::create(&dir.path().join("one"))?;
    let (rate, beside) = measuring.beside(|this| rate_of(this.time, || sqlite.append(1, &row)))?;
    figures.add_beside(NAME, Measure::Steps, rate, beside);
    let writer = SqliteWriter::start(&dir.path().join("many"), row.to_vec())?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let (rate, beside) = measuring.beside(|_| {
        let begun = Instant::now();
        runtime.block_on(async {
            let write = |writer: SqliteWriter| async move {
                for _ in 0..ROWS_EACH {
                    writer.clone().append().await?;
                }
                Outcome::Ok(())
            };
            let writers: Vec<_> = (0..WRITERS).map(|_| tokio::spawn(write(writer.clone()))).collect();
            for writer in writers {
                writer.await??;
            }
            Outcome::Ok(())
        })?;
        Ok((WRITERS * ROWS_EACH) as f64 / begun.elapsed().as_secs_f64())
    })?;
    figures.add_beside(NAME, Measure::WideSteps, rate, beside);
    Ok(())
}
