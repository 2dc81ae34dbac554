//! What requests of scripts may do.

use super::{
    AllowedNetwork,
    address::is_public,
    hosted::{HostedRequest, HttpHost},
    request::failure,
    resolver::{self, Lookup, Resolver},
};
use crate::secret::Secrets;
use moonlog_core::error_info::ErrorInfo;
use reqwest::{Client, Method, Response, Url, header::HeaderMap, redirect::Policy};
use std::{
    net::IpAddr,
    sync::{Arc, OnceLock},
};

/// What requests of scripts may do, as configured.
#[derive(Debug, Clone)]
pub struct HttpOptions {
    /// Networks that are not public and may be reached nevertheless.
    pub allowed_networks: Vec<AllowedNetwork>,
    /// The longest body of an answer.
    pub response_max_bytes: usize,
    /// The longest body of a request.
    pub request_max_bytes: usize,
    /// How long a request may take that names no timeout.
    pub timeout_ms: u64,
    /// How many redirects are followed.
    pub redirects_max: usize,
    /// What may stand in headers.
    pub secrets: Arc<Secrets>,
}

impl Default for HttpOptions {
    fn default() -> Self {
        Self {
            allowed_networks: Vec::new(),
            response_max_bytes: 4 << 20,
            request_max_bytes: 8 << 20,
            timeout_ms: 30_000,
            redirects_max: 10,
            secrets: Arc::new(Secrets::default()),
        }
    }
}

/// Which addresses may be reached.
#[derive(Debug)]
pub(super) struct Reachable(Vec<AllowedNetwork>);

impl Reachable {
    pub fn allows(&self, address: IpAddr) -> bool {
        is_public(address) || self.0.iter().any(|network| network.contains(address))
    }
}

/// The options with the client that keeps to them. Cheap to clone.
#[derive(Clone)]
pub struct HttpPolicy {
    inner: Arc<Inner>,
}

struct Inner {
    options: HttpOptions,
    reachable: Arc<Reachable>,
    way: Way,
}

/// Which way requests go.
enum Way {
    Network {
        lookup: Lookup,
        /// Made with the first request: it reads the system's certificates, which takes time and memory.
        client: OnceLock<Client>,
    },
    Hosted(Arc<dyn HttpHost>),
}

impl HttpPolicy {
    /// Requests within `options`.
    ///
    /// # Errors
    /// `invalid_network` for a prefix that is longer than its address.
    pub fn new(options: HttpOptions) -> Result<Self, ErrorInfo> {
        Self::by(options, Way::Network { lookup: resolver::system(), client: OnceLock::new() })
    }

    /// The same, with a host that answers them all, such as in a simulation.
    ///
    /// # Errors
    /// As for [`Self::new`].
    pub fn hosted(options: HttpOptions, host: Arc<dyn HttpHost>) -> Result<Self, ErrorInfo> {
        Self::by(options, Way::Hosted(host))
    }

    fn by(options: HttpOptions, way: Way) -> Result<Self, ErrorInfo> {
        for network in &options.allowed_networks {
            if network.prefix > if network.address.is_ipv4() { 32 } else { 128 } {
                return Err(ErrorInfo::new(
                    "invalid_network",
                    format!("{network} is no network: its prefix is too long"),
                ));
            }
        }
        let reachable = Arc::new(Reachable(options.allowed_networks.clone()));
        Ok(Self { inner: Arc::new(Inner { options, reachable, way }) })
    }

    pub(super) fn options(&self) -> &HttpOptions {
        &self.inner.options
    }

    /// Sends one request, to where requests may go.
    pub(crate) async fn send(
        &self,
        method: Method,
        url: &Url,
        headers: HeaderMap,
        body: Option<Vec<u8>>,
    ) -> Result<Response, ErrorInfo> {
        self.check_host(url)?;
        match &self.inner.way {
            Way::Hosted(host) => {
                let request = HostedRequest { method, url: url.clone(), headers, body: body.unwrap_or_default() };
                host.answer(request).await?.into_response(url.clone())
            }
            Way::Network { lookup, client } => {
                let mut request = self.client(lookup, client)?.request(method, url.clone()).headers(headers);
                if let Some(body) = body {
                    request = request.body(body);
                }
                request.send().await.map_err(|error| failure(url, &error))
            }
        }
    }

