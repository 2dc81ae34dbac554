//! Tickets: what a browser's EventSource shows in place of the token, which it cannot send. A ticket is its expiry and
//! a keyed hash of that, so none is kept, and one lives through a restart.

use crate::config::Token;
use moonlog_core::{id::Hash, time::Timestamp};
use std::time::Duration;
use subtle::ConstantTimeEq;

/// Gives and checks tickets.
pub struct Tickets {
    key: [u8; 32],
    life: Duration,
}

impl Tickets {
    pub fn new(token: Option<&Token>, life: Duration) -> Self {
        let secret = token.map_or("", Token::reveal);
        Self { key: blake3::derive_key("moonlog 2026-11 feed tickets", secret.as_bytes()), life }
    }

    /// A ticket from now on, and when it expires.
    pub fn give(&self) -> (String, Timestamp) {
        let expires = now().plus_ms(u64::try_from(self.life.as_millis()).unwrap_or(u64::MAX));
        (format!("{:x}.{}", expires.as_micros(), self.seal(expires)), expires)
    }

    /// Whether a ticket is one of ours and has not expired.
    pub fn check(&self, ticket: &str) -> bool {
        let Some((expires, seal)) = ticket.split_once('.') else { return false };
        let Ok(expires) = i64::from_str_radix(expires, 16).map(Timestamp::from_micros) else { return false };
        let genuine: bool = self.seal(expires).as_bytes().ct_eq(seal.as_bytes()).into();
        genuine && now() < expires
    }

    fn seal(&self, expires: Timestamp) -> String {
        let hash = blake3::keyed_hash(&self.key, &expires.as_micros().to_le_bytes());
        Hash::from_bytes(*hash.as_bytes()).to_string()
    }
}

fn now() -> Timestamp {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_micros(i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ticket_is_checked_for_its_seal_and_its_time() {
        let token = Token::new("secret");
        let tickets = Tickets::new(token.as_ref(), Duration::from_secs(60));
        let (ticket, _) = tickets.give();
        assert!(tickets.check(&ticket));
        assert!(Tickets::new(token.as_ref(), Duration::from_secs(1)).check(&ticket), "it lives through a restart");
        assert!(!Tickets::new(Token::new("other").as_ref(), Duration::from_secs(60)).check(&ticket));
        let (expires, seal) = ticket.split_once('.').unwrap();
        assert!(!tickets.check(&format!("{expires}0.{seal}")), "its time cannot be changed");
        assert!(!tickets.check(seal) && !tickets.check("") && !tickets.check("zz.zz"));
        let (expired, _) = Tickets::new(token.as_ref(), Duration::ZERO).give();
        assert!(!tickets.check(&expired));
    }
}
