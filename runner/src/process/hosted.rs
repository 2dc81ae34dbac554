//! The seam to what runs commands. moonlog's own is the process host (`host`); a simulation has another one, which is given
//! the same requests and orders, and gives the same reports.

use super::host::{Order, Report, SpawnRequest};
use std::{
    collections::{BTreeMap, VecDeque},
    fmt, io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};
use tokio::sync::{Notify, mpsc};

/// Runs commands in the place of the process host.
pub trait CommandHost: fmt::Debug + Send + Sync + 'static {
    /// Starts a command. What becomes of it is told by reports, the first of which are [`Report::Starting`] and
    /// [`Report::Started`]; the last is [`Report::Gone`].
    fn start(&self, command: HostedCommand, ends: HostedEnds);
}

/// What is to be run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostedCommand {
    /// The program's path.
    pub program: String,
    /// Its arguments.
    pub args: Vec<String>,
    /// Its whole environment.
    pub env: BTreeMap<String, String>,
}

/// The host's ends of what a command is connected with.
#[derive(Debug)]
pub struct HostedEnds {
    /// What becomes of it.
    pub reports: mpsc::UnboundedSender<Report>,
    /// What is to be done with it. Where this ends, the server has died or lets go of it, and it is to be killed.
    pub orders: mpsc::UnboundedReceiver<Order>,
    /// Its standard output and standard error. Each ends when it is dropped.
    pub outputs: [HostedOutput; 2],
}

/// What a command writes to.
#[derive(Debug)]
pub struct HostedOutput(Arc<Pipe>);

#[derive(Debug, Default)]
pub(super) struct Pipe {
    /// What was written and not read, and whether nothing more will be.
    state: Mutex<(VecDeque<u8>, bool)>,
    changed: Notify,
}

impl HostedOutput {
    /// Writes.
    pub fn write(&self, bytes: &[u8]) {
        self.0.state().0.extend(bytes);
        self.0.changed.notify_one();
    }
}

impl Drop for HostedOutput {
    fn drop(&mut self) {
        self.0.state().1 = true;
        self.0.changed.notify_one();
    }
}

impl Pipe {
    fn state(&self) -> MutexGuard<'_, (VecDeque<u8>, bool)> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Comes when a read gives something. For one reader.
    pub(super) async fn readable(&self) {
        loop {
            {
                let state = self.state();
                if state.1 || !state.0.is_empty() {
                    return;
                }
            }
            self.changed.notified().await;
        }
    }

    /// Reads what is there; nothing at the end.
    pub(super) fn try_read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut state = self.state();
        if state.0.is_empty() && !state.1 {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        io::Read::read(&mut state.0, buffer)
    }
}

/// The server's end of the connection to a command that is run by another host.
pub(super) struct HostedControl {
    reports: mpsc::UnboundedReceiver<Report>,
    orders: Mutex<Option<mpsc::UnboundedSender<Order>>>,
}

impl HostedControl {
    /// Has a host start a command whose outputs go to these pipes.
    pub(super) fn request(host: &dyn CommandHost, request: &SpawnRequest, outputs: &[Arc<Pipe>; 2]) -> Self {
        let text = |text: &std::ffi::OsString| text.to_string_lossy().into_owned();
        let command = HostedCommand {
            program: text(&request.program),
            args: request.args.iter().map(text).collect(),
            env: request.env.iter().map(|(name, value)| (text(name), text(value))).collect(),
        };
        let (told, reports) = mpsc::unbounded_channel();
        let (orders, ordered) = mpsc::unbounded_channel();
        let outputs = outputs.clone().map(HostedOutput);
        host.start(command, HostedEnds { reports: told, orders: ordered, outputs });
        Self { reports, orders: Mutex::new(Some(orders)) }
    }

    pub(super) async fn report(&mut self) -> Option<Report> {
        self.reports.recv().await
    }

    pub(super) fn try_report(&mut self) -> Option<Report> {
        self.reports.try_recv().ok()
    }

    pub(super) fn order(&self, order: Order) -> bool {
        self.orders().as_ref().is_some_and(|orders| orders.send(order).is_ok())
    }

    pub(super) fn close(&self) {
        self.orders().take();
    }

    fn orders(&self) -> MutexGuard<'_, Option<mpsc::UnboundedSender<Order>>> {
        self.orders.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
