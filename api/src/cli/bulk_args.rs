//! What can be typed to name many jobs at once, webhooks, and error codes.

use super::args::Format;
use clap::Args;

/// Which jobs are meant, where it is not one by its id.
#[derive(Debug, Clone, Args)]
#[group(id = "which", multiple = true)]
pub struct Which {
    /// All jobs with this label; repeat it for several
    #[arg(long, value_name = "KEY=VALUE")]
    pub label: Vec<String>,
    /// All jobs in this state
    #[arg(long, value_name = "STATE")]
    pub state: Option<String>,
    /// All jobs of this workflow
    #[arg(long, value_name = "NAME")]
    pub workflow: Option<String>,
    /// All jobs of this queue
    #[arg(long, value_name = "NAME")]
    pub queue: Option<String>,
}

/// How it is done for many.
#[derive(Debug, Clone, Copy, Args)]
pub struct Many {
    /// Of those that fit, at most so many [default: limits.bulk_jobs]
    #[arg(long, value_name = "N")]
    pub limit: Option<u64>,
    /// Say only which jobs fit
    #[arg(long)]
    pub dry_run: bool,
    #[command(flatten)]
    pub format: Format,
}

/// `moonlog webhooks`
#[derive(Debug, Args)]
pub struct Webhooks {
    /// Show this one in full
    pub name: Option<String>,
    #[command(flatten)]
    pub format: Format,
}

/// `moonlog redeliver`
#[derive(Debug, Args)]
pub struct Redeliver {
    /// The webhook
    pub webhook: String,
    /// The position of the event
    #[arg(long, value_name = "POSITION", required_unless_present = "failed", conflicts_with = "failed")]
    pub event: Option<u64>,
    /// All that are listed as failed
    #[arg(long)]
    pub failed: bool,
}

/// `moonlog errors`
#[derive(Debug, Args)]
pub struct Errors {
    /// Only this code, or those that begin so, as in `limit_*`
    pub code: Option<String>,
    #[command(flatten)]
    pub format: Format,
}
