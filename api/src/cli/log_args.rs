//! What can be typed about the log as a whole, and to take jobs out of it and into it.

use super::args::Format;
use clap::{Args, ValueHint};
use std::path::PathBuf;

/// `moonlog export`
#[derive(Debug, Args)]
pub struct Export {
    /// The job
    pub job: String,
    /// The file to write [default: standard output]
    #[arg(long, short, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub output: Option<PathBuf>,
}

/// `moonlog import`
#[derive(Debug, Args)]
pub struct Import {
    /// The bundle; `-` reads standard input
    #[arg(value_hint = ValueHint::FilePath)]
    pub file: PathBuf,
    #[command(flatten)]
    pub format: Format,
}

/// `moonlog verify`
#[derive(Debug, Args)]
pub struct Verify {
    #[command(flatten)]
    pub format: Format,
}

/// `moonlog backup`
#[derive(Debug, Args)]
pub struct Backup {
    /// The file to write, or a folder, where it is named after its position; `-` writes to standard output
    #[arg(value_name = "FILE|DIR", value_hint = ValueHint::AnyPath)]
    pub output: PathBuf,
    #[command(flatten)]
    pub format: Format,
}

/// `moonlog restore`
#[derive(Debug, Args)]
pub struct Restore {
    /// The backup; `-` reads standard input. The data folder (--data) must be empty, or not be there
    #[arg(value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub file: PathBuf,
    #[command(flatten)]
    pub format: Format,
}

/// `moonlog compact`
#[derive(Debug, Args)]
#[command(
    after_help = "What is kept is said by [retention] in moonlog.toml; an option here takes the place of its key. With \
neither, no job is deleted, and the store is rewritten without what was removed before."
)]
pub struct Compact {
    /// Delete jobs that ended longer ago than this, such as 30d or 12h
    #[arg(long, value_name = "DURATION")]
    pub older_than: Option<String>,
    /// Keep so many ended jobs, the newest ends
    #[arg(long, value_name = "N")]
    pub keep: Option<u64>,
    /// Delete the jobs with the oldest ends until the store has at most this many bytes
    #[arg(long, value_name = "BYTES")]
    pub max_bytes: Option<u64>,
    /// Only say how many jobs are too old or too many
    #[arg(long)]
    pub dry_run: bool,
    #[command(flatten)]
    pub format: Format,
}
