//! What requests of scripts may do.

use crate::secret::Secrets;
use moonlog_core::error_info::ErrorInfo;
use std::{net::IpAddr, sync::Arc};

/// A network that requests may reach although it is not public: an address with the length of its prefix.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AllowedNetwork {
    /// Its first address.
    pub address: IpAddr,
    /// How many bits of it count.
    pub prefix: u8,
}

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

/// The options with the client that keeps to them. Cheap to clone.
#[derive(Clone)]
pub struct HttpPolicy;

impl HttpPolicy {
    /// Makes the client.
    ///
    /// # Errors
    /// Where TLS cannot be set up.
    pub fn new(options: HttpOptions) -> Result<Self, ErrorInfo> {
        let _ = options;
        todo!()
    }
}
