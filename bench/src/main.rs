//! Benchmarks: what moonlog does in a second beside what the machine, or a peer, does in the same run. Only the ratios
//! travel from one machine to another. Nothing here fails because it was slow.

mod agents;
mod append;
mod feeds;
mod floor;
mod flow;
mod fold;
mod history;
mod jobs;
mod load;
mod memory;
mod model;
mod options;
mod peers;
mod process_tree;
mod processes;
mod report;
mod resume;
mod scale;
mod server;
#[cfg(feature = "sqlite")]
mod sqlite;
mod startup;
mod waiting_jobs;

// What is measured in this process has the server's heap.
use moonlog_runner as _;
use options::{Benchmark, Options};
use std::process::ExitCode;

/// What a benchmark gives, or what went wrong with it.
type Outcome<T = ()> = Result<T, Box<dyn std::error::Error + Send + Sync>>;

fn main() -> ExitCode {
    let options = match Options::parse(std::env::args().skip(1)) {
        Ok(options) => options,
        Err(message) => {
            eprintln!("{message}");
            return ExitCode::from(2);
        }
    };
    let mut code = ExitCode::SUCCESS;
    for benchmark in &options.benchmarks {
        if let Err(error) = run(*benchmark, &options) {
            eprintln!("{}: {error}", benchmark.name());
            code = ExitCode::FAILURE;
        }
    }
    code
}

fn run(benchmark: Benchmark, options: &Options) -> Outcome {
    match benchmark {
        Benchmark::Agents => agents::run(options),
        Benchmark::Append => append::run(options),
        Benchmark::Flow => flow::run(options),
        Benchmark::Fold => fold::run(options).and_then(|()| startup::run(options)),
        Benchmark::Jobs => jobs::run(options),
        Benchmark::Feeds => feeds::run(options),
        Benchmark::Memory => memory::run(options),
        Benchmark::Resume => resume::run(options),
        Benchmark::Processes => processes::run(options),
        Benchmark::Scale => scale::run(options),
        Benchmark::Peers => peers::run(options),
    }
}
