//! What can be typed of agents and of the set-up.

use super::args::Format;
use clap::Args;

/// `moonlog chat`
#[derive(Debug, Args)]
#[command(
    after_help = "Each line is a message; a line that ends in `\\` goes on in the next. /help lists what else can \
be typed. Where standard input is no terminal, its lines are said one after the other, and the command ends behind the \
last answer.\n\nCtrl-C interrupts the answer; a second one leaves."
)]
pub struct Chat {
    /// The session to go on with: its id, or the end of one that no other open session has [default: a new one]
    pub session: Option<String>,
    /// The model of a new session [default: defaults.model]
    #[arg(long, value_name = "NAME")]
    pub model: Option<String>,
    /// The system prompt of a new session
    #[arg(long, value_name = "TEXT")]
    pub system: Option<String>,
    /// A tool that a new session may use; repeat it. With none named, all of them
    #[arg(long = "tool", value_name = "NAME")]
    pub tools: Vec<String>,
    /// A new session may use no tools
    #[arg(long, conflicts_with = "tools")]
    pub no_tools: bool,
    /// The folder that a new session works in
    #[arg(long, value_name = "DIR", value_hint = clap::ValueHint::DirPath)]
    pub workspace: Option<std::path::PathBuf>,
}

/// `moonlog doctor`
#[derive(Debug, Args)]
pub struct Doctor {
    #[command(flatten)]
    pub format: Format,
}
