//! A real server process, for what is measured from outside.

use crate::{Outcome, options::Options, process_tree::resident_bytes};
use serde_json::Value;
use std::{
    fs::File,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

/// How long a start may take.
const START: Duration = Duration::from_secs(600);

/// A running server. It is killed when this is dropped.
pub struct Server {
    child: Child,
    /// Where it listens.
    pub address: SocketAddr,
}

impl Server {
    /// Starts a server whose data is in `dir`, with `config` as its configuration file.
    pub fn start(options: &Options, dir: &Path, config: &str) -> Outcome<Self> {
        std::fs::create_dir_all(dir)?;
        let (toml, address, errors) = (dir.join("moonlog.toml"), dir.join("server.json"), dir.join("stderr.log"));
        std::fs::write(&toml, config)?;
        let _ = std::fs::remove_file(&address);
        let mut command = Command::new(binary(options)?);
        command.args(["serve", "--listen", "127.0.0.1:0", "--data"]).arg(dir).arg("--config").arg(&toml);
        command.current_dir(dir).stdin(Stdio::null()).stdout(Stdio::null()).stderr(File::create(&errors)?);
        let mut server = Self { child: command.spawn()?, address: ([127, 0, 0, 1], 0).into() };
        let begun = Instant::now();
        loop {
            if let Some(found) = listens_at(&address) {
                server.address = found;
                return Ok(server);
            }
            if server.child.try_wait()?.is_some() || begun.elapsed() > START {
                let said = std::fs::read_to_string(&errors).unwrap_or_default();
                return Err(format!("the server did not start: {said}").into());
            }
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// The memory of the server and of its helper processes, in bytes.
    pub fn resident_bytes(&self) -> u64 {
        resident_bytes(self.child.id())
    }

    /// The processor time that the server has used so far.
    pub fn processor_time(&self) -> Duration {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id())).unwrap_or_default();
        // The name, in parentheses, may hold anything. User and system time are the 14th and 15th field.
        let fields = stat.rsplit_once(')').map_or("", |(_, fields)| fields).split_whitespace();
        let ticks: u64 = fields.skip(11).take(2).filter_map(|ticks| ticks.parse::<u64>().ok()).sum();
        // Linux counts in hundredths of a second.
        Duration::from_millis(ticks * 10)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The server's binary: the one that was named, or the one beside this program.
pub fn binary(options: &Options) -> Outcome<PathBuf> {
    let beside = std::env::current_exe()?.with_file_name("moonlog");
    let binary = options.server.clone().unwrap_or(beside);
    if binary.exists() {
        return Ok(binary);
    }
    let hint = "build it with `cargo build --release -p moonlog-api`, or name one with --server";
    Err(format!("there is no server binary at {}: {hint}", binary.display()).into())
}

fn listens_at(file: &Path) -> Option<SocketAddr> {
    let text = std::fs::read_to_string(file).ok()?;
    let url = serde_json::from_str::<Value>(&text).ok()?;
    url["url"].as_str()?.strip_prefix("http://")?.trim_end_matches('/').parse().ok()
}
