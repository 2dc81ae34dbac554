//! What can be typed about processes.

use super::args::Format;
use clap::{Args, ValueEnum};

/// `moonlog ps`
#[derive(Debug, Args)]
pub struct Ps {
    /// Only processes of this session
    #[arg(long, value_name = "SESSION")]
    pub session: Option<String>,
    /// Only processes that this job started
    #[arg(long, value_name = "JOB")]
    pub job: Option<String>,
    #[command(flatten)]
    pub format: Format,
}

/// `moonlog output`
#[derive(Debug, Args)]
pub struct Output {
    /// The process: its id, the end of one, or `last`
    pub process: String,
    /// Wait until it has ended
    #[arg(long)]
    pub wait: bool,
    #[command(flatten)]
    pub format: Format,
}

/// `moonlog kill`
#[derive(Debug, Args)]
pub struct Kill {
    /// The process: its id, the end of one, or `last`
    pub process: String,
    /// Which signal
    #[arg(long, short, value_name = "SIGNAL", default_value = "terminate")]
    pub signal: ProcessSignal,
}

/// What can be sent to a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ProcessSignal {
    /// Ask it to end
    #[value(alias = "TERM", alias = "SIGTERM")]
    Terminate,
    /// End it, with all that it started
    #[value(alias = "KILL", alias = "SIGKILL")]
    Kill,
    /// What Ctrl-C sends
    #[value(alias = "INT", alias = "SIGINT")]
    Interrupt,
}

impl ProcessSignal {
    /// As the server knows it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Terminate => "terminate",
            Self::Kill => "kill",
            Self::Interrupt => "interrupt",
        }
    }
}
