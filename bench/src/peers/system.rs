//! What runs jobs over HTTP, as the measurements see it.

use super::{children::Child, packages::Packages};
use crate::{
    Outcome,
    load::{Connection, expect, result},
    process_tree::Memory,
};
use std::{
    net::{SocketAddr, TcpListener},
    path::Path,
    thread,
    time::{Duration, Instant},
};

/// How long a start may take until the first job has ended.
const START: Duration = Duration::from_secs(60);

/// moonlog, or a peer.
pub trait System {
    /// As in the report.
    fn name(&self) -> &'static str;

    /// Installs and builds what it needs.
    ///
    /// # Errors
    /// Why it is skipped.
    fn prepare(&mut self, packages: &Packages) -> Outcome;

    /// How often a cold start is measured in a round: more often where a moment of somebody else's on the disk would be most of
    /// it.
    fn cold_starts(&self) -> usize {
        1
    }

    /// Makes in `dir` what outlives its starts, as a database's first files.
    fn set_up(&self, dir: &Path) -> Outcome {
        let _ = dir;
        Ok(())
    }

    /// Starts it on `dir`, where it may have been before; returns at once or when it is ready.
    fn start(&self, dir: &Path) -> Outcome<Running>;
}

/// A started system. All that it consists of is ended when this is dropped.
pub struct Running {
    /// Its processes, the first to be ended first.
    pub children: Vec<Child>,
    /// Where jobs are submitted.
    pub address: SocketAddr,
    /// How they are.
    pub request: Request,
}

/// How a job is submitted, and its result found in the answer.
#[derive(Debug, Clone, Copy)]
pub enum Request {
    /// A script in the body; the answer is the job.
    Moonlog,
    /// Numbers in the body, to this path; the answer is the result.
    Plain(&'static str),
}

impl Running {
    /// The memory of all of it.
    pub fn memory(&self) -> Memory {
        self.children.iter().map(|child| Memory::of(child.pid())).fold(Memory::default(), Memory::and)
    }

    /// Waits until a first job has ended.
    pub async fn first_job(&self) -> Outcome {
        let begun = Instant::now();
        loop {
            match self.try_one().await {
                Ok(()) => return Ok(()),
                Err(error) if begun.elapsed() > START => return Err(error),
                Err(_) => tokio::time::sleep(Duration::from_millis(1)).await,
            }
        }
    }

    async fn try_one(&self) -> Outcome {
        let mut connection = Connection::open(self.address).await?;
        self.request.submit(&mut connection, &self.request.body(1, None), 1).await
    }
}

impl Request {
    /// The body that asks for a job of so many steps, each of which gives a number, or asks `url`.
    pub fn body(self, steps: usize, url: Option<&str>) -> Vec<u8> {
        let work = serde_json::json!({ "n": steps, "url": url });
        let body = match self {
            Self::Moonlog => serde_json::json!({ "script": super::moonlog::script(url.is_some()), "args": work }),
            Self::Plain(_) => work,
        };
        body.to_string().into_bytes()
    }

    /// Submits a job and waits for its result.
    pub async fn submit(self, connection: &mut Connection, body: &[u8], steps: usize) -> Outcome {
        let path = match self {
            Self::Moonlog => "/v1/jobs?wait=5m",
            Self::Plain(path) => path,
        };
        let answer = connection.post(path, body, &[200]).await?;
        let result = match self {
            Self::Moonlog => result(&answer),
            Self::Plain(_) => serde_json::from_slice(&answer).ok(),
        };
        expect(result, steps, &answer)
    }
}

/// A port of the loopback interface that is free now.
pub fn free_address() -> Outcome<SocketAddr> {
    free_addresses().map(|[address]| address)
}

/// So many of them, no two the same.
pub fn free_addresses<const N: usize>() -> Outcome<[SocketAddr; N]> {
    let mut addresses = [SocketAddr::from(([127, 0, 0, 1], 0)); N];
    let mut taken = Vec::new();
    for address in &mut addresses {
        let listener = TcpListener::bind(*address)?;
        *address = listener.local_addr()?;
        taken.push(listener);
    }
    Ok(addresses)
}

/// Tries until it succeeds, or the child has ended, or the time is up.
pub fn until<T>(child: &mut Child, mut act: impl FnMut() -> Outcome<T>) -> Outcome<T> {
    let begun = Instant::now();
    loop {
        match act() {
            Ok(done) => return Ok(done),
            Err(error) if child.has_ended() || begun.elapsed() > START => {
                return Err(format!("{error}; it said: {}", child.said()).into());
            }
            Err(_) => thread::sleep(Duration::from_millis(5)),
        }
    }
}
