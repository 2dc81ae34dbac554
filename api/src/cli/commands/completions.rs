//! `moonlog completions`: a completion script for a shell.

use crate::cli::{
    args::{Cli, Completions},
    failure::{Failure, Status},
    output,
};
use clap::CommandFactory;

/// Runs the command.
pub fn run(options: &Completions) -> Result<Status, Failure> {
    let mut script = Vec::new();
    clap_complete::generate(options.shell, &mut Cli::command(), "moonlog", &mut script);
    output::text(&String::from_utf8_lossy(&script))?;
    Ok(Status::Done)
}
