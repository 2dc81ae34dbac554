//! Tickets: what a browser's EventSource shows in place of the token, which it cannot send. A ticket is its expiry and
//! a keyed hash of that, so none is kept, and one lives through a restart.

use crate::config::Token;
use moonlog_core::{id::Hash, time::Timestamp};
use moonlog_runner::Clock;
use std::time::Duration;
use subtle::ConstantTimeEq;

/// Gives and checks tickets.
pub struct Tickets {
    key: [u8; 32],
    life: Duration,
    clock: Clock,
}

impl Tickets {
    /// `clock`: the runner's. One that anybody may set back would bring expired tickets back to life.
    pub fn new(token: Option<&Token>, life: Duration, clock: Clock) -> Self {
        let secret = token.map_or("", Token::reveal);
        Self { clock, key: blake3::derive_key("moonlog 2026-11 feed tickets", secret.as_bytes()), life }
    }

    /// A ticket from now on, and when it expires.
    pub fn give(&self) -> (String, Timestamp) {
        let expires = self.last_expiry();
        (format!("{:x}.{}", expires.as_micros(), self.seal(expires)), expires)
    }

    /// Whether a ticket is one of ours and has not expired.
    pub fn check(&self, ticket: &str) -> bool {
        let Some((expires, seal)) = ticket.split_once('.') else { return false };
        let Ok(expires) = i64::from_str_radix(expires, 16).map(Timestamp::from_micros) else { return false };
        let genuine: bool = self.seal(expires).as_bytes().ct_eq(seal.as_bytes()).into();
        // One that lives longer than any that is given now is of a clock that has been ahead.
        genuine && (self.clock)() < expires && expires <= self.last_expiry()
    }

    /// When a ticket expires that is given now.
    fn last_expiry(&self) -> Timestamp {
        (self.clock)().plus_ms(u64::try_from(self.life.as_millis()).unwrap_or(u64::MAX))
    }

    fn seal(&self, expires: Timestamp) -> String {
        let hash = blake3::keyed_hash(&self.key, &expires.as_micros().to_le_bytes());
        Hash::from_bytes(*hash.as_bytes()).to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    const MINUTE: Duration = Duration::from_secs(60);

    fn at(ms: u64) -> Clock {
        Arc::new(move || Timestamp::from_micros(1_795_000_000_000_000).plus_ms(ms))
    }

    fn tickets(secret: &str, life: Duration, ms: u64) -> Tickets {
        Tickets::new(Token::new(secret).as_ref(), life, at(ms))
    }

    #[test]
    fn a_ticket_is_checked_for_its_seal_and_its_time() {
        let now = 4_000_000;
        let (ticket, _) = tickets("secret", MINUTE, now).give();
        let check = |ticket: &str| tickets("secret", MINUTE, now).check(ticket);
        assert!(check(&ticket), "it lives through a restart");
        assert!(!tickets("other", MINUTE, now).check(&ticket));
        let (expires, seal) = ticket.split_once('.').unwrap();
        assert!(!check(&format!("{expires}0.{seal}")), "its time cannot be changed");
        assert!(!check(seal) && !check("") && !check("zz.zz"));
        assert!(tickets("secret", MINUTE, now + 59_999).check(&ticket));
        assert!(!tickets("secret", MINUTE, now + 60_000).check(&ticket));
        assert!(
            !tickets("secret", MINUTE, now - 1).check(&ticket),
            "one of a clock that has been ahead does not live longer"
        );
        assert!(!tickets("secret", Duration::ZERO, now).check(&tickets("secret", Duration::ZERO, now).give().0));
    }
}
