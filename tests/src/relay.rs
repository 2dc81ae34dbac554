//! A relay between clients and a server that comes and goes: one address over all restarts, whose connections can be cut
//! at any moment.

use std::{
    io,
    sync::{Arc, Mutex},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::watch,
};

/// A relay that listens on a free port of 127.0.0.1 until this is dropped.
pub struct Relay {
    url: String,
    target: Arc<Mutex<Option<String>>>,
    /// After how many bytes of its answer the next connection is cut, where it is.
    first: Arc<Mutex<Option<usize>>>,
    /// Every change cuts all connections.
    cuts: watch::Sender<u64>,
    task: tokio::task::JoinHandle<()>,
}

impl Relay {
    /// Starts a relay that leads nowhere yet: it closes what it accepts.
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let target: Arc<Mutex<Option<String>>> = Arc::default();
        let cuts = watch::Sender::new(0);
        let first = Arc::<Mutex<Option<usize>>>::default();
        let (to, cut, cut_first) = (target.clone(), cuts.clone(), first.clone());
        let task = tokio::spawn(async move {
            loop {
                let (client, _) = listener.accept().await.expect("a connection");
                let target = to.lock().expect("the target").clone();
                let Some(target) = target else { continue };
                match cut_first.lock().expect("the first").take() {
                    Some(bytes) => drop(tokio::spawn(pass_some(client, target, bytes))),
                    None => drop(tokio::spawn(pass(client, target, cut.subscribe()))),
                }
            }
        });
        Self { url, target, first, cuts, task }
    }

    /// Where clients connect.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Leads new connections to the server at `url`, or nowhere.
    pub fn lead_to(&self, url: Option<&str>) {
        let address = url.map(|url| url.trim_start_matches("http://").to_owned());
        *self.target.lock().expect("the target") = address;
    }

    /// Cuts the next connection when its request has come and so many bytes of the answer have passed.
    ///
    /// # Panics
    /// Where the task has.
    pub fn cut_next_after(&self, bytes: usize) {
        *self.first.lock().expect("the first") = Some(bytes);
    }

    /// Cuts all connections, in the middle of whatever they carry.
    pub fn cut(&self) {
        self.cuts.send_modify(|cuts| *cuts += 1);
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.task.abort();
        self.cut();
    }
}

async fn pass(mut client: TcpStream, target: String, mut cut: watch::Receiver<u64>) -> io::Result<()> {
    let mut server = TcpStream::connect(target).await?;
    tokio::select! {
        passed = tokio::io::copy_bidirectional(&mut client, &mut server) => passed.map(drop),
        _ = cut.changed() => Ok(()),
    }
}

async fn pass_some(mut client: TcpStream, target: String, mut bytes: usize) -> io::Result<()> {
    let mut server = TcpStream::connect(target).await?;
    let mut buffer = vec![0; 64 << 10];
    let asked = client.read(&mut buffer).await?;
    server.write_all(&buffer[..asked]).await?;
    while bytes > 0 {
        let at_most = bytes.min(buffer.len());
        let count = server.read(&mut buffer[..at_most]).await?;
        client.write_all(&buffer[..count]).await?;
        bytes = if count == 0 { 0 } else { bytes - count };
    }
    Ok(())
}
