//! How a server is set up, and why it may not start.

use crate::{
    config::{Config, LimitsConfig, RetentionConfig, Token},
    feed::FeedOptions,
};
use std::{
    io,
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    time::Duration,
};

/// How a server is set up.
#[derive(Debug, Clone)]
pub struct ServeOptions {
    /// Where to listen; port 0 takes a free one.
    pub listen: SocketAddr,
    /// What clients must send, where anything.
    pub token: Option<Token>,
    /// Further names under which it may be asked for.
    pub hosts: Vec<String>,
    /// Web origins whose pages may use it.
    pub origins: Vec<String>,
    /// The file that says where it listens, for the command line: `server.json` in the data folder.
    pub address_file: Option<PathBuf>,
    /// The queue of jobs that name none.
    pub default_queue: String,
    /// The limits.
    pub limits: LimitsConfig,
    /// What is kept of ended jobs.
    pub retention: RetentionConfig,
    /// Whether jobs that are kept no longer are deleted without being asked.
    pub compacts: bool,
}

impl ServeOptions {
    /// What the configuration says.
    pub fn of(config: &Config) -> Self {
        Self {
            listen: config.api.listen,
            token: config.api.token.clone(),
            hosts: config.api.hosts.clone(),
            origins: config.api.origins.clone(),
            address_file: Some(config.log.folder.join("server.json")),
            default_queue: config.defaults.queue.clone(),
            limits: config.limits.clone(),
            retention: config.retention.clone(),
            compacts: false,
        }
    }

    pub(super) fn feeds(&self) -> FeedOptions {
        FeedOptions {
            max_open: self.limits.feeds,
            keep_alive: self.limits.feed_keep_alive,
            inline_max_bytes: self.limits.inline_max_bytes,
            cache_bytes: self.limits.feed_cache_bytes,
        }
    }

    /// How long a body may take.
    pub(super) fn body_read_timeout(&self) -> Duration {
        self.limits.body_read_timeout
    }

    /// Whether everything that it listens on is this machine alone.
    pub(super) fn is_local(&self) -> bool {
        is_loopback(self.listen.ip())
    }
}

/// Whether an address is this machine's own.
pub(super) fn is_loopback(ip: IpAddr) -> bool {
    ip.to_canonical().is_loopback()
}

/// Why a server did not start.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// Others could drive it.
    #[error(
        "listening on {listen} lets other machines in, which needs a token: set MOONLOG_TOKEN or api.token_file, or listen on 127.0.0.1"
    )]
    TokenNeeded {
        /// Where it was to listen.
        listen: SocketAddr,
    },
    /// The address cannot be had.
    #[error("cannot listen on {listen}: {source}")]
    Listen {
        /// Where it was to listen.
        listen: SocketAddr,
        /// Why not.
        source: io::Error,
    },
    /// The address file cannot be written.
    #[error("cannot write {path}: {source}")]
    AddressFile {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
}
