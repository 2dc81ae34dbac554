//! Puts the rooms together: storage, log, library, runner and server.

use super::{
    connect::{address, locked},
    failure::Failure,
    own_environment, runner_options, webhook_options,
};
use crate::{
    config::{Config, Loaded},
    server::{ServeError, ServeOptions, Served, prepare_metrics, serve},
};
use moonlog_core::{
    json::Json,
    log::{Damage, Log, LogOptions, OpenError, OpenReport},
    storage::{SledOptions, Storage, StorageError, open_sled},
};
use moonlog_runner::{Runner, SteadyClock, system_clock};
use moonlog_scripts::Library;
use std::{net::SocketAddr, sync::Arc};

/// The variable that holds what clients must send.
const TOKEN_VARIABLE: &str = "MOONLOG_TOKEN";

/// What a server is started for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// To run jobs, those that were left unfinished included.
    Serve,
    /// To run a job of one command: other jobs stay as they are.
    Run,
    /// To answer one command: jobs stay as they are, since the server will be gone in a moment.
    Answer,
}

/// A server in this process.
pub struct Assembled {
    served: Served,
    runner: Runner,
    damage: Option<Damage>,
}

impl Assembled {
    /// Where clients on this machine find it.
    pub fn url(&self) -> String {
        self.served.url()
    }

    /// Where the log is damaged, if only what stands before that is served.
    pub const fn damage(&self) -> Option<&Damage> {
        self.damage.as_ref()
    }

    /// Ends it: connections, then jobs, which go on at the next start, then the log.
    pub async fn shutdown(self) {
        self.served.stop().await;
        self.runner.shutdown().await;
    }
}

/// Opens the log of the configured folder and serves it on `listen`.
pub async fn start(loaded: &Loaded, listen: SocketAddr, purpose: Purpose) -> Result<Assembled, Failure> {
    // Beside what waits for the disk.
    prepare_metrics();
    let config = &loaded.config;
    let mut options = runner_options::of(loaded)?;
    options.resume_jobs = purpose == Purpose::Serve;
    if purpose == Purpose::Serve {
        webhook_options::check(config)?;
    }
    if purpose == Purpose::Answer {
        options.concurrency = 0;
    }
    let clock = SteadyClock::new();
    let Opened { log, report, damage } = open(config, &clock, purpose)?;
    clock.begin_at(log.last_time());
    (options.clock, options.calendar) = (clock.clock(), Some(system_clock()));
    if report.is_repaired() {
        tracing::warn!(torn_tail = report.torn_tail, lost_tail = report.lost_tail, "the log's end was mended");
        options.repaired = Some(Json::of(&report));
    }
    let library = Library::new(config.runner.workflow_folders.clone()).at_most(config.limits.workflows);
    let runner = Runner::start(options, log, library)
        .await
        .map_err(|error| Failure::failed(format!("the runner does not start: {error}")))?;
    let serve_options = ServeOptions { listen, compacts: purpose == Purpose::Serve, ..ServeOptions::of(config) };
    match serve(serve_options, runner.clone()).await {
        Ok(served) => {
            if purpose == Purpose::Serve {
                // All of them have been read. A server for one command may be started again by the same process.
                let secrets = config.secrets.values().map(|secret| secret.env.as_str());
                let own = config.key_variables.iter().map(String::as_str).chain([TOKEN_VARIABLE]);
                own_environment::forget(secrets.chain(own));
            }
            Ok(Assembled { served, runner, damage })
        }
        Err(error) => {
            runner.shutdown().await;
            Err(not_served(&error))
        }
    }
}

/// A log, and what was found as it was opened.
struct Opened {
    log: Log,
    report: OpenReport,
    damage: Option<Damage>,
}

fn open(config: &Config, clock: &SteadyClock, purpose: Purpose) -> Result<Opened, Failure> {
    let folder = &config.log.folder;
    std::fs::create_dir_all(folder).map_err(|error| Failure::file("create the data folder", folder, &error))?;
    let options = SledOptions { cache_bytes: config.log.cache_bytes, reserve_bytes: config.log.reserve_bytes };
    let storage: Arc<dyn Storage> = open_sled(folder, options).map_err(|error| not_stored(config, error))?;
    let clock = clock.clock();
    let options = LogOptions {
        tail_cache_bytes: usize::try_from(config.log.tail_cache_bytes).unwrap_or(usize::MAX),
        frame_cache_bytes: usize::try_from(config.log.frame_cache_bytes).unwrap_or(usize::MAX),
        ..LogOptions::new(move || clock())
    };
    let error = match Log::open(storage.clone(), options.clone()) {
        Ok((log, report)) => {
            let lost = report.lost_tail.clone().filter(|_| purpose == Purpose::Answer);
            let damage = lost.map(|what| Damage::new(log.head() + 1, what));
            return Ok(Opened { log, report, damage });
        }
        Err(error) => error,
    };
    // Who asks for something may have what is sound; a server on half a log would be none.
    let is_damage = matches!(error, OpenError::Damaged(_) | OpenError::Storage(StorageError::Damaged(_)));
    if purpose == Purpose::Answer
        && is_damage
        && let Ok((log, damage)) = Log::open_sound_part(&storage, &options)
    {
        return Ok(Opened { log, report: OpenReport::default(), damage: Some(damage) });
    }
    Err(match error {
        OpenError::Storage(error) => not_stored(config, error),
        error => Failure::failed(format!("the log in {} does not open: {error}", folder.display())).hint(
            "`moonlog verify` says what can still be read; `moonlog export` and other commands that read give it",
        ),
    })
}

/// Why a data folder cannot be used.
pub fn not_stored(config: &Config, error: StorageError) -> Failure {
    let folder = &config.log.folder;
    match error {
        StorageError::Locked(_) => locked(folder, address(folder).as_deref()),
        error => Failure::failed(format!("the data folder {} does not open: {error}", folder.display())),
    }
}

fn not_served(error: &ServeError) -> Failure {
    match error {
        ServeError::TokenNeeded { .. } => Failure::usage(error.to_string()),
        ServeError::Listen { .. } => Failure::unreachable(error.to_string()).hint("--listen takes another address"),
        ServeError::AddressFile { .. } => Failure::failed(error.to_string()),
    }
}
