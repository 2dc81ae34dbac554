//! Who may ask: the names the server is asked for under, the pages that may use it, and the token. A web page can make
//! a browser send requests to a local server; what it cannot do is choose their `Host` and `Origin`.

use super::{ServeOptions, options::is_loopback, problem::Problem, request::Head, ticket::Tickets};
use std::net::{IpAddr, SocketAddr};
use subtle::ConstantTimeEq;
use warp::http::{HeaderMap, HeaderValue, Method, StatusCode, header};

/// What requests must show.
pub struct Guard {
    /// Hash of the token, so that what is compared has one length.
    token: Option<[u8; 32]>,
    hosts: Vec<String>,
    /// Listening on every address: then every address is its name, and only names can be made to point elsewhere.
    any_address: bool,
    listen: IpAddr,
    origins: Vec<String>,
}

impl Guard {
    pub fn new(options: &ServeOptions, listen: SocketAddr) -> Self {
        Self {
            token: options.token.as_ref().map(|token| hash(token.reveal().as_bytes())),
            hosts: options.hosts.iter().map(|host| host.to_ascii_lowercase()).collect(),
            any_address: listen.ip().is_unspecified(),
            listen: listen.ip(),
            origins: options.origins.iter().map(|origin| origin.trim_end_matches('/').to_ascii_lowercase()).collect(),
        }
    }

    /// Checks `Host` and `Origin`.
    ///
    /// # Errors
    /// 400 without a host, 403 for one that is not this server's and for pages from elsewhere.
    pub fn check_place(&self, method: &Method, headers: &HeaderMap) -> Result<(), Problem> {
        let mut hosts = headers.get_all(header::HOST).iter();
        let (Some(host), None) = (hosts.next(), hosts.next()) else {
            return Err(Problem::bad_request("invalid_host", "a request needs one Host header"));
        };
        let host = host.to_str().ok().and_then(Authority::read);
        let Some(host) = host.filter(|host| self.is_mine(&host.name)) else {
            return Err(Problem::new(
                StatusCode::FORBIDDEN,
                "forbidden_host",
                "the server is not known under this Host; add it to api.hosts in the configuration",
            ));
        };
        for origin in headers.get_all(header::ORIGIN) {
            if !self.is_friend(origin, &host) {
                return Err(forbidden_origin());
            }
        }
        // A browser names no origin where a page asks for a picture or a script; but it says that the page is not ours. What
        // a person follows a link to is shown to that person alone.
        let is =
            |name: &str, values: &[&[u8]]| headers.get(name).is_some_and(|given| values.contains(&given.as_bytes()));
        let followed = is("sec-fetch-mode", &[b"navigate"]) && [Method::GET, Method::HEAD].contains(method);
        let from_page = is("sec-fetch-site", &[b"cross-site", b"same-site"]);
        if from_page && !followed && !headers.contains_key(header::ORIGIN) {
            return Err(forbidden_origin());
        }
        Ok(())
    }

    fn is_mine(&self, name: &str) -> bool {
        let ip = name.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>().ok();
        match ip {
            Some(ip) => {
                is_loopback(ip) || ip == self.listen || self.any_address || self.hosts.iter().any(|host| host == name)
            }
            None => name == "localhost" || self.hosts.iter().any(|host| host == name),
        }
    }

    /// Pages that this server gave itself, under any of its names, and those of configured origins.
    fn is_friend(&self, origin: &HeaderValue, host: &Authority) -> bool {
        let Ok(origin) = origin.to_str() else { return false };
        let origin = origin.to_ascii_lowercase();
        if self.origins.contains(&origin) {
            return true;
        }
        let Some((scheme, rest)) = origin.split_once("://") else { return false };
        let default_port = match scheme {
            "http" => 80,
            "https" => 443,
            _ => return false,
        };
        Authority::read(rest).is_some_and(|authority| {
            self.is_mine(&authority.name) && authority.port.unwrap_or(default_port) == host.port.unwrap_or(default_port)
        })
    }

    /// The configured origin that this request comes from, to be named in the answer.
    pub fn foreign_origin(&self, headers: &HeaderMap) -> Option<HeaderValue> {
        let origin = headers.get(header::ORIGIN)?;
        let text = origin.to_str().ok()?.to_ascii_lowercase();
        self.origins.contains(&text).then(|| origin.clone())
    }

    /// Checks the token, or the ticket where one is taken in its place.
    ///
    /// # Errors
    /// 401
    pub fn check_token(&self, head: &Head, ticket: Option<&str>, tickets: &Tickets) -> Result<(), Problem> {
        let Some(token) = &self.token else { return Ok(()) };
        let mut given = head.headers.get_all(header::AUTHORIZATION).iter();
        let bearer = match (given.next(), given.next()) {
            (Some(value), None) => value.as_bytes().split_at_checked(7),
            _ => None,
        };
        if let Some((scheme, secret)) = bearer
            && scheme.eq_ignore_ascii_case(b"Bearer ")
            && bool::from(hash(secret.trim_ascii()).ct_eq(token))
        {
            return Ok(());
        }
        if ticket.is_some_and(|ticket| tickets.check(ticket)) {
            return Ok(());
        }
        let (code, detail, challenge) = match (bearer.is_some(), ticket.is_some()) {
            (true, _) => {
                ("invalid_token", "this is not the server's token", r#"Bearer realm="moonlog", error="invalid_token""#)
            }
            (_, true) => (
                "invalid_ticket",
                "the ticket is wrong or has expired; get another from POST /v1/tickets",
                r#"Bearer realm="moonlog", error="invalid_token""#,
            ),
            _ => ("token_needed", "send the server's token as `Authorization: Bearer`", r#"Bearer realm="moonlog""#),
        };
        Err(Problem::new(StatusCode::UNAUTHORIZED, code, detail)
            .header(header::WWW_AUTHENTICATE, HeaderValue::from_static(challenge)))
    }
}

fn forbidden_origin() -> Problem {
    Problem::new(
        StatusCode::FORBIDDEN,
        "forbidden_origin",
        "pages of this Origin may not use the server; add it to api.origins in the configuration",
    )
}

fn hash(bytes: &[u8]) -> [u8; 32] {
    *blake3::hash(bytes).as_bytes()
}

/// A host with its port, as `Host` and `Origin` give it; the name in lower case.
struct Authority {
    name: String,
    port: Option<u16>,
}

impl Authority {
    fn read(text: &str) -> Option<Self> {
        let text = text.to_ascii_lowercase();
        let name_end = if text.starts_with('[') { text.find(']')? + 1 } else { text.find(':').unwrap_or(text.len()) };
        let (name, rest) = text.split_at(name_end);
        let port = match rest {
            "" => None,
            rest => Some(rest.strip_prefix(':')?.parse().ok()?),
        };
        let name = name.strip_suffix('.').unwrap_or(name);
        (!name.is_empty()).then(|| Self { name: name.to_owned(), port })
    }
}
