//! Work that holds its thread up: reads of the log, scripts that are checked, long bodies.

use super::Problem;

/// Does it where it disturbs nobody else.
///
/// # Errors
/// 500 where it panics.
pub async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Problem> {
    tokio::task::spawn_blocking(work).await.map_err(|error| Problem::internal(&error))
}
