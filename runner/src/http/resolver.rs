//! Looks names up, and keeps addresses away that are not allowed. Since a connection is made to what comes out of
//! here, a name cannot lead to one address when it is checked and to another when it is used.

use super::policy::Reachable;
use futures_util::{FutureExt, future::BoxFuture};
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use std::{
    io,
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

/// What a name leads to.
pub(super) type Lookup = Arc<dyn Fn(String) -> BoxFuture<'static, io::Result<Vec<SocketAddr>>> + Send + Sync>;

/// What the system says that a name leads to.
pub(super) fn system() -> Lookup {
    Arc::new(|host| async move { Ok(tokio::net::lookup_host((host, 0)).await?.collect()) }.boxed())
}

pub(super) struct Resolver {
    pub reachable: Arc<Reachable>,
    pub lookup: Lookup,
}

impl Resolve for Resolver {
    fn resolve(&self, name: Name) -> Resolving {
        let (reachable, lookup) = (Arc::clone(&self.reachable), self.lookup.clone());
        Box::pin(async move {
            let host = name.as_str();
            let found = lookup(host.to_owned()).await?;
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
