//! What can be typed about schedules.

use super::args::Format;
use clap::Args;

/// `moonlog schedules`
#[derive(Debug, Args)]
pub struct Schedules {
    /// Show this one in full
    pub name: Option<String>,
    #[command(flatten)]
    pub format: Format,
}

/// `moonlog schedule`
#[derive(Debug, Args)]
pub struct Schedule {
    /// The schedule's name; one that is there is changed
    pub name: String,
    /// The workflow
    pub workflow: String,
    /// When, such as "0 3 * * 1-5" or "@hourly"
    #[arg(long, value_name = "PATTERN")]
    pub cron: String,
    /// The time zone that the pattern goes by
    #[arg(long, value_name = "ZONE", default_value = "UTC")]
    pub time_zone: String,
    /// While the job before has not ended: skip, queue or replace
    #[arg(long, value_name = "POLICY", default_value = "skip")]
    pub overlap: String,
    /// What to make up for after a time without a server: none, last or all
    #[arg(long, value_name = "POLICY", default_value = "last")]
    pub catch_up: String,
    /// Come up to this much later, such as 30s or 5m
    #[arg(long, value_name = "DURATION")]
    pub jitter: Option<String>,
    /// The queue of its jobs
    #[arg(long, value_name = "NAME")]
    pub queue: Option<String>,
    /// Set it, but let it not run
    #[arg(long)]
    pub paused: bool,
    /// One argument; its type comes from the workflow's schema. Repeat it for lists
    #[arg(long = "arg", short = 'a', value_name = "KEY=VALUE")]
    pub arg: Vec<String>,
    /// All arguments as a JSON object, or @FILE that holds one; --arg wins over it
    #[arg(long, value_name = "JSON")]
    pub args: Option<String>,
    #[command(flatten)]
    pub format: Format,
}

/// `moonlog unschedule`
#[derive(Debug, Args)]
pub struct Unschedule {
    /// The schedule
    pub name: String,
}
