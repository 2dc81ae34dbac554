//! Which tokens clients have started processes under, and which processes.

use crate::{
    codec::{Decode, Encode},
    event::{Event, EventBody},
    id::{Hash, ProcessId},
};
use std::{collections::HashMap, sync::Arc};

/// The first use of a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub struct TokenUse {
    /// The process that was started under it.
    pub process: ProcessId,
    /// The hash of that request.
    pub request_hash: Hash,
}

/// The tokens that were used since the last checkpoint; older ones are stored.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ClientTokens {
    tokens: HashMap<Arc<str>, TokenUse>,
}

impl ClientTokens {
    pub(super) fn apply(&mut self, event: &Event) {
        if let (Some(process), EventBody::ProcessTokenClaimed(claimed)) = (event.process, &event.body) {
            let first = TokenUse { process, request_hash: claimed.request_hash };
            self.tokens.entry(claimed.client_token.as_str().into()).or_insert(first);
        }
    }

    /// The first use of `token`.
    pub fn get(&self, token: &str) -> Option<&TokenUse> {
        self.tokens.get(token)
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = (&Arc<str>, &TokenUse)> {
        self.tokens.iter()
    }

    /// Frees the tokens of processes that were removed.
    pub(super) fn remove(&mut self, is_removed: impl Fn(&ProcessId) -> bool) {
        self.tokens.retain(|_, first| !is_removed(&first.process));
    }

    pub(super) fn forget(&mut self, stored: &Self) {
        self.tokens.retain(|token, _| !stored.tokens.contains_key(token));
    }
}
