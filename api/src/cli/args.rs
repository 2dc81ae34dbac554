//! What can be typed: commands, their options, and what `--help` says about them.

pub use super::{
    agent_args::{Chat, Doctor},
    bulk_args::{Errors, Many, Redeliver, Webhooks, Which},
    log_args::{Backup, Compact, Export, Import, Restore, Verify},
    process_args::{Kill, Output, Ps},
    schedule_args::{Schedule, Schedules, Unschedule},
};
use clap::{Args, Parser, Subcommand, ValueHint};
use std::{net::SocketAddr, path::PathBuf};

/// An event-sourced job runner: jobs are Luau scripts, everything they do is in one durable log.
#[derive(Debug, Parser)]
#[command(name = "moonlog", version, propagate_version = true, arg_required_else_help = true)]
#[command(after_help = "Exit status: 0 done; 1 the job failed or a check found a difference; 2 usage; 3 the server \
cannot be reached or the data folder is locked.")]
pub struct Cli {
    /// Where and how.
    #[command(flatten)]
    pub global: Global,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// Options that every command takes.
#[derive(Debug, Clone, Args)]
pub struct Global {
    /// The data folder [default: ./.moonlog/data]
    #[arg(long, global = true, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub data: Option<PathBuf>,
    /// The server to talk to [default: the running server of the data folder, else one for this command alone]
    #[arg(long, global = true, value_name = "URL", value_hint = ValueHint::Url)]
    pub server: Option<String>,
    /// The configuration file [default: ./moonlog.toml]
    #[arg(long, global = true, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub config: Option<PathBuf>,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the server: log, runner and HTTP API
    Serve(Serve),
    /// Submit a workflow or a script file, show it while it runs, print its result
    Run(Run),
    /// Converse with an agent
    Chat(Chat),
    /// List jobs, newest first
    Jobs(Jobs),
    /// Show one job
    Show(Show),
    /// Show what took how long in a job, and what its agents used
    Trace(Trace),
    /// Ask a job to stop
    Cancel(Cancel),
    /// Delete ended jobs with all their events
    Delete(Delete),
    /// Send a signal to a job
    Signal(Signal),
    /// Decide an open approval, or list them
    Approve(Approve),
    /// Submit an ended job again; what it has done is taken over
    Retry(Retry),
    /// Go on from a version of a job, as a new job
    Fork(Fork),
    /// Show where two jobs part
    Diff(Diff),
    /// Print events, of one job or of the whole log
    Events(Events),
    /// Run a job's script against its journal, with no side effect
    Replay(Replay),
    /// Write a job as a self-contained bundle that replays elsewhere
    Export(Export),
    /// Read a bundle into this log
    Import(Import),
    /// Walk the log's hash chain and report damage
    Verify(Verify),
    /// Write the whole log, as it is now, into one file; a server goes on meanwhile
    Backup(Backup),
    /// Make a data folder of a backup
    Restore(Restore),
    /// Delete ended jobs that are kept no longer, and give the disk its room back
    Compact(Compact),
    /// List processes, running ones first
    Ps(Ps),
    /// Print what a process has written: its beginning and its end
    Output(Output),
    /// Send a signal to a process and its group
    Kill(Kill),
    /// List webhooks with what they are owed, or show one
    Webhooks(Webhooks),
    /// Deliver events to a webhook once more
    Redeliver(Redeliver),
    /// Say what the codes of errors mean
    Errors(Errors),
    /// List the workflows that can be run
    Workflows(Workflows),
    /// Check a script without running it
    Check(Check),
    /// List schedules, or show one
    Schedules(Schedules),
    /// Set a schedule: a workflow that runs when its cron pattern is due
    Schedule(Schedule),
    /// Remove a schedule
    Unschedule(Unschedule),
    /// Say what is wrong with this set-up
    Doctor(Doctor),
    /// Print the effective configuration and where each value comes from
    Config(Config),
    /// Print a completion script for a shell
    Completions(Completions),
}

/// `--json`, on every command that reads.
#[derive(Debug, Clone, Copy, Args)]
pub struct Format {
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// `moonlog serve`
#[derive(Debug, Args)]
pub struct Serve {
    /// The address to listen on [default: 127.0.0.1:7070; port 0 takes any free one]
    #[arg(long, value_name = "ADDR:PORT")]
    pub listen: Option<SocketAddr>,
}

/// `moonlog run`
#[derive(Debug, Args)]
#[command(after_help = "The result goes to standard output: its `markdown` field (or itself, where it is a text) as \
Markdown, anything else as JSON; with --json always as JSON, and a job that did not complete as \
{job, state, error}. Progress goes to standard error.\n\nCtrl-C cancels the job; a second one leaves it.")]
pub struct Run {
    /// A workflow's name, or a script file (its name ends in .lua or .luau, or has a `/`; `-` reads standard input)
    #[arg(value_name = "WORKFLOW|FILE", value_hint = ValueHint::FilePath)]
    pub target: String,
    /// One argument; its type comes from the workflow's schema, a text where there is none. Repeat it for lists
    #[arg(long = "arg", short = 'a', value_name = "KEY=VALUE")]
    pub arg: Vec<String>,
    /// All arguments as a JSON object, or @FILE that holds one; --arg wins over it
    #[arg(long, value_name = "JSON")]
    pub args: Option<String>,
    /// Take over the results of this earlier job where they fit
    #[arg(long, value_name = "JOB")]
    pub resume: Option<String>,
    /// Submit, print the job's id, and do not wait
    #[arg(long)]
    pub detach: bool,
    /// The queue to wait in
    #[arg(long, value_name = "NAME")]
    pub queue: Option<String>,
    /// Fail the job with `timed_out` after this time, such as 90s, 5m or 2h
    #[arg(long, value_name = "DURATION")]
    pub timeout: Option<String>,
    /// A mark of your own, to find the job by
    #[arg(long = "label", value_name = "KEY=VALUE")]
    pub label: Vec<String>,
    /// Submit at most once under this key: the same request again gives the first job
    #[arg(long, value_name = "KEY")]
    pub idempotency_key: Option<String>,
    /// Show no progress
    #[arg(long, short)]
    pub quiet: bool,
    #[command(flatten)]
    pub format: Format,
}

/// `moonlog jobs`
#[derive(Debug, Args)]
pub struct Jobs {
    /// Only jobs in this state: queued, running, waiting, completed, failed, cancelled or timed_out
    #[arg(long, value_name = "STATE")]
    pub state: Option<String>,
    /// Only jobs of this workflow
    #[arg(long, value_name = "NAME")]
    pub workflow: Option<String>,
    /// Only jobs with this label
    #[arg(long, value_name = "KEY=VALUE")]
    pub label: Option<String>,
    /// Only jobs of this queue
    #[arg(long, value_name = "NAME")]
    pub queue: Option<String>,
    /// Only jobs that failed because they are out of attempts
    #[arg(long)]
    pub exhausted: bool,
    /// Only children of this job
    #[arg(long, value_name = "JOB")]
    pub parent: Option<String>,
    /// Only jobs submitted since this RFC 3339 time
    #[arg(long, value_name = "TIME")]
    pub since: Option<String>,
    /// At most this many
    #[arg(long, value_name = "N", default_value_t = 50)]
    pub limit: usize,
    #[command(flatten)]
    pub format: Format,
}

/// `moonlog show`
#[derive(Debug, Args)]
pub struct Show {
    /// The job: its id, or the end of one that no other job has
    pub job: String,
    #[command(flatten)]
    pub format: Format,
}

/// `moonlog trace`
#[derive(Debug, Args)]
pub struct Trace {
    /// The job
    pub job: String,
    #[command(flatten)]
    pub format: Format,
}

/// `moonlog cancel`
#[derive(Debug, Args)]
#[command(after_help = "One job by its id, or all that fit --label, --state, --workflow and --queue.")]
pub struct Cancel {
    /// The job
    #[arg(conflicts_with = "which")]
    pub job: Option<String>,
    #[command(flatten)]
    pub which: Which,
    /// Why, for the log
    #[arg(long, value_name = "TEXT")]
    pub reason: Option<String>,
    #[command(flatten)]
    pub many: Many,
}

/// `moonlog delete`
#[derive(Debug, Args)]
pub struct Delete {
    /// The ended jobs
    #[arg(required = true, value_name = "JOB")]
    pub jobs: Vec<String>,
}

/// `moonlog signal`
#[derive(Debug, Args)]
pub struct Signal {
    /// The job
    pub job: String,
    /// The signal's name
    pub name: String,
    /// What it carries: JSON, or a plain text
    #[arg(value_name = "PAYLOAD")]
    pub payload: Option<String>,
    /// Send at most once under this key
    #[arg(long, value_name = "KEY")]
    pub idempotency_key: Option<String>,
}

/// `moonlog approve`
#[derive(Debug, Args)]
pub struct Approve {
    /// The job; with none, the open approvals are listed
    pub job: Option<String>,
    /// Which approval: the step's path or the tool call's id [default: the job's only open one]
    pub approval: Option<String>,
    /// Deny it
    #[arg(long)]
    pub deny: bool,
    /// Who decides [default: $USER]
    #[arg(long, value_name = "NAME")]
    pub by: Option<String>,
    /// With which words
    #[arg(long, value_name = "TEXT")]
    pub note: Option<String>,
    #[command(flatten)]
    pub format: Format,
}

/// `moonlog retry`
#[derive(Debug, Args)]
#[command(
    after_help = "One job by its id, or all that fit --label, --state (failed where it is not named), --workflow, \
--queue and --exhausted."
)]
pub struct Retry {
    /// The ended job
    #[arg(conflicts_with_all = ["which", "exhausted"])]
    pub job: Option<String>,
    #[command(flatten)]
    pub which: Which,
    /// Only jobs that are out of attempts
    #[arg(long)]
    pub exhausted: bool,
    /// Run this script instead of the job's own
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub script: Option<PathBuf>,
    #[command(flatten)]
    pub many: Many,
}

