//! The server's side: keeps the host running, and hands requests to it.

use super::{
    protocol::{MESSAGE_BYTES, Order, Report, SpawnRequest},
    server::REQUEST_MAX_BYTES,
};
use crate::process::HostCommand;
use nix::sys::socket::{ControlMessage, MsgFlags, Shutdown, UnixAddr, send, sendmsg, shutdown};
use std::{
    io::{self, IoSlice},
    os::fd::{AsFd, AsRawFd, OwnedFd, RawFd},
    process::{Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};
use tokio::{
    io::{AsyncReadExt, Interest},
    net::UnixStream,
    sync::Mutex,
};

/// The process host as the server sees it. It is started with the first request, and again when it has ended.
pub(in crate::process) struct HostClient {
    command: HostCommand,
    connection: Mutex<Option<Connection>>,
}

struct Connection {
    socket: UnixStream,
    ended: Arc<AtomicBool>,
}

/// The child's ends of what it is connected with.
pub(in crate::process) struct ServerEnds {
    /// What it reads from.
    pub stdin: OwnedFd,
    /// What it writes to.
    pub stdout: OwnedFd,
    /// What it complains to.
    pub stderr: OwnedFd,
}

/// The connection to one supervisor. Closing it kills everything there.
pub(in crate::process) struct Control {
    socket: UnixStream,
    received: Vec<u8>,
}

impl HostClient {
    pub fn new(command: HostCommand) -> Self {
        Self { command, connection: Mutex::new(None) }
    }

    /// Asks for a process. What becomes of it is told over the connection that this returns.
    pub async fn request(&self, request: &SpawnRequest, ends: &ServerEnds) -> io::Result<Control> {
        let bytes = request.encode();
        if bytes.len() > REQUEST_MAX_BYTES {
            return Err(io::Error::from_raw_os_error(libc::E2BIG));
        }
        let (ours, theirs) = std::os::unix::net::UnixStream::pair()?;
        let descriptors =
            [ends.stdin.as_raw_fd(), ends.stdout.as_raw_fd(), ends.stderr.as_raw_fd(), theirs.as_fd().as_raw_fd()];
        ours.set_nonblocking(true)?;
        let control = Control { socket: UnixStream::from_std(ours)?, received: Vec::new() };
        let mut connection = self.connection.lock().await;
        // The host may have ended since the last request; one that has just been started is given no second chance.
        let alive = connection.take().filter(|connection| !connection.ended.load(Ordering::Acquire));
        if let Some(alive) = alive
            && alive.send(&bytes, &descriptors).await.is_ok()
        {
            *connection = Some(alive);
            return Ok(control);
        }
        let fresh = self.start()?;
        fresh.send(&bytes, &descriptors).await?;
        *connection = Some(fresh);
        Ok(control)
    }

    /// Lets the host end. The next request starts another one.
    pub async fn stop(&self) {
        self.connection.lock().await.take();
    }

    fn start(&self) -> io::Result<Connection> {
        let (ours, theirs) = std::os::unix::net::UnixStream::pair()?;
        ours.set_nonblocking(true)?;
        // No variable of the server's reaches it: what children get comes with each request.
        let mut child = Command::new(&self.command.program)
            .args(&self.command.args)
            .env_clear()
            .stdin(Stdio::from(OwnedFd::from(theirs)))
            .stdout(Stdio::null())
            .spawn()?;
        tracing::debug!(pid = child.id(), "process host started");
        let ended = Arc::new(AtomicBool::new(false));
        let flag = Arc::clone(&ended);
        // A thread and no task: nothing may have to wait for it when the server stops.
        std::thread::Builder::new().name("process-host".into()).stack_size(64 << 10).spawn(move || {
            let status = child.wait();
            flag.store(true, Ordering::Release);
            tracing::debug!(?status, "process host ended");
        })?;
        Ok(Connection { socket: UnixStream::from_std(ours)?, ended })
    }
}

impl Connection {
    async fn send(&self, bytes: &[u8], descriptors: &[RawFd]) -> io::Result<()> {
        let mut sent = 0;
        while sent < bytes.len() {
            sent += self
                .socket
                .async_io(Interest::WRITABLE, || {
                    let parts = [IoSlice::new(&bytes[sent..])];
                    let rights = [ControlMessage::ScmRights(descriptors)];
                    let along = if sent == 0 { &rights[..] } else { &[] };
                    sendmsg::<UnixAddr>(self.socket.as_raw_fd(), &parts, along, MsgFlags::MSG_NOSIGNAL, None)
                        .map_err(io::Error::from)
                })
                .await?;
        }
        Ok(())
    }
}

impl Control {
    /// The next report; `None` when the supervisor has ended. Nothing is lost where this is dropped while it waits.
    pub async fn report(&mut self) -> Option<Report> {
        loop {
            if let Some(report) = self.taken() {
                return report;
            }
            match self.socket.read_buf(&mut self.received).await {
                Ok(0) | Err(_) => return None,
                Ok(_) => {}
            }
        }
    }

    /// A report that has come already.
    pub fn try_report(&mut self) -> Option<Report> {
        let mut buffer = [0; MESSAGE_BYTES * 4];
        if let Ok(bytes) = self.socket.try_read(&mut buffer) {
            self.received.extend_from_slice(&buffer[..bytes]);
        }
        self.taken().flatten()
    }

    fn taken(&mut self) -> Option<Option<Report>> {
        let bytes = *self.received.first_chunk::<MESSAGE_BYTES>()?;
        self.received.drain(..MESSAGE_BYTES);
        Some(Report::decode(bytes))
    }

    /// Tells the supervisor what to do. Whether it was told.
    pub fn order(&self, order: Order) -> bool {
        // Past the runtime, which may not know yet that the socket can be written to.
        let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL;
        send(self.socket.as_raw_fd(), &order.encode(), flags) == Ok(MESSAGE_BYTES)
    }

    /// Ends the connection, by which everything there is killed. Reports still come.
    pub fn close(&self) {
        // It fails where the other side has ended it already.
        let _ = shutdown(self.socket.as_raw_fd(), Shutdown::Write);
    }
}
