//! Restate: its server from npm, and a service that is written with its SDK for Rust.

use super::{
    children::Child,
    packages::Packages,
    system::{Request, Running, System, free_addresses, until},
};
use crate::{Outcome, load::Connection};
use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Command,
};

const PACKAGE: &str = "@restatedev/restate-server@1.7.12";
const BINARY: &str = "@restatedev/restate-server-linux-x64/bin/restate-server";

/// A server with so many partitions.
pub struct Restate {
    partitions: u8,
    server: PathBuf,
    service: PathBuf,
}

impl Restate {
    /// With 1, 2 or 4 partitions.
    pub fn new(partitions: u8) -> Self {
        Self { partitions, server: PathBuf::new(), service: PathBuf::new() }
    }
}

impl System for Restate {
    fn name(&self) -> &'static str {
        match self.partitions {
            1 => "Restate, 1 partition",
            2 => "Restate, 2 partitions",
            _ => "Restate, 4 partitions",
        }
    }

    fn prepare(&mut self, packages: &Packages) -> Outcome {
        self.server = packages.npm(PACKAGE)?.join(BINARY);
        if !self.server.exists() {
            return Err("npm has no restate-server for this platform".into());
        }
        self.service = packages.built("peer-restate")?;
        Ok(())
    }

    fn start(&self, dir: &Path) -> Outcome<Running> {
        let [ingress, admin, fabric, service] = addresses(dir)?;
        let mut command = Command::new(&self.service);
        command.arg(service.to_string());
        let service_child = Child::start(command, dir.join("service.log"))?;
        let mut command = Command::new(&self.server);
        command.args(["--no-logo", "--listen-mode", "tcp", "--bind-ip", "127.0.0.1", "--node-name", "bench"]);
        command.args(["--advertised-host", "127.0.0.1", "--bind-port", &fabric.port().to_string()]);
        command.args(["--log-filter", "warn", "--base-dir"]).arg(dir.join("data"));
        command.env("RESTATE_INGRESS__BIND_PORT", ingress.port().to_string());
        command.env("RESTATE_ADMIN__BIND_PORT", admin.port().to_string());
        command.env("RESTATE_DEFAULT_NUM_PARTITIONS", self.partitions.to_string());
        command.env("RESTATE_DISABLE_TELEMETRY", "true");
        // What a record is acknowledged after: its write-ahead log is written and synced, as is the default.
        command.env("RESTATE_LOG_SERVER__ROCKSDB_DISABLE_WAL_FSYNC", "false");
        let mut server = Child::start(command, dir.join("restate.log"))?;
        register(&mut server, admin, service)?;
        let request = Request::Plain("/Bench/work");
        Ok(Running { children: vec![server, service_child], address: ingress, request })
    }
}

/// Where it listens: at the same addresses each time, since a node that has moved has to be found again first.
fn addresses(dir: &Path) -> Outcome<[SocketAddr; 4]> {
    let file = dir.join("addresses.json");
    if let Ok(text) = std::fs::read_to_string(&file) {
        return Ok(serde_json::from_str(&text)?);
    }
    let addresses = free_addresses()?;
    std::fs::write(&file, serde_json::to_string(&addresses)?)?;
    Ok(addresses)
}

/// Tells the server where the service is. One that knows it already hears it again.
fn register(server: &mut Child, admin: SocketAddr, service: SocketAddr) -> Outcome {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let body = serde_json::json!({ "uri": format!("http://{service}"), "force": true }).to_string();
    until(server, || {
        runtime.block_on(async {
            let mut connection = Connection::open(admin).await?;
            connection.post("/deployments", body.as_bytes(), &[200, 201]).await?;
            Outcome::Ok(())
        })
    })
}
