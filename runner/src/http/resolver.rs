//! Looks names up, and keeps addresses away that are not allowed. Since a connection is made to what comes out of
//! here, a name cannot lead to one address when it is checked and to another when it is used.

use super::policy::Reachable;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

/// A name led to no address that is allowed.
#[derive(Debug, thiserror::Error)]
#[error("`{host}` leads to {address}, which is not public")]
pub(super) struct NotAllowed {
    pub host: String,
    pub address: IpAddr,
}

pub(super) struct Resolver {
    pub reachable: Arc<Reachable>,
}

impl Resolve for Resolver {
    fn resolve(&self, name: Name) -> Resolving {
        let reachable = Arc::clone(&self.reachable);
        Box::pin(async move {
            let host = name.as_str();
            let found: Vec<SocketAddr> = tokio::net::lookup_host((host, 0)).await?.collect();
            let (allowed, refused): (Vec<_>, Vec<_>) =
                found.into_iter().partition(|address| reachable.allows(address.ip()));
            match refused.first() {
                Some(first) if allowed.is_empty() => {
                    Err(NotAllowed { host: host.to_owned(), address: first.ip() }.into())
                }
                _ => Ok(Box::new(allowed.into_iter()) as Addrs),
            }
        })
    }
}