    fn client<'a>(&self, lookup: &Lookup, made: &'a OnceLock<Client>) -> Result<&'a Client, ErrorInfo> {
        if let Some(client) = made.get() {
            return Ok(client);
        }
        let client = Client::builder()
            // Redirects are followed step by step, so that each is checked.
            .redirect(Policy::none())
            // A proxy would connect in our place, to wherever it likes.
            .no_proxy()
            .dns_resolver(Resolver { reachable: Arc::clone(&self.inner.reachable), lookup: lookup.clone() })
            .user_agent(concat!("moonlog/", env!("CARGO_PKG_VERSION")))
            .pool_max_idle_per_host(4)
            .build()
            .map_err(|error| ErrorInfo::new("tls_failed", format!("no request can be made: {error}")))?;
        Ok(made.get_or_init(|| client))
    }

    /// Checks a host that is an address itself, which no resolver sees.
    fn check_host(&self, url: &Url) -> Result<(), ErrorInfo> {
        let host = url.host_str().unwrap_or_default();
        match host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>() {
            Ok(address) if !self.inner.reachable.allows(address) => Err(not_allowed(host, address)),
            _ => Ok(()),
        }
    }
}

pub(super) fn not_allowed(host: &str, address: IpAddr) -> ErrorInfo {
    ErrorInfo::new(
        "address_not_allowed",
        format!(
            "`{host}` leads to {address}, which is not public: allow its network in the configuration if it is meant"
        ),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::perform;
    use futures_util::FutureExt;
    use moonlog_core::json::Json;
    use serde_json::json;
    use std::{
        net::SocketAddr,
        sync::atomic::{AtomicUsize, Ordering},
    };
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::TcpListener,
    };

    /// Answers each connection once, and counts them.
    async fn serve(listener: TcpListener, asked: Arc<AtomicUsize>) {
        while let Ok((mut stream, _)) = listener.accept().await {
            asked.fetch_add(1, Ordering::SeqCst);
            let _ = stream.read(&mut [0; 4_096]).await;
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nhi").await;
        }
    }

    #[tokio::test]
    async fn a_name_that_leads_elsewhere_the_second_time_leads_nowhere() {
        let allowed = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = allowed.local_addr().unwrap().port();
        let private = TcpListener::bind(("127.0.0.2", port)).await.unwrap();
        let asked = [Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0))];
        tokio::spawn(serve(allowed, asked[0].clone()));
        tokio::spawn(serve(private, asked[1].clone()));
        let answers = Arc::new(AtomicUsize::new(0));
        let lookup: Lookup = Arc::new(move |_| {
            let answer: &[[u8; 4]] = match answers.fetch_add(1, Ordering::SeqCst) {
                0 => &[[127, 0, 0, 1]],
                1 => &[[127, 0, 0, 2]],
                // Both at once: the one that may be is the one that is tried.
                2 => &[[127, 0, 0, 2], [127, 0, 0, 1], [10, 0, 0, 1]],
                _ => &[[10, 0, 0, 1], [127, 0, 0, 2]],
            };
            let found: Vec<SocketAddr> = answer.iter().map(|address| (*address, 0).into()).collect();
            async move { Ok(found) }.boxed()
        });
        let options = HttpOptions { allowed_networks: vec!["127.0.0.1".parse().unwrap()], ..HttpOptions::default() };
        let policy = HttpPolicy::by(options, Way::Network { lookup, client: OnceLock::new() }).unwrap();
        for (time, reached) in [(0, true), (1, false), (2, true), (3, false)] {
            let input = Json::from(json!({ "url": format!("http://rebind.example:{port}/") }));
            let result = perform(&input, "key", &policy).await;
            let code = result.error.as_ref().map(|error| error.code.as_ref());
            assert_eq!(code, (!reached).then_some("address_not_allowed"), "time {time}: {result:?}");
        }
        assert_eq!(asked.each_ref().map(|asked| asked.load(Ordering::SeqCst)), [2, 0]);
    }
}
