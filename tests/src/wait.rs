//! Waiting for conditions.

use std::{future::Future, time::Duration};

/// How long a condition may take before a test gives up: long, since it is reached only where something is wrong.
const PATIENCE: Duration = Duration::from_secs(60);

/// Waits until `condition` gives something.
///
/// # Panics
/// Where it gives nothing for a minute; `what` says what was waited for.
pub async fn eventually<T, F: Future<Output = Option<T>>>(what: &str, condition: impl FnMut() -> F) -> T {
    eventually_within(PATIENCE, what, condition).await
}

/// The same, with another patience.
///
/// # Panics
/// Where it gives nothing for that long.
pub async fn eventually_within<T, F: Future<Output = Option<T>>>(
    patience: Duration,
    what: &str,
    mut condition: impl FnMut() -> F,
) -> T {
    let deadline = tokio::time::Instant::now() + patience;
    loop {
        if let Some(found) = condition().await {
            return found;
        }
        assert!(tokio::time::Instant::now() < deadline, "waited {patience:?} in vain for: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
