//! Idempotency keys.

use crate::id::{Hash, JobId};

/// The key under which the outside world can tell a repeated operation from a new one. It is the same for every
/// attempt at the operation, and for every attempt at a step around it (what follows an `@` in `path` is left out).
pub fn idempotency_key(job: &JobId, run: u32, path: &str) -> String {
    let mut text = format!("{job}/{run}");
    for segment in path.split('/') {
        text.push('/');
        text.push_str(segment.split('@').next().unwrap_or(segment));
    }
    let hash = Hash::of(text.as_bytes()).to_string();
    hash[..32].to_owned()
}
