//! `moonlog serve`: the server, until it is told to stop.

use crate::cli::{
    assemble::{self, Purpose},
    context::Context,
    failure::{Failure, Status},
    output,
};
use tokio::signal::unix::{SignalKind, signal};

/// Runs the command.
pub async fn run(context: &Context) -> Result<Status, Failure> {
    let no_signals = |error| Failure::failed(format!("cannot listen to signals: {error}"));
    let mut terminate = signal(SignalKind::terminate()).map_err(no_signals)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(no_signals)?;
    let server = assemble::start(&context.loaded, context.loaded.config.api.listen, Purpose::Serve).await?;
    tracing::info!(url = server.url(), folder = %context.loaded.config.log.folder.display(), "serving");
    output::text(&format!("moonlog listens on {}", server.url()))?;
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    tracing::info!("stopping; a second signal stops at once");
    tokio::select! {
        () = server.shutdown() => Ok(Status::Done),
        _ = terminate.recv() => Err(at_once()),
        _ = interrupt.recv() => Err(at_once()),
    }
}

fn at_once() -> Failure {
    Failure::failed("stopped at once").hint("nothing is lost: open jobs go on at the next start")
}
