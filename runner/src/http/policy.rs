//! What requests of scripts may do.

use super::{AllowedNetwork, address::is_public, resolver::Resolver};
use crate::secret::Secrets;
use moonlog_core::error_info::ErrorInfo;
use reqwest::{Client, Url, redirect::Policy};
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
    /// Made with the first request: it reads the system's certificates, which takes time and memory.
    client: OnceLock<Client>,
}

impl HttpPolicy {
    /// Requests within `options`.
    ///
    /// # Errors
    /// `invalid_network` for a prefix that is longer than its address.
    pub fn new(options: HttpOptions) -> Result<Self, ErrorInfo> {
        for network in &options.allowed_networks {
            if network.prefix > if network.address.is_ipv4() { 32 } else { 128 } {
                return Err(ErrorInfo::new(
                    "invalid_network",
                    format!("{network} is no network: its prefix is too long"),
                ));
            }
        }
        let reachable = Arc::new(Reachable(options.allowed_networks.clone()));
        Ok(Self { inner: Arc::new(Inner { options, reachable, client: OnceLock::new() }) })
    }

    pub(super) fn options(&self) -> &HttpOptions {
        &self.inner.options
    }

    pub(crate) fn client(&self) -> Result<&Client, ErrorInfo> {
        if let Some(client) = self.inner.client.get() {
            return Ok(client);
        }
        let client = Client::builder()
            // Redirects are followed step by step, so that each is checked.
            .redirect(Policy::none())
            // A proxy would connect in our place, to wherever it likes.
            .no_proxy()
            .dns_resolver(Resolver { reachable: Arc::clone(&self.inner.reachable) })
            .user_agent(concat!("moonlog/", env!("CARGO_PKG_VERSION")))
            .pool_max_idle_per_host(4)
            .build()
            .map_err(|error| ErrorInfo::new("tls_failed", format!("no request can be made: {error}")))?;
        Ok(self.inner.client.get_or_init(|| client))
    }

    /// Checks a host that is an address itself, which no resolver sees.
    pub(crate) fn check_host(&self, url: &Url) -> Result<(), ErrorInfo> {
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