/// `moonlog fork`
#[derive(Debug, Args)]
pub struct Fork {
    /// The job
    pub job: String,
    /// The last version of its stream that is shared
    #[arg(long, value_name = "VERSION")]
    pub at: u64,
    /// Go on with this script instead of the job's own
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub script: Option<PathBuf>,
    /// Other arguments, as JSON
    #[arg(long, value_name = "JSON")]
    pub args: Option<String>,
}

/// `moonlog diff`
#[derive(Debug, Args)]
pub struct Diff {
    /// A job
    pub job: String,
    /// The other job
    pub other: String,
    #[command(flatten)]
    pub format: Format,
}

/// `moonlog events`
#[derive(Debug, Args)]
pub struct Events {
    /// Only events of this job
    pub job: Option<String>,
    /// Go on with new events as they come
    #[arg(long, short)]
    pub follow: bool,
    /// Only these types: names and prefixes, such as `step.*,job.failed`
    #[arg(long, value_name = "TYPES")]
    pub types: Option<String>,
    /// Only events behind this position; `head` shows new ones alone
    #[arg(long, value_name = "POSITION")]
    pub after: Option<String>,
    /// At most this many
    #[arg(long, value_name = "N")]
    pub limit: Option<u64>,
    #[command(flatten)]
    pub format: Format,
}

