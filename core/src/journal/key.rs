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

/// The key that an operation shows to the outside world. What a step does first of a kind, in its own function, is what the step
/// is there for: it shows the key that the function was given. Anything beside that has a key of its own, as two requests under one
/// key would be taken for one.
pub fn operation_key(job: &JobId, run: u32, path: &str, kind: &str) -> String {
    let own = path.rsplit_once('/').filter(|(_, name)| *name == kind).and_then(|(scope, _)| scope.rsplit_once('@'));
    match own {
        Some((step, attempt)) if !attempt.contains('/') => idempotency_key(job, run, step),
        _ => idempotency_key(job, run, path),
    }
}
