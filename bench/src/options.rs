//! What is to be run, and where.

use std::path::{Path, PathBuf};
use tempfile::TempDir;

const USAGE: &str =
    "usage: moonlog-bench [append|flow|fold|jobs|feeds|memory|processes|resume|agents|scale|peers|all]... [--quick] [--dir FOLDER] [--server BINARY] [--only TEXT]
  --quick          fewer and shorter rounds; of scale, up to a million events
  --dir FOLDER     where the logs go; a folder on a real disk (default: target/bench)
  --server BINARY  the moonlog that jobs, feeds, memory, processes, resume and agents run (default: beside this program)
  --only TEXT      of the jobs, the appends and the parts of scale, those whose name has this in it";

/// One group of measurements.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Benchmark {
    /// Appends, beside raw appends and SQLite.
    Append,
    /// Graphs of steps, branches and replay, without a server.
    Flow,
    /// The fold, and starts.
    Fold,
    /// Jobs and steps over HTTP.
    Jobs,
    /// Followers of a feed.
    Feeds,
    /// Resident memory.
    Memory,
    /// A run with many agents, resumed.
    Resume,
    /// Processes, what they write, and searches in that.
    Processes,
    /// Turns of agents.
    Agents,
    /// What grows with the log and with jobs. Not among all: it takes long.
    Scale,
    /// The same work by what else there is; installs that, so `all` leaves it out.
    Peers,
}

impl Benchmark {
    const NAMED: [Self; 11] = [
        Self::Append,
        Self::Flow,
        Self::Fold,
        Self::Jobs,
        Self::Feeds,
        Self::Memory,
        Self::Resume,
        Self::Processes,
        Self::Agents,
        Self::Peers,
        Self::Scale,
    ];

    /// Those that need nothing which is not built here, and do not take long.
    fn all() -> impl Iterator<Item = Self> {
        Self::NAMED.into_iter().filter(|benchmark| !matches!(benchmark, Self::Peers | Self::Scale))
    }

    /// As on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Append => "append",
            Self::Flow => "flow",
            Self::Fold => "fold",
            Self::Jobs => "jobs",
            Self::Feeds => "feeds",
            Self::Memory => "memory",
            Self::Resume => "resume",
            Self::Processes => "processes",
            Self::Agents => "agents",
            Self::Scale => "scale",
            Self::Peers => "peers",
        }
    }
}

/// The command line.
#[derive(Debug)]
pub struct Options {
    /// What to run.
    pub benchmarks: Vec<Benchmark>,
    /// Whether to be quick about it, at the cost of precision.
    pub quick: bool,
    /// The server's binary, where it is not beside this program.
    pub server: Option<PathBuf>,
    /// What the names of workloads must have in them.
    pub only: String,
    dir: PathBuf,
}

impl Options {
    /// Reads the command line, without the program's name.
    ///
    /// # Errors
    /// What to write instead.
    pub fn parse(args: impl Iterator<Item = String>) -> Result<Self, String> {
        let mut options =
            Self { benchmarks: Vec::new(), quick: false, server: None, only: String::new(), dir: default_dir() };
        let mut args = args;
        while let Some(arg) = args.next() {
            match arg.as_str() {
                "--quick" => options.quick = true,
                "--dir" => options.dir = args.next().ok_or(USAGE)?.into(),
                "--only" => options.only = args.next().ok_or(USAGE)?,
                "--server" => options.server = Some(args.next().ok_or(USAGE)?.into()),
                "all" => options.benchmarks.extend(Benchmark::all()),
                name => match Benchmark::NAMED.into_iter().find(|benchmark| benchmark.name() == name) {
                    Some(benchmark) => options.benchmarks.push(benchmark),
                    None => return Err(format!("`{name}` is unknown\n{USAGE}")),
                },
            }
        }
        if options.benchmarks.is_empty() {
            options.benchmarks.extend(Benchmark::all());
        }
        Ok(options)
    }

    /// An empty folder that goes away with what is returned.
    ///
    /// # Errors
    /// Where it cannot be made.
    pub fn temporary_dir(&self) -> std::io::Result<TempDir> {
        std::fs::create_dir_all(&self.dir)?;
        tempfile::Builder::new().prefix("run-").tempdir_in(&self.dir)
    }

    /// One number for a full run, another for a quick one.
    pub fn either<T>(&self, full: T, quick: T) -> T {
        if self.quick { quick } else { full }
    }
}

/// Beside the other build products: system folders for temporary files may be in memory.
fn default_dir() -> PathBuf {
    let target = std::env::current_exe().ok().and_then(|exe| exe.ancestors().nth(2).map(Path::to_path_buf));
    target.unwrap_or_else(|| "target".into()).join("bench")
}
