//! What a process is connected with: pipes and the connection to its supervisor, or what another host has in their place.

use super::{
    host::{Control as SupervisorControl, HostClient, Order, Report, ServerEnds, SpawnRequest},
    hosted::{CommandHost, HostedControl, Pipe},
};
use std::{fs::File, io, os::fd::OwnedFd, sync::Arc};
use tokio::net::unix::pipe;

/// The child's ends of what it is connected with.
pub(super) enum ChildEnds {
    /// Those that the process host hands on.
    Descriptors(ServerEnds),
    /// Those that another host writes to.
    Hosted([Arc<Pipe>; 2]),
}

/// The server's ends.
pub(super) struct Connected {
    pub stdin: Option<pipe::Sender>,
    pub outputs: [OutputEnd; 2],
}

/// Where the server reads what a process writes.
pub(super) enum OutputEnd {
    Pipe(pipe::Receiver),
    Hosted(Arc<Pipe>),
}

/// The connection to what looks after a process. Closing it kills everything there.
pub(super) enum Control {
    Supervisor(SupervisorControl),
    Hosted(HostedControl),
}

/// Makes the pipes of a process.
pub(super) fn connect(with_stdin: bool, hosted: bool) -> io::Result<(ChildEnds, Connected)> {
    if hosted {
        let pipes: [Arc<Pipe>; 2] = Default::default();
        let outputs = pipes.clone().map(OutputEnd::Hosted);
        return Ok((ChildEnds::Hosted(pipes), Connected { stdin: None, outputs }));
    }
    let (stdin, stdin_end): (_, OwnedFd) = if with_stdin {
        let (sender, receiver) = pipe::pipe()?;
        (Some(sender), receiver.into_blocking_fd()?)
    } else {
        (None, File::open("/dev/null")?.into())
    };
    let (out_sender, out) = pipe::pipe()?;
    let (err_sender, err) = pipe::pipe()?;
    let ends =
        ServerEnds { stdin: stdin_end, stdout: out_sender.into_blocking_fd()?, stderr: err_sender.into_blocking_fd()? };
    let outputs = [out, err].map(OutputEnd::Pipe);
    Ok((ChildEnds::Descriptors(ends), Connected { stdin, outputs }))
}

/// Asks a host for a process. What becomes of it is told over the connection that this returns.
pub(super) async fn request(
    client: &HostClient,
    hosted: Option<&dyn CommandHost>,
    request: &SpawnRequest,
    ends: &ChildEnds,
) -> io::Result<Control> {
    match (ends, hosted) {
        (ChildEnds::Descriptors(ends), _) => client.request(request, ends).await.map(Control::Supervisor),
        (ChildEnds::Hosted(pipes), Some(host)) => Ok(Control::Hosted(HostedControl::request(host, request, pipes))),
        (ChildEnds::Hosted(_), None) => Err(io::ErrorKind::NotConnected.into()),
    }
}

impl OutputEnd {
    /// Comes when a read gives something, or an error.
    pub async fn readable(&self) {
        match self {
            Self::Pipe(pipe) => {
                // An error shows again when it is read.
                let _ = pipe.readable().await;
            }
            Self::Hosted(pipe) => pipe.readable().await,
        }
    }

    /// Reads what is there.
    pub fn try_read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Pipe(pipe) => pipe.try_read(buffer),
            Self::Hosted(pipe) => pipe.try_read(buffer),
        }
    }
}

impl Control {
    /// The next report; `None` when nothing looks after it any more. Nothing is lost where this is dropped while it waits.
    pub async fn report(&mut self) -> Option<Report> {
        match self {
            Self::Supervisor(control) => control.report().await,
            Self::Hosted(control) => control.report().await,
        }
    }

    /// A report that has come already.
    pub fn try_report(&mut self) -> Option<Report> {
        match self {
            Self::Supervisor(control) => control.try_report(),
            Self::Hosted(control) => control.try_report(),
        }
    }

    /// Tells what is to be done. Whether it was told.
    pub fn order(&self, order: Order) -> bool {
        match self {
            Self::Supervisor(control) => control.order(order),
            Self::Hosted(control) => control.order(order),
        }
    }

    /// Ends the connection, by which everything there is killed. Reports still come.
    pub fn close(&self) {
        match self {
            Self::Supervisor(control) => control.close(),
            Self::Hosted(control) => control.close(),
        }
    }
}
