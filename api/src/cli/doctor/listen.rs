//! Where the server would listen, and whether it may.

use super::Finding;
use crate::{
    cli::{connect, context::Context},
    config::Config,
};
use std::{io::ErrorKind, net::TcpListener};

/// Looks at it.
pub fn look(config: &Config, context: &Context) -> Finding {
    const WHAT: &str = "listen";
    let listen = config.api.listen;
    let token = if config.api.token.is_some() { "a token is set" } else { "no token is set" };
    if !listen.ip().is_loopback() && config.api.token.is_none() {
        return Finding::wrong(WHAT, format!("{listen} is reached from other machines, and {token}"))
            .hint("set MOONLOG_TOKEN or api.token_file, or listen on 127.0.0.1");
    }
    match TcpListener::bind(listen) {
        Ok(_) => Finding::ok(WHAT, format!("{listen} is free; {token}")),
        Err(error) if error.kind() == ErrorKind::AddrInUse => {
            let ours = connect::address(&context.loaded.config.log.folder);
            if ours.is_some_and(|url| url.ends_with(&format!(":{}", listen.port()))) {
                Finding::ok(WHAT, format!("{listen} is taken by this data folder's server; {token}"))
            } else {
                Finding::wrong(WHAT, format!("{listen} is taken by another program"))
                    .hint("set api.listen, or `moonlog serve --listen 127.0.0.1:0`")
            }
        }
        Err(error) => Finding::wrong(WHAT, format!("{listen} cannot be listened on: {error}"))
            .hint("set api.listen to an address of this machine"),
    }
}
