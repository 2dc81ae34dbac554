//! The accept loop: connections within their limits, and their end.

use super::{
    ServeError, ServeOptions,
    app::App,
    connections::{Activity, Arriving, Connections, Place},
    descriptors,
    guard::Guard,
    metrics::Metrics,
    options::is_loopback,
    refusal::Watched,
    reply::{Lasting, Response},
    request::{BodyStream, Head},
    router,
    ticket::Tickets,
};
use crate::{feed::FeedHub, retention::Compactor};
use bytes::Buf;
use hyper::{body::Incoming, service::Service};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use moonlog_runner::Runner;
use std::{
    convert::Infallible,
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    path::{Path, PathBuf},
    pin::pin,
    sync::Arc,
    time::Duration,
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{Semaphore, watch},
    task::{JoinHandle, JoinSet},
};
use tokio_stream::{Stream, StreamExt};
use warp::{Filter, http::Uri};

/// A server that listens. It stops when this is dropped.
pub struct Served {
    addr: SocketAddr,
    shutdown: Shutdown,
    task: JoinHandle<()>,
}

/// Tells a server to stop. Clones tell the same one.
#[derive(Clone)]
pub struct Shutdown(watch::Sender<bool>);

impl Shutdown {
    /// Feeds end, requests finish, then the server stops. Asking twice changes nothing.
    pub fn start(&self) {
        self.0.send_replace(true);
    }
}

impl Served {
    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Where clients on this machine find it, such as `http://127.0.0.1:7070`.
    pub fn url(&self) -> String {
        url(self.addr)
    }

    /// What stops it.
    pub fn shutdown(&self) -> Shutdown {
        self.shutdown.clone()
    }

    /// Returns when it has stopped, because someone told it to.
    pub async fn join(self) {
        if let Err(error) = self.task.await {
            tracing::error!(%error, "the server's accept loop failed");
        }
    }

    /// Tells it to stop and waits until it has.
    pub async fn stop(self) {
        self.shutdown.start();
        self.join().await;
    }
}

/// Serves `runner` over HTTP. The runner itself is stopped by the caller, after the server.
///
/// # Errors
/// Where it would let others in without a token, or cannot listen.
pub async fn serve(options: ServeOptions, runner: Runner) -> Result<Served, ServeError> {
    let listen = options.listen;
    if options.token.is_none() && !options.is_local() {
        return Err(ServeError::TokenNeeded { listen });
    }
    let failed = |source| ServeError::Listen { listen, source };
    let listener = TcpListener::bind(listen).await.map_err(failed)?;
    let addr = listener.local_addr().map_err(failed)?;
    let address_file = match options.address_file.clone().map(|path| AddressFile::write(path, addr)).transpose() {
        // A server that is only read from is found by its address.
        Err(error) if runner.log().is_poisoned().is_some() => {
            tracing::warn!(%error, "commands do not find this server by its data folder; name it with --server");
            None
        }
        written => written?,
    };
    let (stop, stopped) = watch::channel(false);
    let app = Arc::new(App {
        guard: Guard::new(&options, addr),
        tickets: Tickets::new(options.token.as_ref(), options.limits.ticket, runner.options().clock.clone()),
        feeds: FeedHub::new(runner.log().clone(), options.feeds(), stopped.clone()),
        metrics: Metrics::new(),
        stop: stopped,
        verifying: Semaphore::new(1),
        backups: Arc::new(Semaphore::new(1)),
        compactor: Arc::new(Compactor::new(runner.clone(), options.retention.clone())),
        options,
        runner,
    });
    if app.options.compacts {
        let (compactor, stop) = (app.compactor.clone(), app.stop.clone());
        tokio::spawn(async move { compactor.run_on_schedule(stop).await });
    }
    let task = tokio::spawn(async move {
        accept(listener, app).await;
        drop(address_file);
    });
    Ok(Served { addr, shutdown: Shutdown(stop), task })
}

