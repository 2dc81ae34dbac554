//! From the command line as typed to the exit status.

use super::{
    args::{Cli, Command},
    assemble::Purpose,
    commands,
    connect::connect,
    context::Context,
    failure::{Failure, Status},
    log_lines::LogLines,
    output,
};
use crate::config::Flag;
use clap::Parser;
use std::{io::IsTerminal, num::NonZero, process::ExitCode};
use tracing_subscriber::EnvFilter;

/// The variable that chooses what is logged, such as `debug` or `moonlog_runner=debug,info`.
const LOG_VARIABLE: &str = "MOONLOG_LOG";

/// Runs the command that was typed.
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version come this way too.
            let _ = error.print();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(Status::Usage as u8));
        }
    };
    log(matches!(cli.command, Command::Serve(_)));
    match run(cli) {
        Ok(status) => status.into(),
        Err(failure) => {
            if !failure.message.is_empty() {
                output::note(&failure.to_string());
            }
            failure.status.into()
        }
    }
}

/// Log lines go to standard error: of a server what happens, of one command only what is wrong.
fn log(is_server: bool) {
    let quiet = if is_server { "info" } else { "error" };
    let filter = EnvFilter::try_from_env(LOG_VARIABLE).unwrap_or_else(|_| EnvFilter::new(quiet));
    let coloured = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    let lines = LogLines { coloured };
    let logged = tracing_subscriber::fmt().with_env_filter(filter).with_writer(lines).with_ansi(coloured);
    // Only a second call can fail, and there is none.
    let _ = logged.try_init();
}

fn run(cli: Cli) -> Result<Status, Failure> {
    let Cli { global, command } = cli;
    // What needs neither a configuration nor a server.
    match &command {
        Command::Completions(options) => return commands::completions::run(options),
        Command::Check(options) => return commands::check::run(options),
        Command::Errors(options) => return commands::errors::run(options),
        Command::Replay(options) if commands::replay::is_bundle(&options.target) => {
            return commands::replay::run_bundle(options);
        }
        _ => {}
    }
    let context = Context::load(global, flags(&command));
    if let Command::Doctor(options) = &command {
        // It tells of a configuration that cannot be read, too.
        let runtime = runtime()?;
        let status = runtime.block_on(commands::doctor::run(context, options));
        runtime.shutdown_background();
        return status;
    }
    let context = context?;
    if let Command::Config(options) = &command {
        return commands::config::run(&context.loaded, options);
    }
    let runtime = runtime()?;
    let status = runtime.block_on(serve_or_ask(&context, command));
    // A blocking task that hangs (a read of standard input) must not keep the command from ending.
    runtime.shutdown_background();
    status
}

fn runtime() -> Result<tokio::runtime::Runtime, Failure> {
    // One more than there are processors: scripts that are quick compute on these threads, and requests would wait behind them.
    let threads = std::thread::available_parallelism().map_or(1, NonZero::get) + 1;
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    builder
        .worker_threads(threads)
        .enable_all()
        .build()
        .map_err(|error| Failure::failed(format!("cannot start threads: {error}")))
}

/// The options of a command that override keys of the configuration.
fn flags(command: &Command) -> Vec<Flag> {
    match command {
        Command::Serve(serve) => {
            let flag = |listen: std::net::SocketAddr| Flag {
                flag: "--listen".into(),
                key: "api.listen".into(),
                value: listen.to_string(),
            };
            serve.listen.map(flag).into_iter().collect()
        }
        _ => Vec::new(),
    }
}

async fn serve_or_ask(context: &Context, command: Command) -> Result<Status, Failure> {
    match &command {
        Command::Serve(_) => return commands::serve::run(context).await,
        Command::Verify(options) => return commands::verify::run(context, options).await,
        Command::Restore(options) => return commands::restore::run(&context.loaded.config, options),
        _ => {}
    }
    let purpose = match &command {
        Command::Run(options) if !options.detach => Purpose::Run,
        Command::Chat(_) => Purpose::Run,
        _ => Purpose::Answer,
    };
    let connection = connect(context, purpose).await?;
    let client = &connection.client;
    let status = match &command {
        Command::Run(options) => commands::run::run(&connection, options).await,
        Command::Chat(options) => commands::chat::run(&connection, options).await,
        Command::Jobs(options) => commands::jobs::run(client, options).await,
        Command::Trace(options) => commands::trace::run(client, options).await,
        Command::Show(options) => commands::show::run(client, options).await,
        Command::Cancel(options) => commands::cancel::run(client, options).await,
        Command::Delete(options) => commands::delete::run(client, options).await,
        Command::Signal(options) => commands::signal::run(client, options).await,
        Command::Approve(options) => commands::approve::run(client, options).await,
        Command::Retry(options) => commands::retry::run(client, options).await,
        Command::Fork(options) => commands::fork::run(client, options).await,
        Command::Diff(options) => commands::diff::run(client, options).await,
        Command::Events(options) => commands::events::run(client, options).await,
        Command::Replay(options) => commands::replay::run(client, options).await,
        Command::Export(options) => commands::export::run(client, options).await,
        Command::Import(options) => commands::import::run(client, options).await,
        Command::Backup(options) => commands::backup::run(client, options).await,
        Command::Compact(options) => commands::compact::run(client, options).await,
        Command::Ps(options) => commands::ps::run(client, options).await,
        Command::Output(options) => commands::process_output::run(client, options).await,
        Command::Kill(options) => commands::kill::run(client, options).await,
        Command::Webhooks(options) => commands::webhooks::run(client, options).await,
        Command::Redeliver(options) => commands::redeliver::run(client, options).await,
        Command::Workflows(options) => commands::workflows::run(client, options).await,
        Command::Schedules(options) => commands::schedules::run(client, options).await,
        Command::Schedule(options) => commands::schedule::run(client, options).await,
        Command::Unschedule(options) => commands::unschedule::run(client, options).await,
        // Dispatched before there was a connection.
        Command::Serve(_)
        | Command::Verify(_)
        | Command::Restore(_)
        | Command::Check(_)
        | Command::Errors(_)
        | Command::Config(_)
        | Command::Completions(_)
        | Command::Doctor(_) => Ok(Status::Done),
    };
    let damage = connection.damage();
    connection.close().await;
    match damage {
        Some(damage) if status == Ok(Status::Done) => Err(damage),
        _ => status,
    }
}
