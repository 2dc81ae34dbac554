//! `moonlog config`: the effective configuration, each value with where it comes from. Needs no server.

use crate::{
    cli::{
        args::Config,
        failure::{Failure, Status},
        output,
    },
    config::Loaded,
};

/// Runs the command.
pub fn run(loaded: &Loaded, options: &Config) -> Result<Status, Failure> {
    if options.format.json {
        output::json(&loaded.to_json())?;
    } else {
        output::text(&loaded.to_text())?;
    }
    Ok(Status::Done)
}