async fn accept(listener: TcpListener, app: Arc<App>) {
    let limits = &app.options.limits;
    let connections = descriptors::make_room(limits.connections);
    let places = Connections::new(connections, limits.connection_keep);
    let mut stop = app.stop.clone();
    let mut connections = JoinSet::new();
    // What was accepted and has no place yet.
    let mut next: Option<TcpStream> = None;
    loop {
        // Beyond the limit connections wait in the system's queue, not in ours, but for the next.
        let accepted = async {
            if next.is_none() {
                next = Some(listener.accept().await?.0);
            }
            places.enter().await.ok_or_else(|| io::Error::other("there are no places"))
        };
        tokio::select! {
            accepted = accepted => match accepted {
                Ok(place) => {
                    let serve = |stream| connections.spawn(connection(stream, place, app.clone()));
                    next.take().map(serve);
                }
                // Out of descriptors, or a connection that was gone at once: the next may do.
                Err(error) => {
                    tracing::warn!(%error, "a connection was not accepted");
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
            },
            Some(_) = connections.join_next(), if !connections.is_empty() => {}
            () = stopped(&mut stop) => break,
        }
    }
    drop(listener);
    let finished = async { while connections.join_next().await.is_some() {} };
    if tokio::time::timeout(limits.drain, finished).await.is_err() {
        tracing::warn!(left = connections.len(), "requests did not finish in time and were cut");
        connections.shutdown().await;
    }
}

async fn connection(stream: TcpStream, place: Place, app: Arc<App>) {
    // Answers are small and clients wait for them.
    let _ = stream.set_nodelay(true);
    app.metrics.connected();
    let limits = &app.options.limits;
    let mut stop = app.stop.clone();
    let service = WithPath(TowerToHyperService::new(warp::service(filter(app.clone(), place.activity.clone()))));
    let mut builder = hyper::server::conn::http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(limits.header_read_timeout)
        .max_header_size(limits.header_max_bytes)
        // What a slow reader may hold, and the unit in which bodies are read.
        .max_buf_size(limits.header_max_bytes.max(64 << 10));
    let mut watched = Watched::new(stream, place.activity.clone());
    let ended = {
        let mut serving = pin!(builder.serve_connection(TokioIo::new(&mut watched), service));
        tokio::select! {
            ended = &mut serving => Some(ended),
            () = place.activity.yields() => None,
            () = stopped(&mut stop) => {
                serving.as_mut().graceful_shutdown();
                Some(serving.await)
            }
        }
    };
    match &ended {
        Some(Err(error)) => tracing::debug!(%error, "a connection ended"),
        Some(Ok(())) => {}
        None => tracing::debug!("a connection gave its place to another"),
    }
    if let Some(ended) = ended
        && let Some(status) = watched.end(ended).await
    {
        app.metrics.answered("other", "", status, Duration::ZERO);
    }
    app.metrics.disconnected();
}

/// Returns when the server is to stop.
pub async fn stopped(stop: &mut watch::Receiver<bool>) {
    // An error is the sender's end, and so the server's.
    let _ = stop.wait_for(|stopped| *stopped).await;
}

/// Gives targets that name no path one: that of `CONNECT` is a host and a port, on which warp panics.
struct WithPath<S>(S);

impl<S: Service<warp::http::Request<Incoming>>> Service<warp::http::Request<Incoming>> for WithPath<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn call(&self, mut request: warp::http::Request<Incoming>) -> S::Future {
        if request.uri().path_and_query().is_none() {
            *request.uri_mut() = Uri::from_static("/");
        }
        self.0.call(request)
    }
}

/// The one filter: everything goes to the router.
fn filter(app: Arc<App>, activity: Arc<Activity>) -> impl Filter<Extract = (Response,), Error = Infallible> + Clone {
    let query = warp::query::raw().or(warp::any().map(String::new)).unify();
    warp::any()
        .and(warp::filters::method::method())
        .and(warp::path::full())
        .and(query)
        .and(warp::filters::header::headers_cloned())
        .and(warp::body::stream())
        .then(move |method, path: warp::path::FullPath, query, headers, body| {
            let head = Head { method, path: path.as_str().to_owned(), query, headers };
            let (app, activity) = (app.clone(), activity.clone());
            async move {
                activity.moved();
                activity.set_busy(true);
                let body = Box::pin(Arriving::new(pieces(body), activity.clone()));
                let response = router::answer(app, head, body).await;
                activity.set_busy(response.extensions().get::<Lasting>().is_some());
                response
            }
        })
        .recover(|_| async { Ok::<_, Infallible>(super::Problem::internal(&"a filter rejected").into_response()) })
        .unify()
}

fn pieces<B: Buf>(body: impl Stream<Item = Result<B, warp::Error>> + Send + 'static) -> BodyStream {
    Box::pin(body.map(|piece| piece.map(|mut piece| piece.copy_to_bytes(piece.remaining()))))
}

/// Where clients on this machine find a server that listens there.
fn url(addr: SocketAddr) -> String {
    let ip = match addr.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    debug_assert!(!addr.ip().is_unspecified() || is_loopback(ip));
    format!("http://{}", SocketAddr::new(ip, addr.port()))
}

/// `server.json`: there while the server listens.
struct AddressFile(PathBuf);

impl AddressFile {
    fn write(path: PathBuf, addr: SocketAddr) -> Result<Self, ServeError> {
        let text = serde_json::json!({
            "address": url(addr), "url": url(addr), "pid": std::process::id(), "version": env!("CARGO_PKG_VERSION"),
        });
        // Whoever reads it sees the old one or the new one, never half of one.
        let draft = path.with_extension("json.new");
        let written = std::fs::write(&draft, format!("{text}\n")).and_then(|()| std::fs::rename(&draft, &path));
        match written {
            Ok(()) => Ok(Self(path)),
            Err(source) => Err(ServeError::AddressFile { path, source }),
        }
    }

    fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for AddressFile {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_file(self.path()) {
            tracing::debug!(%error, "the address file was gone");
        }
    }
}
