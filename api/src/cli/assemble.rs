//! Puts the rooms together: storage, log, library, runner and server.

use super::failure::Failure;
use crate::config::Loaded;
use std::net::SocketAddr;

/// A server in this process.
pub struct Assembled {
    address: SocketAddr,
}

impl Assembled {
    /// Where it listens.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Ends it: connections, then jobs, which go on at the next start, then the log.
    pub async fn shutdown(self) {}
}

/// Opens the log of the configured folder and serves it on `listen`.
pub async fn start(_loaded: &Loaded, _listen: SocketAddr) -> Result<Assembled, Failure> {
    Err(Failure::failed("not assembled yet"))
}
