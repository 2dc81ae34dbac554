//! Finds the server to talk to: the one that was named, else the one that runs on the data folder, else one that is
//! started in this process for the one command.

use super::{
    assemble::{self, Assembled, Purpose},
    client::Client,
    context::Context,
    failure::{Failure, Status},
};
use serde::Deserialize;
use std::{
    net::{Ipv4Addr, SocketAddr},
    path::Path,
    time::{Duration, Instant},
};

/// The file in the data folder that says where its server listens.
const ADDRESS_FILE: &str = "server.json";
/// How long a server may take to say that it lives.
const PROBE_TIMEOUT: Duration = Duration::from_secs(2);
/// A server that is just starting, or stopping, holds the folder and does not answer: so long it is tried again.
const PATIENCE: Duration = Duration::from_secs(3);
const RETRY: Duration = Duration::from_millis(100);

/// A server, and a client of it.
pub struct Connection {
    /// The client.
    pub client: Client,
    embedded: Option<Assembled>,
}

/// The server of a data folder.
pub enum Found {
    /// It runs.
    Server(Client),
    /// There is none.
    Nothing,
}

#[derive(Deserialize)]
struct AddressFile {
    url: String,
}

impl Connection {
    /// Whether the server lives in this process, and no longer.
    pub const fn is_embedded(&self) -> bool {
        self.embedded.is_some()
    }

    /// Why not all of the log was read, where it was not.
    pub fn damage(&self) -> Option<Failure> {
        let damage = self.embedded.as_ref()?.damage()?;
        let text = format!("the log is damaged {damage}; only the events before that were read");
        Some(Failure::failed(text).hint("`moonlog verify` says more; restore the data folder from a copy"))
    }

    /// Ends the server where it is this process's own.
    pub async fn close(self) {
        if let Some(embedded) = self.embedded {
            embedded.shutdown().await;
        }
    }
}

/// Finds a server, or starts one.
pub async fn connect(context: &Context, purpose: Purpose) -> Result<Connection, Failure> {
    let begun = Instant::now();
    loop {
        if let Found::Server(client) = find(context).await? {
            return Ok(Connection { client, embedded: None });
        }
        let any_port = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        match assemble::start(&context.loaded, any_port, purpose).await {
            Ok(embedded) => {
                let client = Client::new(&embedded.url(), context.token())?;
                return Ok(Connection { client, embedded: Some(embedded) });
            }
            Err(failure) if failure.status == Status::Unreachable && begun.elapsed() < PATIENCE => {
                tokio::time::sleep(RETRY).await;
            }
            Err(failure) => return Err(failure),
        }
    }
}

/// Finds a server that runs.
pub async fn find(context: &Context) -> Result<Found, Failure> {
    let named =
        context.global.server.clone().or_else(|| std::env::var("MOONLOG_SERVER").ok().filter(|s| !s.is_empty()));
    if let Some(server) = named {
        return Client::new(&server, context.token()).map(Found::Server);
    }
    let Some(address) = address(&context.loaded.config.log.folder) else { return Ok(Found::Nothing) };
    let client = Client::new(&address, context.token())?;
    let probe = client.request(reqwest::Method::GET, "/healthz").timeout(PROBE_TIMEOUT);
    // A server that was killed leaves its address behind.
    Ok(if client.send(probe).await.is_ok() { Found::Server(client) } else { Found::Nothing })
}

/// Where the server of the data folder says that it listens.
pub fn address(folder: &Path) -> Option<String> {
    let text = std::fs::read_to_string(folder.join(ADDRESS_FILE)).ok()?;
    serde_json::from_str::<AddressFile>(&text).ok().map(|file| file.url)
}

/// The failure for a data folder that another process holds.
pub fn locked(folder: &Path, address: Option<&str>) -> Failure {
    let server = match address {
        Some(address) => format!(", which gives its address as {address}"),
        None => String::new(),
    };
    Failure::unreachable(format!("the data folder {} is locked by another moonlog{server}", folder.display()))
        .hint("use that server, or stop that process, or name another folder with --data")
}
