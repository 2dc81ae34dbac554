//! A relay between clients and a server that comes and goes: one address over all restarts, whose connections can be cut
//! at any moment.

use std::{
    io,
    sync::{Arc, Mutex},
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::watch,
};

/// A relay that listens on a free port of 127.0.0.1 until this is dropped.
pub struct Relay {
    url: String,
    target: Arc<Mutex<Option<String>>>,
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
        let (to, cut) = (target.clone(), cuts.clone());
        let task = tokio::spawn(async move {
            loop {
                let (client, _) = listener.accept().await.expect("a connection");
                let target = to.lock().expect("the target").clone();
                if let Some(target) = target {
                    tokio::spawn(pass(client, target, cut.subscribe()));
                }
            }
        });
        Self { url, target, cuts, task }
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
