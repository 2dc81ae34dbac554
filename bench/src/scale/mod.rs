//! What becomes of rates, times, memory and disk as the log and the number of jobs grow: each number beside the one at the
//! first size, so that what is not flat is seen.

mod events;
mod growth;
mod jobs;
mod probe;
mod retention;
mod waiting;

use crate::{Outcome, options::Options};

/// Runs the parts that are asked for.
pub fn run(options: &Options) -> Outcome {
    type Part = fn(&Options) -> Outcome;
    let parts: [(&str, Part); 4] =
        [("events", events::run), ("jobs", jobs::run), ("waiting", waiting::run), ("retention", retention::run)];
    for (name, part) in parts {
        if name.contains(&options.only) {
            part(options)?;
        }
    }
    Ok(())
}