/// `moonlog replay`
#[derive(Debug, Args)]
pub struct Replay {
    /// The job, or a bundle that `export` wrote
    #[arg(value_name = "JOB|BUNDLE", value_hint = ValueHint::FilePath)]
    pub target: String,
    /// Show the job's state as of this version of its stream
    #[arg(long, value_name = "VERSION")]
    pub at: Option<u64>,
    /// Replay this script instead of the recorded one: does changed code fit the old history?
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub script: Option<PathBuf>,
    /// Walk through it event by event
    #[arg(long)]
    pub step: bool,
    #[command(flatten)]
    pub format: Format,
}

/// `moonlog workflows`
#[derive(Debug, Args)]
pub struct Workflows {
    /// Show this one in full
    pub name: Option<String>,
    /// Print its source
    #[arg(long, requires = "name")]
    pub source: bool,
    #[command(flatten)]
    pub format: Format,
}

/// `moonlog check`
#[derive(Debug, Args)]
pub struct Check {
    /// The script; `-` reads standard input
    #[arg(value_hint = ValueHint::FilePath)]
    pub file: PathBuf,
    #[command(flatten)]
    pub format: Format,
}

/// `moonlog config`
#[derive(Debug, Args)]
pub struct Config {
    #[command(flatten)]
    pub format: Format,
}

/// `moonlog completions`
#[derive(Debug, Args)]
pub struct Completions {
    /// The shell
    pub shell: clap_complete::Shell,
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_definition_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn global_options_stand_before_or_behind_the_command() {
        for line in [["moonlog", "--data", "d", "jobs"], ["moonlog", "jobs", "--data", "d"]] {
            let cli = Cli::try_parse_from(line).unwrap();
            assert_eq!(cli.global.data, Some(PathBuf::from("d")));
        }
    }

    #[test]
    fn usage_errors_have_status_2() {
        for line in [&["moonlog", "nonsense"][..], &["moonlog", "run"], &["moonlog", "replay", "j", "--at", "x"]] {
            assert_eq!(Cli::try_parse_from(line).unwrap_err().exit_code(), 2, "{line:?}");
        }
    }
}
